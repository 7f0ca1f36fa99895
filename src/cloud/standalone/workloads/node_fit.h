// Whether a pod may be on a node, as the pod and the node's labels and taints say it. Pure.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::cloud::workloads {

bool tolerates(const nlohmann::json& tolerations, const nlohmann::json& taint);
// The node selector and the required node affinity of a pod's spec. `labels`: an object, or null for none.
bool selects_node(const nlohmann::json& pod_spec, const std::string& node, const nlohmann::json& labels);

}  // namespace kubeedge::cloud::workloads
