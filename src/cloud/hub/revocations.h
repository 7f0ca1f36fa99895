// Which certificates of a node are too old to be its own: those issued before the time that a ConfigMap of namespace
// kubeedge with the label libkubeedge.io/revocations names for it (data: {<node>: RFC 3339 time}). A join with a token
// writes such a line; so may an operator, to shut out one node without touching others:
//   kubectl -n kubeedge create configmap stolen --from-literal=edge1=2026-11-25T14:00:00Z
//   kubectl -n kubeedge label configmap stolen libkubeedge.io/revocations=
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubeedge/resource.h>
#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

inline constexpr const char* kRevocationsNamespace = "kubeedge";
inline constexpr const char* kRevocationsLabel = "libkubeedge.io/revocations";
// What joins write is spread over so many ConfigMaps: 10,000 nodes keep each far below the 1 MiB of an object.
inline constexpr unsigned kRevocationShards = 64;

// What the ConfigMaps say, together: of several times for a node the latest counts. No I/O.
class RevocationTable {
 public:
  struct Change {
    std::vector<std::string> nodes;   // that have another time here than before
    std::vector<std::string> bad;     // whose text is no time: left out
  };
  // The whole content of one ConfigMap (empty: it is gone).
  Change set(const std::string& config_map, const std::map<std::string, std::string>& data);
  // Certificates of the node issued before this Unix second are refused.
  std::optional<std::int64_t> before(const std::string& node) const;
  // Where a join writes the node's line.
  static std::string shard(std::string_view node);

 private:
  std::map<std::string, std::map<std::string, std::int64_t>> maps_;   // ConfigMap -> node -> time
};

// Lives on the runtime's executor.
class Revocations {
 public:
  // `changed`: the node's live session must be looked at again.
  Revocations(const Runtime& runtime, kube::KubeClient& client, unique_function<void(const NodeId&)> changed);
  ~Revocations();
  void start();
  void stop();
  bool revoked(const NodeId& node, std::int64_t issued_unix_s) const;
  // Stored when `done` comes. Without leave to write (an API server that has not got our RBAC) this is logged and is no error.
  void revoke(const NodeId& node, std::int64_t before_unix_s, unique_function<void(Result<void>)> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
