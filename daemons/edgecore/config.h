// edgecore.yaml with upstream's keys (config.md 2), overlaid on the defaults.
#pragma once

#include <string>
#include <vector>

#include <kubeedge/edge.h>
#include <kubeedge/result.h>

namespace edgecore {

struct Config {
  Config() { edge.monitor = "127.0.0.1:9092"; }   // beside cloudcore's 9091: both may run on one host

  kubeedge::EdgeOptions edge;
  bool quic = false;                 // asked for, and refused
  bool pods = true;                  // modules.edged.enable
  std::string runtime_endpoint = "unix:///run/containerd/containerd.sock";
  std::string root_dir = "/var/lib/kubelet";
  std::string pod_logs_dir = "/var/log/pods";
  int max_pods = 110;
  bool report_events = false;
  int mqtt_mode = 2;                 // 0 = a broker of our own, 2 = somebody else's
  std::string internal_broker = "tcp://127.0.0.1:1884";
  std::string database;              // database.dataSource; its folder is the data dir
};

// Overlays the file. Unknown keys are put into `warnings`, with `strict` they are an error.
kubeedge::Result<void> load_config(const std::string& path, bool strict, Config& config, std::vector<std::string>& warnings);

// The file that --minconfig / --defaultconfig print.
std::string sample_config(bool full);

}  // namespace edgecore
