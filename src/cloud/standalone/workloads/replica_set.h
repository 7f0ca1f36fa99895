// ReplicaSet: so many pods of one template. Pure.
#pragma once

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

Plan plan_replica_set(const State& state);

// Pods in the order in which they are given up: those that serve least come first.
std::vector<PodView> victims_first(std::vector<PodView> pods, std::int64_t now);

}  // namespace kubeedge::cloud::workloads
