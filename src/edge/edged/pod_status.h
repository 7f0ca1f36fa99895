// Observed containers -> v1.PodStatus, and the patch that tells the cloud (edge-node 4.4). Plain logic, no I/O.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "edge/edged/json_view.h"
#include "edge/edged/observed.h"

namespace kubeedge::edged {

struct Waiting {
  std::string reason, message;   // CrashLoopBackOff, ErrImagePull, CreateContainerConfigError ...
};

struct StatusInputs {
  std::map<std::string, Waiting> waiting;         // container name -> why it does not run
  std::map<std::string, std::string> messages;    // container id -> termination message
  struct Health { bool started = true, ready = true; };
  std::map<std::string, Health> health;           // container id -> what its probes say; a container without an entry has none
  std::string host_ip;
  std::string failure_reason, failure_message;    // set: the pod is Failed (a field that is not honoured ...)
  std::int64_t now_unix_s = 0;
};

// `previous` = the status that the cloud knows (or {}): startTime, transition times and what is not ours are kept.
Json pod_status(const Json& pod, const ObservedPod& observed, const StatusInputs& inputs, const Json& previous);

// {"metadata":{"uid"},"status":{...}} from `before` to `after`; nullopt when nothing differs.
std::optional<std::string> status_patch(const std::string& uid, const Json& before, const Json& after);

// Guaranteed, Burstable or BestEffort.
std::string qos_class(const Json& pod);

// "100m", "1.5", "64Mi" ... in thousandths / in bytes; nullopt = not a quantity.
std::optional<std::int64_t> milli(const std::string& quantity);
std::optional<std::int64_t> bytes_of(const std::string& quantity);

}  // namespace kubeedge::edged
