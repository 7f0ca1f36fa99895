// What the container runtime says of one pod.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kubeedge::edged {

struct ObservedSandbox {
  std::string id;
  std::uint32_t attempt = 0;
  bool ready = false;
  std::int64_t created_ns = 0;
  std::vector<std::string> ips;   // empty with hostNetwork
};

struct ObservedContainer {
  enum class State { kCreated, kRunning, kExited, kUnknown };
  std::string id, name, sandbox_id;
  int restart_count = 0;          // annotation io.kubernetes.container.restartCount, else the attempt
  State state = State::kUnknown;
  std::int64_t created_ns = 0, started_ns = 0, finished_ns = 0;
  int exit_code = 0;
  std::string reason, message;    // the runtime's: OOMKilled, Error, Completed ...
  std::string image, image_id;
  std::string spec_image;         // annotation: the image as the pod names it; "" for containers that another kubelet made
};

struct ObservedPod {
  std::vector<ObservedSandbox> sandboxes;      // newest first
  std::vector<ObservedContainer> containers;   // newest first
  std::string runtime = "containerd";          // prefix of container ids

  const ObservedSandbox* sandbox() const { return sandboxes.empty() ? nullptr : &sandboxes.front(); }
  // The newest instance of a container, or nullptr; `previous` = the one before it.
  const ObservedContainer* container(const std::string& name, bool previous = false) const {
    for (const ObservedContainer& one : containers) {
      if (one.name != name) continue;
      if (!previous) return &one;
      previous = false;
    }
    return nullptr;
  }
  bool any_running() const {
    for (const ObservedContainer& one : containers)
      if (one.state == ObservedContainer::State::kRunning || one.state == ObservedContainer::State::kUnknown) return true;
    return false;
  }
};

}  // namespace kubeedge::edged
