// KubeClient against a real kube-apiserver, over net::HttpClient, from a kubeconfig.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"
#include "net/http.h"

namespace kubeedge::kube {

struct RemoteOptions {
  net::Endpoint endpoint;
  net::TlsConfig tls;                // CA, client certificate and key as PEM
  std::string bearer_token;
};

// Lives on the runtime's executor. After destruction no callback runs.
class RemoteKubeClient final : public KubeClient {
 public:
  static constexpr int kPageSize = 500;                              // objects a list page
  static constexpr std::size_t kMaxWatchLine = 8 * 1024 * 1024;      // one watch event
  static constexpr std::size_t kMaxListBody = 64 * 1024 * 1024;      // one answer

  RemoteKubeClient(const Runtime& runtime, RemoteOptions options);
  ~RemoteKubeClient() override;

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
