// Roles and their bindings: defaults, and what Kubernetes refuses.
#include "kube/schema/causes.h"
#include "kube/schema/syntax.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::string_view kRbac = "rbac.authorization.k8s.io";

void validate_rule(const Json& rule, bool namespaced, const std::string& path, Causes& causes) {
  if (list_at(rule, "verbs").empty()) causes.required(child(path, "verbs"), "verbs must contain at least one value");
  const Json& groups = list_at(rule, "apiGroups");
  const Json& resources = list_at(rule, "resources");
  if (const Json& urls = list_at(rule, "nonResourceURLs"); !urls.empty()) {
    if (namespaced) causes.invalid(child(path, "nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs");
    if (!groups.empty() || !resources.empty() || !list_at(rule, "resourceNames").empty())
      causes.invalid(child(path, "nonResourceURLs"), urls, "rules cannot apply to both regular resources and non-resource URLs");
    return;
  }
  if (groups.empty()) causes.required(child(path, "apiGroups"), "resource rules must supply at least one api group");
  if (resources.empty()) causes.required(child(path, "resources"), "resource rules must supply at least one resource");
}

void validate_role(const Json& role, bool namespaced, Causes& causes) {
  const Json& rules = list_at(role, "rules");
  for (std::size_t i = 0; i < rules.size(); ++i) validate_rule(rules[i], namespaced, child("rules", i), causes);
  const Json& aggregation = at(role, "aggregationRule");
  if (aggregation.is_object() && list_at(aggregation, "clusterRoleSelectors").empty())
    causes.required("aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required if aggregationRule is non-nil");
}

void validate_subject(const Json& subject, bool namespaced, const std::string& path, Causes& causes) {
  const std::string& name = text_at(subject, "name");
  const std::string& kind = text_at(subject, "kind");
  const std::string& group = text_at(subject, "apiGroup");
  if (name.empty()) causes.required(child(path, "name"));
  if (kind == "ServiceAccount") {
    if (!name.empty()) causes.invalid(child(path, "name"), name, dns1123_subdomain(name));
    if (!group.empty()) causes.unsupported(child(path, "apiGroup"), group, {""});
    if (!namespaced && text_at(subject, "namespace").empty()) causes.required(child(path, "namespace"));
  } else if (kind == "User" || kind == "Group") {
    if (group != kRbac) causes.unsupported(child(path, "apiGroup"), group, {kRbac});
  } else {
    causes.unsupported(child(path, "kind"), kind, {"Group", "ServiceAccount", "User"});
  }
}

void validate_binding(const Json& binding, bool namespaced, Causes& causes) {
  const Json& role = at(binding, "roleRef");
  const std::string& kind = text_at(role, "kind");
  const std::string& name = text_at(role, "name");
  if (text_at(role, "apiGroup") != kRbac) causes.unsupported("roleRef.apiGroup", text_at(role, "apiGroup"), {kRbac});
  if (namespaced && kind != "Role" && kind != "ClusterRole") causes.unsupported("roleRef.kind", kind, {"ClusterRole", "Role"});
  if (!namespaced && kind != "ClusterRole") causes.unsupported("roleRef.kind", kind, {"ClusterRole"});
  if (name.empty()) causes.required("roleRef.name");
  else causes.invalid("roleRef.name", name, path_segment(name));
  const Json& subjects = list_at(binding, "subjects");
  for (std::size_t i = 0; i < subjects.size(); ++i) validate_subject(subjects[i], namespaced, child("subjects", i), causes);
}

}  // namespace

void default_rbac(Json& object) {
  if (at(object, "roleRef").is_object() && text_at(object["roleRef"], "apiGroup").empty()) object["roleRef"]["apiGroup"] = kRbac;
  if (list_at(object, "subjects").empty()) return;
  for (Json& subject : object["subjects"]) {
    const std::string kind = text_at(subject, "kind");
    if (text_at(subject, "apiGroup").empty() && (kind == "User" || kind == "Group")) subject["apiGroup"] = kRbac;
  }
}

void validate_rbac(const Kind& kind, const Json& object, Causes& causes) {
  kind.kind.ends_with("Binding") ? validate_binding(object, kind.namespaced, causes) : validate_role(object, kind.namespaced, causes);
}

void validate_rbac_update(const Json& before, const Json& after, Causes& causes) {
  const Json& role = at(after, "roleRef");
  if (at(before, "roleRef") == role) return;
  const auto shown = [&](const char* name) { return base::dump_json(Json(text_at(role, name))); };
  causes.invalid_raw("roleRef", "rbac.RoleRef{APIGroup:" + shown("apiGroup") + ", Kind:" + shown("kind") + ", Name:" + shown("name") + "}", "cannot change roleRef");
}

}  // namespace kubeedge::kube::schema
