// The sessions of CloudHub: connect-time resend, comparison with the sync records, acknowledgements, routing of up messages.
// It takes sockets that HubServer has let in, and time only from the runtime's clock and timers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "base/peer_log.h"
#include "cloud/hub/node_session.h"
#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"
#include "net/websocket.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

// How often a connected node is compared with its sync records (upstream's SyncController: 5 s).
inline constexpr Milliseconds kResyncInterval{5'000};
inline constexpr const char* kStoreIdHeader = "Kubeedge-Store-Id";
inline constexpr const char* kStoreIdAnnotation = "libkubeedge.io/store-id";

struct HubOptions {
  pki::KeyPair ca, server;
  net::Endpoint listen{"0.0.0.0", 10000};
  std::size_t node_limit = 1000;
  SessionOptions session;
  std::string cloud_ip;          // annotation "cloudcore"; "" = the address that the edge dialled
  std::string api_ca_pem;        // answer to k8s/ca.crt
};

// Which sink takes what an edge sends (hub-protocol 2.3). All must outlive the hub.
struct HubSinks {
  UpstreamSink* edge = nullptr;
  UpstreamSink* device = nullptr;
  UpstreamSink* router = nullptr;          // absent: what it would get is dropped, and confirmed
  std::vector<NodeSnapshot*> snapshots;
};

// Lives on the runtime's executor.
class HubSessions final : public EdgeLink {
 public:
  HubSessions(const Runtime& runtime, kube::KubeClient& client, SyncRecords& records, HubOptions options);
  ~HubSessions() override;
  void attach(HubSinks sinks);
  void start();
  void stop();
  // A node's socket, not started yet; it replaces the node's older one. `certified_s`: its certificate's notBefore.
  void open(NodeId node, std::int64_t certified_s, std::string store_id, std::unique_ptr<net::WebSocket> socket);

  bool connected(const NodeId& node) const override;
  std::vector<NodeId> connected_nodes() const override;
  std::size_t size() const;
  void send(const NodeId& node, Message message) override;
  bool confirms(const NodeId& node) const override;
  void node_deleted(const NodeId& node) override;
  // The node's live session, if any, ends now (takeover, token join).
  void disconnect(const NodeId& node, const std::string& why);
  // notBefore of the certificate of the node's live session.
  std::optional<std::int64_t> certified(const NodeId& node) const;
  base::PeerLog& peers();   // one allowance for all that CloudHub says about a node
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
