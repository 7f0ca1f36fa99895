// cloudcore.yaml with upstream's keys (config.md 1), overlaid on the defaults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/router.h>

namespace cloudcore {

struct Config {
  std::string kubeconfig, master;               // kubeAPIConfig; both empty = the pod's own service account
  std::string ca_file = "/etc/kubeedge/ca/rootCA.crt", ca_key_file = "/etc/kubeedge/ca/rootCA.key";          // used if they are there
  std::string server_file = "/etc/kubeedge/certs/server.crt", server_key_file = "/etc/kubeedge/certs/server.key";
  std::vector<std::string> advertise_addresses; // modules.cloudHub.advertiseAddress
  std::vector<std::string> dns_names;
  std::string monitor = "127.0.0.1:9091";       // commonConfig.monitorServer.bindAddress
  std::string hub_address = "0.0.0.0", join_address = "0.0.0.0";
  kubeedge::RouterOptions router;
  std::uint16_t hub_port = 10000, join_port = 10002, stream_port = 10004;
  // The kubelet's API for a kube-apiserver: served where the files are there.
  std::uint16_t kubelet_api_port = 10003;
  std::string stream_ca_file = "/etc/kubeedge/ca/streamCA.crt", stream_cert_file = "/etc/kubeedge/certs/stream.crt", stream_key_file = "/etc/kubeedge/certs/stream.key";
  bool stream_enabled = true;                   // modules.cloudStream.enable
  std::int64_t node_limit = 1000, keepalive_s = 30, edge_certificate_days = 365, token_refresh_h = 12;
};

// Overlays the file. Unknown keys are put into `warnings` ("FILE:LINE: unknown key K (did you mean M?)"),
// with `strict` they are an error. A wrong type is an error with file, line and key.
kubeedge::Result<void> load_config(const std::string& path, bool strict, Config& config, std::vector<std::string>& warnings);

// The file that --minconfig / --defaultconfig print.
std::string sample_config(bool full);

}  // namespace cloudcore
