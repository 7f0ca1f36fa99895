#include "cloud/standalone/authorizer.h"

#include <algorithm>

#include "base/json.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

constexpr std::string_view kNodePrefix = "system:node:";

bool in_group(const kube::UserInfo& user, std::string_view group) { return std::find(user.groups.begin(), user.groups.end(), group) != user.groups.end(); }

std::string text_at(const json& object, const char* outer, const char* inner) {
  const auto part = object.find(outer);
  if (part == object.end() || !part->is_object()) return "";
  const auto value = part->find(inner);
  return value != part->end() && value->is_string() ? value->get<std::string>() : "";
}

// Does any part of a pod's spec name this object? `key` is the field that names it where `holder` is the parent.
bool mentions(const json& value, const std::vector<std::string>& holders, const std::string& name, bool held = false) {
  if (value.is_array()) return std::any_of(value.begin(), value.end(), [&](const json& item) { return mentions(item, holders, name, held); });
  if (!value.is_object()) return false;
  for (const auto& [key, item] : value.items()) {
    if (held && (key == "name" || key == "secretName") && item.is_string() && item.get_ref<const std::string&>() == name) return true;
    if (mentions(item, holders, name, std::find(holders.begin(), holders.end(), key) != holders.end())) return true;
  }
  return false;
}

// A pod of `node` in `ns` for which `test` holds.
template <class Test>
bool any_pod(const kube::Storage& storage, const std::string& node, const std::string& ns, Test test) {
  for (const kube::StoredObject& object : storage.list("core/pods", ns)) {
    const json pod = base::parse_json(object.json);
    if (pod.is_object() && text_at(pod, "spec", "nodeName") == node && test(pod)) return true;
  }
  return false;
}

bool node_may(const kube::Storage& storage, const std::string& node, const std::string& verb, const std::string& resource,
              const std::string& subresource, const std::string& ns, const std::string& name) {
  const bool reads_one = verb == "get" && !name.empty();
  if (resource == "nodes") return verb == "create" || (name == node && (verb == "get" || verb == "update" || verb == "patch"));
  if (resource == "leases") return ns == "kube-node-lease" && (verb == "create" || name == node);
  if (resource == "events") return verb == "create" || verb == "patch" || verb == "update";
  if (resource == "pods") {
    if (verb != "get" && verb != "delete" && !(subresource == "status" && (verb == "patch" || verb == "update"))) return false;
    return !name.empty() && any_pod(storage, node, ns, [&](const json& pod) { return text_at(pod, "metadata", "name") == name; });
  }
  const auto pod_names = [&](std::vector<std::string> holders) {
    return any_pod(storage, node, ns, [&](const json& pod) { return pod.contains("spec") && mentions(pod["spec"], holders, name); });
  };
  if (resource == "secrets") return reads_one && pod_names({"secret", "secretRef", "secretKeyRef", "imagePullSecrets"});
  if (resource == "configmaps") return reads_one && (name == "kube-root-ca.crt" || pod_names({"configMap", "configMapRef", "configMapKeyRef"}));
  if (resource == "serviceaccounts") {
    if (!(reads_one || (subresource == "token" && verb == "create"))) return false;
    return any_pod(storage, node, ns, [&](const json& pod) {
      const std::string account = text_at(pod, "spec", "serviceAccountName");
      return (account.empty() ? "default" : account) == name;
    });
  }
  return false;
}

}  // namespace

std::string node_of(const kube::UserInfo& user) {
  if (!in_group(user, "system:nodes") || !user.name.starts_with(kNodePrefix)) return "";
  return user.name.substr(kNodePrefix.size());
}

bool authorize(const kube::Storage& storage, const kube::UserInfo& user, const std::string& verb, const std::string& resource,
               const std::string& subresource, const std::string& ns, const std::string& name, std::string& why) {
  if (in_group(user, "system:masters")) return true;
  if (resource.empty()) return true;  // discovery: an authenticated user may see which kinds there are
  const std::string plural = resource.substr(resource.rfind('/') == std::string::npos ? 0 : resource.rfind('/') + 1);
  const std::string node = node_of(user);
  if (node.empty()) {
    why = "standalone does not evaluate RBAC yet: only system:masters and nodes have access";
    return false;
  }
  if (node_may(storage, node, verb, plural, subresource, ns, name)) return true;
  why = "node " + node + " may only touch what is its own";
  return false;
}

}  // namespace kubeedge::cloud
