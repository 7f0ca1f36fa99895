#include <doctest/doctest.h>

#include <set>

#include "harness.h"

using namespace rest_test;

TEST_CASE("a pod gets Kubernetes' defaults, its token volume and a first status") {
  Harness api;
  const auto made = api.send("POST", kPods, kPod);
  REQUIRE_MESSAGE(made->status == 201, made->body.str());
  const json pod = made->parsed();
  CHECK(pod["metadata"]["namespace"] == "default");
  CHECK(pod["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z");
  CHECK_FALSE(pod["metadata"]["resourceVersion"].get<std::string>().empty());
  CHECK(pod["status"] == json::parse(R"({"phase":"Pending","qosClass":"BestEffort"})"));
  const json& spec = pod["spec"];
  CHECK(spec["restartPolicy"] == "Always");
  CHECK(spec["dnsPolicy"] == "ClusterFirst");
  CHECK(spec["terminationGracePeriodSeconds"] == 30);
  CHECK(spec["enableServiceLinks"] == true);
  CHECK(spec["priority"] == 0);
  CHECK(spec["serviceAccountName"] == "default");
  CHECK(spec["serviceAccount"] == "default");
  CHECK(spec["tolerations"].size() == 2);
  CHECK(spec["containers"][0]["imagePullPolicy"] == "IfNotPresent");
  CHECK(spec["containers"][0]["terminationMessagePath"] == "/dev/termination-log");
  REQUIRE(spec["volumes"].size() == 1);
  CHECK(spec["volumes"][0]["name"].get<std::string>().starts_with("kube-api-access-"));
  CHECK(spec["volumes"][0]["projected"]["sources"].size() == 3);
  CHECK(spec["volumes"][0]["projected"]["sources"][2]["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == "metadata.namespace");
  CHECK(spec["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
  CHECK(api.get(std::string(kPods) + "/p")->parsed() == pod);

  json quiet = kPod;
  quiet["metadata"]["name"] = "q";
  quiet["spec"]["automountServiceAccountToken"] = false;
  quiet["spec"]["containers"][0]["image"] = "reg:5000/busybox";
  quiet["spec"]["containers"][0]["resources"] = {{"limits", {{"cpu", 1}, {"memory", "64Mi"}}}};
  const json second = api.send("POST", kPods, quiet)->parsed();
  CHECK_FALSE(second["spec"].contains("volumes"));
  CHECK(second["spec"]["containers"][0]["imagePullPolicy"] == "Always");
  CHECK(second["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1");
  CHECK(second["status"]["qosClass"] == "Guaranteed");
}

TEST_CASE("refusals: what, where and why, as kube-apiserver words them") {
  Harness api;
  auto answer = api.send("POST", std::string(kPods) + "?fieldValidation=Strict",
                         json::parse(R"({"kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x","imag":"y"}]}})"));
  CHECK(answer->status == 400);
  CHECK(answer->parsed()["message"] ==
        R"(Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].imag")");
  answer = api.raw("POST", std::string(kMaps) + "?fieldValidation=Strict", R"({"metadata":{"name":"m"},"data":{"a":"1","a":"2"}})", "application/json");
  CHECK(answer->parsed()["message"].get<std::string>().ends_with(R"(duplicate field "data.a")"));
  answer = api.send("POST", kPods, json::parse(R"({"metadata":{"name":"P_"},"spec":{"containers":[{"image":"x"}]}})"));
  CHECK(answer->status == 422);
  const json status = answer->parsed();
  CHECK(status["reason"] == "Invalid");
  CHECK(status["details"]["causes"].size() == 2);
  CHECK(status["details"]["causes"][1]["field"] == "spec.containers[0].name");
  CHECK(api.send("POST", kPods, json::parse(R"({"metadata":{"name":"p"},"spec":{"containers":7}})"))->status == 400);
  CHECK(api.raw("POST", kPods, "{", "application/json")->status == 400);
  CHECK(api.raw("POST", kPods, std::string(1000, '[') + std::string(1000, ']'), "application/json")->status == 400);
  CHECK(api.raw("POST", kPods, "\x0a\x02", "application/vnd.kubernetes.protobuf")->status == 400);
  CHECK(api.raw("POST", kPods, "a: b", "application/yaml")->status == 415);
  CHECK(api.raw("GET", kPods, "", "", "application/vnd.kubernetes.protobuf")->status == 406);
  answer = api.get(std::string(kPods) + "/none");
  CHECK(answer->status == 404);
  CHECK(answer->parsed()["message"] == R"(pods "none" not found)");
  CHECK(answer->parsed()["details"] == json::parse(R"({"name":"none","kind":"pods"})"));
  CHECK(api.send("POST", "/api/v1/namespaces/nope/pods", kPod)->parsed()["message"] == R"(namespaces "nope" not found)");
  CHECK(api.get("/apis/apps/v1/statefulsets")->status == 404);
  CHECK(api.get(std::string(kPods) + "/p/log")->status == 501);
  CHECK(api.raw("DELETE", "/api/v1/namespaces/default")->status == 403);
  api.allow = false;
  answer = api.get(std::string(kPods) + "/p");
  CHECK(answer->status == 403);
  CHECK(answer->parsed()["message"] ==
        R"(pods "p" is forbidden: User "tester" cannot get resource "pods" in API group "" in the namespace "default": the test says so)");
  CHECK(api.asked == "get pods/ default/p");
}

TEST_CASE("update: resourceVersion decides, server-owned metadata stays, no change is no write") {
  Harness api;
  const json first = api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m"},"data":{"a":"1"}})"))->parsed();
  CHECK(api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m"}})"))->parsed()["reason"] == "AlreadyExists");
  const std::string path = std::string(kMaps) + "/m";
  json next = first;
  next["data"]["a"] = "2";
  next["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z";
  const json second = api.send("PUT", path, next)->parsed();
  CHECK(second["data"]["a"] == "2");
  CHECK(second["metadata"]["creationTimestamp"] == first["metadata"]["creationTimestamp"]);
  const auto late = api.send("PUT", path, next);
  CHECK(late->status == 409);
  CHECK(late->parsed()["message"] == R"(Operation cannot be fulfilled on configmaps "m": the object has been modified; please apply your changes to the latest version and try again)");
  const json same = api.send("PUT", path, second)->parsed();
  CHECK(same["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]);
  json other = second;
  other["metadata"]["name"] = "n";
  CHECK(api.send("PUT", path, other)->status == 400);
  other = second;
  other["metadata"]["uid"] = "else";
  CHECK(api.send("PUT", path, other)->status == 409);
  // dry run answers as if, and stores nothing
  const auto dry = api.raw("PATCH", path + "?dryRun=All", R"({"data":{"a":"9"}})", "application/merge-patch+json");
  CHECK(dry->parsed()["data"]["a"] == "9");
  CHECK(api.get(path)->parsed()["data"]["a"] == "2");
}

TEST_CASE("patches of three kinds, and what is refused of them") {
  Harness api;
  api.send("POST", kPods, kPod);
  const std::string path = std::string(kPods) + "/p";
  CHECK(api.patch(path, "strategic-merge", R"({"spec":{"containers":[{"name":"c","image":"busybox:2"}]}})")->parsed()["spec"]["containers"][0]["image"] == "busybox:2");
  CHECK(api.patch(path, "json", R"([{"op":"add","path":"/metadata/labels/b","value":"y"}])")->parsed()["metadata"]["labels"]["b"] == "y");
  CHECK(api.patch(path, "merge", R"({"metadata":{"labels":{"b":null}}})")->parsed()["metadata"]["labels"] == json::parse(R"({"app":"x"})"));
  CHECK(api.patch(path, "json", R"([{"op":"test","path":"/kind","value":"X"}])")->status == 422);
  const auto fixed = api.patch(path, "strategic-merge", R"({"spec":{"dnsPolicy":"Default"}})");
  CHECK(fixed->status == 422);
  CHECK(fixed->parsed()["details"]["causes"][0]["reason"] == "FieldValueForbidden");
  CHECK(api.patch(path, "merge", R"({"metadata":{"resourceVersion":"1"}})")->status == 409);
  CHECK(api.patch(path + "x", "merge", "{}")->status == 404);
  const auto strict = api.raw("PATCH", path + "?fieldValidation=Strict", R"({"spec":{"nope":1}})", "application/merge-patch+json");
  CHECK(strict->status == 422);
  CHECK(strict->parsed()["message"].get<std::string>().find("unknown field \\\"spec.nope\\\"") == std::string::npos);
  CHECK(strict->parsed()["message"].get<std::string>().find("unknown field \"spec.nope\"") != std::string::npos);
}

TEST_CASE("status is a matter of its own") {
  Harness api;
  api.send("POST", kPods, kPod);
  const std::string path = std::string(kPods) + "/p";
  json status = api.patch(path + "/status", "strategic-merge",
                          R"({"metadata":{"labels":{"l":"1"}},"spec":{"nodeName":"n"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}})")->parsed();
  CHECK(status["status"]["phase"] == "Running");
  CHECK_FALSE(status["spec"].contains("nodeName"));
  CHECK(api.patch(path, "merge", R"({"status":{"phase":"Failed"}})")->parsed()["status"]["phase"] == "Running");
  status = api.patch(path + "/status", "strategic-merge",
                     R"({"status":{"$setElementOrder/conditions":[{"type":"Ready"},{"type":"Initialized"}],"conditions":[{"type":"Initialized","status":"True"}]}})")->parsed();
  CHECK(status["status"]["conditions"].size() == 2);
  CHECK(api.get(std::string(kDevices) + "/d/status")->status == 404);  // no such subresource
  // A node's status comes with its creation.
  const json node = api.send("POST", "/api/v1/nodes", json::parse(R"({"metadata":{"name":"n"},"status":{"capacity":{"pods":"110"}}})"))->parsed();
  CHECK(node["status"]["allocatable"]["pods"] == "110");
}

TEST_CASE("custom resources: schema, generation, no strategic merge, update needs a version") {
  Harness api;
  const auto made = api.send("POST", kDevices, json::parse(R"({"metadata":{"name":"d"},"spec":{"nodeName":"n","properties":[{"name":"t","desired":{"value":"1"}}],"bogus":1}})"));
  REQUIRE_MESSAGE(made->status == 201, made->body.str());
  json device = made->parsed();
  CHECK(device["metadata"]["generation"] == 1);
  CHECK_FALSE(device["spec"].contains("bogus"));
  const std::string path = std::string(kDevices) + "/d";
  CHECK(api.patch(path, "merge", R"({"spec":{"properties":[{"name":"t","desired":{"value":"2"}}]}})")->parsed()["metadata"]["generation"] == 2);
  CHECK(api.patch(path, "merge", R"({"metadata":{"labels":{"a":"b"}}})")->parsed()["metadata"]["generation"] == 2);
  CHECK(api.patch(path, "strategic-merge", "{}")->status == 415);
  const auto bad = api.patch(path, "merge", R"({"spec":{"properties":[{"name":"t","desired":{"value":3}}]}})");
  CHECK(bad->status == 422);
  CHECK(bad->parsed()["details"]["causes"][0]["field"] == "spec.properties[0].desired.value");
  device["metadata"].erase("resourceVersion");
  CHECK(api.send("PUT", path, device)->status == 422);
  // ObjectSync has a status subresource: the main resource does not touch it.
  const std::string syncs = "/apis/reliablesyncs.kubeedge.io/v1alpha1/namespaces/default/objectsyncs";
  json sync = api.send("POST", syncs, json::parse(R"({"metadata":{"name":"n.uid"},"spec":{"objectKind":"Pod"},"status":{"objectResourceVersion":"7"}})"))->parsed();
  CHECK_FALSE(sync.contains("status"));
  sync["status"] = {{"objectResourceVersion", "9"}};
  sync = api.send("PUT", syncs + "/n.uid/status", sync)->parsed();
  CHECK(sync["status"]["objectResourceVersion"] == "9");
  CHECK(sync["metadata"]["generation"] == 1);
}

TEST_CASE("deletion: at once, with grace, with finalizers, with preconditions, of collections") {
  Harness api;
  const std::string path = std::string(kPods) + "/p";
  api.send("POST", kPods, kPod);
  CHECK(api.raw("DELETE", path)->parsed()["kind"] == "Pod");  // bound to no node: at once
  CHECK(api.get(path)->status == 404);

  json bound = kPod;
  bound["spec"]["nodeName"] = "n";
  api.send("POST", kPods, bound);
  json pod = api.raw("DELETE", path)->parsed();
  CHECK(pod["metadata"]["deletionGracePeriodSeconds"] == 30);
  CHECK(pod["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:50Z");
  CHECK(api.raw("DELETE", path)->parsed()["metadata"]["resourceVersion"] == pod["metadata"]["resourceVersion"]);
  CHECK(api.send("DELETE", path, json::parse(R"({"gracePeriodSeconds":0,"preconditions":{"uid":"other"}})"))->status == 409);
  CHECK(api.send("DELETE", path, json{{"gracePeriodSeconds", 0}, {"preconditions", {{"uid", pod["metadata"]["uid"]}}}})->status == 200);
  CHECK(api.get(path)->status == 404);

  api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m","finalizers":["x/y"]}})"));
  CHECK(api.raw("DELETE", std::string(kMaps) + "/m")->parsed()["kind"] == "ConfigMap");
  CHECK(api.get(std::string(kMaps) + "/m")->status == 200);
  api.patch(std::string(kMaps) + "/m", "merge", R"({"metadata":{"finalizers":null}})");
  CHECK(api.get(std::string(kMaps) + "/m")->status == 404);

  for (const char* name : {"a", "b", "c"}) api.send("POST", kMaps, json{{"metadata", {{"name", name}, {"labels", {{"k", name}}}}}});
  CHECK(api.raw("DELETE", std::string(kMaps) + "?labelSelector=k%20in%20(a,b)")->parsed()["items"].size() == 2);
  CHECK(api.get(kMaps)->parsed()["items"].size() == 1);
  const json status = api.raw("DELETE", std::string(kMaps) + "/c")->parsed();
  CHECK(status["status"] == "Success");
  CHECK(status["details"]["kind"] == "configmaps");
}

TEST_CASE("a namespace takes its objects with it, and waits for pods that a node still runs") {
  Harness api;
  api.send("POST", "/api/v1/namespaces", json{{"metadata", {{"name", "t"}}}});
  CHECK(api.get("/api/v1/namespaces/t")->parsed()["metadata"]["labels"]["kubernetes.io/metadata.name"] == "t");
  CHECK(api.get("/api/v1/namespaces/t")->parsed()["status"]["phase"] == "Active");
  api.send("POST", "/api/v1/namespaces/t/serviceaccounts", json{{"metadata", {{"name", "default"}}}});
  api.send("POST", "/api/v1/namespaces/t/configmaps", json{{"metadata", {{"name", "m"}}}});
  json pod = kPod;
  pod["spec"]["nodeName"] = "n";
  REQUIRE(api.send("POST", "/api/v1/namespaces/t/pods", pod)->status == 201);
  CHECK(api.raw("DELETE", "/api/v1/namespaces/t")->parsed()["status"]["phase"] == "Terminating");
  CHECK(api.get("/api/v1/namespaces/t/configmaps")->parsed()["items"].empty());
  CHECK(api.send("POST", "/api/v1/namespaces/t/configmaps", json{{"metadata", {{"name", "m"}}}})->status == 403);
  CHECK(api.get("/api/v1/namespaces/t")->status == 200);
  api.start();  // a restart in the middle
  CHECK(api.raw("DELETE", "/api/v1/namespaces/t/pods/p?gracePeriodSeconds=0")->status == 200);
  CHECK(api.get("/api/v1/namespaces/t")->status == 404);
}

TEST_CASE("binding, tokens, generated names, events and leases") {
  Harness api;
  api.send("POST", kPods, kPod);
  const json binding = json::parse(R"({"metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}})");
  CHECK(api.send("POST", std::string(kPods) + "/p/binding", binding)->status == 201);
  const json pod = api.get(std::string(kPods) + "/p")->parsed();
  CHECK(pod["spec"]["nodeName"] == "n");
  CHECK(pod["status"]["conditions"][0]["type"] == "PodScheduled");
  CHECK(api.send("POST", std::string(kPods) + "/p/binding", binding)->status == 409);
  CHECK(api.send("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", json::parse(R"({"spec":{}})"))->parsed()["status"]["token"] == "default.default");
  const json named = api.send("POST", kMaps, json::parse(R"({"metadata":{"generateName":"g-"}})"))->parsed();
  CHECK(named["metadata"]["name"].get<std::string>().starts_with("g-abcd"));

  const std::string events = "/api/v1/namespaces/default/events";
  const json event = json::parse(R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"lastTimestamp":"2023-11-14T22:13:20Z"})");
  CHECK(api.send("POST", events, event)->status == 201);
  CHECK(api.get(events + "?fieldSelector=involvedObject.name=p,involvedObject.kind=Pod")->parsed()["items"].size() == 1);
  CHECK(api.get(events + "?fieldSelector=involvedObject.name%3Dq")->parsed()["items"].empty());
  api.clock.now_ms += 2 * 3600 * 1000;
  json later = event;
  later["metadata"]["name"] = "f";
  later["lastTimestamp"] = "2023-11-15T00:13:20Z";
  api.send("POST", events, later);
  CHECK(api.get(events)->parsed()["items"].size() == 1);  // the old one was swept
  CHECK(api.send("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/n", json::parse(R"({"metadata":{"name":"n"},"spec":{"holderIdentity":"n"}})"))->status == 201);
}

TEST_CASE("secrets: type, stringData, base64") {
  Harness api;
  const std::string secrets = "/api/v1/namespaces/default/secrets";
  const json secret = api.send("POST", secrets, json::parse(R"({"metadata":{"name":"s"},"stringData":{"a":"hi"}})"))->parsed();
  CHECK(secret["type"] == "Opaque");
  CHECK(secret["data"]["a"] == "aGk=");
  CHECK_FALSE(secret.contains("stringData"));
  CHECK(api.send("POST", secrets, json::parse(R"({"metadata":{"name":"t"},"data":{"a":"%%"}})"))->status == 400);
  CHECK(api.patch(secrets + "/s", "merge", R"({"type":"else"})")->status == 422);
}

TEST_CASE("writes that cross are tried again, unless they named a version") {
  Harness api;
  const json first = api.send("POST", kMaps, json::parse(R"({"metadata":{"name":"m"},"data":{"n":"0"}})"))->parsed();
  api.storage.hold = true;
  const auto a = api.patch(std::string(kMaps) + "/m", "merge", R"({"data":{"a":"1"}})");
  const auto b = api.patch(std::string(kMaps) + "/m", "merge", R"({"data":{"b":"1"}})");
  const auto c = api.send("PUT", std::string(kMaps) + "/m", [&] { json put = first; put["data"] = {{"c", "1"}}; return put; }());
  api.storage.flush();
  CHECK(a->status == 200);
  CHECK(b->parsed()["data"] == json::parse(R"({"n":"0","a":"1","b":"1"})"));
  CHECK(c->status == 409);
}

TEST_CASE("bad input: depth, duplicates, odd paths and queries") {
  Harness api;
  std::string deep = R"({"metadata":{"name":"d"},"spec":{"protocol":{"configData":)";
  for (int i = 0; i < 100'000; ++i) deep += R"({"a":)";
  deep += "1" + std::string(100'000, '}') + "}}}";
  for (const char* method : {"POST", "DELETE"}) CHECK(api.raw(method, kDevices, deep, "application/json")->status == 400);
  api.send("POST", kDevices, json::parse(R"({"metadata":{"name":"d"}})"));
  CHECK(api.raw("PATCH", std::string(kDevices) + "/d", deep, "application/merge-patch+json")->status == 400);
  CHECK(api.raw("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", deep, "application/json")->status == 400);
  CHECK(api.raw("PATCH", std::string(kDevices) + "/d?fieldValidation=Strict", R"({"spec":{"nodeName":"a","nodeName":"b"}})", "application/merge-patch+json")->status == 400);
  CHECK(api.raw("POST", kMaps, R"({"metadata":{"name":"m"},"data":{"a":"1","a":"2"}})", "application/json")->parsed()["data"]["a"] == "2");
  for (const char* path : {"", "/api/v1/namespaces/default/pods/..%2f", "/api/v1/namespaces/default/pods/a/status/x", "/api/v1/pods/p", "/api/v1/namespaces/default/nodes",
                           "/api/v1/namespaces/%ff/pods", "/apis/devices.kubeedge.io/v1/devices", "/api/v1/namespaces/default/pods/p%00"})
    CHECK_MESSAGE(api.get(std::string(path) + "?watch=0")->status >= 400, path);
  for (const char* query : {"?labelSelector=%zz", "?resourceVersion=x&watch=1", "?limit=x", "?dryRun=Some", "?fieldSelector=spec.nodeName"})
    CHECK_MESSAGE(api.get(std::string(kPods) + query)->status == 400, query);
  // Each patch is flat enough, their sum is not.
  std::string inside(200, '['), path = "/spec/protocol/configData/a";
  inside += std::string(200, ']');
  CHECK(api.patch(std::string(kDevices) + "/d", "merge", R"({"spec":{"protocol":{"configData":{"a":[]}}}})")->status == 200);
  CHECK(api.patch(std::string(kDevices) + "/d", "json", (R"([{"op":"add","path":")" + path + R"(/-","value":)" + inside + "}]").c_str())->status == 200);
  for (int i = 0; i < 150; ++i) path += "/0";
  CHECK(api.patch(std::string(kDevices) + "/d", "json", (R"([{"op":"add","path":")" + path + R"(/-","value":)" + inside + "}]").c_str())->status == 400);
  CHECK(api.raw("DELETE", "/api/v1/pods")->status == 405);
  CHECK(api.send("POST", "/api/v1/pods", kPod)->status == 405);
  CHECK(api.raw("BREW", kPods)->status == 405);
  CHECK(api.raw("POST", kMaps, std::string(4 * 1024 * 1024, ' '), "application/json")->status == 413);
}

TEST_CASE("a pod's service account: pull secrets, no token, none at all") {
  Harness api;
  const std::string accounts = "/api/v1/namespaces/default/serviceaccounts";
  api.send("POST", accounts, json::parse(R"({"metadata":{"name":"quiet"},"automountServiceAccountToken":false,"imagePullSecrets":[{"name":"reg"}]})"));
  json pod = kPod;
  pod["spec"]["serviceAccountName"] = "quiet";
  json made = api.send("POST", kPods, pod)->parsed();
  CHECK(made["spec"]["imagePullSecrets"][0]["name"] == "reg");
  CHECK_FALSE(made["spec"].contains("volumes"));
  CHECK_FALSE(made["spec"].contains("automountServiceAccountToken"));
  // A later update does not bring the token in.
  made = api.patch(std::string(kPods) + "/p", "merge", R"({"metadata":{"labels":{"a":"b"}}})")->parsed();
  CHECK(made["metadata"]["labels"]["a"] == "b");
  CHECK_FALSE(made["spec"].contains("volumes"));
  pod["metadata"]["name"] = "q";
  pod["spec"]["serviceAccountName"] = "nobody";
  CHECK(api.send("POST", kPods, pod)->parsed()["message"] ==
        R"~(pods "q" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found)~");
}

TEST_CASE("a generated name that is taken is tried again") {
  Harness api;
  std::set<std::string> names;
  for (int i = 0; i < 5; ++i) {
    const auto made = api.send("POST", kMaps, json::parse(R"({"metadata":{"generateName":"g-"}})"));
    REQUIRE(made->status == 201);
    names.insert(made->parsed()["metadata"]["name"].get<std::string>());
    api.serial -= api.serial % 10;  // the same suffixes come again
  }
  CHECK(names.size() == 5);
}

namespace {

// A message by hand: tag, length, content.
std::string field(unsigned number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}
std::string varint(unsigned number, unsigned char value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }
std::string k8s(const std::string& version, const std::string& kind, const std::string& raw) {
  return std::string("k8s\0", 4) + field(1, field(1, version) + field(2, kind)) + field(2, raw);
}

}  // namespace

TEST_CASE("Kubernetes' protobuf bodies, as kubectl create sends them") {
  Harness api;
  const char* type = "application/vnd.kubernetes.protobuf";
  // ObjectMeta as Go writes it: empty strings and a zero time included.
  const std::string meta = field(1, "cm") + field(2, "") + field(3, "") + varint(7, 0) + field(8, "") + field(11, field(1, "app") + field(2, "x"));
  const json made = api.raw("POST", kMaps, k8s("v1", "ConfigMap", field(1, meta) + field(2, field(1, "a") + field(2, "b")) + varint(4, 0)), type)->parsed();
  CHECK(made["metadata"]["labels"]["app"] == "x");
  CHECK(made["data"] == json::parse(R"({"a":"b"})"));
  CHECK(made["immutable"] == false);  // a pointer in Go: sent is set
  CHECK_FALSE(made["metadata"].contains("generateName"));
  const json secret = api.raw("POST", "/api/v1/namespaces/default/secrets", k8s("v1", "Secret", field(1, field(1, "s")) + field(2, field(1, "a") + field(2, "hi")) + field(3, "Opaque")), type)->parsed();
  CHECK(secret["data"]["a"] == "aGk=");
  // A container's probe (an embedded handler) and port, a quantity, an emptyDir.
  const std::string probe = field(1, field(2, field(1, "/x") + field(2, varint(1, 0) + varint(2, 80)))) + varint(2, 5);
  const std::string resources = field(1, field(1, "cpu") + field(2, field(1, "100m")));
  const std::string container = field(1, "c") + field(2, "busybox") + field(8, resources) + field(10, probe);
  const auto answer = api.raw("POST", kPods, k8s("v1", "Pod", field(1, field(1, "p")) + field(2, field(1, field(1, "v") + field(2, field(2, field(1, "")))) + field(2, container))), type);
  REQUIRE_MESSAGE(answer->status == 201, answer->body.str());
  const json pod = answer->parsed();
  CHECK(pod["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"] == 80);
  CHECK(pod["spec"]["containers"][0]["livenessProbe"]["initialDelaySeconds"] == 5);
  CHECK(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "100m");
  CHECK(pod["spec"]["volumes"][0]["emptyDir"] == json::object());
  CHECK(api.raw("DELETE", std::string(kPods) + "/p", k8s("v1", "DeleteOptions", varint(1, 0)), type)->status == 200);
  // Cut anywhere, it is refused and nothing else happens.
  const std::string whole = k8s("v1", "ConfigMap", field(1, field(1, "z")) + field(2, field(1, "a") + field(2, "b")));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const auto cut = api.raw("POST", kMaps, whole.substr(0, size), type);
    CHECK_MESSAGE(cut->status >= 400, size);
  }
  CHECK(api.raw("POST", kDevices, k8s("devices.kubeedge.io/v1beta1", "Device", ""), type)->status == 415);
}
