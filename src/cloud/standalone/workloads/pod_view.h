// What controllers need of a pod: some hundred bytes in place of some thousands. Pure.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::cloud::workloads {

struct PodView {
  std::string ns, name, uid, owner;      // owner: the uid of its controller
  std::string node, phase;               // node: where it is or, of a daemon's pod, where alone it may go; "" = not yet known
  std::string labels;                    // JSON text: a tree of them is five times as large
  bool deleting = false, ready = false, bound = false;
  bool counted = false;                  // a finished pod of a job that has been counted
  std::int64_t created = 0, ready_since = 0, finished = 0;   // Unix seconds; 0 = not
  std::int64_t restarts = 0, deletion_cost = 0;
  std::uint64_t version = 0;

  std::string label(const char* name) const;
  std::string key() const { return ns + "/" + name; }
  bool over() const { return phase == "Succeeded" || phase == "Failed"; }
  bool active() const { return !over() && !deleting; }
  // Ready for `seconds` at least.
  bool available(std::int64_t seconds, std::int64_t now) const { return ready && (seconds == 0 || ready_since + seconds <= now); }
};

PodView view_of_pod(const nlohmann::json& pod);

}  // namespace kubeedge::cloud::workloads
