// Pods and what a runtime says of them, for the tests of Edged's logic.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "edge/edged/json_view.h"
#include "edge/edged/observed.h"

namespace kubeedge::edged {

inline constexpr std::int64_t kNow = 1'795'514'527;   // Unix seconds: 2026-11-24T10:02:07Z
inline constexpr std::int64_t kSecond = 1'000'000'000;

inline Json parsed(const std::string& text) {
  Json value = base::parse_json(text);
  REQUIRE_FALSE(value.is_discarded());
  return value;
}

// A bound pod of containers "a", "b" ... that run image busybox:1.
inline Json pod_of(const std::string& policy, const std::vector<std::string>& containers, const std::vector<std::string>& inits = {}) {
  Json pod = parsed(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default","uid":"u1"},"spec":{"nodeName":"edge1"}})");
  pod["spec"]["restartPolicy"] = policy;
  for (const auto& [list, names] : {std::pair("containers", containers), std::pair("initContainers", inits)}) {
    for (const std::string& name : names) pod["spec"][list].push_back({{"name", name}, {"image", "busybox:1"}});
  }
  return pod;
}

// What the runtime shows. Things that are added later are newer.
class Seen {
 public:
  using State = ObservedContainer::State;

  Seen& sandbox(bool ready = true, std::vector<std::string> ips = {}) {
    const auto attempt = static_cast<std::uint32_t>(pod_.sandboxes.size());
    pod_.sandboxes.insert(pod_.sandboxes.begin(), {"sandbox" + std::to_string(attempt), attempt, ready, ++clock_, std::move(ips)});
    return *this;
  }
  Seen& container(const std::string& name, State state, int exit_code = 0, int restarts = 0) {
    ObservedContainer one;
    one.id = name + std::to_string(restarts);
    one.name = name;
    one.sandbox_id = pod_.sandboxes.empty() ? "" : pod_.sandboxes.front().id;
    one.restart_count = restarts;
    one.state = state;
    one.created_ns = kNow * kSecond + ++clock_;
    if (state == State::kRunning || state == State::kExited) one.started_ns = one.created_ns;
    if (state == State::kExited) one.finished_ns = one.created_ns;
    one.exit_code = exit_code;
    one.image = "docker.io/library/busybox:1";
    one.image_id = "sha256:344488";
    one.spec_image = "busybox:1";
    pod_.containers.insert(pod_.containers.begin(), std::move(one));
    return *this;
  }
  Seen& running(const std::string& name, int restarts = 0) { return container(name, State::kRunning, 0, restarts); }
  Seen& exited(const std::string& name, int exit_code, int restarts = 0) { return container(name, State::kExited, exit_code, restarts); }
  ObservedContainer& newest() { return pod_.containers.front(); }
  const ObservedPod& pod() const { return pod_; }

 private:
  ObservedPod pod_;
  std::int64_t clock_ = 0;
};

}  // namespace kubeedge::edged
