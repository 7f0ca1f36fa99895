#include <doctest/doctest.h>

#include "harness.h"

using namespace rest_test;

namespace {
constexpr const char* kTokenReviews = "/apis/authentication.k8s.io/v1/tokenreviews";
constexpr const char* kSelfReviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
constexpr const char* kAccessReviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
}  // namespace

TEST_CASE("TokenReview says whose a token is, and why not") {
  Harness api;
  const auto good = api.send("POST", kTokenReviews, {{"spec", {{"token", "good"}, {"audiences", {"vault", "other"}}}}});
  CHECK(good->status == 201);
  const json answer = good->parsed();
  CHECK(answer["kind"] == "TokenReview");
  CHECK(answer["apiVersion"] == "authentication.k8s.io/v1");
  CHECK(answer["status"]["authenticated"] == true);
  CHECK(answer["status"]["user"]["username"] == "system:serviceaccount:default:app");
  CHECK(answer["status"]["user"]["uid"] == "u-1");
  CHECK(answer["status"]["audiences"] == json{"vault"});
  const json bad = api.send("POST", kTokenReviews, {{"spec", {{"token", "altered"}}}})->parsed();
  CHECK(!bad["status"].contains("authenticated"));
  CHECK(bad["status"]["error"] == "the token's signature is wrong");
  CHECK(api.send("POST", kTokenReviews, {{"spec", json::object()}})->status == 400);
  CHECK(api.raw("POST", kTokenReviews, "{", "application/json")->status == 400);
}

TEST_CASE("access reviews ask the authorizer, one's own without leave") {
  Harness api;
  const json spec = {{"resourceAttributes", {{"namespace", "default"}, {"verb", "list"}, {"resource", "pods"}, {"subresource", "log"}, {"name", "p"}}}};
  CHECK(api.send("POST", kSelfReviews, {{"spec", spec}})->parsed()["status"]["allowed"] == true);
  CHECK(api.asked == "list pods/log default/p");
  api.allow = false;
  const json refused = api.send("POST", kSelfReviews, {{"spec", spec}})->parsed();
  CHECK(refused["status"] == json{{"allowed", false}, {"reason", "the test says so"}});
  CHECK(api.send("POST", kAccessReviews, {{"spec", spec}})->status == 403);
  CHECK(api.send("POST", kTokenReviews, {{"spec", {{"token", "good"}}}})->status == 403);
  CHECK(api.send("POST", kSelfReviews, {{"spec", json::object()}})->status == 422);
}

TEST_CASE("reviews are discovered, answered, and nothing else") {
  Harness api;
  const json resources = api.get("/apis/authorization.k8s.io/v1")->parsed()["resources"];
  CHECK(resources.size() == 4);
  CHECK(resources[0]["verbs"] == json{"create"});
  CHECK(api.get(kTokenReviews)->status == 405);
  CHECK(api.get("/apis/authorization.k8s.io")->parsed()["preferredVersion"]["version"] == "v1");
}

TEST_CASE("who am I, what may I, and an account's own namespace") {
  Harness api;
  const json me = api.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json::object())->parsed();
  CHECK(me["status"]["userInfo"] == json{{"username", "tester"}, {"groups", {"system:masters"}}});
  const json mine = api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {{"spec", {{"namespace", "shop"}}}})->parsed();
  CHECK(mine["status"]["evaluationError"] == "tester in shop");
  CHECK(api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {{"spec", json::object()}})->status == 400);
  const char* local = "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews";
  json spec = {{"user", "ann"}, {"resourceAttributes", {{"namespace", "shop"}, {"verb", "get"}, {"resource", "pods"}}}};
  CHECK(api.send("POST", local, {{"spec", spec}})->parsed()["status"]["allowed"] == true);
  spec["resourceAttributes"]["namespace"] = "other";
  CHECK(api.send("POST", local, {{"spec", spec}})->status == 400);
  spec.erase("user");
  CHECK(api.send("POST", kAccessReviews, {{"spec", spec}})->status == 422);
}

TEST_CASE("a refusal says what Kubernetes says, and is audited once") {
  Harness api;
  api.allow = false;
  CHECK(api.get("/api/v1/namespaces/default/pods/p/log")->parsed()["message"] ==
        R"(pods "p" is forbidden: User "tester" cannot get resource "pods/log" in API group "" in the namespace "default": the test says so)");
  const json list = api.get("/apis/apps/v1/deployments")->parsed();
  CHECK(list["message"] == R"(deployments.apps is forbidden: User "tester" cannot list resource "deployments" in API group "apps" at the cluster scope: the test says so)");
  CHECK(list["details"] == json{{"group", "apps"}, {"kind", "deployments"}});
  CHECK(api.get("/metrics")->parsed()["message"] == R"(forbidden: User "tester" cannot get path "/metrics": the test says so)");
  CHECK(api.audit == std::vector<std::string>{"tester get pods p: the test says so", "tester list deployments : the test says so", "tester get /metrics : the test says so"});
}

TEST_CASE("a namespace is asked for in itself, a list of one name by that name") {
  Harness api;
  api.get("/api/v1/namespaces/default");
  CHECK(api.asked == "get namespaces/ default/default");
  api.get(std::string(kMaps) + "?fieldSelector=metadata.name%3Dx&watch=1");
  CHECK(api.asked == "watch configmaps/ default/x");
  // The selecting parser's word counts: this one selects all but one name.
  api.get(std::string(kMaps) + "?fieldSelector=metadata.namespace!%3D(a,metadata.name%3Dx)");
  CHECK(api.asked == "list configmaps/ default/");
  api.raw("DELETE", kMaps);
  CHECK(api.asked == "deletecollection configmaps/ default/");
}

TEST_CASE("to act as another takes leave for each part of it") {
  Harness api;
  api.as = kubeedge::kube::UserInfo{"system:serviceaccount:shop:bot", {}};
  const json who = api.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json::object())->parsed();
  CHECK(who["status"]["userInfo"] ==
        json{{"username", "system:serviceaccount:shop:bot"}, {"groups", {"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}}});
  api.allow = false;
  CHECK(api.get(kMaps)->parsed()["message"] ==
        R"(serviceaccounts "bot" is forbidden: User "tester" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "shop": the test says so)");
}

TEST_CASE("the last word on a write is the surroundings'") {
  Harness api;
  api.admits = kubeedge::kube::rest::forbidden("configmaps \"x\" is forbidden: not today");
  CHECK(api.send("POST", kMaps, {{"metadata", {{"name", "x"}}}})->status == 403);
  CHECK(api.audit.size() == 1);
  CHECK_FALSE(api.storage.get({"core/configmaps", "default", "x"}));
  api.admits.reset();
  CHECK(api.send("POST", kMaps, {{"metadata", {{"name", "x"}}}})->status == 201);
  api.admits = kubeedge::kube::rest::forbidden("no");
  CHECK(api.patch(std::string(kMaps) + "/x", "merge", R"({"data":{"a":"b"}})")->status == 403);
  CHECK(api.patch(std::string(kMaps) + "/x", "merge", R"({"metadata":{}})")->status == 200);   // changes nothing
}
