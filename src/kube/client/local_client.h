// KubeClient in process: calls the API server core directly, no HTTP to itself.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"
#include "kube/rest/api_server.h"

namespace kubeedge::kube {

// Lives on the runtime's executor, with `server`, which must outlive it. Every callback is posted.
// After destruction no callback runs.
class LocalKubeClient final : public KubeClient {
 public:
  LocalKubeClient(const Runtime& runtime, ApiServer& server, UserInfo user);
  ~LocalKubeClient() override;

  void get(const Resource& resource, const std::string& ns, const std::string& name, Done<Bytes> done) override;
  void list(const Resource& resource, ListOptions options, Done<ObjectList> done) override;
  std::unique_ptr<Watch> watch(const Resource& resource, ListOptions options, const std::string& resource_version,
                               unique_function<void(WatchEvent)> on_event, unique_function<void(ApiError)> on_end) override;
  void create(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource, Bytes object,
              Done<Bytes> done) override;
  void update(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource, Bytes object,
              Done<Bytes> done) override;
  void patch(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource, PatchType type,
             Bytes patch, Done<Bytes> done) override;
  void remove(const Resource& resource, const std::string& ns, const std::string& name, Bytes options, Done<Bytes> done) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::kube
