// The HTTPS listener before the API server core: who is it (401), then the core decides.
// In: TLS connections with a client certificate of our CA or a bearer token. Out: answers and watch streams.
// Promises: a watcher that does not read is cut off at kMaxQueuedWatchBytes; a watch ends after its timeoutSeconds.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "cloud/ports/node_streams.h"
#include "cloud/standalone/service_account_tokens.h"
#include "kube/rest/api_server.h"
#include "net/http.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

class FrontEnd {
 public:
  static constexpr std::size_t kMaxQueuedWatchBytes = 4 * 1024 * 1024;
  static constexpr std::int64_t kDefaultWatchSeconds = 1800, kMostWatchSeconds = 3600;

  struct Options {
    std::string address = "127.0.0.1";
    std::uint16_t port = 6443;
    std::string ca_der;
    pki::KeyPair server;
  };
  // `server` and `tokens` must outlive it. An address in use is an error that names it.
  static Result<std::unique_ptr<FrontEnd>> listen(const Runtime& runtime, kube::ApiServer& server, const ServiceAccountTokens& tokens, Options options);
  ~FrontEnd();
  std::uint16_t port() const;
  // Who brings logs, exec and attach to the nodes; it must outlive this or be taken back with nullptr.
  void set_streams(NodeStreams* streams);

 private:
  struct Impl;
  explicit FrontEnd(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
