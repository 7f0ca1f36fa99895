// DaemonSet: one pod on each node that is to have one. Pure.
#pragma once

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

Plan plan_daemon_set(const State& state);

}  // namespace kubeedge::cloud::workloads
