#include "cloud/standalone/node_lifecycle.h"

#include <map>
#include <string>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "kube/client/informer.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

const kube::Resource kNodes{"", "v1", "nodes"};
const kube::Resource kLeases{"coordination.k8s.io", "v1", "leases"};
constexpr const char* kUnreachable = "node.kubernetes.io/unreachable";

struct Health {
  json node;
  std::string renewed, heartbeat;  // texts as last seen: any change is a sign of life
  Milliseconds alive_at{0};
  bool busy = false;
};

std::string ready_of(const json& node, const char* field) {
  if (const json& conditions = json_at(node, {"status", "conditions"}); conditions.is_array())
    for (const json& one : conditions)
      if (json_text(one, {"type"}) == "Ready") return json_text(one, {field});
  return "";
}

}  // namespace

struct NodeLifecycle::Impl : std::enable_shared_from_this<NodeLifecycle::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c) : runtime(r), client(c), timer(r) {}

  Runtime runtime;
  kube::KubeClient& client;
  runtime::Timer timer;
  std::unique_ptr<kube::Informer> nodes, leases;
  std::map<std::string, Health> health;
  std::map<std::string, std::string> renewals;  // leases may come before their node

  void start() {
    const std::weak_ptr<Impl> weak = weak_from_this();
    nodes = std::make_unique<kube::Informer>(runtime, client, kNodes, kube::ListOptions{}, kube::Informer::Handlers{
        [weak](Bytes object) { if (auto self = weak.lock()) self->on_node(base::parse_json(object)); },
        [weak](Bytes object) { if (auto self = weak.lock()) self->health.erase(json_text(base::parse_json(object), {"metadata", "name"})); }, nullptr});
    leases = std::make_unique<kube::Informer>(runtime, client, kLeases, kube::ListOptions{"kube-node-lease", "", ""}, kube::Informer::Handlers{
        [weak](Bytes object) { if (auto self = weak.lock()) self->on_lease(base::parse_json(object)); },
        [weak](Bytes object) { if (auto self = weak.lock()) self->renewals.erase(json_text(base::parse_json(object), {"metadata", "name"})); }, nullptr});
    nodes->start();
    leases->start();
    tick();
  }

  void tick() {
    timer.start(kCheck, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      for (auto& [name, one] : self->health) self->judge(name, one);
      self->tick();
    });
  }

  void on_node(json node) {
    const std::string name = json_text(node, {"metadata", "name"});
    const auto [slot, fresh] = health.try_emplace(name);
    Health& one = slot->second;
    const std::string heartbeat = ready_of(node, "lastHeartbeatTime");
    if (fresh || (heartbeat != one.heartbeat && ready_of(node, "status") != "Unknown")) one.alive_at = runtime.clock().steady();
    one.heartbeat = heartbeat;
    one.node = std::move(node);
    judge(name, one);
  }

  void on_lease(const json& lease) {
    const std::string name = json_text(lease, {"metadata", "name"});
    std::string renewed = json_text(lease, {"spec", "renewTime"});
    if (std::string& before = renewals[name]; before != renewed) {
      before = renewed;
      if (const auto found = health.find(name); found != health.end()) {
        found->second.alive_at = runtime.clock().steady();
        judge(name, found->second);
      }
    }
  }

  void judge(const std::string& name, Health& one) {
    if (one.busy) return;
    const std::string ready = ready_of(one.node, "status");
    const bool dead = runtime.clock().steady() - one.alive_at > kGrace;
    if (dead && ready != "Unknown") return mark_unknown(name, one);
    // Back, or never marked: the node's own status decides, the taint follows.
    set_taint(name, one, ready == "Unknown");
  }

  unique_function<void(kube::ApiResult<Bytes>)> finish(const std::string& name) {
    return [weak = weak_from_this(), name](kube::ApiResult<Bytes> result) {
      const auto self = weak.lock();
      if (!self) return;
      const auto found = self->health.find(name);
      if (found != self->health.end()) found->second.busy = false;
      if (!result && result.error().code != 409 && result.error().code != 404)
        base::log(self->runtime.log(), LogLevel::kWarning, "nodelifecycle", "node {}: {}", name, result.error().message);
    };
  }

  void mark_unknown(const std::string& name, Health& one) {
    one.busy = true;
    base::log(runtime.log(), LogLevel::kWarning, "nodelifecycle", "node {}: no sign of life for {} s, Ready is Unknown", name, kGrace.count() / 1000);
    const std::string now = base::rfc3339(runtime.clock().unix_ms() / 1000);
    json conditions = json::array();
    for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"})
      conditions.push_back({{"type", type}, {"status", "Unknown"}, {"reason", "NodeStatusUnknown"},
                            {"message", "Kubelet stopped posting node status."}, {"lastTransitionTime", now}});
    client.patch(kNodes, "", name, "status", kube::PatchType::kStrategicMerge, json_bytes({{"status", {{"conditions", conditions}}}}), finish(name));
  }

  void set_taint(const std::string& name, Health& one, bool wanted) {
    json taints = json::array();
    bool have = false;
    if (const json& now = json_at(one.node, {"spec", "taints"}); now.is_array())
      for (const json& taint : now) {
        if (json_text(taint, {"key"}) == kUnreachable) {
          have = true;
        } else {
          taints.push_back(taint);
        }
      }
    if (have == wanted) return;
    if (wanted)
      taints.push_back({{"key", kUnreachable}, {"effect", "NoSchedule"}, {"timeAdded", base::rfc3339(runtime.clock().unix_ms() / 1000)}});
    one.busy = true;
    // The version guards other writers' taints: the list is replaced as a whole.
    const json patch = {{"metadata", {{"resourceVersion", json_text(one.node, {"metadata", "resourceVersion"})}}},
                        {"spec", {{"taints", taints.empty() ? json(nullptr) : taints}}}};
    client.patch(kNodes, "", name, "", kube::PatchType::kMerge, json_bytes(patch), finish(name));
  }
};

NodeLifecycle::NodeLifecycle(const Runtime& runtime, kube::KubeClient& client) : impl_(std::make_shared<Impl>(runtime, client)) {}
NodeLifecycle::~NodeLifecycle() {
  impl_->timer.cancel();
  impl_->nodes.reset();
  impl_->leases.reset();
}
void NodeLifecycle::start() { impl_->start(); }

}  // namespace kubeedge::cloud
