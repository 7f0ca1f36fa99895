// One rule of a Role or ClusterRole: what it allows, whether rules cover others, and how Kubernetes writes them down. Pure.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kube/rest/api_server.h"

namespace kubeedge::kube::rbac {

struct Rule {
  std::vector<std::string> verbs, groups, resources, names, urls;
  bool operator==(const Rule&) const = default;
};

// A stored PolicyRule and back; what is of the wrong type is left out.
Rule rule_of(const nlohmann::json& policy_rule);
std::vector<Rule> rules_of(const nlohmann::json& role);
nlohmann::json json_of(const Rule& rule);

bool allows(const Rule& rule, const Attributes& wanted);

// The parts of `asked` (one verb, one resource or URL each) that no rule of `held` covers; those of one resource are put together.
std::vector<Rule> missing(const std::vector<Rule>& held, const std::vector<Rule>& asked);

// {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
std::string describe(const Rule& rule);

}  // namespace kubeedge::kube::rbac
