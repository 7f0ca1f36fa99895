#include "kube/rbac/aggregate.h"

#include <algorithm>

#include "kube/schema/causes.h"
#include "kube/schema/label_selector.h"

namespace kubeedge::kube::rbac {
using nlohmann::json;
using schema::at;
using schema::list_at;

std::optional<json> aggregated_rules(const json& role, const std::vector<json>& all) {
  const json& selectors = list_at(at(role, "aggregationRule"), "clusterRoleSelectors");
  if (selectors.empty()) return std::nullopt;
  json rules = json::array();
  for (const json& selector : selectors) {
    for (const json& other : all) {
      const json& metadata = at(other, "metadata");
      if (at(metadata, "name") == at(at(role, "metadata"), "name") || !schema::selects(selector, at(metadata, "labels"))) continue;
      for (const json& rule : list_at(other, "rules"))
        if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
    }
  }
  const json& now = at(role, "rules");
  if (now == rules || (now.is_null() && rules.empty())) return std::nullopt;
  return rules;
}

}  // namespace kubeedge::kube::rbac
