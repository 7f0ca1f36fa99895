#include "cloud/standalone/workloads/daemon_set.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/node_fit.h"
#include "cloud/standalone/workloads/revisions.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

constexpr std::int64_t kFailureSeconds = 10;   // so long a failed pod stays to be looked at before another takes its place

// What a node is to a DaemonSet.
struct Place {
  bool may_start = false, may_stay = false;
};

// The tolerations that Kubernetes gives every daemon's pod.
json daemon_tolerations(const json& spec) {
  json out = json_at(spec, {"tolerations"}).is_array() ? spec["tolerations"] : json::array();
  const auto add = [&](const char* key, const char* effect) {
    const json wanted = {{"key", key}, {"operator", "Exists"}, {"effect", effect}};
    if (std::find(out.begin(), out.end(), wanted) == out.end()) out.push_back(wanted);
  };
  add("node.kubernetes.io/not-ready", "NoExecute");
  add("node.kubernetes.io/unreachable", "NoExecute");
  for (const char* key : {"node.kubernetes.io/disk-pressure", "node.kubernetes.io/memory-pressure", "node.kubernetes.io/pid-pressure", "node.kubernetes.io/unschedulable"})
    add(key, "NoSchedule");
  if (json_at(spec, {"hostNetwork"}) == true) add("node.kubernetes.io/network-unavailable", "NoSchedule");
  return out;
}

class Daemon {
 public:
  explicit Daemon(const State& state) : state_(state), parent_(state.parent), next_(state.parent), least_ready_(int_at(parent_, {"spec", "minReadySeconds"})) {
    spec_ = json_at(parent_, {"spec", "template", "spec"});
    spec_["tolerations"] = daemon_tolerations(spec_);
    for (const NodeView& node : state_.nodes) places_[node.name] = place(node);
    for (const PodView& pod : state_.pods) on_[pod.node].push_back(&pod);
    for (auto& [node, pods] : on_)
      std::sort(pods.begin(), pods.end(), [](const PodView* a, const PodView* b) { return std::tie(a->created, a->name) < std::tie(b->created, b->name); });
    const json& rolling = json_at(parent_, {"spec", "updateStrategy", "rollingUpdate"});
    rolls_ = json_text(parent_, {"spec", "updateStrategy", "type"}) == "RollingUpdate";
    const std::int64_t wanted = desired();
    surge_ = rolls_ ? share_of(json_at(rolling, {"maxSurge"}), wanted, true) : 0;
    gone_ = share_of(json_at(rolling, {"maxUnavailable"}), wanted, true);
    if (surge_ == 0 && gone_ == 0) gone_ = 1;
  }

  Plan run() {
    if (deleting(parent_)) return {};
    const std::int64_t collisions = int_at(parent_, {"status", "collisionCount"});
    const History history = settle_history(state_, collisions, plan_);
    hash_ = history.hash;
    if (history.collided) next_["status"]["collisionCount"] = collisions + 1;
    if (history.known) {
      manage();
      if (plan_.actions.empty() && rolls_) surge_ > 0 ? roll_by_surge() : roll_by_deletion();
      trim_history(state_, hash_, plan_);
    }
    write_status();
    return std::move(plan_);
  }

 private:
  // Cordoned nodes are no exception: a daemon's pod tolerates that.
  Place place(const NodeView& node) const {
    if (const std::string only = json_text(spec_, {"nodeName"}); !only.empty() && only != node.name) return {};
    if (!selects_node(spec_, node.name, node.labels)) return {};
    Place out{true, true};
    if (!node.taints.is_array()) return out;
    for (const json& taint : node.taints) {
      const std::string effect = json_text(taint, {"effect"});
      if ((effect != "NoSchedule" && effect != "NoExecute") || tolerates(spec_["tolerations"], taint)) continue;
      out.may_start = false;
      out.may_stay = out.may_stay && effect != "NoExecute";
    }
    return out;
  }

  std::int64_t desired() const {
    return std::count_if(places_.begin(), places_.end(), [](const auto& one) { return one.second.may_start; });
  }
  bool updated(const PodView& pod) const { return pod.label(kRevisionLabel) == hash_; }
  bool available(const PodView* pod) const { return pod->available(least_ready_, state_.now); }

  void start_on(const std::string& node) {
    json pod_template = json_at(parent_, {"spec", "template"});
    pod_template["metadata"]["labels"][kRevisionLabel] = hash_;
    if (const std::string generation = annotation(parent_, "deprecated.daemonset.template.generation"); !generation.empty())
      pod_template["metadata"]["labels"]["pod-template-generation"] = generation;
    pod_template["spec"] = spec_;
    // The scheduler binds it, to this node and no other.
    const json fields = json::array({{{"key", "metadata.name"}, {"operator", "In"}, {"values", {node}}}});
    json& required = pod_template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    json& terms = required["nodeSelectorTerms"];
    if (!terms.is_array() || terms.empty()) terms = json::array({json::object()});
    for (json& term : terms) term["matchFields"] = fields;
    plan_.create(kPods, pod_of(parent_, pod_template, ""), {"SuccessfulCreate", "Created pod: "});
  }

  void stop(const PodView& pod) { plan_.remove(kPods, pod.ns, pod.name, pod.uid, {"SuccessfulDelete", "Deleted pod: " + pod.name}); }

  // One pod on each node that is to have one; of a surge also the one that takes over.
  void manage() {
    for (const auto& [node, place] : places_) {
      const auto found = on_.find(node);
      if (found == on_.end()) {
        if (place.may_start && starts_++ < kMostCreates) start_on(node);
        continue;
      }
      place.may_stay ? settle_node(found->second) : stop_all(found->second);
    }
    for (const auto& [node, pods] : on_)   // of a node that is no more, those that never reached it
      if (!places_.contains(node))
        for (const PodView* pod : pods)
          if (!pod->bound && !pod->deleting) stop(*pod);
  }

  void stop_all(const std::vector<const PodView*>& pods) {
    for (const PodView* pod : pods)
      if (!pod->deleting) stop(*pod);
  }

  void settle_node(const std::vector<const PodView*>& pods) {
    bool have_old = false, have_new = false;
    for (const PodView* pod : pods) {   // oldest first
      if (pod->deleting) continue;
      if (pod->over()) {
        clear(*pod);
        continue;
      }
      bool& have = surge_ > 0 && updated(*pod) ? have_new : have_old;
      if (have) stop(*pod);
      have = true;
    }
  }

  void clear(const PodView& pod) {
    const std::int64_t when = pod.phase == "Failed" ? pod.created + kFailureSeconds : 0;
    if (when > state_.now) return plan_.look_at(when);
    plan_.remove(kPods, pod.ns, pod.name, pod.uid, {"FailedDaemonPod", "Found failed daemon pod " + pod.ns + "/" + pod.name + " on node " + pod.node + ", will try to kill it"});
  }

  struct Pair {
    const PodView* old = nullptr;
    const PodView* fresh = nullptr;
  };
  Pair pair_on(const std::string& node) const {
    Pair out;
    if (const auto found = on_.find(node); found != on_.end())
      for (const PodView* pod : found->second)
        if (!pod->deleting) (updated(*pod) ? out.fresh : out.old) = pod;
    return out;
  }

  // Of the old pods those that serve nobody first, then as many as may be missed.
  void roll_by_deletion() {
    std::int64_t missed = 0;
    std::vector<const PodView*> serving;
    for (const auto& [node, place] : places_) {
      if (!place.may_start) continue;
      const Pair pair = pair_on(node);
      if (pair.old != nullptr && available(pair.old)) serving.push_back(pair.old);
      else if (pair.old != nullptr) stop(*pair.old);
      if ((pair.old == nullptr || !available(pair.old)) && (pair.fresh == nullptr || !available(pair.fresh))) ++missed;
    }
    for (const PodView* pod : serving)
      if (missed++ < gone_) stop(*pod);
  }

  // A new pod beside the old; the old goes once the new serves.
  void roll_by_surge() {
    std::int64_t more = 0;
    std::vector<std::string> candidates;
    for (const auto& [node, place] : places_) {
      if (!place.may_start) continue;
      const Pair pair = pair_on(node);
      if (pair.old == nullptr) continue;
      if (pair.fresh == nullptr) available(pair.old) ? candidates.push_back(node) : start_on(node);
      else if (available(pair.fresh)) stop(*pair.old);
      else ++more;
    }
    for (const std::string& node : candidates)
      if (more++ < surge_) start_on(node);
  }

  // The pod that counts for a node is its oldest.
  void write_status() {
    std::int64_t current = 0, misplaced = 0, fresh = 0, ready = 0, serving = 0;
    for (const auto& [node, place] : places_) {
      const auto found = on_.find(node);
      if (found == on_.end()) continue;
      const PodView& pod = *found->second.front();
      if (!place.may_start) {
        ++misplaced;
        continue;
      }
      ++current;
      fresh += updated(pod) ? 1 : 0;
      if (!pod.ready) continue;
      ++ready;
      if (available(&pod)) ++serving;
      else plan_.look_at(pod.ready_since + least_ready_);
    }
    json& status = next_["status"];
    status["desiredNumberScheduled"] = desired();
    status["currentNumberScheduled"] = current;
    status["numberMisscheduled"] = misplaced;
    status["numberReady"] = ready;
    set_count(status, "updatedNumberScheduled", fresh);
    set_count(status, "numberAvailable", serving);
    set_count(status, "numberUnavailable", desired() - serving);
    set_count(status, "observedGeneration", int_at(parent_, {"metadata", "generation"}));
    plan_.status(kDaemonSets, parent_, next_);
  }

  const State& state_;
  const json& parent_;
  json next_, spec_;
  std::int64_t least_ready_ = 0, surge_ = 0, gone_ = 0;
  bool rolls_ = false;
  std::string hash_;
  std::map<std::string, Place> places_;                       // by node
  std::map<std::string, std::vector<const PodView*>> on_;     // by node, the oldest first
  std::size_t starts_ = 0;
  Plan plan_;
};

}  // namespace

Plan plan_daemon_set(const State& state) { return Daemon(state).run(); }

}  // namespace kubeedge::cloud::workloads
