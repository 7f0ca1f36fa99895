// The history of a workload's template as ControllerRevisions. Pure.
#pragma once

#include <string>

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

inline constexpr const char* kRevisionLabel = "controller-revision-hash";

struct History {
  std::string hash;        // of the template that is wanted; its pods carry it as kRevisionLabel
  bool known = false;      // there is a revision of it, and it is the newest
  bool collided = false;   // its name is another's: `collisionCount` grows
};

// Finds the revision of the template that is wanted among the children, or plans to make it, or to make it the newest again.
History settle_history(const State& state, std::int64_t collisions, Plan& plan);
// Deletes what is older than spec.revisionHistoryLimit says and no pod is of any more.
void trim_history(const State& state, const std::string& hash, Plan& plan);

}  // namespace kubeedge::cloud::workloads
