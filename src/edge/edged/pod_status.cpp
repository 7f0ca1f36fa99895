#include "edge/edged/pod_status.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "base/text.h"

namespace kubeedge::edged {
namespace {

using State = ObservedContainer::State;

constexpr double kMaxQuantity = 9e15;   // its thousandths fit into 64 bits; 8 PiB is more than any edge has

std::string time_of(std::int64_t ns) { return base::rfc3339(ns / 1'000'000'000); }

std::optional<double> quantity(const std::string& text) {
  double value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || !std::isfinite(value)) return std::nullopt;
  const std::string suffix(end, text.data() + text.size());
  static const std::map<std::string, double> kSuffixes = {{"", 1},    {"m", 1e-3},          {"k", 1e3},           {"M", 1e6},           {"G", 1e9},           {"T", 1e12}, {"P", 1e15},
                                                          {"E", 1e18}, {"Ki", 1024.0},       {"Mi", 1048576.0},    {"Gi", 1073741824.0}, {"Ti", 1099511627776.0}};
  const auto found = kSuffixes.find(suffix);
  if (found == kSuffixes.end() || std::abs(value * found->second) > kMaxQuantity) return std::nullopt;
  return value * found->second;
}

Json terminated(const ObservedContainer& container, const StatusInputs& inputs, const std::string& runtime) {
  std::string reason = container.reason;
  if (reason.empty()) reason = container.exit_code == 0 ? "Completed" : "Error";
  Json out = {{"exitCode", container.exit_code}, {"reason", reason}, {"startedAt", time_of(container.started_ns)}, {"finishedAt", time_of(container.finished_ns)},
              {"containerID", runtime + "://" + container.id}};
  std::string message = container.message;
  if (const auto found = inputs.messages.find(container.id); found != inputs.messages.end() && !found->second.empty()) message = found->second;
  if (!message.empty()) out["message"] = message;
  return out;
}

Json volume_mounts(const Json& container) {
  Json out = Json::array();
  for (const Json& mount : items(member(container, "volumeMounts"))) {
    Json entry = {{"name", text(member(mount, "name"))}, {"mountPath", text(member(mount, "mountPath"))}};
    if (flag(member(mount, "readOnly"))) {
      entry["readOnly"] = true;
      entry["recursiveReadOnly"] = "Disabled";
    }
    out.push_back(std::move(entry));
  }
  return out;
}

Json waiting_state(const Waiting& why) {
  Json state = {{"reason", why.reason}};
  if (!why.message.empty()) state["message"] = why.message;
  return {{"waiting", state}};
}

// kubelet's words for a container of a pod that ended before the container was seen.
Json lost_container() {
  return {{"terminated", {{"exitCode", 137}, {"reason", "ContainerStatusUnknown"}, {"message", "The container could not be located when the pod was terminated"}, {"startedAt", nullptr}, {"finishedAt", nullptr}}}};
}

// What all container statuses of a pod depend on.
struct PodView {
  const ObservedPod& observed;
  const StatusInputs& inputs;
  const Json& previous;
  bool initializing = false;   // the pod has init containers
  bool over = false;           // deleted, and nothing of it can run any more
};

Json container_status(const Json& container, const PodView& view, bool init) {
  const auto& [observed, inputs, previous, initializing, over] = view;
  const std::string name = text(member(container, "name"));
  Json out = {{"name", name}, {"image", text(member(container, "image"))}, {"imageID", ""}, {"lastState", Json::object()}, {"ready", false}, {"restartCount", 0}, {"started", false}};
  const ObservedContainer* now = observed.container(name);
  const auto waiting = inputs.waiting.find(name);
  if (now == nullptr) {
    // Never started here. A count that the cloud knows does not go back (a reboot wiped the runtime).
    out["state"] = over ? lost_container() : waiting_state(waiting != inputs.waiting.end() ? waiting->second : Waiting{initializing ? "PodInitializing" : "ContainerCreating", ""});
    for (const Json& old : items(member(previous, init ? "initContainerStatuses" : "containerStatuses")))
      if (text(member(old, "name")) == name) out["restartCount"] = number(member(old, "restartCount"));
    if (const Json mounts = volume_mounts(container); !mounts.empty()) out["volumeMounts"] = mounts;
    return out;
  }
  out["image"] = now->image;
  out["imageID"] = now->image_id;
  out["containerID"] = observed.runtime + "://" + now->id;
  out["restartCount"] = now->restart_count;
  if (const ObservedContainer* before = observed.container(name, true); before != nullptr && before->state == State::kExited) {
    out["lastState"] = {{"terminated", terminated(*before, inputs, observed.runtime)}};
  }
  if (now->state == State::kRunning) {
    out["state"] = {{"running", {{"startedAt", time_of(now->started_ns)}}}};
    const auto found = inputs.health.find(now->id);
    const StatusInputs::Health health = found == inputs.health.end() ? StatusInputs::Health{} : found->second;
    out["ready"] = !init && health.started && health.ready;
    out["started"] = health.started;
  } else if (now->state == State::kExited) {
    const Json end = terminated(*now, inputs, observed.runtime);
    if (waiting != inputs.waiting.end() && !over) {  // it is to run again, but not yet
      out["state"] = waiting_state(waiting->second);
      out["lastState"] = {{"terminated", end}};
    } else {
      out["state"] = {{"terminated", end}};
      if (init) out["ready"] = now->exit_code == 0;
    }
  } else {
    out["state"] = waiting_state(waiting != inputs.waiting.end() ? waiting->second : Waiting{"ContainerCreating", ""});
  }
  if (const Json mounts = volume_mounts(container); !mounts.empty()) out["volumeMounts"] = mounts;
  return out;
}

// kubelet's getPhase.
std::string phase_of(const Json& pod, const Json& statuses, const Json& init_statuses) {
  const std::string policy = text(member(spec(pod), "restartPolicy"), "Always");
  int pending_init = 0, failed_init = 0;
  for (const Json& status : init_statuses) {
    const Json& end = member(member(status, "state"), "terminated");
    if (end.is_null()) {
      ++pending_init;
    } else if (number(member(end, "exitCode")) != 0) {
      ++(policy == "Never" ? failed_init : pending_init);
    }
  }
  if (failed_init > 0) return "Failed";
  int unknown = 0, running = 0, waiting = 0, stopped = 0, succeeded = 0;
  for (const Json& status : statuses) {
    const Json& state = member(status, "state");
    if (!member(state, "running").is_null()) {
      ++running;
    } else if (const Json& end = member(state, "terminated"); !end.is_null()) {
      ++stopped;
      if (number(member(end, "exitCode")) == 0) ++succeeded;
    } else if (!member(state, "waiting").is_null()) {
      member(member(status, "lastState"), "terminated").is_null() ? ++waiting : ++stopped;
    } else {
      ++unknown;
    }
  }
  if (pending_init > 0 || waiting > 0) return "Pending";
  if (running > 0 && unknown == 0) return "Running";
  if (running == 0 && stopped > 0 && unknown == 0) {
    if (policy == "Always") return "Running";
    if (stopped == succeeded) return "Succeeded";
    return policy == "Never" ? "Failed" : "Running";
  }
  return "Pending";
}

// A deleted pod ends as what its containers ended as, whatever its restart policy.
std::string ended_phase(const Json& statuses) {
  const bool good = !statuses.empty() && std::all_of(statuses.begin(), statuses.end(), [](const Json& status) {
    const Json& end = member(member(status, "state"), "terminated");
    return !end.is_null() && number(member(end, "exitCode")) == 0;
  });
  return good ? "Succeeded" : "Failed";
}

class Conditions {
 public:
  Conditions(const Json& previous, std::int64_t now) : previous_(items(member(previous, "conditions"))), now_(base::rfc3339(now)) {}

  void add(const char* type, bool met, const std::string& reason = "", const std::string& message = "") {
    const std::string value = met ? "True" : "False";
    Json out = {{"type", type}, {"status", value}, {"lastProbeTime", nullptr}, {"lastTransitionTime", now_}};
    if (!reason.empty()) out["reason"] = reason;
    if (!message.empty()) out["message"] = message;
    for (const Json& old : previous_)
      if (text(member(old, "type")) == type && text(member(old, "status")) == value && member(old, "lastTransitionTime").is_string()) {
        out["lastTransitionTime"] = member(old, "lastTransitionTime");
      }
    list_.push_back(std::move(out));
  }
  // A condition that is somebody else's is kept as it is.
  void keep_others() {
    for (const Json& old : previous_) {
      const std::string type = text(member(old, "type"));
      if (!type.empty() && std::none_of(list_.begin(), list_.end(), [&](const Json& mine) { return member(mine, "type") == type; })) list_.push_back(old);
    }
  }
  Json take() { return std::move(list_); }

 private:
  const Json& previous_;
  std::string now_;
  Json list_ = Json::array();
};

// The first readiness gate whose condition is not True; "" = none.
std::string closed_gate(const Json& pod, const Json& previous) {
  for (const Json& gate : items(member(spec(pod), "readinessGates"))) {
    const std::string type = text(member(gate, "conditionType"));
    const Json& conditions = items(member(previous, "conditions"));
    if (std::none_of(conditions.begin(), conditions.end(), [&](const Json& one) { return text(member(one, "type")) == type && text(member(one, "status")) == "True"; })) return type;
  }
  return "";
}

std::string unready_text(const std::vector<std::string>& names) {
  std::string text = "containers with unready status: [";
  for (std::size_t i = 0; i < names.size(); ++i) text += (i > 0 ? " " : "") + names[i];
  return text + "]";
}

}  // namespace

std::optional<std::int64_t> milli(const std::string& text) {
  const auto value = quantity(text);
  return value ? std::optional(static_cast<std::int64_t>(std::ceil(*value * 1000 - 1e-9))) : std::nullopt;
}

std::optional<std::int64_t> bytes_of(const std::string& text) {
  const auto value = quantity(text);
  return value ? std::optional(static_cast<std::int64_t>(std::ceil(*value))) : std::nullopt;
}

std::string qos_class(const Json& pod) {
  bool any = false, guaranteed = true;
  for (const Json& container : items(member(spec(pod), "containers"))) {
    const Json& resources = member(container, "resources");
    for (const char* name : {"cpu", "memory"}) {
      const std::string limit = text(member(member(resources, "limits"), name));
      const std::string request = text(member(member(resources, "requests"), name), limit);
      any = any || !limit.empty() || !request.empty();
      guaranteed = guaranteed && !limit.empty() && milli(limit) == milli(request);
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

Json pod_status(const Json& pod, const ObservedPod& observed, const StatusInputs& inputs, const Json& previous) {
  Json out = previous.is_object() ? previous : Json::object();
  for (const char* ours : {"reason", "message", "podIP", "podIPs", "hostIP", "hostIPs", "initContainerStatuses", "containerStatuses"}) out.erase(ours);

  const ObservedSandbox* sandbox = observed.sandbox();
  const bool deleting = member(pod, "metadata", "deletionTimestamp").is_string();
  const PodView view{observed, inputs, previous, !items(member(spec(pod), "initContainers")).empty(),
                     deleting && !observed.any_running() && (sandbox == nullptr || !sandbox->ready)};
  Json init_statuses = Json::array();
  for (const Json& container : items(member(spec(pod), "initContainers"))) init_statuses.push_back(container_status(container, view, true));
  const bool initialized = std::all_of(init_statuses.begin(), init_statuses.end(), [](const Json& status) {
    const Json& end = member(member(status, "state"), "terminated");
    return !end.is_null() && number(member(end, "exitCode")) == 0;
  });
  Json statuses = Json::array();
  for (const Json& container : items(member(spec(pod), "containers"))) statuses.push_back(container_status(container, view, false));

  std::string phase = view.over ? ended_phase(statuses) : phase_of(pod, statuses, init_statuses);
  // A pod that ended does not come back to life.
  if (const std::string before = text(member(previous, "phase")); (before == "Succeeded" || before == "Failed") && !observed.any_running()) phase = before;
  if (!inputs.failure_reason.empty()) {
    phase = "Failed";
    out["reason"] = inputs.failure_reason;
    out["message"] = inputs.failure_message;
  }
  out["phase"] = phase;
  // Before the first link after a restart the node's address is not known: what the cloud knows stays.
  const std::string host_ip = inputs.host_ip.empty() ? text(member(previous, "hostIP")) : inputs.host_ip;
  if (!host_ip.empty()) {
    out["hostIP"] = host_ip;
    out["hostIPs"] = Json::array({{{"ip", host_ip}}});
  }
  const bool host_network = flag(member(spec(pod), "hostNetwork"));
  std::vector<std::string> ips;
  if (host_network && !host_ip.empty()) {
    ips.push_back(host_ip);
  } else if (sandbox != nullptr && sandbox->ready) {
    ips = sandbox->ips;
  }
  // A pod that has ended keeps the address it had, as kubelet's does.
  if (ips.empty())
    for (const Json& ip : items(member(previous, "podIPs"))) ips.push_back(text(member(ip, "ip")));
  if (!ips.empty()) {
    out["podIP"] = ips.front();
    out["podIPs"] = Json::array();
    for (const std::string& ip : ips) out["podIPs"].push_back({{"ip", ip}});
  }
  if (text(member(out, "startTime")).empty()) out["startTime"] = base::rfc3339(inputs.now_unix_s);
  if (text(member(out, "qosClass")).empty()) out["qosClass"] = qos_class(pod);
  if (!init_statuses.empty()) out["initContainerStatuses"] = init_statuses;
  if (inputs.failure_reason.empty() || !observed.containers.empty()) out["containerStatuses"] = statuses;

  std::vector<std::string> unready;
  for (const Json& status : statuses)
    if (!flag(member(status, "ready"))) unready.push_back(text(member(status, "name")));
  Conditions conditions(previous, inputs.now_unix_s);
  const bool over = phase == "Succeeded" || phase == "Failed";
  conditions.add("PodReadyToStartContainers", sandbox != nullptr && sandbox->ready);
  if (phase == "Succeeded") {
    conditions.add("Initialized", true, "PodCompleted");
    conditions.add("Ready", false, "PodCompleted");
    conditions.add("ContainersReady", false, "PodCompleted");
  } else {
    if (initialized) {
      conditions.add("Initialized", true);
    } else {
      std::vector<std::string> incomplete;
      for (const Json& status : init_statuses)
        if (!flag(member(status, "ready"))) incomplete.push_back(text(member(status, "name")));
      std::string names;
      for (const std::string& name : incomplete) names += (names.empty() ? "" : " ") + name;
      conditions.add("Initialized", false, "ContainersNotInitialized", "containers with incomplete status: [" + names + "]");
    }
    const bool ready = unready.empty() && !over;
    const std::string reason = ready ? "" : over ? "PodFailed" : "ContainersNotReady";
    const std::string message = ready || over ? "" : unready_text(unready);
    const std::string gate = ready ? closed_gate(pod, previous) : "";
    if (gate.empty()) {
      conditions.add("Ready", ready, reason, message);
    } else {
      conditions.add("Ready", false, "ReadinessGatesNotReady", fmt::format("corresponding condition of pod readiness gate \"{}\" is not True.", gate));
    }
    conditions.add("ContainersReady", ready, reason, message);
  }
  conditions.add("PodScheduled", true);
  conditions.keep_others();
  out["conditions"] = conditions.take();
  return out;
}

std::optional<std::string> status_patch(const std::string& uid, const Json& before, const Json& after) {
  Json patch = Json::object();
  for (const auto& [key, value] : after.items()) {
    if (key == "conditions" || key == "podIPs" || key == "hostIPs") continue;
    if (!before.is_object() || !before.contains(key) || before[key] != value) patch[key] = value;
  }
  if (before.is_object())
    for (const auto& [key, value] : before.items())
      if (!after.contains(key) && key != "conditions" && key != "podIPs" && key != "hostIPs") patch[key] = nullptr;

  // Lists of addresses merge by "ip": one that is gone must be deleted by name.
  for (const char* list : {"hostIPs", "podIPs"}) {
    const Json& now = items(member(after, list));
    const Json& old = items(member(before, list));
    if (now == old) continue;
    Json delta = Json::array();
    for (const Json& entry : now)
      if (std::find(old.begin(), old.end(), entry) == old.end()) delta.push_back(entry);
    for (const Json& entry : old)
      if (std::find(now.begin(), now.end(), entry) == now.end()) delta.push_back({{"$patch", "delete"}, {"ip", member(entry, "ip")}});
    if (!delta.empty()) patch[list] = std::move(delta);
  }

  Json order = Json::array(), changed = Json::array();
  for (const Json& now : items(member(after, "conditions"))) {
    const Json& type = member(now, "type");
    order.push_back({{"type", type}});
    Json old;
    for (const Json& entry : items(member(before, "conditions")))
      if (member(entry, "type") == type) old = entry;
    Json delta = {{"type", type}};
    for (const auto& [key, value] : now.items())
      if (!old.is_object() || !old.contains(key) || old[key] != value) delta[key] = value;
    if (old.is_object())
      for (const auto& [key, value] : old.items())
        if (!now.contains(key)) delta[key] = nullptr;
    if (delta.size() > 1) changed.push_back(std::move(delta));
  }
  if (!changed.empty()) {
    patch["$setElementOrder/conditions"] = std::move(order);
    patch["conditions"] = std::move(changed);
  }
  if (patch.empty()) return std::nullopt;
  return base::dump_json({{"metadata", {{"uid", uid}}}, {"status", std::move(patch)}});
}

}  // namespace kubeedge::edged
