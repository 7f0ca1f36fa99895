// CronJob: a Job at each time of a schedule. Pure.
#pragma once

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

Plan plan_cron_job(const State& state);

}  // namespace kubeedge::cloud::workloads
