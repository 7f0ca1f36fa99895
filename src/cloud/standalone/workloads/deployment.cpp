#include "cloud/standalone/workloads/deployment.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

constexpr const char* kHistoryAnnotation = "deployment.kubernetes.io/revision-history";
constexpr const char* kDesiredAnnotation = "deployment.kubernetes.io/desired-replicas";
constexpr const char* kMaxAnnotation = "deployment.kubernetes.io/max-replicas";
constexpr std::int64_t kNoLimit = 2147483647;   // of progressDeadlineSeconds and revisionHistoryLimit, as Kubernetes has it

// One ReplicaSet as the rollout sees it; `wanted` is what it shall have after this look.
struct Set {
  const json* object;
  std::int64_t replicas, wanted, created;
  std::int64_t has(const char* field) const { return int_at(*object, {"status", field}); }
};

class Rollout {
 public:
  explicit Rollout(const State& state) : state_(state), parent_(state.parent), next_(state.parent) {
    wanted_ = int_at(parent_, {"spec", "replicas"});
    const json& rolling = json_at(parent_, {"spec", "strategy", "rollingUpdate"});
    recreate_ = json_text(parent_, {"spec", "strategy", "type"}) == "Recreate";
    if (!recreate_) {
      surge_ = share_of(json_at(rolling, {"maxSurge"}), wanted_, true);
      gone_ = share_of(json_at(rolling, {"maxUnavailable"}), wanted_, false);
      if (surge_ == 0 && gone_ == 0) gone_ = 1;
      gone_ = std::min(gone_, wanted_);
    }
    find_sets();
  }

  Plan run() {
    if (!deleting(parent_)) {
      if (new_ || !is_paused()) settle_revision();
      if (is_paused()) {
        scale();
      } else {
        if (!new_) create_set();
        else if (is_scaling()) scale();
        else if (recreate_) recreate();
        else roll();
        if (complete()) forget();
      }
    }
    write_sets();
    write_status();
    return std::move(plan_);
  }

 private:
  bool is_paused() const { return json_at(parent_, {"spec", "paused"}) == true; }

  // The set of this template (the oldest, if there are more) and the others, oldest first.
  void find_sets() {
    for (const json& child : state_.children) {
      const std::int64_t replicas = int_at(child, {"spec", "replicas"});
      old_.push_back({&child, replicas, replicas, created_at(child)});
    }
    std::sort(old_.begin(), old_.end(), [](const Set& a, const Set& b) {
      return a.created != b.created ? a.created < b.created : meta_text(*a.object, "name") < meta_text(*b.object, "name");
    });
    const json& wanted = json_at(parent_, {"spec", "template"});
    const auto found = std::find_if(old_.begin(), old_.end(), [&](const Set& set) {
      json its = json_at(*set.object, {"spec", "template"});
      if (its["metadata"].contains("labels")) its["metadata"]["labels"].erase(kHashLabel);
      if (its["metadata"].contains("labels") && its["metadata"]["labels"].empty()) its["metadata"].erase("labels");
      return its == wanted;
    });
    if (found == old_.end()) return;
    new_ = *found;
    old_.erase(found);
  }

  static std::int64_t revision_of(const json& object) { return base::to_int(annotation(object, kRevisionAnnotation)).value_or(0); }

  // The newest revision is that of the template: an older set that is wanted again gets a new number.
  void settle_revision() {
    std::int64_t most = 0;
    for (const Set& set : old_) most = std::max(most, revision_of(*set.object));
    revision_ = std::to_string(new_ ? std::max(most + 1, revision_of(*new_->object)) : most + 1);
    if (annotation(parent_, kRevisionAnnotation) != revision_) next_["metadata"]["annotations"][kRevisionAnnotation] = revision_;
  }

  json set_annotations() const {
    json out = json::object();
    if (const json& own = json_at(parent_, {"metadata", "annotations"}); own.is_object())
      for (const auto& item : own.items())
        if (item.key() != "kubectl.kubernetes.io/last-applied-configuration" && !item.key().starts_with("deployment.kubernetes.io/")) out[item.key()] = item.value();
    if (!revision_.empty()) out[kRevisionAnnotation] = revision_;
    out[kDesiredAnnotation] = std::to_string(wanted_);
    out[kMaxAnnotation] = std::to_string(wanted_ + surge_);
    return out;
  }

  std::int64_t sum_of_old() const {
    std::int64_t sum = 0;
    for (const Set& set : old_) sum += set.replicas;
    return sum;
  }

  // How many the new set may have now.
  std::int64_t room_for_new(std::int64_t has) const {
    if (recreate_) return wanted_;
    const std::int64_t total = sum_of_old() + has, most = wanted_ + surge_;
    return total >= most ? has : has + std::min(most - total, wanted_ - has);
  }

  void create_set() {
    if (recreate_ && (scale_down_all() || old_pods_left())) return;
    json pod = json_at(parent_, {"spec", "template"});
    const std::int64_t collisions = int_at(parent_, {"status", "collisionCount"});
    const std::string hash = template_hash(pod, collisions);
    const std::string name = meta_text(parent_, "name") + "-" + hash;
    if (state_.taken.contains(name)) {   // somebody else's: another name
      next_["status"]["collisionCount"] = collisions + 1;
      return;
    }
    pod["metadata"]["labels"][kHashLabel] = hash;
    json selector = json_at(parent_, {"spec", "selector"});
    selector["matchLabels"][kHashLabel] = hash;
    const std::int64_t size = room_for_new(0);
    json spec = {{"replicas", size}, {"selector", std::move(selector)}, {"template", std::move(pod)}};
    if (const json& least = json_at(parent_, {"spec", "minReadySeconds"}); !least.is_null()) spec["minReadySeconds"] = least;
    json labels = json_at(spec, {"template", "metadata", "labels"});
    plan_.create(kReplicaSets,
                 {{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"},
                  {"metadata", {{"name", name}, {"namespace", meta_text(parent_, "namespace")}, {"labels", std::move(labels)}, {"annotations", set_annotations()},
                                {"ownerReferences", json::array({owner_reference(parent_)})}}},
                  {"spec", std::move(spec)}},
                 scaled_note("up", name, 0, size));
    if (has_deadline())
      set_condition(next_["status"], "Progressing", "True", "NewReplicaSetCreated", "Created new replica set \"" + name + "\"", state_.now, true);
  }

  static Note scaled_note(const char* way, const std::string& name, std::int64_t from, std::int64_t to) {
    if (from == to) return {};
    return {"ScalingReplicaSet", fmt::format("Scaled {} replica set {} from {} to {}", way, name, from, to)};
  }

  bool scale_down_all() {
    bool any = false;
    for (Set& set : old_) {
      any = any || set.replicas > 0;
      set.wanted = 0;
    }
    return any;
  }

  bool old_pods_left() const {
    const std::string uid = new_ ? meta_text(*new_->object, "uid") : "";
    return std::any_of(state_.pods.begin(), state_.pods.end(), [&](const PodView& pod) { return pod.owner != uid && !pod.over(); });
  }

  void recreate() {
    if (scale_down_all() || old_pods_left()) return;
    new_->wanted = wanted_;
  }

  // spec.replicas changed since the sets were last sized.
  bool is_scaling() const {
    const std::string now = std::to_string(wanted_);
    const auto differs = [&](const Set& set) {
      const std::string then = annotation(*set.object, kDesiredAnnotation);
      return set.replicas > 0 && !then.empty() && then != now;
    };
    return differs(*new_) || std::any_of(old_.begin(), old_.end(), differs);
  }

  // In the middle of a rollout each set gets its share of what is added or taken.
  void scale() {
    std::vector<Set*> active;
    for (Set& set : old_)
      if (set.replicas > 0) active.push_back(&set);
    if (new_ && new_->replicas > 0) active.push_back(&*new_);
    if (active.size() <= 1) {
      Set* only = !active.empty() ? active[0] : new_ ? &*new_ : old_.empty() ? nullptr : &old_.back();
      if (only != nullptr) only->wanted = wanted_;
      return;
    }
    if (new_ && new_->replicas == wanted_ && new_->has("availableReplicas") == wanted_) {
      for (Set& set : old_) set.wanted = 0;
      return;
    }
    if (recreate_) return;
    std::int64_t total = 0;
    for (const Set* set : active) total += set->replicas;
    const std::int64_t most = wanted_ > 0 ? wanted_ + surge_ : 0, change = most - total;
    std::sort(active.begin(), active.end(), [&](const Set* a, const Set* b) {
      if (a->replicas != b->replicas) return a->replicas > b->replicas;
      return change > 0 ? a->created > b->created : a->created < b->created;
    });
    std::int64_t done = 0;
    for (Set* set : active) {
      const std::int64_t part = share(*set, change, done);
      set->wanted = set->replicas + part;
      done += part;
    }
    active[0]->wanted = std::max<std::int64_t>(0, active[0]->wanted + change - done);
  }

  std::int64_t share(const Set& set, std::int64_t change, std::int64_t done) const {
    if (set.replicas == 0 || change == 0 || change == done) return 0;
    const std::int64_t then = base::to_int(annotation(*set.object, kMaxAnnotation)).value_or(int_at(parent_, {"status", "replicas"}));
    std::int64_t part = -set.replicas;
    if (wanted_ > 0) part = then <= 0 ? 0 : std::llround(static_cast<double>(set.replicas) * static_cast<double>(wanted_ + surge_) / static_cast<double>(then)) - set.replicas;
    return change > 0 ? std::min(part, change - done) : std::max(part, change - done);
  }

  void roll() {
    new_->wanted = new_->replicas > wanted_ ? wanted_ : room_for_new(new_->replicas);
    if (new_->wanted != new_->replicas) return;
    const std::int64_t old = sum_of_old(), least = wanted_ - gone_;
    if (old == 0) return;
    std::int64_t may_go = old + new_->replicas - least - (new_->replicas - new_->has("availableReplicas"));
    std::int64_t available = new_->has("availableReplicas");
    for (Set& set : old_) {   // first those that serve nobody
      const std::int64_t part = std::clamp<std::int64_t>(set.replicas - set.has("availableReplicas"), 0, std::max<std::int64_t>(0, may_go));
      set.wanted -= part;
      may_go -= part;
      available += set.has("availableReplicas");
    }
    std::int64_t spare = available - least;
    for (Set& set : old_) {
      const std::int64_t part = std::clamp<std::int64_t>(set.wanted, 0, std::max<std::int64_t>(0, std::min(spare, may_go)));
      set.wanted -= part;
      spare -= part;
      may_go -= part;
    }
  }

  void forget() {
    std::vector<Set> by_revision;
    for (const Set& set : old_)
      if (!deleting(*set.object)) by_revision.push_back(set);
    std::int64_t left = static_cast<std::int64_t>(by_revision.size()) - int_at(parent_, {"spec", "revisionHistoryLimit"}, kNoLimit);
    std::stable_sort(by_revision.begin(), by_revision.end(), [](const Set& a, const Set& b) { return revision_of(*a.object) < revision_of(*b.object); });
    for (const Set& set : by_revision) {
      const json& one = *set.object;
      if (left-- <= 0) return;
      if (set.replicas != 0 || set.has("replicas") != 0 || int_at(one, {"metadata", "generation"}) > set.has("observedGeneration")) continue;
      plan_.remove(kReplicaSets, meta_text(one, "namespace"), meta_text(one, "name"), meta_text(one, "uid"));
    }
  }

  void write_sets() {
    for (const Set& set : old_) write_set(set, false);
    if (new_) write_set(*new_, true);
  }

  // Its size, and of the new set the annotations of the deployment.
  void write_set(const Set& set, bool is_new) {
    json change = json::object();
    if (set.wanted != set.replicas) change["spec"]["replicas"] = set.wanted;
    json annotations = is_new ? set_annotations() : json{{kDesiredAnnotation, std::to_string(wanted_)}, {kMaxAnnotation, std::to_string(wanted_ + surge_)}};
    const bool sized = set.wanted != set.replicas || set.wanted > 0;
    if (!sized && !is_new) annotations = json::object();
    const std::string before = annotation(*set.object, kRevisionAnnotation);
    if (is_new && !revision_.empty() && !before.empty() && before != revision_) {
      const std::string history = annotation(*set.object, kHistoryAnnotation);
      annotations[kHistoryAnnotation] = (history.empty() ? "" : history + ",") + before;
    }
    for (const auto& item : annotations.items())
      if (annotation(*set.object, item.key()) != item.value()) change["metadata"]["annotations"][item.key()] = item.value();
    if (const json& least = json_at(parent_, {"spec", "minReadySeconds"});
        is_new && int_at(parent_, {"spec", "minReadySeconds"}) != int_at(*set.object, {"spec", "minReadySeconds"}))
      change["spec"]["minReadySeconds"] = least;
    const char* way = set.wanted > set.replicas ? "up" : "down";
    if (!change.empty()) plan_.patch(kReplicaSets, *set.object, std::move(change), scaled_note(way, meta_text(*set.object, "name"), set.replicas, set.wanted));
  }

  std::int64_t total(const char* field) const {
    std::int64_t sum = new_ ? new_->has(field) : 0;
    for (const Set& set : old_) sum += set.has(field);
    return sum;
  }

  std::int64_t updated() const { return new_ ? new_->has("replicas") : 0; }
  bool complete() const {
    return new_ && updated() == wanted_ && total("replicas") == wanted_ && total("availableReplicas") == wanted_ && new_->wanted == wanted_;
  }
  bool has_deadline() const { return int_at(parent_, {"spec", "progressDeadlineSeconds"}, kNoLimit) != kNoLimit; }

  void write_status() {
    json& status = next_["status"];
    std::int64_t size = new_ ? new_->replicas : 0;
    for (const Set& set : old_) size += set.replicas;
    const std::int64_t available = total("availableReplicas");
    set_count(status, "observedGeneration", int_at(parent_, {"metadata", "generation"}));
    set_count(status, "replicas", total("replicas"));
    set_count(status, "updatedReplicas", updated());
    set_count(status, "readyReplicas", total("readyReplicas"));
    set_count(status, "availableReplicas", available);
    set_count(status, "unavailableReplicas", std::max<std::int64_t>(0, size - available));
    if (available >= wanted_ - gone_)
      set_condition(status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", state_.now);
    else
      set_condition(status, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", state_.now);
    write_progress(status);
    const json* failure = new_ ? condition(json_at(*new_->object, {"status"}), "ReplicaFailure") : nullptr;
    if (failure == nullptr) drop_condition(status, "ReplicaFailure");
    else set_condition(status, "ReplicaFailure", "True", json_text(*failure, {"reason"}), json_text(*failure, {"message"}), state_.now);
    plan_.status(kDeployments, parent_, next_);
  }

  bool advanced(const json& status) const {
    const json& before = json_at(parent_, {"status"});
    const auto grew = [&](const char* field) { return int_at(status, {field}) > int_at(before, {field}); };
    const auto old = [](const json& of) { return int_at(of, {"replicas"}) - int_at(of, {"updatedReplicas"}); };
    return grew("updatedReplicas") || grew("readyReplicas") || grew("availableReplicas") || old(status) < old(before);
  }

  void write_progress(json& status) {
    if (!has_deadline()) return drop_condition(status, "Progressing");
    const json* known = condition(status, "Progressing");
    const std::string reason = known != nullptr ? json_text(*known, {"reason"}) : "";
    if (is_paused()) {
      if (reason != "DeploymentPaused") set_condition(status, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", state_.now);
      return;
    }
    if (reason == "DeploymentPaused") return set_condition(status, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", state_.now);
    if (!new_) return;
    const std::string name = "ReplicaSet \"" + meta_text(*new_->object, "name") + "\"";
    if (complete()) return set_condition(status, "Progressing", "True", "NewReplicaSetAvailable", name + " has successfully progressed.", state_.now);
    if (reason == "NewReplicaSetAvailable" && updated() == total("replicas")) return;   // it was complete: to scale it or to lose pods is no rollout
    if (advanced(status) || known == nullptr || reason == "NewReplicaSetAvailable" || reason == "DeploymentResumed")
      return watch_deadline(status, name, true);
    if (reason != "ProgressDeadlineExceeded") watch_deadline(status, name, false);
  }

  void watch_deadline(json& status, const std::string& name, bool moved) {
    if (moved) set_condition(status, "Progressing", "True", "ReplicaSetUpdated", name + " is progressing.", state_.now, true);
    const auto since = base::from_rfc3339(json_text(*condition(status, "Progressing"), {"lastUpdateTime"}));
    const std::int64_t deadline = since.value_or(state_.now) + int_at(parent_, {"spec", "progressDeadlineSeconds"});
    if (deadline > state_.now) return plan_.look_at(deadline);
    set_condition(status, "Progressing", "False", "ProgressDeadlineExceeded", name + " has timed out progressing.", state_.now, true);
  }

  const State& state_;
  const json& parent_;
  json next_;
  Plan plan_;
  std::int64_t wanted_ = 0, surge_ = 0, gone_ = 0;
  bool recreate_ = false;
  std::optional<Set> new_;
  std::vector<Set> old_;
  std::string revision_;
};

}  // namespace

Plan plan_deployment(const State& state) { return Rollout(state).run(); }

}  // namespace kubeedge::cloud::workloads
