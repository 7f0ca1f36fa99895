// CloudStream: the WSS endpoint for the edges' stream tunnels (upstream's 10004, hub-protocol 8) and the streams on them.
// In: tunnels of edges with a client certificate of their node; relay() of a front end. Out: what the nodes answer.
// Promises: one tunnel a node, the newest wins; a user who does not read neither fills memory nor holds up other streams.
#pragma once

#include <functional>
#include <memory>

#include <kubeedge/runtime.h>

#include "cloud/ports/node_streams.h"
#include "net/http.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

struct TunnelServerOptions {
  pki::KeyPair ca, server;
  net::Endpoint listen{"0.0.0.0", 10004};
  std::size_t node_limit = 1000;
  std::function<bool(const NodeId&, std::int64_t issued_unix_s)> revoked;   // is a certificate of the node too old to be its own?
  std::function<void(const NodeId&)> on_connected;   // a tunnel is up
};

// Lives on the runtime's executor.
//
// Logs are asked for as an exec is (kExec): upstream's edge then passes on the kubelet's whole HTTP answer, where for its own
// kLogs it gives the body alone, and an error would look like a log.
class TunnelServer final : public NodeStreams {
 public:
  static constexpr std::size_t kMaxQueued = 1024 * 1024;   // unsent bytes of a tunnel; past it no user is read

  TunnelServer(const Runtime& runtime, TunnelServerOptions options);
  ~TunnelServer() override;
  Result<void> start();
  void stop();
  std::uint16_t port() const;
  bool connected(const NodeId& node) const;
  // The node's tunnel, if any, ends now: it was deleted, or taken over.
  void disconnect(const NodeId& node, const std::string& why);
  void drop_revoked(const NodeId& node);   // `revoked` may say otherwise of it than before

  void relay(const NodeId& node, NodeCall call, std::shared_ptr<net::HttpResponder> responder, Refuse refuse) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
