// What the API core does for workloads: scale, eviction, deletion orders, generations, tables.
#include <map>

#include <doctest/doctest.h>

#include "harness.h"

using namespace rest_test;

namespace {

constexpr const char* kDeployments = "/apis/apps/v1/namespaces/default/deployments";
constexpr const char* kWeb = "/apis/apps/v1/namespaces/default/deployments/web";

json web(int replicas = 2) {
  return {{"metadata", {{"name", "web"}}},
          {"spec", {{"replicas", replicas}, {"selector", {{"matchLabels", {{"app", "web"}}}}},
                    {"template", {{"metadata", {{"labels", {{"app", "web"}}}}}, {"spec", {{"containers", {{{"name", "c"}, {"image", "a:1"}}}}}}}}}}};
}

std::string body_of(const char* policy) { return std::string(R"({"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":")") + policy + "\"}"; }

}  // namespace

TEST_CASE("scale: a Scale is read, replaced and patched, and is the deployment's replicas") {
  Harness api;
  REQUIRE(api.send("POST", kDeployments, web())->status == 201);
  const std::string path = std::string(kWeb) + "/scale";
  json scale = api.get(path)->parsed();
  CHECK(scale["kind"] == "Scale");
  CHECK(scale["apiVersion"] == "autoscaling/v1");
  CHECK(scale["spec"] == json{{"replicas", 2}});
  CHECK(scale["status"] == json{{"replicas", 0}, {"selector", "app=web"}});
  scale["spec"]["replicas"] = 5;
  CHECK(api.send("PUT", path, scale)->parsed()["spec"]["replicas"] == 5);
  CHECK(api.send("PUT", path, scale)->status == 409);   // its resourceVersion is the old one
  CHECK(api.get(kWeb)->parsed()["spec"]["replicas"] == 5);
  CHECK(api.get(kWeb)->parsed()["metadata"]["generation"] == 2);
  for (const char* kind : {"merge", "strategic-merge"}) CHECK(api.patch(path, kind, R"({"spec":{"replicas":0}})")->status == 200);
  CHECK(api.get(path)->parsed()["spec"] == json::object());
  CHECK(api.patch(path, "json", R"([{"op":"add","path":"/spec/replicas","value":3}])")->parsed()["spec"]["replicas"] == 3);
  const auto negative = api.patch(path, "merge", R"({"spec":{"replicas":-1}})");
  CHECK(negative->status == 422);
  CHECK(negative->parsed()["message"] == R"(Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0)");
  CHECK(api.patch(path, "merge", R"({"spec":{"replicas":"many"}})")->status == 400);
  CHECK(api.raw("PATCH", path + "?fieldManager=m", R"({"spec":{"replicas":1}})", "application/apply-patch+yaml")->status == 415);
  CHECK(api.get(std::string(kPods) + "/p/scale")->status == 404);
  CHECK(api.get(std::string(kDeployments) + "/none/scale")->status == 404);
}

TEST_CASE("generation: counts what is wanted, not what is") {
  Harness api;
  json made = api.send("POST", kDeployments, web())->parsed();
  CHECK(made["metadata"]["generation"] == 1);
  CHECK(api.patch(std::string(kWeb) + "/status", "merge", R"({"status":{"replicas":2},"metadata":{"annotations":{"deployment.kubernetes.io/revision":"1"}}})")->parsed()["metadata"]["generation"] == 1);
  CHECK(api.get(kWeb)->parsed()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1");
  CHECK(api.patch(kWeb, "merge", R"({"metadata":{"labels":{"a":"b"}}})")->parsed()["metadata"]["generation"] == 1);
  CHECK(api.patch(kWeb, "merge", R"({"metadata":{"annotations":{"a":"b"}}})")->parsed()["metadata"]["generation"] == 2);   // so Kubernetes has it
  made = api.patch(kWeb, "merge", R"({"spec":{"paused":true},"status":{"replicas":9}})")->parsed();
  CHECK(made["metadata"]["generation"] == 3);
  CHECK(made["status"]["replicas"] == 2);
  CHECK(api.patch(std::string(kWeb) + "/status", "merge", R"({"spec":{"paused":false}})")->parsed()["spec"]["paused"] == true);
}

TEST_CASE("deletion: the order is a finalizer; it changes until it is carried out") {
  Harness api;
  const std::string path = std::string(kMaps) + "/m";
  const auto finalizers = [&] { return api.get(path)->parsed()["metadata"].value("finalizers", json()); };
  const auto make = [&] { REQUIRE(api.send("POST", kMaps, json{{"metadata", {{"name", "m"}}}})->status == 201); };
  make();
  CHECK(api.raw("DELETE", path, body_of("Background"), "application/json")->status == 200);
  CHECK(api.get(path)->status == 404);
  make();
  api.raw("DELETE", path, body_of("Orphan"), "application/json");
  CHECK(finalizers() == json{"orphan"});
  CHECK(api.get(path)->parsed()["metadata"].contains("deletionTimestamp"));
  api.raw("DELETE", path + "?propagationPolicy=Foreground");
  CHECK(finalizers() == json{"foregroundDeletion"});
  api.raw("DELETE", path);
  CHECK(finalizers() == json{"foregroundDeletion"});   // who says nothing changes nothing
  api.patch(path, "merge", R"({"metadata":{"finalizers":null}})");
  CHECK(api.get(path)->status == 404);
  CHECK(api.raw("DELETE", path + "?propagationPolicy=Sometimes")->status == 400);
  make();
  CHECK(api.raw("DELETE", path, R"({"orphanDependents":true,"propagationPolicy":"Orphan"})", "application/json")->status == 400);
  api.raw("DELETE", path, R"({"orphanDependents":true})", "application/json");
  CHECK(finalizers() == json{"orphan"});
}

TEST_CASE("deletion: of a Job the pods stay unless it is said otherwise") {
  Harness api;
  constexpr const char* kJobs = "/apis/batch/v1/namespaces/default/jobs";
  const std::string path = std::string(kJobs) + "/j";
  const json job = {{"metadata", {{"name", "j"}}}, {"spec", {{"template", {{"spec", {{"restartPolicy", "Never"}, {"containers", {{{"name", "c"}, {"image", "a:1"}}}}}}}}}}};
  const auto make = [&] {
    const auto made = api.send("POST", kJobs, job);
    REQUIRE(made->status == 201);
    return made->parsed();
  };
  const json made = make();
  CHECK(made["spec"]["template"]["metadata"]["labels"]["controller-uid"] == made["metadata"]["uid"]);
  CHECK(made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] == made["metadata"]["uid"]);
  CHECK(made["metadata"]["generation"] == 1);
  api.raw("DELETE", path);
  CHECK(api.get(path)->parsed()["metadata"]["finalizers"] == json{"orphan"});
  api.patch(path, "merge", R"({"metadata":{"finalizers":null}})");
  make();
  CHECK(api.raw("DELETE", path, body_of("Background"), "application/json")->status == 200);
  CHECK(api.get(path)->status == 404);
}

TEST_CASE("eviction: a deletion with its preconditions and grace") {
  Harness api;
  api.send("POST", kPods, kPod);
  const std::string path = std::string(kPods) + "/p";
  api.send("POST", path + "/binding", json{{"target", {{"name", "edge1"}}}});
  json eviction = json::parse(R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"},"deleteOptions":{"preconditions":{"uid":"else"}}})");
  CHECK(api.send("POST", path + "/eviction", eviction)->status == 409);
  eviction["deleteOptions"] = {{"gracePeriodSeconds", 7}};
  eviction["metadata"]["name"] = "q";
  CHECK(api.send("POST", path + "/eviction", eviction)->status == 400);
  eviction["metadata"]["name"] = "p";
  const auto answer = api.send("POST", path + "/eviction", eviction);
  CHECK(answer->status == 201);
  CHECK(answer->parsed()["status"] == "Success");
  CHECK(api.get(path)->parsed()["metadata"]["deletionGracePeriodSeconds"] == 7);
  CHECK(api.send("POST", std::string(kPods) + "/none/eviction", json::object())->status == 404);
}

TEST_CASE("tables and discovery of workloads; what no one enforces is not taken") {
  Harness api;
  api.send("POST", kDeployments, web());
  api.patch(std::string(kWeb) + "/status", "merge", R"({"status":{"readyReplicas":1,"updatedReplicas":2,"availableReplicas":1}})");
  const json table = api.raw("GET", kDeployments, "", "", "application/json;as=Table;v=v1;g=meta.k8s.io")->parsed();
  CHECK(table["rows"][0]["cells"] == json{"web", "1/2", 2, 1, "0s", "c", "a:1", "app=web"});
  std::map<std::string, json> resources;
  const json listed = api.get("/apis/apps/v1")->parsed();
  for (const json& one : listed["resources"]) resources[one["name"].get<std::string>()] = one;
  CHECK(resources.size() == 9);
  CHECK(resources["deployments"]["categories"] == json{"all"});
  CHECK(resources["deployments/scale"]["kind"] == "Scale");
  CHECK(resources["deployments/scale"]["group"] == "autoscaling");
  for (const char* kind : {"limitranges", "resourcequotas"})
    CHECK(api.send("POST", std::string("/api/v1/namespaces/default/") + kind, json{{"metadata", {{"name", "x"}}}})->status == 501);
}
