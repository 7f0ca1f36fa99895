#include "cloud/standalone/default_roles.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/text.h"
#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

constexpr const char* kApi = "rbac.authorization.k8s.io/v1";
constexpr const char* kGroup = "rbac.authorization.k8s.io";
constexpr const char* kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
constexpr const char* kAggregate = "rbac.authorization.k8s.io/aggregate-to-";

constexpr std::string_view kAny = "create delete deletecollection get list patch update watch";
constexpr std::string_view kRead = "get list watch";
constexpr std::string_view kWrite = "create delete deletecollection patch update";

// Words with a space between; the group "core" is "".
struct Line {
  std::string_view verbs, groups, resources, urls = {};
};
struct RoleRow {
  std::string_view name;
  std::string_view part_of = {};      // its rules go into this aggregate, too
  std::string_view aggregate = {};    // it has the rules of those that are part of this
  std::vector<Line> lines = {};
};

const std::vector<RoleRow>& role_rows() {
  static const std::vector<RoleRow> rows = {
      {"cluster-admin", {}, {}, {{"*", "*", "*"}, {"*", {}, {}, "*"}}},
      {"admin", {}, "admin"},
      {"edit", "admin", "edit"},
      {"view", "edit", "view"},
      {"system:aggregate-to-admin", "admin", {},
       {{"create", "authorization.k8s.io", "localsubjectaccessreviews"}, {kAny, kGroup, "rolebindings roles"}}},
      {"system:aggregate-to-edit", "edit", {},
       {{kRead, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"},
        {"impersonate", "core", "serviceaccounts"},
        {kWrite, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"},
        {"create", "core", "pods/eviction"},
        {kWrite, "core", "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy"},
        {"create", "core", "serviceaccounts/token"},
        {kWrite, "apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"},
        {kWrite, "autoscaling", "horizontalpodautoscalers"},
        {kWrite, "batch", "cronjobs jobs"},
        {kWrite, "policy", "poddisruptionbudgets"},
        {kWrite, "networking.k8s.io", "ingresses networkpolicies"},
        {kAny, "coordination.k8s.io", "leases"}}},
      {"system:aggregate-to-view", "view", {},
       {{kRead, "core", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
                        "replicationcontrollers/scale serviceaccounts services services/status"},
        {kRead, "core", "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status"},
        {kRead, "core", "namespaces"},
        {kRead, "discovery.k8s.io", "endpointslices"},
        {kRead, "apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale "
                        "replicasets/status statefulsets statefulsets/scale statefulsets/status"},
        {kRead, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"},
        {kRead, "batch", "cronjobs cronjobs/status jobs jobs/status"},
        {kRead, "policy", "poddisruptionbudgets poddisruptionbudgets/status"},
        {kRead, "networking.k8s.io", "ingresses ingresses/status networkpolicies"}}},
      // Ours: who may edit a namespace may edit its devices and rules.
      {"kubeedge:aggregate-to-edit", "edit", {},
       {{kWrite, "devices.kubeedge.io", "devicemodels devices"}, {kWrite, "rules.kubeedge.io", "ruleendpoints rules"}, {kWrite, "apps.kubeedge.io", "edgeapplications"}}},
      {"kubeedge:aggregate-to-view", "view", {},
       {{kRead, "devices.kubeedge.io", "devicemodels devices devices/status devicestatuses"},
        {kRead, "rules.kubeedge.io", "ruleendpoints rules rules/status"},
        {kRead, "apps.kubeedge.io", "edgeapplications edgeapplications/status"}}},
      {"system:discovery", {}, {}, {{"get", {}, {}, "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"}}},
      {"system:basic-user", {}, {},
       {{"create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"}, {"create", "authentication.k8s.io", "selfsubjectreviews"}}},
      {"system:public-info-viewer", {}, {}, {{"get", {}, {}, "/healthz /livez /readyz /version /version/"}}},
      {"system:monitoring", {}, {}, {{"get", {}, {}, "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"}}},
      {"system:auth-delegator", {}, {},
       {{"create", "authentication.k8s.io", "tokenreviews"}, {"create", "authorization.k8s.io", "subjectaccessreviews"}}},
      {"system:node-proxier", {}, {},
       {{"list watch", "core", "endpoints services"}, {kRead, "core", "nodes"}, {"create patch update", "core events.k8s.io", "events"},
        {"list watch", "discovery.k8s.io", "endpointslices"}}},
      {"system:node-problem-detector", {}, {},
       {{"get", "core", "nodes"}, {"patch", "core", "nodes/status"}, {"create patch update", "core events.k8s.io", "events"}}},
      {"system:persistent-volume-provisioner", {}, {},
       {{"create delete get list watch", "core", "persistentvolumes"}, {"get list update watch", "core", "persistentvolumeclaims"},
        {kRead, "storage.k8s.io", "storageclasses"}, {"watch", "core", "events"}, {"create patch update", "core events.k8s.io", "events"}}},
  };
  return rows;
}

struct BindingRow {
  const char* name;                       // of the binding and of its role
  std::vector<const char*> groups;
};
const std::vector<BindingRow>& binding_rows() {
  static const std::vector<BindingRow> rows = {{"cluster-admin", {"system:masters"}},
                                               {"system:discovery", {"system:authenticated"}},
                                               {"system:basic-user", {"system:authenticated"}},
                                               {"system:public-info-viewer", {"system:authenticated", "system:unauthenticated"}},
                                               {"system:monitoring", {"system:monitoring"}}};
  return rows;
}

json words(std::string_view text) {
  json out = json::array();
  for (const std::string& word : base::split(text, ' ')) out.push_back(word == "core" ? "" : word);
  return out;
}

json rule(const Line& line) {
  if (!line.urls.empty()) return {{"nonResourceURLs", words(line.urls)}, {"verbs", words(line.verbs)}};
  return {{"apiGroups", words(line.groups)}, {"resources", words(line.resources)}, {"verbs", words(line.verbs)}};
}

json object(const char* kind, std::string_view name) {
  return {{"apiVersion", kApi},
          {"kind", kind},
          {"metadata", {{"name", name}, {"labels", {{"kubernetes.io/bootstrapping", "rbac-defaults"}}}, {"annotations", {{kAutoUpdate, "true"}}}}}};
}

}  // namespace

std::vector<json> default_cluster_roles() {
  std::vector<json> out;
  for (const RoleRow& row : role_rows()) {
    json role = object("ClusterRole", row.name);
    if (!row.part_of.empty()) role["metadata"]["labels"][kAggregate + std::string(row.part_of)] = "true";
    if (!row.aggregate.empty()) {
      const json chosen = {{"matchLabels", {{kAggregate + std::string(row.aggregate), "true"}}}};
      role["aggregationRule"] = {{"clusterRoleSelectors", json::array({chosen})}};
    }
    role["rules"] = json::array();
    for (const Line& line : row.lines) role["rules"].push_back(rule(line));
    out.push_back(std::move(role));
  }
  return out;
}

std::vector<json> default_cluster_role_bindings() {
  std::vector<json> out;
  for (const BindingRow& row : binding_rows()) {
    json binding = object("ClusterRoleBinding", row.name);
    binding["roleRef"] = {{"apiGroup", kGroup}, {"kind", "ClusterRole"}, {"name", row.name}};
    binding["subjects"] = json::array();
    for (const char* group : row.groups) binding["subjects"].push_back({{"apiGroup", kGroup}, {"kind", "Group"}, {"name", group}});
    out.push_back(std::move(binding));
  }
  return out;
}

std::optional<json> completed(const json& stored, const json& wanted, const char* field) {
  if (json_text(stored, {"metadata", "annotations", kAutoUpdate}) != "true") return std::nullopt;
  json list = json_at(stored, {field});
  if (!list.is_array()) list = json::array();
  const std::size_t before = list.size();
  for (const json& item : json_at(wanted, {field}))
    if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
  return list.size() == before ? std::nullopt : std::optional(std::move(list));
}

}  // namespace kubeedge::cloud
