#include "edge/edged/pod_actions.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::edged {
namespace {

using State = ObservedContainer::State;

bool wants_restart(const std::string& policy, const ObservedContainer& ended) {
  if (policy == "Always") return true;
  return policy == "OnFailure" && ended.exit_code != 0;
}

bool succeeded(const ObservedContainer* container) { return container != nullptr && container->state == State::kExited && container->exit_code == 0; }

// kubelet keeps one dead instance of each container beside the newest, for its log and its exit code.
void collect_dead(const ObservedPod& observed, Actions& actions) {
  std::map<std::string, int> kept;
  for (const ObservedContainer& one : observed.containers) {
    const int age = kept[one.name]++;
    if (age >= 2 && one.state == State::kExited) actions.remove.push_back(one.id);
  }
  for (const ObservedSandbox& old : observed.sandboxes) {
    const bool used = std::any_of(observed.containers.begin(), observed.containers.end(), [&](const ObservedContainer& one) { return one.sandbox_id == old.id; });
    if (&old != &observed.sandboxes.front() && !old.ready && !used) actions.remove_sandboxes.push_back(old.id);
  }
}

// Has the pod ended for good?
bool over(const Json& pod, const std::string& policy, const ObservedPod& observed) {
  // What the cloud knows as ended stays ended where the runtime forgot it (a wiped disk, a reboot).
  const std::string phase = text(member(pod, "status", "phase"));
  if ((phase == "Succeeded" || phase == "Failed") && !observed.any_running()) return true;
  if (policy == "Always") return false;
  const auto& inits = items(member(spec(pod), "initContainers"));
  const auto& containers = items(member(spec(pod), "containers"));
  const bool init_failed = policy == "Never" && std::any_of(inits.begin(), inits.end(), [&](const Json& init) {
    const ObservedContainer* one = observed.container(text(member(init, "name")));
    return one != nullptr && one->state == State::kExited && one->exit_code != 0;
  });
  return init_failed || (!containers.empty() && std::all_of(containers.begin(), containers.end(), [&](const Json& container) {
    const ObservedContainer* one = observed.container(text(member(container, "name")));
    return one != nullptr && one->state == State::kExited && !wants_restart(policy, *one);
  }));
}

}  // namespace

void Backoff::failed(std::int64_t now_ms) {
  if (now_ms - last_ms_ > kBackoffResetMs) delay_ms_ = 0;
  // The first failure waits for nothing, the second 10 s ...
  allowed_at_ms_ = now_ms + delay_ms_;
  delay_ms_ = delay_ms_ == 0 ? kBackoffFirstMs : std::min(delay_ms_ * 2, kBackoffMaxMs);
  last_ms_ = now_ms;
}

std::string go_duration(std::int64_t ms) {
  const std::int64_t seconds = ms / 1000;
  return seconds < 60 ? fmt::format("{}s", seconds) : fmt::format("{}m{}s", seconds / 60, seconds % 60);
}

Backoff Backoff::after(int restarts, std::int64_t finished_ms) {
  Backoff out;
  for (int i = 0; i < std::min(restarts, 8); ++i) out.failed(finished_ms);
  return out;
}

Actions next_actions(const Json& pod, const ObservedPod& observed) {
  Actions actions;
  const std::string policy = text(member(spec(pod), "restartPolicy"), "Always");
  const Json& containers = items(member(spec(pod), "containers"));
  const Json& inits = items(member(spec(pod), "initContainers"));
  collect_dead(observed, actions);

  if (over(pod, policy, observed)) {
    actions.done = true;
    for (const ObservedSandbox& sandbox : observed.sandboxes)
      if (sandbox.ready) actions.stop_sandboxes.push_back(sandbox.id);
    return actions;
  }

  const ObservedSandbox* sandbox = observed.sandbox();
  if (sandbox == nullptr || !sandbox->ready) {
    // What still runs in an old sandbox goes with it.
    for (const ObservedSandbox& old : observed.sandboxes) actions.stop_sandboxes.push_back(old.id);
    for (const ObservedContainer& one : observed.containers)
      if (one.state == State::kRunning) actions.kill.push_back(one.id);
    actions.create_sandbox = true;
    return actions;
  }
  for (const ObservedSandbox& old : observed.sandboxes)
    if (old.id != sandbox->id && old.ready) actions.stop_sandboxes.push_back(old.id);

  const auto here = [&](const ObservedContainer* one) { return one != nullptr && one->sandbox_id == sandbox->id; };
  const bool main_started = std::any_of(containers.begin(), containers.end(), [&](const Json& container) { return here(observed.container(text(member(container, "name")))); });
  if (!main_started) {
    for (const Json& init : inits) {
      const std::string name = text(member(init, "name"));
      const ObservedContainer* one = observed.container(name);
      if (here(one) && succeeded(one)) continue;
      if (here(one) && (one->state == State::kRunning || one->state == State::kCreated)) {
        if (one->state == State::kCreated) actions.start.push_back(name);
        return actions;
      }
      actions.start.push_back(name);  // one after the other
      return actions;
    }
  }

  for (const Json& container : containers) {
    const std::string name = text(member(container, "name"));
    const ObservedContainer* one = observed.container(name);
    if (one == nullptr) {
      actions.start.push_back(name);
      continue;
    }
    const bool image_changed = !one->spec_image.empty() && one->spec_image != text(member(container, "image"));
    switch (one->state) {
      case State::kRunning:
        if (image_changed) actions.kill.push_back(one->id);
        break;
      case State::kUnknown: actions.kill.push_back(one->id); break;
      case State::kCreated: actions.start.push_back(name); break;
      case State::kExited:
        // Also where its sandbox is gone: what succeeded under OnFailure, or ran at all under Never, runs no second time.
        if (wants_restart(policy, *one)) actions.start.push_back(name);
        break;
    }
  }
  return actions;
}

namespace {

// Set at all, and not to what it is without being set.
bool is_set(const Json& value) { return !value.is_null() && value != false && value != "" && value != Json::array(); }

std::string unsupported_in_volume(const Json& volume, const std::string& at) {
  for (const auto& [key, value] : volume.items()) {
    static constexpr std::string_view kKnown[] = {"name", "emptyDir", "hostPath", "configMap", "secret", "projected", "downwardAPI"};
    if (std::find(std::begin(kKnown), std::end(kKnown), key) == std::end(kKnown)) return fmt::format("{}.{}", at, key);
  }
  if (const std::string medium = text(member(volume, "emptyDir", "medium")); !medium.empty() && medium != "Memory") return at + ".emptyDir.medium";
  const auto resource_field = [](const Json& downward, const std::string& where) {
    const Json& list = items(member(downward, "items"));
    for (std::size_t i = 0; i < list.size(); ++i)
      if (!member(list[i], "resourceFieldRef").is_null()) return fmt::format("{}.downwardAPI.items[{}].resourceFieldRef", where, i);
    return std::string();
  };
  if (std::string field = resource_field(member(volume, "downwardAPI"), at); !field.empty()) return field;
  const Json& sources = items(member(volume, "projected", "sources"));
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string source = fmt::format("{}.projected.sources[{}]", at, i);
    if (!member(sources[i], "clusterTrustBundle").is_null()) return source + ".clusterTrustBundle";
    if (std::string field = resource_field(member(sources[i], "downwardAPI"), source); !field.empty()) return field;
  }
  return "";
}

std::string unsupported_in_container(const Json& container, const std::string& at) {
  for (const char* field : {"volumeDevices", "restartPolicy", "resizePolicy"})
    if (is_set(member(container, field))) return fmt::format("{}.{}", at, field);
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"})
    if (is_set(member(container, probe, "grpc"))) return fmt::format("{}.{}.grpc", at, probe);
  if (is_set(member(container, "lifecycle", "stopSignal"))) return at + ".lifecycle.stopSignal";
  for (const char* field : {"seLinuxOptions", "appArmorProfile"})
    if (is_set(member(container, "securityContext", field))) return fmt::format("{}.securityContext.{}", at, field);
  if (text(member(container, "securityContext", "procMount"), "Default") != "Default") return at + ".securityContext.procMount";
  const Json& mounts = items(member(container, "volumeMounts"));
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    if (is_set(member(mounts[i], "subPathExpr"))) return fmt::format("{}.volumeMounts[{}].subPathExpr", at, i);
    if (text(member(mounts[i], "recursiveReadOnly")) == "Enabled") return fmt::format("{}.volumeMounts[{}].recursiveReadOnly", at, i);
  }
  const Json& env = items(member(container, "env"));
  for (std::size_t i = 0; i < env.size(); ++i)
    if (!member(env[i], "valueFrom", "resourceFieldRef").is_null()) return fmt::format("{}.env[{}].valueFrom.resourceFieldRef", at, i);
  return "";
}

}  // namespace

std::string unsupported_field(const Json& pod) {
  const Json& s = spec(pod);
  for (const char* field : {"runtimeClassName", "ephemeralContainers", "resourceClaims", "overhead", "setHostnameAsFQDN"})
    if (is_set(member(s, field))) return fmt::format("spec.{}", field);
  if (member(s, "hostUsers") == false) return "spec.hostUsers";
  if (text(member(s, "os", "name"), "linux") != "linux") return "spec.os.name";
  const Json& security = member(s, "securityContext");
  for (const char* field : {"sysctls", "seLinuxOptions", "appArmorProfile"})
    if (is_set(member(security, field))) return fmt::format("spec.securityContext.{}", field);
  if (text(member(security, "supplementalGroupsPolicy"), "Merge") != "Merge") return "spec.securityContext.supplementalGroupsPolicy";
  const Json& volumes = items(member(s, "volumes"));
  for (std::size_t i = 0; i < volumes.size(); ++i)
    if (std::string field = unsupported_in_volume(volumes[i], fmt::format("spec.volumes[{}]", i)); !field.empty()) return field;
  for (const char* list : {"initContainers", "containers"}) {
    const Json& containers = items(member(s, list));
    for (std::size_t i = 0; i < containers.size(); ++i)
      if (std::string field = unsupported_in_container(containers[i], fmt::format("spec.{}[{}]", list, i)); !field.empty()) return field;
  }
  return "";
}

}  // namespace kubeedge::edged
