// Router: Rules and RuleEndpoints of the API, the REST endpoint (upstream's 9443), messages to and from the nodes' buses.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"
#include "net/http.h"

namespace kubeedge::cloud {

inline constexpr std::size_t kMaxRestConnections = 1'024;
inline constexpr std::size_t kMaxRestBuffers = 128 * 1024 * 1024;       // bodies that are arriving, all together
inline constexpr std::size_t kMaxTargetAnswer = 1024 * 1024;            // of a rule's REST target; upstream's MaxRespBodyLength
inline constexpr Milliseconds kTargetTimeout{30'000};                   // one try at a rule's REST target

struct RouterConfig {
  net::Endpoint listen{"0.0.0.0", 9443};
  Milliseconds rest_timeout{60'000};
  std::optional<net::TlsConfig> tls;   // absent = plain HTTP, as upstream
  std::string token;                   // callers say "Authorization: Bearer <token>"; empty = anybody may call
  std::string target_ca_pem;           // verifies https targets; empty = the system's authorities
  std::string cloud_ip;                // what the Node's annotation "cloudcore" says for this cloud, beside the host's addresses
};

// Lives on the runtime's executor. `client` and `link` must outlive it.
class Router final : public UpstreamSink, public NodeSnapshot {
 public:
  Router(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, RouterConfig config);
  ~Router() override;
  // Binds the port at once: before the first rule it answers 404.
  Result<void> start();
  void stop();
  std::uint16_t port() const;

  // Uploads of the nodes' buses, answers of their services (wire group "user").
  void on_message(const NodeId& node, Message message) override;
  void snapshot(const NodeId&, std::vector<Message>&) override {}
  void on_connected(const NodeId& node) override;
  void on_disconnected(const NodeId& node) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
