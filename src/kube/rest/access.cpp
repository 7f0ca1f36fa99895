#include "kube/rest/access.h"

#include <algorithm>

#include "base/text.h"
#include "kube/rest/selector.h"

namespace kubeedge::kube::rest {
namespace {

constexpr std::string_view kAccountPrefix = "system:serviceaccount:";

std::string verb_of(const ApiRequest& request, const Target& target, const Query& query) {
  const std::string& method = request.method;
  if (method == "GET" || method == "HEAD") return query.watch ? "watch" : target.name.empty() ? "list" : "get";
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return target.name.empty() ? "deletecollection" : "delete";
  return "";
}

// namespace and name of "system:serviceaccount:NS:NAME".
std::optional<std::pair<std::string, std::string>> account_of(const std::string& user) {
  if (!user.starts_with(kAccountPrefix)) return std::nullopt;
  const auto colon = user.find(':', kAccountPrefix.size());
  if (colon == std::string::npos) return std::nullopt;
  return std::pair(user.substr(kAccountPrefix.size(), colon - kAccountPrefix.size()), user.substr(colon + 1));
}

}  // namespace

Attributes attributes_of(const ApiRequest& request, const Target* target, const schema::Kind* kind, const Query& query) {
  Attributes out;
  if (target == nullptr || target->plural.empty()) {
    out.verb = request.method == "HEAD" ? "get" : base::lower(request.method);
    out.path = request.path;
    return out;
  }
  out.verb = verb_of(request, *target, query);
  out.group = target->group;
  out.version = target->version;
  out.resource = target->plural;
  out.subresource = target->subresource;
  out.ns = target->ns.empty() && target->plural == "namespaces" ? target->name : target->ns;
  out.name = target->name;
  if (!out.name.empty() || kind == nullptr || (out.verb != "list" && out.verb != "watch")) return out;
  // A list or watch of one name: a rule with resourceNames can allow it. Read by the parser that will select.
  if (const Result<FieldSelector> selector = FieldSelector::parse(*kind, query.field_selector)) out.name = selector->name().value_or("");
  return out;
}

std::vector<Attributes> impersonation(const UserInfo& as) {
  std::vector<Attributes> out;
  Attributes wanted;
  wanted.verb = "impersonate";
  wanted.version = "v1";
  wanted.resource = "users";
  wanted.name = as.name;
  if (const auto account = account_of(as.name)) {
    wanted.resource = "serviceaccounts";
    std::tie(wanted.ns, wanted.name) = *account;
  }
  out.push_back(wanted);
  wanted.ns.clear();
  wanted.resource = "groups";
  for (const std::string& group : as.groups) {
    wanted.name = group;
    out.push_back(wanted);
  }
  if (as.uid.empty()) return out;
  wanted.group = "authentication.k8s.io";
  wanted.resource = "uids";
  wanted.name = as.uid;
  out.push_back(wanted);
  return out;
}

UserInfo impersonated(UserInfo as) {
  if (const auto account = account_of(as.name); account && as.groups.empty())
    as.groups = {"system:serviceaccounts", "system:serviceaccounts:" + account->first};
  constexpr std::string_view kAuthenticated = "system:authenticated";
  if (as.name != "system:anonymous" && std::find(as.groups.begin(), as.groups.end(), kAuthenticated) == as.groups.end())
    as.groups.emplace_back(kAuthenticated);
  return as;
}

Failure refused(const UserInfo& user, const Attributes& wanted, const std::string& why) {
  const std::string reason = why.empty() ? "" : ": " + why;
  if (wanted.resource.empty())
    return {403, "Forbidden", fmt::format("forbidden: User {} cannot {} path {}{}", go_quoted(user.name), wanted.verb, go_quoted(wanted.path), reason), Json::object()};
  const std::string resource = wanted.subresource.empty() ? wanted.resource : wanted.resource + "/" + wanted.subresource;
  const std::string scope = wanted.ns.empty() ? "at the cluster scope" : "in the namespace " + go_quoted(wanted.ns);
  return forbidden_object(wanted.group, wanted.resource, wanted.name,
                          fmt::format("User {} cannot {} resource {} in API group {} {}{}", go_quoted(user.name), wanted.verb, go_quoted(resource), go_quoted(wanted.group), scope, reason));
}

}  // namespace kubeedge::kube::rest
