#include "kube/rest/discovery.h"

#include <set>

#include "base/text.h"
#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {
namespace {

using Json = nlohmann::json;

Json group_json(const std::string& group) {
  Json versions = Json::array();
  std::set<std::string> seen;
  for (const auto part : {schema::kinds(), schema::reviews()})
    for (const schema::Kind& kind : part)
      if (kind.group == group && seen.insert(std::string(kind.version)).second)
        versions.push_back({{"groupVersion", kind.api_version()}, {"version", std::string(kind.version)}});
  if (versions.empty()) return Json();
  return {{"name", group}, {"versions", versions}, {"preferredVersion", versions[0]}};
}

Json resource(const schema::Kind& kind, const std::string& sub, std::vector<std::string> verbs) {
  Json out = {{"name", std::string(kind.plural) + sub}, {"singularName", sub.empty() ? std::string(kind.singular) : ""}, {"namespaced", kind.namespaced},
              {"kind", std::string(kind.kind)}, {"verbs", std::move(verbs)}};
  if (sub.empty() && !kind.short_names.empty()) {
    out["shortNames"] = Json::array();
    for (const std::string_view name : kind.short_names) out["shortNames"].push_back(std::string(name));
  }
  if (sub.empty() && kind.in_all) out["categories"] = {"all"};
  return out;
}

// A subresource whose body is of another kind.
Json subresource(const schema::Kind& kind, const std::string& sub, std::vector<std::string> verbs, const char* group, const char* body) {
  Json out = resource(kind, sub, std::move(verbs));
  out["kind"] = body;
  out["group"] = group;
  out["version"] = "v1";
  return out;
}

}  // namespace

Json version_info(const std::string& git_version) {
  const auto parts = base::split(git_version.starts_with('v') ? git_version.substr(1) : git_version, '.');
  return {{"major", parts[0]}, {"minor", parts.size() > 1 ? parts[1] : "0"}, {"gitVersion", git_version}, {"gitCommit", ""}, {"gitTreeState", ""},
          {"buildDate", ""}, {"goVersion", ""}, {"compiler", ""}, {"platform", "linux/amd64"}};
}

Json api_versions() {
  return {{"kind", "APIVersions"}, {"versions", {"v1"}}, {"serverAddressByClientCIDRs", Json::array({{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", ""}}})}};
}

Json api_group_list() {
  Json groups = Json::array();
  std::set<std::string> seen;
  for (const auto part : {schema::kinds(), schema::reviews()})
    for (const schema::Kind& kind : part)
      if (!kind.group.empty() && seen.insert(std::string(kind.group)).second) groups.push_back(group_json(std::string(kind.group)));
  return {{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", groups}};
}

std::optional<Json> api_group(const std::string& group) {
  Json out = group_json(group);
  if (out.is_null()) return std::nullopt;
  out["kind"] = "APIGroup";
  out["apiVersion"] = "v1";
  return out;
}

std::optional<Json> api_resource_list(const std::string& group, const std::string& version) {
  Json resources = Json::array();
  for (const schema::Kind& kind : schema::kinds()) {
    if (kind.group != group || kind.version != version) continue;
    resources.push_back(resource(kind, "", {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}));
    if (kind.status) resources.push_back(resource(kind, "/status", {"get", "patch", "update"}));
    if (kind.scale) resources.push_back(subresource(kind, "/scale", {"get", "patch", "update"}, "autoscaling", "Scale"));
    if (!kind.group.empty()) continue;
    if (kind.kind == "Pod") {
      Json binding = resource(kind, "/binding", {"create"});
      binding["kind"] = "Binding";
      resources.push_back(binding);
      resources.push_back(subresource(kind, "/eviction", {"create"}, "policy", "Eviction"));
      resources.push_back(resource(kind, "/log", {"get"}));
      for (const auto& [sub, options] : {std::pair{"/attach", "PodAttachOptions"}, {"/exec", "PodExecOptions"}, {"/portforward", "PodPortForwardOptions"}}) {
        Json stream = resource(kind, sub, {"create", "get"});
        stream["kind"] = options;
        resources.push_back(stream);
      }
    }
    if (kind.kind == "ServiceAccount") resources.push_back(subresource(kind, "/token", {"create"}, "authentication.k8s.io", "TokenRequest"));
  }
  for (const schema::Kind& kind : schema::reviews())
    if (kind.group == group && kind.version == version) resources.push_back(resource(kind, "", {"create"}));
  if (resources.empty()) return std::nullopt;
  return Json{{"kind", "APIResourceList"}, {"apiVersion", "v1"}, {"groupVersion", group.empty() ? version : group + "/" + version}, {"resources", resources}};
}

}  // namespace kubeedge::kube::rest
