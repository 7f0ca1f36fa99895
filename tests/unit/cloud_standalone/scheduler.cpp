#include <doctest/doctest.h>

#include "cloud/standalone/authorizer.h"
#include "cloud/standalone/default_roles.h"
#include "cloud/standalone/binder.h"

using namespace kubeedge;
using cloud::Scheduler;
using nlohmann::json;

namespace {

json node(const char* name, const char* cpu = "2", const char* ready = "True") {
  return {{"metadata", {{"name", name}, {"labels", {{"zone", name}}}}},
          {"status", {{"allocatable", {{"cpu", cpu}, {"memory", "1Gi"}, {"pods", "2"}}}, {"conditions", {{{"type", "Ready"}, {"status", ready}}}}}}};
}

json pod(const char* name, const char* cpu = "500m") {
  return {{"metadata", {{"namespace", "default"}, {"name", name}}},
          {"spec", {{"containers", {{{"name", "c"}, {"resources", {{"requests", {{"cpu", cpu}}}}}}}}}}};
}

// Only get() and list() of pods matter to the authorizer.
class Pods final : public kube::Storage {
 public:
  std::uint64_t revision() const override { return 1; }
  std::optional<kube::StoredObject> get(const kube::StorageKey&) const override { return std::nullopt; }
  std::vector<kube::StoredObject> list(const std::string& resource, const std::string&) const override {
    if (resource != "core/pods") return {};
    return {{{"core/pods", "default", "web"}, 1,
             Bytes(R"({"metadata":{"name":"web"},"spec":{"nodeName":"edge1","serviceAccountName":"robot","volumes":[{"name":"v","configMap":{"name":"conf"}}],)"
                   R"("containers":[{"name":"db-pass","env":[{"valueFrom":{"secretKeyRef":{"name":"pass","key":"k"}}}]}]}})")}};
  }
  void put(const kube::StorageKey&, std::uint64_t, std::function<Bytes(std::uint64_t)>, unique_function<void(Result<kube::StoredObject>)>) override {}
  void remove(const kube::StorageKey&, std::uint64_t, std::function<Bytes(std::uint64_t)>, unique_function<void(Result<kube::StoredObject>)>) override {}
  std::unique_ptr<Subscription> subscribe(const std::string&, std::uint64_t, std::function<void(const kube::StorageEvent&)>, bool&) override { return nullptr; }
};

}  // namespace

TEST_CASE("scheduler: quantities") {
  CHECK(cloud::milli_quantity("250m") == 250);
  CHECK(cloud::milli_quantity("2") == 2000);
  CHECK(cloud::milli_quantity("0.5") == 500);
  CHECK(cloud::milli_quantity("1Mi") == 1048576000);
  CHECK(cloud::milli_quantity("what") == 0);
  CHECK(cloud::milli_quantity("1Zz") == 0);
}

TEST_CASE("scheduler: the least loaded node that fits, or why none does") {
  Scheduler scheduler;
  std::string why;
  CHECK(scheduler.choose(pod("a"), why).empty());
  CHECK(why == "no nodes available to schedule pods");
  scheduler.set_node(node("n1"));
  scheduler.set_node(node("n2"));
  const std::string first = scheduler.choose(pod("a"), why);
  scheduler.assume("default/a", pod("a"), first);
  const std::string second = scheduler.choose(pod("b"), why);
  CHECK(first != second);
  CHECK(scheduler.choose(pod("big", "3"), why).empty());
  CHECK(why == "0/2 nodes are available: 2 Insufficient cpu");
  json picky = pod("picky");
  picky["spec"]["nodeSelector"] = {{"zone", "n2"}};
  CHECK(scheduler.choose(picky, why) == "n2");
  json tainted = node("n1");
  tainted["spec"]["taints"] = {{{"key", "k"}, {"effect", "NoSchedule"}}};
  scheduler.set_node(tainted);
  scheduler.set_node(node("n2", "2", "Unknown"));
  CHECK(scheduler.choose(pod("c"), why).empty());
  CHECK(why == "0/2 nodes are available: 1 node(s) had untolerated taint {k: }, 1 node(s) were not ready");
  json tolerant = pod("t");
  tolerant["spec"]["tolerations"] = {{{"operator", "Exists"}}};
  CHECK(scheduler.choose(tolerant, why) == "n1");
  tolerant["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = {{{"topologyKey", "zone"}}};
  CHECK(scheduler.choose(tolerant, why).empty());
  CHECK(why.find("not supported") != std::string::npos);
}

TEST_CASE("scheduler: a full node takes no more pods until one ends") {
  Scheduler scheduler;
  scheduler.set_node(node("n1"));
  std::string why;
  for (const char* name : {"a", "b"}) scheduler.assume(std::string("default/") + name, pod(name), "n1");
  CHECK(scheduler.choose(pod("c"), why).empty());
  CHECK(why == "0/1 nodes are available: 1 Too many pods");
  json ended = pod("a");
  ended["spec"]["nodeName"] = "n1";
  ended["status"]["phase"] = "Succeeded";
  scheduler.set_pod(ended);
  CHECK(scheduler.choose(pod("c"), why) == "n1");
}

TEST_CASE("authorizer: masters all, a node its own, service accounts nothing") {
  Pods storage;
  const cloud::Authorizer authorizer(storage);
  const kube::UserInfo admin{"kubernetes-admin", {"system:masters"}}, edge{"system:node:edge1", {"system:nodes"}}, other{"system:node:edge2", {"system:nodes"}};
  const kube::UserInfo account{"system:serviceaccount:default:robot", {"system:serviceaccounts"}}, liar{"system:node:edge1", {"people"}};
  std::string why;
  const auto may = [&](const kube::UserInfo& user, const char* verb, const char* resource, const char* sub, const char* ns, const char* name) {
    const kube::Verdict verdict = authorizer.authorize(user, {verb, "", "v1", resource, sub, ns, name, ""});
    why = verdict.reason;
    return verdict.allowed;
  };
  CHECK(may(admin, "delete", "secrets", "", "kubeedge", "casecret"));
  CHECK_FALSE(may(edge, "get", "secrets", "", "kubeedge", "casecret"));
  CHECK(why.find("edge1") != std::string::npos);
  CHECK(may(edge, "get", "secrets", "", "default", "pass"));
  CHECK_FALSE(may(other, "get", "secrets", "", "default", "pass"));
  CHECK_FALSE(may(edge, "list", "secrets", "", "default", ""));
  CHECK(may(edge, "get", "configmaps", "", "default", "conf"));
  CHECK_FALSE(may(edge, "get", "configmaps", "", "default", "pass"));
  CHECK(may(edge, "patch", "nodes", "status", "", "edge1"));
  CHECK_FALSE(may(edge, "patch", "nodes", "status", "", "edge2"));
  CHECK_FALSE(may(edge, "delete", "nodes", "", "", "edge1"));
  CHECK(may(edge, "patch", "pods", "status", "default", "web"));
  CHECK_FALSE(may(other, "patch", "pods", "status", "default", "web"));
  CHECK(may(edge, "create", "serviceaccounts", "token", "default", "robot"));
  CHECK_FALSE(may(edge, "create", "serviceaccounts", "token", "default", "default"));
  CHECK_FALSE(may(account, "get", "pods", "", "default", "web"));
  CHECK_FALSE(may(liar, "get", "nodes", "", "", "edge1"));
}

TEST_CASE("audit: one line, what a client made up quoted and cut") {
  const std::string line = cloud::refusal_line({"eve\nINFO all is fine", {}}, {"get", "", "v1", "secrets", "", "shop", std::string(5000, 'x'), ""}, "");
  CHECK(line.find('\n') == std::string::npos);
  CHECK(line.starts_with(R"(refused user="eve\nINFO all is fine" verb="get" resource="secrets" namespace="shop" name="xxx)"));
  CHECK(line.size() < 1000);
}

TEST_CASE("default roles: aggregates, and what a stored one lacks") {
  const auto roles = cloud::default_cluster_roles();
  const auto named = [&](const char* name) { return *std::find_if(roles.begin(), roles.end(), [&](const json& r) { return r["metadata"]["name"] == name; }); };
  CHECK(named("cluster-admin")["rules"].size() == 2);
  CHECK(named("edit")["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true");
  CHECK(named("view")["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true");
  json stored = named("system:basic-user");
  CHECK_FALSE(cloud::completed(stored, named("system:basic-user"), "rules"));
  stored["rules"].erase(0);
  stored["rules"].push_back({{"verbs", {"get"}}});
  CHECK(cloud::completed(stored, named("system:basic-user"), "rules")->size() == 3);
  stored["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false";
  CHECK_FALSE(cloud::completed(stored, named("system:basic-user"), "rules"));
}
