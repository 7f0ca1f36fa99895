// CloudHub: the WSS endpoint (upstream's 10000), sessions, connect-time resend and routing of up messages.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "cloud/hub/node_session.h"
#include "cloud/hub/revocations.h"
#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"
#include "net/http.h"
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
