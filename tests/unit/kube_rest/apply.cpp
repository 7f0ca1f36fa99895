// Server-side apply and managedFields through the server: what kube/patch/apply decides is tested there.
#include <doctest/doctest.h>

#include "harness.h"

using namespace rest_test;

namespace {

constexpr const char* kApply = "application/apply-patch+yaml";

json map(const json& data) { return {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "m"}}}, {"data", data}}; }

std::shared_ptr<Answer> applies(Harness& lab, const json& config, const std::string& query = "?fieldManager=me", const std::string& path = std::string(kMaps) + "/m") {
  return lab.raw("PATCH", path + query, config.dump(), kApply);
}

json entry(const json& object, const std::string& manager) {
  for (const json& item : object.at("metadata").at("managedFields"))
    if (item.at("manager") == manager) return item;
  return json();
}

}  // namespace

TEST_CASE("apply: creates, says nothing twice, takes away what is applied no more") {
  Harness lab;
  auto answer = applies(lab, map({{"a", "1"}, {"b", "1"}}));
  CHECK(answer->status == 201);
  CHECK(entry(answer->parsed(), "me")["operation"] == "Apply");
  const std::uint64_t revision = lab.storage.revision();
  lab.clock.now_ms += 5000;
  answer = applies(lab, map({{"a", "1"}, {"b", "1"}}));
  CHECK(answer->status == 200);
  CHECK(lab.storage.revision() == revision);
  answer = applies(lab, map({{"a", "2"}}));
  CHECK(answer->parsed()["data"] == json{{"a", "2"}});
  CHECK(lab.get(std::string(kMaps) + "/m")->parsed()["data"] == json{{"a", "2"}});
}

TEST_CASE("apply: another manager's field is a conflict that names him; force takes it") {
  Harness lab;
  lab.raw("POST", std::string(kMaps) + "?fieldManager=editor", map({{"a", "1"}}).dump(), "application/json");
  auto answer = applies(lab, map({{"a", "2"}}));
  CHECK(answer->status == 409);
  const json said = answer->parsed();
  CHECK(said["reason"] == "Conflict");
  CHECK(said["message"] == R"(Apply failed with 1 conflict: conflict with "editor" using v1: .data.a)");
  CHECK(said["details"] == json{{"causes", {{{"reason", "FieldManagerConflict"}, {"message", R"(conflict with "editor" using v1)"}, {"field", ".data.a"}}}}});
  answer = applies(lab, map({{"a", "2"}}), "?fieldManager=me&force=true");
  CHECK(answer->status == 200);
  CHECK_FALSE(entry(answer->parsed(), "editor")["fieldsV1"]["f:data"].contains("f:a"));
}

TEST_CASE("apply: options and bodies that make no sense") {
  Harness lab;
  CHECK(applies(lab, map({}), "")->parsed()["message"] == R"(PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch)");
  CHECK(lab.patch(std::string(kMaps) + "/m?force=true", "merge", "{}")->parsed()["message"] ==
        R"(PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch)");
  CHECK(applies(lab, map({}), "?fieldManager=" + std::string(129, 'x'))->status == 422);
  CHECK(lab.raw("POST", std::string(kMaps) + "?fieldManager=%01", map({}).dump(), "application/json")->status == 422);
  CHECK(lab.raw("PATCH", std::string(kMaps) + "/m?fieldManager=me", "kind: ConfigMap", kApply)->status == 400);
  CHECK(applies(lab, json::array())->status == 400);
  json config = map({});
  config["metadata"]["name"] = "n";
  CHECK(applies(lab, config)->status == 400);
  config = map({});
  config["apiVersion"] = "v2";
  CHECK(applies(lab, config)->status == 400);
  config = map({});
  config["metadata"]["managedFields"] = json::array({{{"manager", "x"}}});
  CHECK(applies(lab, config)->status == 400);
  config = map({});
  config["nonsense"] = 1;
  const auto answer = applies(lab, config);
  CHECK(answer->status == 500);
  CHECK(answer->parsed()["message"] == "failed to create typed patch object (default/m; /v1, Kind=ConfigMap): .nonsense: field not declared in schema");
  CHECK(lab.get(std::string(kMaps) + "/m")->status == 404);
  CHECK(applies(lab, map({}), "?fieldManager=me", std::string(kPods) + "/p/status")->status >= 400);
}

TEST_CASE("managedFields: the User-Agent's first part where no manager is named, a status by its own door") {
  Harness lab;
  lab.user_agent = "kubectl/v1.32.2 (linux/amd64)";
  json pod = lab.send("POST", kPods, kPod)->parsed();
  CHECK(entry(pod, "kubectl")["fieldsV1"]["f:spec"].contains("f:containers"));
  lab.user_agent = "kubelet/v1.32";
  pod = lab.patch(std::string(kPods) + "/p/status", "strategic-merge", R"({"status":{"phase":"Running"}})")->parsed();
  CHECK(entry(pod, "kubelet")["subresource"] == "status");
  CHECK(entry(pod, "kubelet")["fieldsV1"] == json::parse(R"({"f:status":{"f:phase":{}}})"));
  CHECK(entry(pod, "kubectl")["operation"] == "Update");
  // The same status again is no write.
  const std::uint64_t revision = lab.storage.revision();
  lab.clock.now_ms += 60'000;
  lab.patch(std::string(kPods) + "/p/status", "strategic-merge", R"({"status":{"phase":"Running"}})");
  CHECK(lab.storage.revision() == revision);
  // An update that leaves managedFields out loses none.
  pod["metadata"].erase("managedFields");
  pod["metadata"]["labels"]["new"] = "1";
  pod = lab.send("PUT", std::string(kPods) + "/p", pod)->parsed();
  CHECK_FALSE(entry(pod, "kubectl").is_null());
}

TEST_CASE("apply: custom objects, dry run, and a creation needs the right to create") {
  Harness lab;
  const json device = {{"apiVersion", "devices.kubeedge.io/v1beta1"}, {"kind", "Device"}, {"metadata", {{"name", "d"}}}, {"spec", {{"nodeName", "edge1"}, {"deviceModelRef", {{"name", "model"}}}}}};
  const std::string path = std::string(kDevices) + "/d";
  CHECK(applies(lab, device, "?fieldManager=me&dryRun=All", path)->status == 201);
  CHECK(lab.get(path)->status == 404);
  CHECK(applies(lab, device, "?fieldManager=me", path)->status == 201);
  CHECK(lab.asked.starts_with("create devices"));
  json next = device;
  next["spec"]["nodeName"] = "edge2";
  const json stored = applies(lab, next, "?fieldManager=me", path)->parsed();
  CHECK(stored["spec"]["nodeName"] == "edge2");
  CHECK(stored["metadata"]["generation"] == 2);
}
