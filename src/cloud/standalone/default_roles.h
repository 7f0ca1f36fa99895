// The ClusterRoles and bindings that every Kubernetes starts with, those that a cluster of ours has a use for. Pure.
#pragma once

#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubeedge::cloud {

std::vector<nlohmann::json> default_cluster_roles();
std::vector<nlohmann::json> default_cluster_role_bindings();

// What `wanted` has in its list `field` ("rules", "subjects") beyond `stored`: the whole list to store. Nothing when all is there,
// or when the annotation rbac.authorization.kubernetes.io/autoupdate forbids it.
std::optional<nlohmann::json> completed(const nlohmann::json& stored, const nlohmann::json& wanted, const char* field);

}  // namespace kubeedge::cloud
