// ClusterRoles whose rules are those of others, chosen by labels. Pure.
#pragma once

#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubeedge::kube::rbac {

// The rules that `role` should have, given all ClusterRoles by name; nothing when it aggregates none or has them already.
std::optional<nlohmann::json> aggregated_rules(const nlohmann::json& role, const std::vector<nlohmann::json>& all);

}  // namespace kubeedge::kube::rbac
