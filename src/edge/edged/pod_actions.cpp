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

// kubelet keeps one dead instance of each container, for its log and its exit code.
void collect_dead(const ObservedPod& observed, Actions& actions) {
  std::map<std::string, int> kept;
  for (const ObservedContainer& one : observed.containers) {
    const int age = kept[one.name]++;
    if (age >= 2 && one.state == State::kExited) actions.remove.push_back(one.id);
  }
}

}  // namespace

void Backoff::failed(std::int64_t now_ms) {
  if (last_ms_ > 0 && now_ms - last_ms_ > kBackoffResetMs) delay_ms_ = 0;
  // The first failure waits for nothing, the second 10 s ...
  allowed_at_ms_ = last_ms_ == 0 || delay_ms_ == 0 ? now_ms : now_ms + delay_ms_;
  delay_ms_ = delay_ms_ == 0 ? kBackoffFirstMs : std::min(delay_ms_ * 2, kBackoffMaxMs);
  last_ms_ = now_ms;
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

  // Ended for good?
  if (policy != "Always") {
    const bool init_failed = policy == "Never" && std::any_of(inits.begin(), inits.end(), [&](const Json& init) {
      const ObservedContainer* one = observed.container(text(member(init, "name")));
      return one != nullptr && one->state == State::kExited && one->exit_code != 0;
    });
    const bool all_over = !containers.empty() && std::all_of(containers.begin(), containers.end(), [&](const Json& container) {
      const ObservedContainer* one = observed.container(text(member(container, "name")));
      return one != nullptr && one->state == State::kExited && !wants_restart(policy, *one);
    });
    if (init_failed || all_over) {
      actions.done = true;
      for (const ObservedSandbox& sandbox : observed.sandboxes)
        if (sandbox.ready) actions.stop_sandboxes.push_back(sandbox.id);
      return actions;
    }
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
        if (!here(one) || image_changed || wants_restart(policy, *one)) actions.start.push_back(name);
        break;
    }
  }
  return actions;
}

std::string unsupported_field(const Json& pod) {
  const Json& s = spec(pod);
  for (const char* field : {"runtimeClassName", "ephemeralContainers", "resourceClaims", "overhead", "hostUsers", "shareProcessNamespace", "setHostnameAsFQDN"}) {
    const Json& value = member(s, field);
    if (!value.is_null() && value != false && value != "" && value != Json::array() && !(std::string(field) == "hostUsers" && value == true)) return fmt::format("spec.{}", field);
  }
  const Json& security = member(s, "securityContext");
  for (const char* field : {"fsGroup", "sysctls", "seLinuxOptions", "appArmorProfile"})
    if (!member(security, field).is_null()) return fmt::format("spec.securityContext.{}", field);
  const Json& volumes = items(member(s, "volumes"));
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    for (const auto& [key, value] : volumes[i].items()) {
      static constexpr std::string_view kKnown[] = {"name", "emptyDir", "hostPath", "configMap", "secret", "projected", "downwardAPI"};
      if (std::find(std::begin(kKnown), std::end(kKnown), key) == std::end(kKnown)) return fmt::format("spec.volumes[{}].{}", i, key);
    }
  }
  for (const char* list : {"initContainers", "containers"}) {
    const Json& containers = items(member(s, list));
    for (std::size_t i = 0; i < containers.size(); ++i) {
      for (const char* field : {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "volumeDevices", "stdin", "tty", "restartPolicy", "resizePolicy"}) {
        const Json& value = member(containers[i], field);
        if (!value.is_null() && value != false && value != Json::array()) return fmt::format("spec.{}[{}].{}", list, i, field);
      }
      const Json& mounts = items(member(containers[i], "volumeMounts"));
      for (std::size_t k = 0; k < mounts.size(); ++k)
        if (!text(member(mounts[k], "subPathExpr")).empty()) return fmt::format("spec.{}[{}].volumeMounts[{}].subPathExpr", list, i, k);
      for (const char* field : {"seLinuxOptions", "appArmorProfile", "procMount"})
        if (!member(containers[i], "securityContext", field).is_null()) return fmt::format("spec.{}[{}].securityContext.{}", list, i, field);
      const Json& env = items(member(containers[i], "env"));
      for (std::size_t k = 0; k < env.size(); ++k)
        if (!member(env[k], "valueFrom", "resourceFieldRef").is_null()) return fmt::format("spec.{}[{}].env[{}].valueFrom.resourceFieldRef", list, i, k);
    }
  }
  return "";
}

}  // namespace kubeedge::edged
