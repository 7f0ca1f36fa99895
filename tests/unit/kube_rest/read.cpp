#include <doctest/doctest.h>

#include "harness.h"
#include "kube/rest/selector.h"
#include "kube/rest/table.h"

using namespace rest_test;

namespace {

bool matches(const char* labels, const char* object) {
  const auto selector = kubeedge::kube::rest::LabelSelector::parse(labels);
  REQUIRE(selector.ok());
  return selector->matches(json{{"metadata", {{"labels", json::parse(object)}}}});
}

constexpr const char* kOpenApiProtobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
constexpr const char* kTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

}  // namespace

TEST_CASE("discovery tells what there is") {
  Harness api;
  CHECK(api.get("/version")->parsed()["minor"] == "32");
  CHECK(api.get("/readyz")->body.str() == "ok");
  CHECK(api.get("/api")->parsed()["versions"] == json{"v1"});
  const json groups = api.get("/apis")->parsed();
  CHECK(groups["kind"] == "APIGroupList");
  CHECK(groups["groups"].size() >= 3);
  const json core = api.get("/api/v1")->parsed();
  CHECK(core["groupVersion"] == "v1");
  bool pods = false, token = false;
  for (const json& one : core["resources"]) {
    if (one["name"] == "pods") pods = one["shortNames"] == json{"po"} && one["kind"] == "Pod" && one["namespaced"] == true;
    if (one["name"] == "serviceaccounts/token") token = true;
  }
  CHECK(pods);
  CHECK(token);
  CHECK(api.get("/apis/devices.kubeedge.io")->parsed()["preferredVersion"]["version"] == "v1beta1");
  CHECK(api.get("/apis/devices.kubeedge.io/v1beta1")->parsed()["resources"].size() == 3);
  CHECK(api.get("/apis/nope")->status == 404);
  CHECK(api.get("/openapi/v3")->status == 404);
}

TEST_CASE("OpenAPI v2 in both forms") {
  Harness api;
  const json document = api.get("/openapi/v2")->parsed();
  const json& pod = document["definitions"]["io.k8s.api.core.v1.Pod"];
  CHECK(pod["x-kubernetes-group-version-kind"][0]["kind"] == "Pod");
  const json& containers = document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
  CHECK(containers["x-kubernetes-patch-merge-key"] == "name");
  CHECK(containers["items"]["$ref"] == "#/definitions/io.k8s.api.core.v1.Container");
  const auto proto = api.raw("GET", "/openapi/v2", "", "", kOpenApiProtobuf);
  CHECK(proto->type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");  // Go cannot parse the "@" of the Accept header
  CHECK(proto->body.view().starts_with("\x0a\x03" "2.0\x12"));
}

TEST_CASE("label selectors") {
  CHECK(matches("a=1", R"({"a":"1"})"));
  CHECK(matches("a==1,b!=2", R"({"a":"1"})"));
  CHECK_FALSE(matches("a=1,b", R"({"a":"1"})"));
  CHECK(matches("!b, a in (1, 2)", R"({"a":"2"})"));
  CHECK(matches("a notin (1,2)", R"({})"));
  CHECK(matches("k8s.io/x-y_z.w=", R"({"k8s.io/x-y_z.w":""})"));
  const auto& pods = *kubeedge::kube::schema::find("", "v1", "pods");
  for (const char* bad : {"a=1,", "a in 1", "=1", "a in (1", "a b"}) CHECK_FALSE(kubeedge::kube::rest::LabelSelector::parse(bad).ok());
  CHECK_FALSE(kubeedge::kube::rest::FieldSelector::parse(pods, "spec.foo=1").ok());
}

TEST_CASE("lists are filtered, in one namespace or all") {
  Harness api;
  for (const char* name : {"a", "b"}) {
    json pod = kPod;
    pod["metadata"]["name"] = name;
    pod["metadata"]["labels"]["l"] = name;
    if (*name == 'b') pod["spec"]["nodeName"] = "n1";
    api.send("POST", kPods, pod);
    api.send("POST", "/api/v1/namespaces/kube-system/pods", pod);
  }
  CHECK(api.get(kPods)->parsed()["items"].size() == 2);
  CHECK(api.get("/api/v1/pods")->parsed()["items"].size() == 4);
  CHECK(api.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")->parsed()["items"].size() == 2);
  CHECK(api.get("/api/v1/pods?fieldSelector=spec.nodeName%3D")->parsed()["items"].size() == 2);
  CHECK(api.get("/api/v1/pods?labelSelector=l%3Da&fieldSelector=metadata.namespace!=default")->parsed()["items"].size() == 1);
  CHECK(api.get(std::string(kPods) + "?fieldSelector=metadata.name%3Da")->parsed()["items"].size() == 1);
  const json list = api.get(kPods)->parsed();
  CHECK(list["kind"] == "PodList");
  CHECK(list["apiVersion"] == "v1");
  CHECK(list["metadata"]["resourceVersion"] == std::to_string(api.storage.revision()));
  CHECK(api.get("/api/v1/pods?labelSelector=a%20in")->status == 400);
}

TEST_CASE("tables: what kubectl prints") {
  Harness api;
  json pod = kPod;
  pod["spec"]["nodeName"] = "edge1";
  api.send("POST", kPods, pod);
  api.patch(std::string(kPods) + "/p/status", "merge",
            R"({"status":{"phase":"Running","podIP":"10.0.0.2","containerStatuses":[{"name":"c","ready":true,"restartCount":2,"image":"busybox:1","imageID":"",
                "state":{"running":{}},"lastState":{"terminated":{"exitCode":1,"finishedAt":"2023-11-14T22:12:20Z"}}}]}})");
  api.clock.now_ms += 65'000;
  const json table = api.raw("GET", kPods, "", "", kTable)->parsed();
  CHECK(table["kind"] == "Table");
  CHECK(table["columnDefinitions"][0]["name"] == "Name");
  CHECK(table["rows"][0]["cells"] == json::parse(R"~(["p","1/1","Running","2 (2m5s ago)","65s","10.0.0.2","edge1","<none>","<none>"])~"));
  CHECK(table["rows"][0]["object"]["kind"] == "PartialObjectMetadata");
  api.patch(std::string(kPods) + "/p/status", "merge",
            R"({"status":{"containerStatuses":[{"name":"c","ready":false,"restartCount":0,"image":"","imageID":"","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}})");
  CHECK(api.raw("GET", std::string(kPods) + "/p", "", "", kTable)->parsed()["rows"][0]["cells"][2] == "CrashLoopBackOff");
  api.raw("DELETE", std::string(kPods) + "/p");
  CHECK(api.raw("GET", std::string(kPods) + "/p", "", "", kTable)->parsed()["rows"][0]["cells"][2] == "Terminating");
  api.send("POST", "/api/v1/nodes", json::parse(R"({"metadata":{"name":"n","labels":{"node-role.kubernetes.io/edge":"","node-role.kubernetes.io/agent":""}},
    "spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"True"}],"nodeInfo":{"kubeletVersion":"v1.32.10","architecture":"","bootID":"",
    "containerRuntimeVersion":"","kernelVersion":"","kubeProxyVersion":"","machineID":"","operatingSystem":"","osImage":"","systemUUID":""}}})"));
  CHECK(api.raw("GET", "/api/v1/nodes", "", "", kTable)->parsed()["rows"][0]["cells"][1] == "Ready,SchedulingDisabled");
  CHECK(api.raw("GET", "/api/v1/nodes", "", "", kTable)->parsed()["rows"][0]["cells"][2] == "agent,edge");
  using kubeedge::kube::rest::human_duration;
  CHECK(human_duration(119) == "119s");
  CHECK(human_duration(305) == "5m5s");
  CHECK(human_duration(3 * 3600 + 60) == "3h1m");
  CHECK(human_duration(3 * 86400) == "3d");
}

TEST_CASE("watch: from now, from a version, over deletions, until the client leaves") {
  Harness api;
  api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m"},"data":{"a":"1"}})"));
  const std::string at = std::to_string(api.storage.revision());
  const auto all = api.get(std::string(kMaps) + "?watch=1");
  const auto later = api.get(std::string(kMaps) + "?watch=true&resourceVersion=" + at);
  const auto elsewhere = api.get("/api/v1/namespaces/kube-system/configmaps?watch=1&resourceVersion=" + at);
  CHECK(all->events.size() == 1);
  CHECK(later->events.empty());
  api.patch(std::string(kMaps) + "/m", "merge", R"({"data":{"a":"2"}})");
  api.raw("DELETE", std::string(kMaps) + "/m");
  REQUIRE(later->events.size() == 2);
  CHECK(later->events[0]["type"] == "MODIFIED");
  CHECK(later->events[1]["type"] == "DELETED");
  CHECK(later->events[1]["object"]["metadata"]["resourceVersion"] == std::to_string(api.storage.revision()));
  CHECK(elsewhere->events.empty());
  const auto replay = api.get(std::string(kMaps) + "?watch=true&resourceVersion=" + at);
  CHECK(replay->events == later->events);
  later->gone();
  api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"n"}})"));
  CHECK(later->events.size() == 2);
  CHECK(all->events.size() == 4);
}

TEST_CASE("watch: a selector turns changes into comings and goings") {
  Harness api;
  api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m","labels":{"on":"no"}}})"));
  const auto watch = api.get(std::string(kMaps) + "?watch=1&labelSelector=on%3Dyes&resourceVersion=" + std::to_string(api.storage.revision()));
  const std::string path = std::string(kMaps) + "/m";
  api.patch(path, "merge", R"({"data":{"x":"1"}})");
  api.patch(path, "merge", R"({"metadata":{"labels":{"on":"yes"}}})");
  api.patch(path, "merge", R"({"data":{"x":"2"}})");
  api.patch(path, "merge", R"({"metadata":{"labels":{"on":"no"}}})");
  api.raw("DELETE", path);
  REQUIRE(watch->events.size() == 3);
  CHECK(watch->events[0]["type"] == "ADDED");
  CHECK(watch->events[1]["type"] == "MODIFIED");
  CHECK(watch->events[2]["type"] == "DELETED");
}

TEST_CASE("watch: too old, from the future, bookmarks, tables, a limit") {
  Harness api;
  for (const char* name : {"a", "b", "c", "d"}) api.send("POST", kMaps, json{{"metadata", {{"name", name}}}});
  api.storage.floor = 3;
  for (const char* version : {"2", "99999"}) {
    const auto old = api.get(std::string(kMaps) + "?watch=1&resourceVersion=" + version);
    REQUIRE(old->events.size() == 1);
    CHECK(old->events[0]["type"] == "ERROR");
    CHECK(old->events[0]["object"]["code"] == 410);
    CHECK(old->events[0]["object"]["reason"] == "Expired");
    CHECK(old->ended);
  }
  const auto initial = api.get(std::string(kMaps) + "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan");
  REQUIRE(initial->events.size() == 5);
  CHECK(initial->events[4]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true");
  const auto table = api.raw("GET", std::string(kMaps) + "?watch=1&resourceVersion=0", "", "", kTable);
  CHECK(table->events[0]["object"]["kind"] == "Table");
  CHECK(table->events[0]["object"]["rows"][0]["cells"][0] == "a");
  kubeedge::kube::ApiServerOptions options;
  options.max_watches = 1;
  api.start(options);
  CHECK(api.get(std::string(kMaps) + "?watch=1")->streaming);
  CHECK(api.get(std::string(kMaps) + "?watch=1")->status == 429);
}

TEST_CASE("metadata only, and rows with the whole object or none") {
  Harness api;
  api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m"},"data":{"a":"1"}})"));
  const char* partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
  const json list = api.raw("GET", kMaps, "", "", partial)->parsed();
  CHECK(list["kind"] == "PartialObjectMetadataList");
  CHECK(list["items"][0]["kind"] == "PartialObjectMetadata");
  CHECK_FALSE(list["items"][0].contains("data"));
  CHECK(api.raw("GET", std::string(kMaps) + "/m", "", "", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")->parsed()["kind"] == "PartialObjectMetadata");
  CHECK(api.raw("GET", std::string(kMaps) + "?watch=1", "", "", partial)->events[0]["object"]["kind"] == "PartialObjectMetadata");
  CHECK(api.raw("GET", std::string(kMaps) + "?includeObject=Object", "", "", kTable)->parsed()["rows"][0]["object"]["data"]["a"] == "1");
  CHECK_FALSE(api.raw("GET", std::string(kMaps) + "?includeObject=None", "", "", kTable)->parsed()["rows"][0].contains("object"));
}

TEST_CASE("watch: bookmarks keep an idle watch in time") {
  Harness api;
  const auto idle = api.get("/api/v1/namespaces/kube-system/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion=" + std::to_string(api.storage.revision()));
  for (int i = 0; i < 250; ++i) api.send("POST", kMaps, json{{"metadata", {{"name", "m" + std::to_string(i)}}}});
  REQUIRE(idle->events.size() == 2);
  CHECK(idle->events[1]["type"] == "BOOKMARK");
  CHECK(idle->events[1]["object"]["kind"] == "ConfigMap");
}
