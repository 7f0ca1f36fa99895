// The cloud assembly: CloudHub, CloudStream, join server, SyncController, EdgeController, DeviceController and Router on one KubeClient.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <kubeedge/result.h>
#include <kubeedge/router.h>
#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

#include "base/metrics.h"
#include "cloud/ports/node_streams.h"
#include "kube/client/kube_client.h"
#include "net/status_server.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

struct CloudOptions {
  pki::KeyPair ca;                           // the KubeEdge CA: signs edges, verifies them, keys the join token
  pki::KeyPair server;                       // this cloud's server certificate, signed by `ca`
  std::string hub_address = "0.0.0.0";       // WSS, upstream's 10000
  std::uint16_t hub_port = 10000;            // 0 = any free port, see hub_port()
  std::string join_address = "0.0.0.0";      // HTTPS, upstream's 10002
  std::uint16_t join_port = 10002;
  bool stream_enabled = true;                // the edges' stream tunnels: kubectl logs, exec and attach
  std::string stream_address = "0.0.0.0";    // WSS, upstream's 10004
  std::uint16_t stream_port = 10004;
  struct KubeletApi {                        // for a kube-apiserver (HTTPS, upstream's 10003); without a certificate it is not served
    std::string address = "0.0.0.0";
    std::uint16_t port = 10003;
    std::string certificate_pem, private_key_pem;
    std::string ca_pem;                      // of the API server's own client certificate
    std::string cloud_ip;                    // under which its tunnel port is recorded
  } kubelet_api;
  std::size_t node_limit = 1000;             // live sessions; one more is refused with 503 and a reason
  int keepalive_s = 30;                      // a session without a keepalive message for so long is dead
  int edge_certificate_days = 365;
  int status_interval_ms = 1000;             // at most one DeviceStatus patch a device in this time
  std::string cloud_ip;                      // the Node's annotation "cloudcore"; "" = the address the edge dialled
  RouterOptions router;
  std::string monitor;                       // "host:port" of /metrics, /healthz, /readyz (upstream's monitorServer); "" = none
  std::string api_ca_pem;                    // answer to the edge's query k8s/ca.crt; "" = the KubeEdge CA
};

// Lives on the runtime's executor; `client` must outlive it.
class Cloud {
 public:
  // Binds nothing, and reads the router's files only; kInvalidArgument when a key pair does not fit.
  static Result<std::unique_ptr<Cloud>> create(const Runtime& runtime, kube::KubeClient& client, CloudOptions options);
  virtual ~Cloud() = default;

  // Binds the ports and starts the controllers. An address in use is an error that names it.
  virtual Result<void> start() = 0;
  // Closes every session and listener; after `done` the object may be destroyed.
  virtual void stop(unique_function<void()> done) = 0;

  // The real ports, 0 before start().
  virtual std::uint16_t hub_port() const = 0;
  virtual std::uint16_t join_port() const = 0;
  virtual std::uint16_t router_port() const = 0;   // 0 without a router
  virtual std::uint16_t stream_port() const = 0;
  virtual std::size_t connected_nodes() const = 0;
  virtual NodeStreams& streams() = 0;
  // What else the monitor shows: the back end's figures and health. Before start().
  virtual void also_show(base::Metrics::Collector figures, std::function<net::HealthCheck()> health) = 0;
};

}  // namespace kubeedge::cloud
