// What controllers need of a pod: some hundred bytes in place of some thousands. Pure.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::cloud::workloads {

struct PodView {
  std::string ns, name, uid, owner;      // owner: the uid of its controller
  std::string node;                      // where it is or, of a daemon's pod, where it must go
  std::string phase;
  nlohmann::json labels;
  bool deleting = false, ready = false, bound = false;
  std::int64_t created = 0, ready_since = 0, finished = 0;   // Unix seconds; 0 = not
  std::int64_t restarts = 0, deletion_cost = 0;
  std::uint64_t version = 0;

  std::string key() const { return ns + "/" + name; }
  bool over() const { return phase == "Succeeded" || phase == "Failed"; }
  bool active() const { return !over() && !deleting; }
  std::string label(const char* name) const;
  // Ready for `seconds` at least.
  bool available(std::int64_t seconds, std::int64_t now) const { return ready && (seconds == 0 || ready_since + seconds <= now); }
};

PodView view_of_pod(const nlohmann::json& pod);

}  // namespace kubeedge::cloud::workloads
