#include "cloud/standalone/authorizer.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

constexpr std::string_view kNodePrefix = "system:node:";

constexpr std::size_t kMostAuditText = 256;   // bytes of a name that a client made up
constexpr std::array<const char*, 4> kRbacResources = {"clusterroles", "roles", "clusterrolebindings", "rolebindings"};

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

// Kubernetes' Node authorizer: what a kubelet may do to others' objects, and to none of another node.
bool node_may(const kube::Storage& storage, const std::string& node, const kube::Attributes& wanted) {
  const auto& [verb, group, version, resource, subresource, ns, name, path] = wanted;
  const bool reads_one = (verb == "get" || verb == "list" || verb == "watch") && !name.empty();
  if (resource == "leases") return group == "coordination.k8s.io" && ns == "kube-node-lease" && (verb == "create" || name == node);
  if (resource.empty() || !group.empty()) return false;
  if (resource == "nodes") return verb == "create" || (name == node && (verb == "get" || verb == "update" || verb == "patch"));
  if (resource == "events") return verb == "create" || verb == "patch" || verb == "update";
  if (resource == "pods") {
    if (verb != "get" && verb != "delete" && !(subresource == "status" && (verb == "patch" || verb == "update"))) return false;
    return !name.empty() && any_pod(storage, node, ns, [&](const json& pod) { return text_at(pod, "metadata", "name") == wanted.name; });
  }
  const auto pod_names = [&](std::vector<std::string> holders) {
    return any_pod(storage, node, wanted.ns, [&](const json& pod) { return pod.contains("spec") && mentions(pod["spec"], holders, wanted.name); });
  };
  if (resource == "secrets") return reads_one && pod_names({"secret", "secretRef", "secretKeyRef", "imagePullSecrets"});
  if (resource == "configmaps") return reads_one && (name == "kube-root-ca.crt" || pod_names({"configMap", "configMapRef", "configMapKeyRef"}));
  if (resource == "serviceaccounts") {
    if (!(reads_one || (subresource == "token" && verb == "create"))) return false;
    return any_pod(storage, node, ns, [&](const json& pod) {
      const std::string account = text_at(pod, "spec", "serviceAccountName");
      return (account.empty() ? "default" : account) == wanted.name;
    });
  }
  return false;
}

}  // namespace

std::string node_of(const kube::UserInfo& user) {
  if (!kube::rbac::in_group(user, "system:nodes") || !user.name.starts_with(kNodePrefix)) return "";
  return user.name.substr(kNodePrefix.size());
}

std::string refusal_line(const kube::UserInfo& user, const kube::Attributes& wanted, const std::string& reason) {
  const auto shown = [](const std::string& text) { return kube::rest::go_quoted(text.substr(0, kMostAuditText)); };
  std::string out = fmt::format("refused user={} verb={}", shown(user.name), shown(wanted.verb));
  if (wanted.resource.empty()) return out + " path=" + shown(wanted.path);
  const std::string resource = wanted.resource + (wanted.group.empty() ? "" : "." + wanted.group) + (wanted.subresource.empty() ? "" : "/" + wanted.subresource);
  out += " resource=" + shown(resource);
  if (!wanted.ns.empty()) out += " namespace=" + shown(wanted.ns);
  if (!wanted.name.empty()) out += " name=" + shown(wanted.name);
  if (!reason.empty()) out += " reason=" + shown(reason);
  return out;
}

Authorizer::Authorizer(kube::Storage& storage) : storage_(storage) {
  for (std::size_t i = 0; i < kRbacResources.size(); ++i) follow(kRbacResources[i], subscriptions_[i]);
}

void Authorizer::follow(const std::string& resource, std::unique_ptr<kube::Storage::Subscription>& subscription) {
  const std::string stored = std::string(kube::rbac::kGroup) + "/" + resource;
  for (const kube::StoredObject& object : storage_.list(stored, "")) rbac_.set(resource, object.key.ns, object.key.name, base::parse_json(object.json));
  bool too_old = false;
  subscription = storage_.subscribe(stored, storage_.revision(), [this, resource](const kube::StorageEvent& event) {
    const bool gone = event.type == kube::StorageEvent::Type::kDeleted;
    rbac_.set(resource, event.object.key.ns, event.object.key.name, gone ? json() : base::parse_json(event.object.json));
  }, too_old);
}

kube::Verdict Authorizer::authorize(const kube::UserInfo& user, const kube::Attributes& wanted) const {
  if (kube::rbac::in_group(user, kube::rbac::kMasters)) return {true, ""};
  const std::string node = node_of(user);
  if (!node.empty() && node_may(storage_, node, wanted)) return {true, ""};
  kube::Verdict verdict = rbac_.authorize(user, wanted);
  if (verdict.allowed || node.empty() || wanted.resource.empty()) return verdict;
  const std::string why = fmt::format("no relationship found between node '{}' and this object", node);
  verdict.reason = verdict.reason.empty() ? why : why + "\n" + verdict.reason;
  return verdict;
}

json Authorizer::rules_of(const kube::UserInfo& user, const std::string& ns) const {
  json resources = json::array(), urls = json::array();
  const kube::rbac::Evaluator::Held held = rbac_.rules_of(user, ns);
  for (const kube::rbac::Rule& rule : held.rules) {
    (rule.urls.empty() ? resources : urls).push_back(kube::rbac::json_of(rule));
  }
  const bool node = !node_of(user).empty();
  json out = {{"resourceRules", resources}, {"nonResourceRules", urls}, {"incomplete", node || !held.errors.empty()}};
  if (node) out["evaluationError"] = "node authorizer does not support user rule resolution";
  else if (!held.errors.empty()) out["evaluationError"] = fmt::format("{}", fmt::join(held.errors, ", "));
  return out;
}

}  // namespace kubeedge::cloud
