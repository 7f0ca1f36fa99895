#include "cloud/standalone/workloads/replica_set.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/json.h"
#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

// Pods that failed stay to be looked at, the newest of them.
constexpr std::size_t kKeptFailures = 10;
// Where pods fail as soon as they are there (a node that refuses them), new ones come slower the more of them lie about.
constexpr std::int64_t kFailureSeconds = 5;

bool fully_labeled(const PodView& pod, const json& wanted) {
  if (!wanted.is_object()) return true;
  const json labels = base::parse_json(pod.labels);
  return std::all_of(wanted.items().begin(), wanted.items().end(),
                     [&](const auto& item) { return labels.is_object() && labels.contains(item.key()) && labels[item.key()] == item.value(); });
}

// Clears failed pods away; when the next ones may come (Unix seconds).
std::int64_t settle_failures(const State& state, Plan& plan) {
  std::vector<const PodView*> failed;
  for (const PodView& pod : state.pods)
    if (pod.phase == "Failed" && !pod.deleting) failed.push_back(&pod);
  if (failed.empty()) return 0;
  std::sort(failed.begin(), failed.end(), [](const PodView* a, const PodView* b) { return std::tie(a->created, a->name) > std::tie(b->created, b->name); });
  for (std::size_t i = kKeptFailures; i < failed.size(); ++i) plan.remove(kPods, failed[i]->ns, failed[i]->name, failed[i]->uid);
  return failed.front()->created + kFailureSeconds * static_cast<std::int64_t>(std::min(failed.size(), kKeptFailures));
}

json status_of(const State& state, const std::vector<PodView>& active, Plan& plan) {
  const std::int64_t least = int_at(state.parent, {"spec", "minReadySeconds"});
  const json& labels = json_at(state.parent, {"spec", "template", "metadata", "labels"});
  std::int64_t labeled = 0, ready = 0, available = 0;
  for (const PodView& pod : active) {
    labeled += fully_labeled(pod, labels) ? 1 : 0;
    if (!pod.ready) continue;
    ++ready;
    if (pod.available(least, state.now)) ++available;
    else plan.look_at(pod.ready_since + least);
  }
  json status = json_at(state.parent, {"status"});
  status["replicas"] = active.size();
  set_count(status, "fullyLabeledReplicas", labeled);
  set_count(status, "readyReplicas", ready);
  set_count(status, "availableReplicas", available);
  set_count(status, "observedGeneration", int_at(state.parent, {"metadata", "generation"}));
  if (state.failure.empty()) drop_condition(status, "ReplicaFailure");
  else set_condition(status, "ReplicaFailure", "True", "FailedCreate", state.failure, state.now);
  if (status.contains("conditions"))
    for (json& one : status["conditions"]) one.erase("lastUpdateTime");   // of a ReplicaSet they have none
  return status;
}

}  // namespace

std::vector<PodView> victims_first(std::vector<PodView> pods, std::int64_t now) {
  std::map<std::string, std::int64_t> crowd;
  for (const PodView& pod : pods) ++crowd[pod.node];
  const auto rank = [&](const PodView& pod) {
    const int phase = pod.phase == "Pending" ? 0 : pod.phase == "Running" ? 2 : 1;
    return std::tuple(pod.bound, phase, pod.ready, pod.deletion_cost, -crowd[pod.node], pod.ready ? now - pod.ready_since : 0, -pod.restarts, -pod.created, pod.name);
  };
  std::sort(pods.begin(), pods.end(), [&](const PodView& a, const PodView& b) { return rank(a) < rank(b); });
  return pods;
}

Plan plan_replica_set(const State& state) {
  Plan plan;
  std::vector<PodView> active;
  for (const PodView& pod : state.pods)
    if (pod.active()) active.push_back(pod);
  const auto wanted = static_cast<std::size_t>(int_at(state.parent, {"spec", "replicas"}));
  if (!deleting(state.parent)) {
    const std::int64_t not_before = settle_failures(state, plan);
    if (active.size() < wanted && not_before > state.now) {
      plan.look_at(not_before);
    } else {
      for (std::size_t i = active.size(); i < wanted && i < active.size() + kMostCreates; ++i)
        plan.create(kPods, pod_of(state.parent, json_at(state.parent, {"spec", "template"}), ""), {"SuccessfulCreate", "Created pod: "});
    }
    if (active.size() > wanted) {
      const std::vector<PodView> ranked = victims_first(active, state.now);
      for (std::size_t i = 0; i < active.size() - wanted; ++i)
        plan.remove(kPods, ranked[i].ns, ranked[i].name, ranked[i].uid, {"SuccessfulDelete", "Deleted pod: " + ranked[i].name});
    }
  }
  json next = state.parent;
  next["status"] = status_of(state, active, plan);
  plan.status(kReplicaSets, state.parent, next);
  return plan;
}

}  // namespace kubeedge::cloud::workloads
