// The kubelet's API as a kube-apiserver asks for it (upstream's 10003, hub-protocol 8.2): found by the pod, brought to its node.
// In: HTTPS of a client with a certificate of the cluster's CA. Out: what the node answers, in plain text where it refuses.
//
// How the API server comes here is upstream's, too: each Node names the tunnel port of the cloudcore that it is connected to
// (recorded in ConfigMap kubeedge/tunnelport), and a rule on the API server's host turns that port of any node to ours.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "cloud/ports/node_streams.h"
#include "kube/client/kube_client.h"
#include "net/stream.h"

namespace kubeedge::cloud {

struct StreamServerOptions {
  net::Endpoint listen{"0.0.0.0", 10003};
  net::TlsConfig tls;            // certificate, key, and the CA that the API server's own certificate must be of
  std::string cloud_ip;          // whose tunnel port it is
};

// Lives on the runtime's executor. `client` and `streams` must outlive it.
class StreamServer final {
 public:
  static constexpr int kFirstTunnelPort = 10351;
  static constexpr Milliseconds kRetry{2'000}, kNodeRetry{5'000};
  static constexpr int kNodeTries = 24;                      // a node registers soon after it connected

  StreamServer(const Runtime& runtime, kube::KubeClient& client, NodeStreams& streams, StreamServerOptions options);
  ~StreamServer();
  Result<void> start();
  void stop();
  std::uint16_t port() const;
  // A tunnel is up: its Node names our tunnel port from now on.
  void node_connected(const NodeId& node);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
