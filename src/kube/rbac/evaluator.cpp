#include "kube/rbac/evaluator.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "kube/schema/causes.h"

namespace kubeedge::kube::rbac {
namespace {

using nlohmann::json;
using rest::Failure;
using rest::go_quoted;
using schema::at;
using schema::list_at;
using schema::text_at;

std::string not_there(const std::string& kind, const std::string& name) {
  return fmt::format("{}.{} {} not found", base::lower(kind), kGroup, go_quoted(name));
}

// Several errors as Go's aggregates print them, each once.
std::string joined(const std::vector<std::string>& errors) {
  std::vector<std::string> unique;
  for (const std::string& error : errors)
    if (std::find(unique.begin(), unique.end(), error) == unique.end()) unique.push_back(error);
  return unique.size() == 1 ? unique.front() : fmt::format("[{}]", fmt::join(unique, ", "));
}

bool aggregates(const json& role) { return !list_at(at(role, "aggregationRule"), "clusterRoleSelectors").empty(); }

// What only the garbage collector changes grants nothing.
bool only_ownership_changed(json before, json after) {
  if (before.is_null()) return false;
  for (json* object : {&before, &after})
    for (const char* field : {"ownerReferences", "finalizers", "resourceVersion", "generation", "managedFields"}) (*object)["metadata"].erase(field);
  return before == after;
}

const std::vector<Rule> kEverything = {{{"*"}, {"*"}, {"*"}, {}, {}}, {{"*"}, {}, {}, {}, {"*"}}};

}  // namespace

bool in_group(const UserInfo& user, std::string_view group) { return std::find(user.groups.begin(), user.groups.end(), group) != user.groups.end(); }

void Evaluator::set(std::string_view resource, const std::string& ns, const std::string& name, const json& object) {
  if (resource == "roles" || resource == "clusterroles") {
    object.is_null() ? void(roles_[ns].erase(name)) : void(roles_[ns][name] = kube::rbac::rules_of(object));
    return;
  }
  if (resource != "rolebindings" && resource != "clusterrolebindings") return;
  if (object.is_null()) return void(bindings_[ns].erase(name));
  const json& role = at(object, "roleRef");
  Binding binding{text_at(role, "kind"), text_at(role, "name"), {}};
  for (const json& subject : list_at(object, "subjects")) binding.subjects.push_back({text_at(subject, "kind"), text_at(subject, "name"), text_at(subject, "namespace")});
  bindings_[ns][name] = std::move(binding);
}

const Evaluator::Subject* Evaluator::subject_for(const UserInfo& user, const Binding& binding, const std::string& ns) {
  const auto found = std::find_if(binding.subjects.begin(), binding.subjects.end(), [&](const Subject& subject) {
    if (subject.kind == "User") return subject.name == user.name;
    if (subject.kind == "Group") return in_group(user, subject.name);
    const std::string& home = subject.ns.empty() ? ns : subject.ns;
    return subject.kind == "ServiceAccount" && !home.empty() && user.name == fmt::format("system:serviceaccount:{}:{}", home, subject.name);
  });
  return found == binding.subjects.end() ? nullptr : &*found;
}

const std::vector<Rule>* Evaluator::rules_behind(const std::string& kind, const std::string& name, const std::string& ns) const {
  const auto space = roles_.find(kind == "ClusterRole" ? "" : ns);
  if (space == roles_.end()) return nullptr;
  const auto role = space->second.find(name);
  return role == space->second.end() ? nullptr : &role->second;
}

template <class See, class Lost>
void Evaluator::visit(const UserInfo& user, const std::string& ns, See see, Lost lost) const {
  std::vector<std::string> scopes = {""};
  if (!ns.empty()) scopes.push_back(ns);
  for (const std::string& scope : scopes) {
    const auto found = bindings_.find(scope);
    if (found == bindings_.end()) continue;
    for (const auto& [name, binding] : found->second) {
      const Subject* subject = subject_for(user, binding, scope);
      if (subject == nullptr) continue;
      const std::vector<Rule>* rules = rules_behind(binding.role_kind, binding.role_name, scope);
      if (rules == nullptr) {
        lost(not_there(binding.role_kind, binding.role_name));
        continue;
      }
      for (const Rule& rule : *rules)
        if (!see(rule, scope, name, binding, *subject)) return;
    }
  }
}

Verdict Evaluator::authorize(const UserInfo& user, const Attributes& wanted) const {
  Verdict out;
  std::vector<std::string> errors;
  visit(
      user, wanted.ns,
      [&](const Rule& rule, const std::string& scope, const std::string& name, const Binding& binding, const Subject& subject) {
        if (!allows(rule, wanted)) return true;
        std::string who = subject.name;
        if (subject.kind == "ServiceAccount") who += "/" + (subject.ns.empty() ? scope : subject.ns);
        out.allowed = true;
        out.reason = fmt::format("RBAC: allowed by {} {} of {} {} to {} {}", scope.empty() ? "ClusterRoleBinding" : "RoleBinding",
                                 go_quoted(scope.empty() ? name : name + "/" + scope), binding.role_kind, go_quoted(binding.role_name), subject.kind, go_quoted(who));
        return false;
      },
      [&](std::string error) { errors.push_back(std::move(error)); });
  if (!out.allowed && !errors.empty()) out.reason = "RBAC: " + joined(errors);
  return out;
}

Evaluator::Held Evaluator::rules_of(const UserInfo& user, const std::string& ns) const {
  Held out;
  visit(
      user, ns,
      [&](const Rule& rule, const auto&...) {
        out.rules.push_back(rule);
        return true;
      },
      [&](std::string error) { out.errors.push_back(std::move(error)); });
  return out;
}

// What of `asked` the user does not hold, in the words of the refusal.
std::optional<std::string> Evaluator::lacking(const UserInfo& user, const std::string& ns, const std::vector<Rule>& asked) const {
  const Held held = rules_of(user, ns);
  const std::vector<Rule> lacks = missing(held.rules, asked);
  if (lacks.empty()) return std::nullopt;
  std::set<std::string> lines;
  for (const Rule& rule : lacks) lines.insert(describe(rule));
  std::string groups;
  for (const std::string& group : user.groups) groups += (groups.empty() ? "" : " ") + go_quoted(group);
  std::string out = fmt::format("user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}", go_quoted(user.name), groups, fmt::join(lines, "\n"));
  if (!held.errors.empty()) out += fmt::format("; resolution errors: [{}]", joined(held.errors));
  return out;
}

std::optional<Failure> Evaluator::admit(const UserInfo& user, const Attributes& wanted, const json& before, const json& after) const {
  if (wanted.group != kGroup || in_group(user, kMasters)) return std::nullopt;
  if (only_ownership_changed(before, after)) return std::nullopt;
  if (wanted.resource == "roles" || wanted.resource == "clusterroles") return admit_role(user, wanted, before, after);
  if (wanted.resource == "rolebindings" || wanted.resource == "clusterrolebindings") return admit_binding(user, wanted, after);
  return std::nullopt;
}

std::optional<Failure> Evaluator::admit_role(const UserInfo& user, const Attributes& wanted, const json& before, const json& after) const {
  Attributes escalation = wanted;
  escalation.verb = "escalate";
  if (authorize(user, escalation).allowed) return std::nullopt;
  const std::string name = text_at(at(after, "metadata"), "name");
  if (const auto why = lacking(user, wanted.ns, kube::rbac::rules_of(after))) return rest::forbidden_object(wanted.group, wanted.resource, name, *why);
  // An aggregate gathers whatever there will be.
  if ((aggregates(before) || aggregates(after)) && lacking(user, wanted.ns, kEverything))
    return rest::forbidden_object(wanted.group, wanted.resource, name, "must have cluster-admin privileges to use the aggregationRule");
  return std::nullopt;
}

std::optional<Failure> Evaluator::admit_binding(const UserInfo& user, const Attributes& wanted, const json& after) const {
  const json& role = at(after, "roleRef");
  const std::string kind = text_at(role, "kind"), role_name = text_at(role, "name");
  Attributes bind;
  bind.verb = "bind";
  bind.group = kGroup;
  bind.resource = kind == "ClusterRole" ? "clusterroles" : "roles";
  bind.ns = wanted.ns;
  bind.name = role_name;
  if (authorize(user, bind).allowed) return std::nullopt;
  const std::vector<Rule>* rules = rules_behind(kind, role_name, wanted.ns);
  if (rules == nullptr)
    return Failure{404, "NotFound", not_there(kind, role_name), {{"name", role_name}, {"group", kGroup}, {"kind", base::lower(kind)}}};
  if (const auto why = lacking(user, wanted.ns, *rules))
    return rest::forbidden_object(wanted.group, wanted.resource, text_at(at(after, "metadata"), "name"), *why);
  return std::nullopt;
}

}  // namespace kubeedge::kube::rbac
