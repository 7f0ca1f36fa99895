// Carries a workload's Plan out over the API.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

#include "cloud/standalone/workloads/workload.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

struct PlanOutcome {
  bool failed = false;                            // something is to be tried again
  std::string failure;                            // why a create was refused; "" = none was
  std::map<std::string, std::uint64_t> written;   // by resource: the newest version that the server gave
};

// In order: of creates one, then two, then four at a time, so that what is refused is refused once and not a hundred times.
// After a failure only the status is still written. Events of what was done are `component`'s; a first failure has one, too.
// `client` lives until `done` was called, or calls nothing any more.
void run_plan(const Runtime& runtime, kube::KubeClient& client, const char* component, const workloads::State& state, workloads::Plan plan,
              unique_function<void(PlanOutcome)> done);

}  // namespace kubeedge::cloud
