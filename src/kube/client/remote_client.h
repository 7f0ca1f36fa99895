// KubeClient against a real kube-apiserver, over net::HttpClient. The options come from a kubeconfig (daemons/common) or from the pod that we run in.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"
#include "net/http.h"

namespace kubeedge::kube {

struct RemoteOptions {
  net::Endpoint endpoint;
  std::string path_prefix;           // the server URL's own path, without a slash at its end
  std::optional<net::TlsConfig> tls; // CA, client certificate and key as PEM; absent = plain HTTP
  std::string bearer_token;
  std::string token_file;            // wins over bearer_token; read again every kTokenFileAge and after a 401
  std::size_t max_connections = 8;   // for requests; each watch has one of its own
  std::size_t max_list_body = 64 * 1024 * 1024;  // one answer; a larger page of a list is asked for in halves
};

// Lives on the runtime's executor. After destruction no callback runs.
// A request that the server turns away with 429, or 503 with Retry-After, is sent again when it says so, kMaxThrottled times;
// then, and for all else that fails, the caller gets the error.
class RemoteKubeClient final : public KubeClient {
 public:
  static constexpr int kPageSize = 500;                              // objects a list page
  static constexpr std::size_t kMaxWatchLine = 8 * 1024 * 1024;      // one watch event
  static constexpr int kMaxThrottled = 10;                           // client-go's figure
  static constexpr Milliseconds kMaxRetryAfter{30'000};              // what a server may ask us to wait
  static constexpr Milliseconds kTokenFileAge{60'000};
  static constexpr Milliseconds kWatchHeadTimeout{30'000};           // a watch is begun or refused within this
  static constexpr int kWatchSeconds = 300;                          // the server ends a watch after once to twice this

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
