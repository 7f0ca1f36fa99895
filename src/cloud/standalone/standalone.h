// cloudcore's own small Kubernetes: storage, API server core, HTTPS listener and the controllers around them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "cloud/ports/node_streams.h"
#include "cloud/standalone/bootstrap.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

struct StandaloneOptions {
  std::string data_dir;
  std::vector<std::string> advertise, dns_names;
  std::string api_address = "127.0.0.1";
  std::uint16_t api_port = 6443;
};

// Lives on the runtime's executor. Destroying it closes everything and waits for queued writes.
class Standalone {
 public:
  // Makes or reads all that `data_dir` holds and listens. Errors name the file or the address.
  static Result<std::unique_ptr<Standalone>> create(const Runtime& runtime, StandaloneOptions options);
  ~Standalone();

  void start();                              // namespaces, secrets and the controllers
  kube::KubeClient& client();                // acts as system:masters
  const Credentials& credentials() const;
  std::uint16_t api_port() const;
  // Who brings logs, exec and attach to the nodes; taken back with nullptr before it goes.
  void set_streams(NodeStreams* streams);
  std::string storage_failure() const;       // "" = the last write reached the disk
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  explicit Standalone(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
