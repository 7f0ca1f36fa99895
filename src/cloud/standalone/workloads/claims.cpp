#include "cloud/standalone/workloads/claims.h"

#include "cloud/standalone/json_at.h"
#include "kube/schema/label_selector.h"

namespace kubeedge::cloud::workloads {

using nlohmann::json;

std::string controller_uid(const json& owner_references) {
  if (!owner_references.is_array()) return "";
  for (const json& owner : owner_references)
    if (json_at(owner, {"controller"}) == true) return json_text(owner, {"uid"});
  return "";
}

Plan plan_claims(const json& parent, const kube::Resource& resource, const std::vector<Claimable>& candidates) {
  Plan plan;
  const json& selector = json_at(parent, {"spec", "selector"});
  const std::string uid = meta_text(parent, "uid");
  if (deleting(parent) || kube::schema::selects_all(selector)) return plan;
  for (const Claimable& one : candidates) {
    const bool mine = one.owner == uid, chosen = kube::schema::selects(selector, one.labels);
    if (one.deleting || mine == chosen || (!mine && !one.owner.empty())) continue;
    const json reference = mine ? json{{"$patch", "delete"}, {"uid", uid}} : owner_reference(parent);
    plan.patch(resource, {{"metadata", {{"namespace", one.ns}, {"name", one.name}, {"uid", one.uid}}}}, {{"metadata", {{"ownerReferences", json::array({reference})}}}});
  }
  return plan;
}

}  // namespace kubeedge::cloud::workloads
