// EdgeStream: the tunnel to the cloud's port 10004 (hub-protocol 8). Each stream that the cloud begins is a NodeCall.
// In: tunnel messages; the hub's link going up. Out: what NodeStreams answers.
// Promises: a stream ends when the user, the container, the tunnel or this process ends; one slow user does not hold up others.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/resource.h>
#include <kubeedge/runtime.h>

#include "edge/ports/cloud_link.h"
#include "edge/ports/node_streams.h"
#include "net/stream.h"

namespace kubeedge::edge {

struct TunnelOptions {
  NodeId node;
  net::Endpoint server;                                        // 10004
  std::string ca_file, certificate_file, private_key_file;     // read at each dial: they change when the certificate is renewed
  std::string address;                                         // header SessionInternalIP; "" = our own address on the tunnel
  Milliseconds handshake_timeout{30'000};
};

// Lives on the runtime's executor. Dials while the hub's link is up: without one there is no certificate, and nobody who asks.
class TunnelClient final : public LinkObserver {
 public:
  static constexpr Milliseconds kPingInterval{5'000};          // as upstream: middle boxes forget a silent connection
  static constexpr Milliseconds kFirstRetry{2'000}, kLongestRetry{60'000};
  static constexpr std::size_t kMaxQueued = 1024 * 1024;       // unsent bytes of the tunnel; past it no stream has room

  TunnelClient(const Runtime& runtime, NodeStreams& streams, TunnelOptions options);
  ~TunnelClient() override;
  void on_link(bool up) override;
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
