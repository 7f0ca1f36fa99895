#include "edge/node/node_status.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_member.h"
#include "base/text.h"

namespace kubeedge::edge {
namespace {

using Json = nlohmann::json;

constexpr const char* kNoPodsTaint = "node.kubeedge.io/no-pod-runtime";

// A status' condition of a type, or nullptr.
const Json* condition_of(const Json& status, const std::string& type) {
  const Json& list = base::member(status, "conditions");
  if (!list.is_array()) return nullptr;
  const auto found = std::find_if(list.begin(), list.end(), [&](const Json& item) { return base::text_of(item, "type") == type; });
  return found == list.end() ? nullptr : &*found;
}

Json condition(const char* type, bool status, const std::string& reason, const std::string& message, const Json& previous, std::int64_t now) {
  const std::string time = base::rfc3339(now);
  const std::string value = status ? "True" : "False";
  std::string since = time;
  if (const Json* old = condition_of(previous, type); old != nullptr && base::text_of(*old, "status") == value) {
    if (const std::string then = base::text_of(*old, "lastTransitionTime"); !then.empty()) since = then;
  }
  return {{"type", type}, {"status", value}, {"lastHeartbeatTime", time}, {"lastTransitionTime", since}, {"reason", reason}, {"message", message}};
}

Json resources(const NodeFacts& facts, int pods, std::int64_t memory_kib, const std::string& disk) {
  return {{"cpu", std::to_string(facts.cpus)}, {"ephemeral-storage", disk}, {"hugepages-1Gi", "0"}, {"hugepages-2Mi", "0"},
          {"memory", fmt::format("{}Ki", memory_kib)}, {"pods", std::to_string(pods)}};
}

Json without_heartbeats(Json status) {
  if (const auto list = status.is_object() ? status.find("conditions") : status.end(); list != status.end() && list->is_array())
    for (Json& item : *list)
      if (item.is_object()) item.erase("lastHeartbeatTime");
  return status;
}

}  // namespace

Json node_labels(const NodeIdentity& identity, const NodeFacts& facts) {
  Json labels = {{"beta.kubernetes.io/arch", facts.architecture}, {"beta.kubernetes.io/os", "linux"}, {"kubernetes.io/arch", facts.architecture},
                 {"kubernetes.io/os", "linux"}, {"kubernetes.io/hostname", identity.name}, {"node-role.kubernetes.io/agent", ""}, {"node-role.kubernetes.io/edge", ""}};
  if (identity.labels.is_object()) labels.update(identity.labels);
  return labels;
}

Json node_status(const NodeIdentity& identity, const NodeFacts& facts, const RuntimeState& runtime, const Json& previous, std::int64_t now) {
  const bool low_memory = facts.memory_available_kib > 0 && facts.memory_available_kib < kMinMemoryKib;
  const bool low_disk = facts.disk_bytes > 0 && facts.disk_free_bytes * 100 < facts.disk_bytes * kMinDiskPercent;
  const bool low_pids = facts.pids_max > 0 && (facts.pids_max - facts.pids_used) * 100 < facts.pids_max * kMinPidsPercent;
  const int pods = runtime.present ? runtime.max_pods : 0;
  const bool ready = !runtime.present || runtime.ready;
  Json addresses = Json::array();
  if (!identity.address.empty()) addresses.push_back({{"type", "InternalIP"}, {"address", identity.address}});
  addresses.push_back({{"type", "Hostname"}, {"address", identity.name}});
  return {
      {"capacity", resources(facts, pods, facts.memory_kib, fmt::format("{}Ki", facts.disk_bytes / 1024))},
      {"allocatable", resources(facts, pods, std::max<std::int64_t>(0, facts.memory_kib - kMinMemoryKib), std::to_string(facts.disk_bytes / 100 * (100 - kMinDiskPercent)))},
      {"conditions",
       Json::array({condition("MemoryPressure", low_memory, low_memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
                              low_memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available", previous, now),
                    condition("DiskPressure", low_disk, low_disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
                              low_disk ? "kubelet has disk pressure" : "kubelet has no disk pressure", previous, now),
                    condition("PIDPressure", low_pids, low_pids ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
                              low_pids ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available", previous, now),
                    condition("Ready", ready, ready ? "EdgeReady" : "KubeletNotReady", ready ? "edge is posting ready status" : runtime.why, previous, now)})},
      {"addresses", addresses},
      {"nodeInfo",
       {{"machineID", facts.machine_id}, {"systemUUID", facts.system_uuid}, {"bootID", facts.boot_id}, {"kernelVersion", facts.kernel}, {"osImage", facts.os_image},
        {"containerRuntimeVersion", runtime.version}, {"kubeletVersion", kKubeletVersion}, {"kubeProxyVersion", kKubeletVersion}, {"operatingSystem", "linux"},
        {"architecture", facts.architecture}}}};
}

Json new_node(const NodeIdentity& identity, const NodeFacts& facts, const RuntimeState& runtime, std::int64_t now) {
  Json spec = Json::object();
  if (!runtime.present) spec["taints"] = Json::array({{{"key", kNoPodsTaint}, {"effect", "NoSchedule"}}});
  Json status = node_status(identity, facts, runtime, Json(), now);
  status["daemonEndpoints"] = {{"kubeletEndpoint", {{"Port", kKubeletPort}}}};
  return {{"apiVersion", "v1"}, {"kind", "Node"},
          {"metadata", {{"name", identity.name}, {"creationTimestamp", nullptr}, {"labels", node_labels(identity, facts)},
                        {"annotations", {{"volumes.kubernetes.io/controller-managed-attach-detach", "true"}}}}},
          {"spec", spec}, {"status", status}};
}

std::optional<std::string> node_patch(const Json& before, const Json& after, bool heartbeat) {
  if (!heartbeat && before.is_object() && without_heartbeats(before) == without_heartbeats(after)) return std::nullopt;
  Json patch = Json::object();
  for (const auto& [key, value] : after.items()) {
    if (key == "conditions") continue;
    const auto old = before.is_object() ? before.find(key) : before.end();
    if (!before.is_object() || old == before.end() || *old != value) patch[key] = value;
  }
  Json order = Json::array(), changed = Json::array();
  for (const Json& now : after["conditions"]) {
    order.push_back({{"type", now["type"]}});
    Json delta = {{"type", now["type"]}};
    const Json* old = condition_of(before, base::text_of(now, "type"));
    for (const auto& [key, value] : now.items())
      if (old == nullptr || base::member(*old, key.c_str()) != value) delta[key] = value;
    if (delta.size() > 1) changed.push_back(std::move(delta));
  }
  if (!changed.empty()) {
    patch["$setElementOrder/conditions"] = std::move(order);
    patch["conditions"] = std::move(changed);
  }
  // Addresses merge by type: without the order, one that is gone would stay.
  if (patch.contains("addresses")) {
    Json kept = Json::array();
    for (const Json& address : after["addresses"]) kept.push_back({{"type", address["type"]}});
    patch["$setElementOrder/addresses"] = std::move(kept);
  }
  return base::dump_json(Json{{"status", std::move(patch)}});
}

}  // namespace kubeedge::edge
