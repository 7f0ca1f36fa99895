// Deployment: ReplicaSets, one a template, that take over from each other. Pure.
#pragma once

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

inline constexpr const char* kHashLabel = "pod-template-hash";
inline constexpr const char* kRevisionAnnotation = "deployment.kubernetes.io/revision";

Plan plan_deployment(const State& state);

}  // namespace kubeedge::cloud::workloads
