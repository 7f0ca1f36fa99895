// The cloud assembly on its own small Kubernetes API: CloudHub, join server, controllers and the API that kubectl speaks to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/router.h>
#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

// Ports: 0 = any free one, asked for with the functions below.
struct StandaloneCloudOptions {
  std::string data_dir = "/var/lib/kubeedge";     // one SQLite file, pki/, admin.kubeconfig (0600), join.token (0600)
  std::vector<std::string> advertise, dns_names;  // more addresses and names for the server certificate
  std::string api_address = "127.0.0.1";
  std::uint16_t api_port = 6443;
  std::string hub_address = "0.0.0.0";
  std::uint16_t hub_port = 10000;
  std::string join_address = "0.0.0.0";
  std::uint16_t join_port = 10002;
  bool stream_enabled = true;
  std::string stream_address = "0.0.0.0";         // the edges' tunnels for kubectl logs, exec and attach
  std::uint16_t stream_port = 10004;
  std::size_t node_limit = 1000;                  // live sessions; one more is refused with 503 and a reason
  int keepalive_s = 30;                           // a session that is silent for so long is dead
  int edge_certificate_days = 365;
  RouterOptions router;
  std::string monitor;                            // "host:port" of /metrics, /healthz, /readyz on plain HTTP; "" = none
};

// Lives on the runtime's executor. create() makes or reads `data_dir` and binds the API; start() binds the edge ports.
class StandaloneCloud {
 public:
  // Errors name the file or the address.
  static Result<StandaloneCloud> create(const Runtime& runtime, StandaloneCloudOptions options);
  StandaloneCloud(StandaloneCloud&&) noexcept;
  StandaloneCloud& operator=(StandaloneCloud&&) noexcept;
  ~StandaloneCloud();

  Result<void> start();
  // Ends every session and listener; after `done` it may be destroyed.
  void stop(unique_function<void()> done);

  // Real ports; those for edges are 0 before start().
  std::uint16_t api_port() const;
  std::uint16_t hub_port() const;
  std::uint16_t join_port() const;
  std::uint16_t router_port() const;              // 0 without a router
  std::uint16_t stream_port() const;
  std::size_t connected_nodes() const;
  // What the server certificate names, advertised addresses first.
  const std::vector<std::string>& addresses() const;

 private:
  struct Impl;
  explicit StandaloneCloud(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
