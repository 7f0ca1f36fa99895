// Edged: Kubernetes pods on a CRI v1 runtime (edge-node 4). A library of its own, so firmware without pods links none of it.
#pragma once

#include <memory>
#include <string>

namespace kubeedge {
inline namespace v0 {

class PodRuntimeFactory;

struct CriOptions {
  std::string endpoint = "unix:///run/containerd/containerd.sock";
  std::string root_dir = "/var/lib/kubelet";         // pods/<uid>/{volumes,containers,etc-hosts}
  std::string pod_logs_dir = "/var/log/pods";
  int max_pods = 110;
  bool report_events = false;                        // Kubernetes Events towards the cloud
};

// Give it to EdgeOptions::pods. The pods of a stopped edge keep running and are adopted at the next start.
std::shared_ptr<PodRuntimeFactory> cri_pod_runtime(CriOptions options);

}  // namespace v0
}  // namespace kubeedge
