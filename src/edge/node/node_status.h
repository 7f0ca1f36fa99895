// The Node object and its patches, as upstream's edged writes them (edge-node 4.3, hub-protocol 5.5). No I/O.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "edge/node/node_facts.h"

namespace kubeedge::edge {

inline constexpr const char* kKubeletVersion = "v1.32.10-kubeedge-v1.23.1";   // the wire and kubelet level that we speak
inline constexpr int kKubeletPort = 10350;
inline constexpr std::int64_t kMinMemoryKib = 100 * 1024;    // hard eviction threshold: memory.available < 100Mi
inline constexpr int kMinDiskPercent = 10;                   // nodefs.available < 10 %
inline constexpr int kMinPidsPercent = 5;

struct NodeIdentity {
  std::string name;
  std::string address;               // InternalIP
  nlohmann::json labels = nlohmann::json::object();   // extra ones
};

// The pod runtime's word on itself.
struct RuntimeState {
  bool present = false;              // false: a node without pods
  bool ready = false;
  std::string why;                   // when not ready
  std::string version;               // "containerd://1.6.20"
  int max_pods = 0;
};

nlohmann::json node_labels(const NodeIdentity& identity, const NodeFacts& facts);

// The status as it should be now. `previous` (a status, or null) keeps the transition times of equal conditions.
// daemonEndpoints is left out: after registration it is the cloud's (the tunnel port).
nlohmann::json node_status(const NodeIdentity& identity, const NodeFacts& facts, const RuntimeState& runtime, const nlohmann::json& previous, std::int64_t now_unix_s);

// The Node to register.
nlohmann::json new_node(const NodeIdentity& identity, const NodeFacts& facts, const RuntimeState& runtime, std::int64_t now_unix_s);

// A strategic merge patch {"status": {...}} from `before` to `after`; nullopt: nothing changed but heartbeat times.
// With `heartbeat` an otherwise empty patch carries the heartbeat times.
std::optional<std::string> node_patch(const nlohmann::json& before, const nlohmann::json& after, bool heartbeat);

}  // namespace kubeedge::edge
