// CloudHub: the WSS endpoint (upstream's 10000). Who is let in becomes one of the HubSessions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "cloud/hub/hub_sessions.h"
#include "cloud/hub/revocations.h"
#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// Lives on the runtime's executor.
class HubServer final : public EdgeLink {
 public:
  HubServer(const Runtime& runtime, kube::KubeClient& client, SyncRecords& records, const Revocations& revocations, HubOptions options);
  ~HubServer() override;
  void attach(HubSinks sinks);
  Result<void> start();
  void stop();
  std::uint16_t port() const;

  bool connected(const NodeId& node) const override;
  std::vector<NodeId> connected_nodes() const override;
  void send(const NodeId& node, Message message) override;
  bool confirms(const NodeId& node) const override;
  void node_deleted(const NodeId& node) override;
  // The node's live session, if any, ends now (takeover, token join).
  void disconnect(const NodeId& node, const std::string& why);
  // The node's session ends if its certificate is revoked by now.
  void drop_revoked(const NodeId& node);
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
