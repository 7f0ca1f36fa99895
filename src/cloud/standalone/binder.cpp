#include "cloud/standalone/binder.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/text.h"
#include "cloud/standalone/event_writer.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/node_fit.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

const kube::Resource kPods{"", "v1", "pods"};
const kube::Resource kNodes{"", "v1", "nodes"};
constexpr Milliseconds kRetry{1000};

std::string key_of(const json& object) { return json_text(object, {"metadata", "namespace"}) + "/" + json_text(object, {"metadata", "name"}); }

bool over(const json& pod) {
  const std::string phase = json_text(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}

// What this scheduler does not evaluate must not be passed over in silence.
std::string unsupported(const json& pod) {
  for (const char* kind : {"podAffinity", "podAntiAffinity"})
    if (!json_at(pod, {"spec", "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution"}).empty())
      return std::string("required spec.affinity.") + kind + " is not supported by the standalone scheduler";
  const json& spread = json_at(pod, {"spec", "topologySpreadConstraints"});
  if (spread.is_array())
    for (const json& one : spread)
      if (json_text(one, {"whenUnsatisfiable"}) != "ScheduleAnyway") return "spec.topologySpreadConstraints are not supported by the standalone scheduler";
  return "";
}

}  // namespace

std::int64_t milli_quantity(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(std::fabs(number) < 1e18)) return 0;
  static const std::map<std::string, double> kSuffix = {{"", 1e3}, {"m", 1}, {"k", 1e6}, {"M", 1e9}, {"G", 1e12}, {"T", 1e15},
                                                        {"Ki", 1024e3}, {"Mi", 1048576e3}, {"Gi", 1073741824e3}, {"Ti", 1099511627776e3}};
  const auto factor = kSuffix.find(end);
  const double value = factor == kSuffix.end() ? 0 : number * factor->second;
  return value < 9e18 ? static_cast<std::int64_t>(std::ceil(value)) : INT64_MAX / 4;
}

Scheduler::Need Scheduler::need_of(const json& pod) {
  const auto of = [](const json& container, const char* what) { return milli_quantity(json_text(container, {"resources", "requests", what})); };
  Need sum, most;
  if (const json& all = json_at(pod, {"spec", "containers"}); all.is_array())
    for (const json& one : all) sum = {sum.cpu + of(one, "cpu"), sum.memory + of(one, "memory")};
  if (const json& all = json_at(pod, {"spec", "initContainers"}); all.is_array())
    for (const json& one : all) most = {std::max(most.cpu, of(one, "cpu")), std::max(most.memory, of(one, "memory"))};
  return {std::max(sum.cpu, most.cpu), std::max(sum.memory, most.memory)};
}

void Scheduler::set_node(const json& node) {
  Node now;
  now.labels = json_at(node, {"metadata", "labels"});
  now.taints = json_at(node, {"spec", "taints"});
  const json& unschedulable = json_at(node, {"spec", "unschedulable"});
  now.unschedulable = unschedulable.is_boolean() && unschedulable.get<bool>();
  now.room = {milli_quantity(json_text(node, {"status", "allocatable", "cpu"})), milli_quantity(json_text(node, {"status", "allocatable", "memory"}))};
  const json& pods = json_at(node, {"status", "allocatable", "pods"});
  now.pods = pods.is_number_integer() ? pods.get<std::int64_t>() : milli_quantity(json_text(pods)) / 1000;
  if (const json& conditions = json_at(node, {"status", "conditions"}); conditions.is_array())
    for (const json& one : conditions)
      if (json_text(one, {"type"}) == "Ready") now.ready = json_text(one, {"status"}) == "True";
  nodes_[json_text(node, {"metadata", "name"})] = std::move(now);
}

void Scheduler::remove_node(const std::string& name) { nodes_.erase(name); }

void Scheduler::set_pod(const json& pod) {
  const std::string node = json_text(pod, {"spec", "nodeName"});
  if (over(pod)) {
    placed_.erase(key_of(pod));
  } else if (!node.empty()) {
    placed_[key_of(pod)] = {node, need_of(pod)};
  }
}

void Scheduler::remove_pod(const std::string& ns_name) { placed_.erase(ns_name); }
void Scheduler::assume(const std::string& ns_name, const json& pod, const std::string& node) { placed_[ns_name] = {node, need_of(pod)}; }

std::string Scheduler::obstacle(const std::string& name, const Node& node, const json& pod, const Need& need) const {
  const json& tolerations = json_at(pod, {"spec", "tolerations"});
  static const json kUnschedulable = {{"key", "node.kubernetes.io/unschedulable"}, {"effect", "NoSchedule"}};
  if (node.unschedulable && !workloads::tolerates(tolerations, kUnschedulable)) return "node(s) were unschedulable";
  if (!node.ready) return "node(s) were not ready";
  if (node.taints.is_array())
    for (const json& taint : node.taints)
      if (const std::string effect = json_text(taint, {"effect"});
          (effect == "NoSchedule" || effect == "NoExecute") && !workloads::tolerates(tolerations, taint))
        return "node(s) had untolerated taint {" + json_text(taint, {"key"}) + ": " + json_text(taint, {"value"}) + "}";
  if (!workloads::selects_node(json_at(pod, {"spec"}), name, node.labels)) return "node(s) didn't match Pod's node affinity/selector";
  Need used;
  std::int64_t pods = 0;
  for (const auto& [unused, placed] : placed_) {
    if (placed.node != name) continue;
    used = {used.cpu + placed.need.cpu, used.memory + placed.need.memory};
    ++pods;
  }
  if (pods + 1 > node.pods) return "Too many pods";
  if (need.cpu > 0 && used.cpu + need.cpu > node.room.cpu) return "Insufficient cpu";
  if (need.memory > 0 && used.memory + need.memory > node.room.memory) return "Insufficient memory";
  return "";
}

std::string Scheduler::choose(const json& pod, std::string& why) const {
  why = unsupported(pod);
  if (!why.empty()) return "";
  std::map<std::string, int> obstacles;
  std::map<std::string, std::size_t> load;
  for (const auto& [unused, placed] : placed_) ++load[placed.node];
  const Need need = need_of(pod);
  std::string best;
  for (const auto& [name, node] : nodes_) {
    const std::string reason = obstacle(name, node, pod, need);
    if (!reason.empty()) {
      ++obstacles[reason];
    } else if (best.empty() || load[name] < load[best]) {
      best = name;
    }
  }
  if (!best.empty()) return best;
  if (nodes_.empty()) {
    why = "no nodes available to schedule pods";
    return "";
  }
  why = fmt::format("0/{} nodes are available:", nodes_.size());
  for (const auto& [reason, count] : obstacles) why += fmt::format("{} {} {}", why.ends_with(':') ? "" : ",", count, reason);
  return "";
}

struct Binder::Impl : std::enable_shared_from_this<Binder::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c) : runtime(r), client(c), timer(r) {}

  Runtime runtime;
  kube::KubeClient& client;
  runtime::Timer timer;
  Scheduler scheduler;
  std::unique_ptr<kube::Informer> pods, nodes;
  std::map<std::string, json> pending;         // by "ns/name"
  std::map<std::string, std::string> told;     // the reason that was last said of a pending pod
  std::set<std::string> binding;

  void start() {
    const std::weak_ptr<Impl> weak = weak_from_this();
    nodes = std::make_unique<kube::Informer>(runtime, client, kNodes, kube::ListOptions{}, kube::Informer::Handlers{
        [weak](Bytes object) { if (auto self = weak.lock()) { self->scheduler.set_node(base::parse_json(object)); self->soon(); } },
        [weak](Bytes object) { if (auto self = weak.lock()) { self->scheduler.remove_node(json_text(base::parse_json(object), {"metadata", "name"})); self->soon(); } },
        [weak] { if (auto self = weak.lock(); self && !self->pods) self->start_pods(); }});
    nodes->start();
  }

  void start_pods() {
    const std::weak_ptr<Impl> weak = weak_from_this();
    pods = std::make_unique<kube::Informer>(runtime, client, kPods, kube::ListOptions{}, kube::Informer::Handlers{
        [weak](Bytes object) { if (auto self = weak.lock()) self->on_pod(base::parse_json(object)); },
        [weak](Bytes object) { if (auto self = weak.lock()) self->on_gone(key_of(base::parse_json(object))); }, nullptr});
    pods->start();
  }

  void on_pod(const json& pod) {
    const std::string key = key_of(pod);
    const bool free = json_text(pod, {"spec", "nodeName"}).empty();
    const std::string scheduler_name = json_text(pod, {"spec", "schedulerName"});
    if (!free || over(pod)) {
      const bool room = over(pod);
      scheduler.set_pod(pod);
      pending.erase(key);
      told.erase(key);
      if (room) soon();
      return;
    }
    if (!scheduler_name.empty() && scheduler_name != "default-scheduler") return;
    if (!json_at(pod, {"metadata", "deletionTimestamp"}).is_null() || !json_at(pod, {"spec", "schedulingGates"}).empty()) {
      pending.erase(key);
      return;
    }
    pending[key] = pod;
    soon();
  }

  void on_gone(const std::string& key) {
    scheduler.remove_pod(key);
    pending.erase(key);
    told.erase(key);
    soon();
  }

  // One round for a burst of changes.
  void soon(Milliseconds after = Milliseconds{0}) {
    if (pending.empty() || (timer.running() && after.count() > 0)) return;
    timer.start(after, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->round();
    });
  }

  void round() {
    for (const auto& [key, pod] : pending) {
      if (binding.contains(key)) continue;
      std::string why;
      const std::string node = scheduler.choose(pod, why);
      if (node.empty()) {
        say(key, pod, why);
      } else {
        bind(key, pod, node);
      }
    }
  }

  void bind(const std::string& key, const json& pod, const std::string& node) {
    binding.insert(key);
    scheduler.assume(key, pod, node);
    const std::string ns = json_text(pod, {"metadata", "namespace"}), name = json_text(pod, {"metadata", "name"});
    const json body = {{"apiVersion", "v1"}, {"kind", "Binding"},
                       {"metadata", {{"name", name}, {"namespace", ns}, {"uid", json_text(pod, {"metadata", "uid"})}}},
                       {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}}}};
    client.create(kPods, ns, name, "binding", json_bytes(body), [weak = weak_from_this(), key, node](kube::ApiResult<Bytes> result) {
      const auto self = weak.lock();
      if (!self) return;
      self->binding.erase(key);
      if (result) {
        self->pending.erase(key);
        self->told.erase(key);
        base::log(self->runtime.log(), LogLevel::kInfo, "binder", "pod {} bound to {}", key, node);
        return;
      }
      base::log(self->runtime.log(), LogLevel::kWarning, "binder", "pod {} to {}: {}", key, node, result.error().message);
      self->scheduler.remove_pod(key);
      self->soon(kRetry);
    });
  }

  void say(const std::string& key, const json& pod, const std::string& why) {
    if (std::string& before = told[key]; before == why) {
      return;
    } else {
      before = why;
    }
    const std::string ns = json_text(pod, {"metadata", "namespace"}), name = json_text(pod, {"metadata", "name"});
    const std::int64_t now_ms = runtime.clock().unix_ms();
    const std::string now = base::rfc3339(now_ms / 1000);
    const json condition = {{"type", "PodScheduled"}, {"status", "False"}, {"reason", "Unschedulable"}, {"message", why}, {"lastTransitionTime", now}};
    const auto ignore = [weak = weak_from_this(), key](kube::ApiResult<Bytes> result) {
      const auto self = weak.lock();
      if (self && !result) base::log(self->runtime.log(), LogLevel::kWarning, "binder", "pod {}: {}", key, result.error().message);
    };
    client.patch(kPods, ns, name, "status", kube::PatchType::kStrategicMerge, json_bytes({{"status", {{"conditions", json::array({condition})}}}}), ignore);
    const json event = event_of(pod, "Warning", "FailedScheduling", why, "default-scheduler", now_ms / 1000);
    client.create(kEvents, ns, "", "", json_bytes(event), ignore);
  }
};

Binder::Binder(const Runtime& runtime, kube::KubeClient& client) : impl_(std::make_shared<Impl>(runtime, client)) {}
Binder::~Binder() {
  impl_->timer.cancel();
  impl_->pods.reset();
  impl_->nodes.reset();
}
void Binder::start() { impl_->start(); }

}  // namespace kubeedge::cloud
