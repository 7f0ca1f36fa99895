// Job: pods that run to their end, so many of them. Pure.
#pragma once

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

// Set on a finished pod whose end is in the job's counters or about to be: it may be deleted without being run again.
inline constexpr const char* kCountedAnnotation = "kubeedge.io/job-counted";

Plan plan_job(const State& state);

}  // namespace kubeedge::cloud::workloads
