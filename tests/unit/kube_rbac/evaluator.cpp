#include <doctest/doctest.h>

#include "kube/rbac/aggregate.h"
#include "kube/rbac/evaluator.h"

using nlohmann::json;
using namespace kubeedge::kube;
using rbac::Evaluator;

namespace {

const UserInfo kAnn{"ann", {"team", "system:authenticated"}};
const UserInfo kBot{"system:serviceaccount:shop:bot", {"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}};
const UserInfo kRoot{"root", {"system:masters"}};

Attributes on(const char* verb, const char* group, const char* resource, const char* ns = "", const char* name = "") {
  Attributes out;
  out.verb = verb;
  out.group = group;
  out.resource = resource;
  if (const std::string text = resource; text.find('/') != std::string::npos) {
    out.resource = text.substr(0, text.find('/'));
    out.subresource = text.substr(text.find('/') + 1);
  }
  out.ns = ns;
  out.name = name;
  return out;
}
Attributes at_path(const char* verb, const char* path) {
  Attributes out;
  out.verb = verb;
  out.path = path;
  return out;
}

json rule(json verbs, json groups, json resources, json names = json::array()) {
  return {{"verbs", std::move(verbs)}, {"apiGroups", std::move(groups)}, {"resources", std::move(resources)}, {"resourceNames", std::move(names)}};
}
json role(const char* name, json rules) { return {{"metadata", {{"name", name}}}, {"rules", std::move(rules)}}; }
json binding(const char* name, const char* kind, const char* of, json subjects) {
  return {{"metadata", {{"name", name}}}, {"roleRef", {{"apiGroup", rbac::kGroup}, {"kind", kind}, {"name", of}}}, {"subjects", std::move(subjects)}};
}
json user(const char* name) { return {{"kind", "User"}, {"apiGroup", rbac::kGroup}, {"name", name}}; }
json group(const char* name) { return {{"kind", "Group"}, {"apiGroup", rbac::kGroup}, {"name", name}}; }
json account(const char* name, const char* ns = "") { return {{"kind", "ServiceAccount"}, {"name", name}, {"namespace", ns}}; }

// One rule in a ClusterRole that ann's group is bound to everywhere.
bool one_rule_allows(const json& the_rule, const Attributes& wanted) {
  Evaluator all;
  all.set("clusterroles", "", "r", role("r", json::array({the_rule})));
  all.set("clusterrolebindings", "", "b", binding("b", "ClusterRole", "r", json::array({group("team")})));
  return all.authorize(kAnn, wanted).allowed;
}

}  // namespace

TEST_CASE("rbac: verbs, groups, resources and their wildcards") {
  const json pods = rule({"get", "list"}, {""}, {"pods"});
  CHECK(one_rule_allows(pods, on("get", "", "pods", "shop", "p")));
  CHECK_FALSE(one_rule_allows(pods, on("delete", "", "pods", "shop", "p")));
  CHECK_FALSE(one_rule_allows(pods, on("get", "", "secrets", "shop", "s")));
  CHECK_FALSE(one_rule_allows(pods, on("get", "apps", "pods", "shop", "p")));
  CHECK(one_rule_allows(rule({"*"}, {"*"}, {"*"}), on("whatever", "any.group", "things/status")));
  CHECK(one_rule_allows(rule({"*"}, {"apps"}, {"deployments"}), on("patch", "apps", "deployments", "shop")));
  CHECK_FALSE(one_rule_allows(rule({"get"}, {"*"}, {"*"}), at_path("get", "/metrics")));
}

TEST_CASE("rbac: subresources are asked for by name, * or */name") {
  CHECK_FALSE(one_rule_allows(rule({"get"}, {""}, {"pods"}), on("get", "", "pods/log", "shop", "p")));
  CHECK(one_rule_allows(rule({"get"}, {""}, {"pods/log"}), on("get", "", "pods/log", "shop", "p")));
  CHECK_FALSE(one_rule_allows(rule({"get"}, {""}, {"pods/log"}), on("get", "", "pods", "shop", "p")));
  CHECK(one_rule_allows(rule({"update"}, {"apps"}, {"*/scale"}), on("update", "apps", "deployments/scale", "shop", "d")));
  CHECK_FALSE(one_rule_allows(rule({"update"}, {"apps"}, {"*/scale"}), on("update", "apps", "deployments", "shop", "d")));
}

TEST_CASE("rbac: resourceNames allow these names and no list of all") {
  const json one = rule({"get", "list", "create"}, {""}, {"configmaps"}, {"mine"});
  CHECK(one_rule_allows(one, on("get", "", "configmaps", "shop", "mine")));
  CHECK(one_rule_allows(one, on("list", "", "configmaps", "shop", "mine")));
  CHECK_FALSE(one_rule_allows(one, on("get", "", "configmaps", "shop", "yours")));
  CHECK_FALSE(one_rule_allows(one, on("list", "", "configmaps", "shop")));
  CHECK_FALSE(one_rule_allows(one, on("create", "", "configmaps", "shop")));
}

TEST_CASE("rbac: paths, whole or by prefix") {
  const json paths = {{"verbs", {"get"}}, {"nonResourceURLs", {"/healthz", "/api/*"}}};
  CHECK(one_rule_allows(paths, at_path("get", "/healthz")));
  CHECK(one_rule_allows(paths, at_path("get", "/api/v1")));
  CHECK_FALSE(one_rule_allows(paths, at_path("get", "/api")));
  CHECK_FALSE(one_rule_allows(paths, at_path("get", "/healthz/etcd")));
  CHECK_FALSE(one_rule_allows(paths, at_path("post", "/healthz")));
  CHECK(one_rule_allows({{"verbs", {"*"}}, {"nonResourceURLs", {"*"}}}, at_path("put", "/anything")));
}

TEST_CASE("rbac: users, groups and service accounts; a RoleBinding ends at its namespace") {
  Evaluator all;
  all.set("clusterroles", "", "reader", role("reader", {rule({"get"}, {""}, {"pods"})}));
  all.set("roles", "shop", "writer", role("writer", {rule({"update"}, {""}, {"pods"})}));
  all.set("rolebindings", "shop", "readers", binding("readers", "ClusterRole", "reader", {user("ann"), account("bot")}));
  all.set("rolebindings", "shop", "writers", binding("writers", "Role", "writer", {account("bot", "shop"), account("bot", "other")}));
  const auto pod = [](const char* verb, const char* ns) { return on(verb, "", "pods", ns, "p"); };
  CHECK(all.authorize(kAnn, pod("get", "shop")).allowed);
  CHECK_FALSE(all.authorize(kAnn, pod("get", "kube-system")).allowed);
  CHECK_FALSE(all.authorize(kAnn, pod("get", "")).allowed);
  CHECK_FALSE(all.authorize(kAnn, pod("update", "shop")).allowed);
  CHECK(all.authorize(kBot, pod("get", "shop")).allowed);       // its namespace is the binding's
  CHECK(all.authorize(kBot, pod("update", "shop")).allowed);
  CHECK(all.authorize({"system:serviceaccount:other:bot", {}}, pod("update", "shop")).allowed);
  CHECK_FALSE(all.authorize({"system:serviceaccount:other:bot", {}}, pod("get", "shop")).allowed);
  CHECK_FALSE(all.authorize({"bot", {}}, pod("get", "shop")).allowed);
  CHECK(all.authorize(kBot, pod("get", "shop")).reason == R"(RBAC: allowed by RoleBinding "readers/shop" of ClusterRole "reader" to ServiceAccount "bot/shop")");
  // A Role does not answer for a ClusterRole of the same name, and what is deleted allows no more.
  all.set("rolebindings", "shop", "wrong", binding("wrong", "ClusterRole", "writer", {user("ann")}));
  const Verdict lost = all.authorize(kAnn, pod("update", "shop"));
  CHECK_FALSE(lost.allowed);
  CHECK(lost.reason == R"(RBAC: clusterrole.rbac.authorization.k8s.io "writer" not found)");
  all.set("rolebindings", "shop", "readers", json());
  CHECK_FALSE(all.authorize(kBot, pod("get", "shop")).allowed);
}

TEST_CASE("rbac: what a user holds in a namespace") {
  Evaluator all;
  all.set("clusterroles", "", "r", role("r", {rule({"get"}, {""}, {"pods"})}));
  all.set("clusterrolebindings", "", "everywhere", binding("everywhere", "ClusterRole", "r", {group("team")}));
  all.set("rolebindings", "shop", "here", binding("here", "Role", "gone", {user("ann")}));
  const Evaluator::Held held = all.rules_of(kAnn, "shop");
  CHECK(held.rules.size() == 1);
  CHECK(held.errors == std::vector<std::string>{R"(role.rbac.authorization.k8s.io "gone" not found)"});
  CHECK(all.rules_of({"nobody", {}}, "shop").rules.empty());
}

TEST_CASE("rbac: nobody grants by a role what he does not hold") {
  Evaluator all;
  all.set("clusterroles", "", "some", role("some", {rule({"get", "list"}, {""}, {"pods"}), rule({"get"}, {""}, {"secrets"}, {"one"})}));
  all.set("clusterrolebindings", "", "b", binding("b", "ClusterRole", "some", {user("ann")}));
  const Attributes create = on("create", rbac::kGroup.data(), "roles", "shop");
  const auto write = [&](const json& rules) { return all.admit(kAnn, create, json(), role("new", rules)); };
  CHECK_FALSE(write({rule({"list"}, {""}, {"pods"})}));
  CHECK_FALSE(write({rule({"get"}, {""}, {"secrets"}, {"one"})}));
  CHECK_FALSE(write({rule({"get"}, {""}, {"pods"}, {"a"})}));
  const auto refused = write({rule({"get", "delete", "watch"}, {""}, {"pods", "secrets"}), {{"verbs", {"get"}}, {"nonResourceURLs", {"/metrics"}}}});
  REQUIRE(refused);
  CHECK(refused->code == 403);
  CHECK(refused->message ==
        "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"ann\" (groups=[\"team\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n"
        "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"watch\"]}\n"
        "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\" \"watch\"]}\n"
        "{NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}");
  CHECK(refused->details == json{{"name", "new"}, {"group", rbac::kGroup}, {"kind", "roles"}});
  CHECK_FALSE(all.admit(kRoot, create, json(), role("new", {rule({"*"}, {"*"}, {"*"})})));
  // A role that holds too much already may still be let go.
  json before = role("new", {rule({"*"}, {"*"}, {"*"})}), after = before;
  before["metadata"]["finalizers"] = {"example.com/x"};
  CHECK_FALSE(all.admit(kAnn, on("update", rbac::kGroup.data(), "roles", "shop", "new"), before, after));
  // "escalate" is leave to.
  all.set("clusterroles", "", "some", role("some", {rule({"escalate"}, {"rbac.authorization.k8s.io"}, {"roles"})}));
  CHECK_FALSE(write({rule({"*"}, {"*"}, {"*"})}));
}

TEST_CASE("rbac: an aggregate is made by those who may all") {
  Evaluator all;
  all.set("clusterroles", "", "most", role("most", {rule({"*"}, {"*"}, {"*"})}));
  all.set("clusterrolebindings", "", "b", binding("b", "ClusterRole", "most", {user("ann")}));
  json gathers = role("gathers", json::array());
  gathers["aggregationRule"] = {{"clusterRoleSelectors", {{{"matchLabels", {{"x", "y"}}}}}}};
  // Her "*" is the verb escalate, too: as in Kubernetes she may.
  CHECK_FALSE(all.admit(kAnn, on("create", rbac::kGroup.data(), "clusterroles"), json(), gathers));
  all.set("clusterroles", "", "most", role("most", {rule({"create"}, {"*"}, {"*"})}));
  const auto refused = all.admit(kAnn, on("create", rbac::kGroup.data(), "clusterroles"), json(), gathers);
  REQUIRE(refused);
  CHECK(refused->message == "clusterroles.rbac.authorization.k8s.io \"gathers\" is forbidden: must have cluster-admin privileges to use the aggregationRule");
}

TEST_CASE("rbac: nobody binds to a role with more than he holds, unless he may bind it") {
  Evaluator all;
  all.set("clusterroles", "", "admin", role("admin", {rule({"*"}, {"*"}, {"*"})}));
  all.set("clusterroles", "", "view", role("view", {rule({"get"}, {""}, {"pods"})}));
  all.set("clusterroles", "", "own", role("own", {rule({"get"}, {""}, {"pods"}), rule({"bind"}, {"rbac.authorization.k8s.io"}, {"clusterroles"}, {"special"})}));
  all.set("clusterroles", "", "special", role("special", {rule({"*"}, {""}, {"secrets"})}));
  all.set("rolebindings", "shop", "b", binding("b", "ClusterRole", "own", {user("ann")}));
  const auto bind = [&](const char* ns, const char* kind, const char* of) {
    const char* resource = *ns == '\0' ? "clusterrolebindings" : "rolebindings";
    return all.admit(kAnn, on("create", rbac::kGroup.data(), resource, ns), json(), binding("new", kind, of, {user("bob")}));
  };
  CHECK_FALSE(bind("shop", "ClusterRole", "view"));
  CHECK_FALSE(bind("shop", "ClusterRole", "special"));
  CHECK(bind("shop", "ClusterRole", "admin")->code == 403);
  CHECK(bind("", "ClusterRole", "view")->code == 403);      // she holds it in one namespace only
  CHECK(bind("shop", "Role", "none")->code == 404);
}

TEST_CASE("rbac: aggregates gather the rules of the roles they choose") {
  const auto labelled = [](const char* name, const char* label, json rules) {
    json out = role(name, std::move(rules));
    out["metadata"]["labels"] = {{label, "true"}};
    return out;
  };
  json view = role("view", json());
  view["aggregationRule"] = {{"clusterRoleSelectors", {{{"matchLabels", {{"to-view", "true"}}}}}}};
  const json get = rule({"get"}, {""}, {"pods"}), list = rule({"list"}, {""}, {"pods"});
  const std::vector<json> all = {labelled("a", "to-view", {get}), labelled("b", "to-view", {get, list}), labelled("c", "to-edit", {rule({"*"}, {"*"}, {"*"})}), view};
  const auto rules = rbac::aggregated_rules(view, all);
  REQUIRE(rules);
  CHECK(*rules == json{get, list});
  view["rules"] = *rules;
  CHECK_FALSE(rbac::aggregated_rules(view, all));
  CHECK_FALSE(rbac::aggregated_rules(all[0], all));
}

TEST_CASE("rbac: malformed objects allow nothing and break nothing") {
  Evaluator all;
  all.set("clusterroles", "", "r", json::parse(R"({"rules":[7,{"verbs":"*"},{"verbs":[1,"get"],"apiGroups":null,"resources":{}}]})"));
  all.set("clusterrolebindings", "", "b", json::parse(R"({"roleRef":[],"subjects":{"kind":"User"}})"));
  all.set("clusterrolebindings", "", "c", json::parse(R"({"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[3,{"kind":"Group","name":"team"}]})"));
  CHECK_FALSE(all.authorize(kAnn, on("get", "", "pods")).allowed);
  CHECK_FALSE(all.authorize(kAnn, at_path("get", "/")).allowed);
  CHECK(all.admit(kAnn, on("create", rbac::kGroup.data(), "rolebindings", "x"), json(), json::array())->code == 404);
}
