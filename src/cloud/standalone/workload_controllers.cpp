#include "cloud/standalone/workload_controllers.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/plan_run.h"
#include "cloud/standalone/work_queue.h"
#include "cloud/standalone/workloads/claims.h"
#include "cloud/standalone/workloads/cron_job.h"
#include "cloud/standalone/workloads/daemon_set.h"
#include "cloud/standalone/workloads/deployment.h"
#include "cloud/standalone/workloads/expectations.h"
#include "cloud/standalone/workloads/index.h"
#include "cloud/standalone/workloads/job.h"
#include "cloud/standalone/workloads/replica_set.h"
#include "kube/client/informer.h"
#include "kube/schema/label_selector.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;
using workloads::Claimable;
using workloads::Entry;
using workloads::Index;
using workloads::NodeView;
using workloads::Plan;
using workloads::PodView;
using workloads::State;

// One kind of workload: adding one is adding a row.
struct Controller {
  kube::Resource resource;
  std::vector<kube::Resource> makes;   // what it makes, and claims
  const char* component;               // as Kubernetes' events name it
  Plan (*plan)(const State&);
  bool of_nodes = false;               // the nodes have a say

  bool makes_a(const std::string& plural) const {
    return std::any_of(makes.begin(), makes.end(), [&](const kube::Resource& one) { return one.plural == plural; });
  }
};

const Controller kControllers[] = {
    {workloads::kDeployments, {workloads::kReplicaSets}, "deployment-controller", workloads::plan_deployment},
    {workloads::kReplicaSets, {workloads::kPods}, "replicaset-controller", workloads::plan_replica_set},
    {workloads::kDaemonSets, {workloads::kRevisions, workloads::kPods}, "daemonset-controller", workloads::plan_daemon_set, true},
    {workloads::kJobs, {workloads::kPods}, "job-controller", workloads::plan_job},
    {workloads::kCronJobs, {workloads::kJobs}, "cronjob-controller", workloads::plan_cron_job},
};

// All that is kept as text: the workloads, and what they make but pods.
const kube::Resource kKept[] = {workloads::kDeployments, workloads::kReplicaSets, workloads::kDaemonSets, workloads::kRevisions, workloads::kJobs, workloads::kCronJobs};

// "deployments ns/name": what the queue knows a workload by.
std::string queue_key(const std::string& plural, const std::string& ns_name) { return plural + " " + ns_name; }

Entry entry_of(json object) {
  Entry out;
  json& metadata = object["metadata"];
  metadata.erase("managedFields");
  out.ns = json_text(metadata, {"namespace"});
  out.name = json_text(metadata, {"name"});
  out.uid = json_text(metadata, {"uid"});
  out.owner = workloads::controller_uid(json_at(metadata, {"ownerReferences"}));
  out.version = static_cast<std::uint64_t>(base::to_int(json_text(metadata, {"resourceVersion"})).value_or(0));
  out.text = base::dump_json(object);
  return out;
}

Claimable claimable(const PodView& pod) { return {pod.ns, pod.name, pod.uid, pod.owner, base::parse_json(pod.labels), !pod.active()}; }
Claimable claimable(const Entry& entry) {
  const json object = base::parse_json(entry.text);
  return {entry.ns, entry.name, entry.uid, entry.owner, json_at(object, {"metadata", "labels"}), workloads::deleting(object)};
}

}  // namespace

struct WorkloadControllers::Impl : std::enable_shared_from_this<WorkloadControllers::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c) : runtime(r), client(c), queue(r, [this](const std::string& key) { look(key); }) {}

  Runtime runtime;
  kube::KubeClient& client;
  WorkQueue queue;
  workloads::Expectations expectations;
  Index<PodView> pods;
  std::map<std::string, Index<Entry>> entries;         // of kKept, by plural
  std::map<std::string, NodeView> nodes;
  std::map<std::string, std::string> key_of_uid;       // of all of them: the queue's key
  std::map<std::string, std::string> failures;         // by the queue's key: why its last create was refused
  std::vector<std::unique_ptr<kube::Informer>> informers;
  std::size_t unread = 0;                              // informers whose first list is still to come

  // ---- what the watches tell

  void start() {
    for (const kube::Resource& kept : kKept) {
      const std::string plural = kept.plural;
      follow(kept, [plural](Impl& self, json object, bool gone) { self.on_entry(plural, std::move(object), gone); });
    }
    follow(workloads::kPods, [](Impl& self, const json& object, bool gone) { self.on_pod(object, gone); });
    follow(workloads::kNodes, [](Impl& self, const json& object, bool gone) { self.on_node(object, gone); });
    unread = informers.size();
    for (const auto& informer : informers) informer->start();
  }

  void follow(const kube::Resource& resource, std::function<void(Impl&, json, bool gone)> tell) {
    const std::weak_ptr<Impl> weak = weak_from_this();
    const auto synced = std::make_shared<bool>(false);
    const auto on = [weak, tell = std::move(tell), plural = resource.plural](const Bytes& object, bool gone) {
      const auto self = weak.lock();
      if (!self) return;
      json parsed = base::parse_json(object);
      const auto version = static_cast<std::uint64_t>(base::to_int(json_text(parsed, {"metadata", "resourceVersion"})).value_or(0));
      tell(*self, std::move(parsed), gone);
      for (const std::string& key : self->expectations.saw(plural, version)) self->wake(key);
    };
    informers.push_back(std::make_unique<kube::Informer>(runtime, client, resource, kube::ListOptions{}, kube::Informer::Handlers{
        [on](Bytes object) { on(object, false); }, [on](Bytes object) { on(object, true); },
        [weak, synced] { if (const auto self = weak.lock(); self && !std::exchange(*synced, true)) self->on_read(); }}));
  }

  // Nobody acts before everything is known: what is not yet read is not missing.
  void on_read() {
    if (--unread > 0) return;
    for (const auto& [uid, key] : key_of_uid) wake(key);
  }

  void wake(const std::string& key) {
    if (unread == 0) queue.add(key);
  }

  void on_entry(const std::string& plural, json object, bool gone) {
    Entry entry = entry_of(std::move(object));
    const std::string key = queue_key(plural, entry.key()), uid = entry.uid;
    std::optional<Entry> before;
    if (gone) {
      before = entries[plural].take(entry.key(), uid);
      if (!before) return;
      key_of_uid.erase(uid);
      expectations.forget(key);
      failures.erase(key);
    } else {
      const Entry now = entry;
      if (!entries[plural].put(std::move(entry), before)) return;
      if (before && before->uid != uid) key_of_uid.erase(before->uid);
      key_of_uid[uid] = key;
      wake_parents(plural, now);
    }
    if (before) wake_owner(before->owner);
    wake(key);
  }

  void on_pod(const json& object, bool gone) {
    PodView pod = workloads::view_of_pod(object);
    std::optional<PodView> before;
    if (gone) {
      before = pods.take(pod.key(), pod.uid);
      if (before) wake_grandparent(before->owner);
    } else {
      const PodView now = pod;
      if (!pods.put(std::move(pod), before)) return;
      wake_parents(workloads::kPods.plural, now);
    }
    if (before) wake_owner(before->owner);
  }

  // Of what a node tells every few seconds, labels and taints alone decide.
  void on_node(const json& object, bool gone) {
    NodeView node{json_text(object, {"metadata", "name"}), json_at(object, {"metadata", "labels"}), json_at(object, {"spec", "taints"})};
    const auto found = nodes.find(node.name);
    if (!gone && found != nodes.end() && found->second == node) return;
    if (gone) nodes.erase(node.name);
    else nodes[node.name] = std::move(node);
    for (const Controller& controller : kControllers)
      if (controller.of_nodes)
        entries[controller.resource.plural].each([&](const Entry& one) { wake(queue_key(controller.resource.plural, one.key())); });
  }

  void wake_owner(const std::string& uid) {
    if (const auto found = key_of_uid.find(uid); found != key_of_uid.end()) wake(found->second);
  }

  // A Deployment that recreates waits for the last old pod.
  void wake_grandparent(const std::string& uid) {
    const auto found = key_of_uid.find(uid);
    if (found == key_of_uid.end()) return;
    const auto& sets = entries[workloads::kReplicaSets.plural];
    if (const Entry* set = sets.find(found->second.substr(found->second.find(' ') + 1))) wake_owner(set->owner);
  }

  // Its owner, or all that might take it for their own.
  template <class T>
  void wake_parents(const std::string& plural, const T& child) {
    if (!child.owner.empty()) return wake_owner(child.owner);
    if (unread > 0) return;
    std::optional<json> labels;
    for (const Controller& controller : kControllers) {
      if (!controller.makes_a(plural)) continue;
      for (const Entry* parent : entries[controller.resource.plural].in_namespace(child.ns)) {
        if (!labels) labels = claimable(child).labels;
        if (kube::schema::selects(json_at(base::parse_json(parent->text), {"spec", "selector"}), *labels)) wake(queue_key(controller.resource.plural, parent->key()));
      }
    }
  }

  // ---- a look at one workload

  void look(const std::string& key) {
    const std::string plural = key.substr(0, key.find(' ')), ns_name = key.substr(plural.size() + 1);
    const auto controller = std::find_if(std::begin(kControllers), std::end(kControllers), [&](const Controller& one) { return one.resource.plural == plural; });
    const Entry* parent = entries[plural].find(ns_name);
    // Of what only others look at nothing is to be done; what waits for its own writes saw() wakes again.
    if (controller == std::end(kControllers) || parent == nullptr || expectations.waits(key, runtime.clock().steady())) return queue.done(key, false);
    look_at(*controller, key, *parent);
  }

  void look_at(const Controller& controller, const std::string& key, const Entry& parent) {
    State state;
    state.parent = base::parse_json(parent.text);
    state.now = runtime.clock().unix_ms() / 1000;
    if (const auto failure = failures.find(key); failure != failures.end()) state.failure = failure->second;
    Plan plan;
    for (const kube::Resource& made : controller.makes) {
      if (!plan.actions.empty()) break;   // one claim after the other
      const bool of_pods = made == workloads::kPods;
      plan = workloads::plan_claims(state.parent, made, of_pods ? candidates(pods, parent) : candidates(entries[made.plural], parent));
      of_pods ? add_pods(state, parent.uid) : add_children(state, entries[made.plural], parent);
    }
    if (plan.actions.empty()) {
      if (controller.of_nodes)
        for (const auto& [name, node] : nodes) state.nodes.push_back(node);
      plan = controller.plan(state);
    }
    run_plan(runtime, client, controller.component, state, std::move(plan), [weak = weak_from_this(), key, again_at = plan.again_at, was = state.failure](PlanOutcome outcome) {
      if (const auto self = weak.lock()) self->after(key, outcome, again_at, was);
    });
  }

  template <class T>
  static std::vector<Claimable> candidates(const Index<T>& index, const Entry& parent) {
    std::vector<Claimable> out;
    for (const T* one : index.owned_by(parent.uid)) out.push_back(claimable(*one));
    for (const T* one : index.owned_by(""))
      if (one->ns == parent.ns) out.push_back(claimable(*one));
    return out;
  }

  void add_pods(State& state, const std::string& owner) {
    for (const PodView* pod : pods.owned_by(owner)) state.pods.push_back(*pod);
  }

  void add_children(State& state, const Index<Entry>& index, const Entry& parent) {
    const bool recreates = json_text(state.parent, {"spec", "strategy", "type"}) == "Recreate";
    for (const Entry* child : index.owned_by(parent.uid)) {
      state.children.push_back(base::parse_json(child->text));
      if (recreates) add_pods(state, child->uid);
    }
    for (const Entry* other : index.in_namespace(parent.ns))
      if (other->owner != parent.uid) state.taken.insert(other->name);
  }

  void after(const std::string& key, const PlanOutcome& outcome, std::optional<std::int64_t> again_at, const std::string& was) {
    const Milliseconds now = runtime.clock().steady();
    for (const auto& [resource, version] : outcome.written) expectations.expect(key, resource, version, now);
    if (outcome.failure.empty()) failures.erase(key);
    else failures[key] = outcome.failure;
    queue.done(key, outcome.failed);
    // The status says what became of a failure, and of its end.
    if (!outcome.failed && outcome.failure != was) queue.add(key);
    if (expectations.waits(key, now)) queue.add_after(key, workloads::Expectations::kLongestWait);
    if (again_at) queue.add_after(key, std::chrono::seconds(std::max<std::int64_t>(0, *again_at - runtime.clock().unix_ms() / 1000)));
  }
};

WorkloadControllers::WorkloadControllers(const Runtime& runtime, kube::KubeClient& client) : impl_(std::make_shared<Impl>(runtime, client)) {}
WorkloadControllers::~WorkloadControllers() { impl_->informers.clear(); }
void WorkloadControllers::start() { impl_->start(); }

}  // namespace kubeedge::cloud
