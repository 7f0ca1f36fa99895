#include "kube/patch/apply.h"

#include <doctest/doctest.h>

using namespace kubeedge::kube;
using patch::Json;

namespace {

const schema::Object& pod() { return *schema::find("", "v1", "pods")->object; }
const schema::Object& config_map() { return *schema::find("", "v1", "configmaps")->object; }

patch::Writer writer(const char* manager, const char* now = "2026-01-01T00:00:00Z") { return {manager, "v1", "", now, {}}; }

Json map(const char* data) { return Json::parse(std::string(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":)") + data + "}"); }

Json applied(const schema::Object& type, const Json& live, const Json& config, const char* manager, bool force = false, const char* now = "2026-01-01T00:00:00Z") {
  auto out = patch::apply(type, Json::object(), live, config, writer(manager, now), force);
  if (const auto* refused = std::get_if<patch::Refused>(&out)) FAIL(refused->message);
  if (const auto* conflicts = std::get_if<std::vector<patch::Conflict>>(&out)) FAIL(patch::conflict_message(*conflicts));
  return std::get<Json>(out);
}

std::string conflict(const schema::Object& type, const Json& live, const Json& config, const char* manager) {
  auto out = patch::apply(type, Json::object(), live, config, writer(manager), false);
  REQUIRE(std::holds_alternative<std::vector<patch::Conflict>>(out));
  return patch::conflict_message(std::get<std::vector<patch::Conflict>>(out));
}

const Json& entry(const Json& object, const std::string& manager) {
  for (const Json& item : object.at("metadata").at("managedFields"))
    if (item.at("manager") == manager) return item;
  FAIL("no manager " << manager << " in " << object.at("metadata").dump());
  std::abort();
}

Json pod_with(const char* containers) {
  return Json::parse(std::string(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":)") + containers + "}}");
}

}  // namespace

TEST_CASE("field sets: read and written as fieldsV1") {
  const char* text = R"({"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}},"f:x":{"v:\"y\"":{}}}})";
  const auto set = patch::FieldSet::parse(Json::parse(text));
  REQUIRE(set);
  CHECK(set->json() == Json::parse(text));
  CHECK(set->has({"f:metadata", "f:labels"}));
  CHECK_FALSE(set->has({"f:spec"}));
  CHECK((*set - *set).empty());
  CHECK((*set & *set) == *set);
  std::vector<std::string> paths;
  set->each([&](const patch::Path& path) { paths.push_back(patch::path_text(path)); });
  CHECK(paths == std::vector<std::string>{".metadata.labels", ".metadata.labels.a", ".spec.containers[name=\"c\"]", ".spec.containers[name=\"c\"].image", ".spec.x[\"y\"]"});
  for (const char* bad : {"[]", R"({"x":{}})", R"({"f:a":1})", R"({"k:[]":{}})", R"({"v:}":{}})", R"({"i:x":{}})"})
    CHECK_FALSE(patch::FieldSet::parse(Json::parse(bad)));
  std::string deep = "{}";
  for (int i = 0; i < 200; ++i) deep = R"({"f:a":)" + deep + "}";
  CHECK_FALSE(patch::FieldSet::parse(Json::parse(deep)));
}

TEST_CASE("updates: each writer owns what it changed last") {
  Json object = patch::track_update(config_map(), Json::object(), map(R"({"a":"1","b":"1"})"), writer("one"));
  CHECK(entry(object, "one")["fieldsV1"] == Json::parse(R"({"f:data":{".":{},"f:a":{},"f:b":{}}})"));
  CHECK(entry(object, "one")["operation"] == "Update");
  Json next = object;
  next["data"]["b"] = "2";
  object = patch::track_update(config_map(), object, next, writer("two", "2026-01-02T00:00:00Z"));
  CHECK(entry(object, "one")["fieldsV1"] == Json::parse(R"({"f:data":{".":{},"f:a":{}}})"));
  CHECK(entry(object, "two")["fieldsV1"] == Json::parse(R"({"f:data":{"f:b":{}}})"));
  CHECK(object["metadata"]["managedFields"][1]["manager"] == "two");
  // Nothing new: nothing changes, not even a time.
  CHECK(patch::track_update(config_map(), object, object, writer("three", "2026-01-03T00:00:00Z")) == object);
  next = object;
  next.erase("data");
  object = patch::track_update(config_map(), object, next, writer("two"));
  CHECK_FALSE(object["metadata"].contains("managedFields"));
}

TEST_CASE("updates: a client may write managedFields, reset them, or leave them out") {
  const Json object = patch::track_update(config_map(), Json::object(), map(R"({"a":"1"})"), writer("one"));
  Json next = object;
  next["metadata"].erase("managedFields");
  CHECK(patch::track_update(config_map(), object, next, writer("two")) == object);
  next["metadata"]["managedFields"] = Json::array();
  CHECK_FALSE(patch::track_update(config_map(), object, next, writer("two"))["metadata"].contains("managedFields"));
  next["metadata"]["managedFields"] = Json::parse(R"([{"manager":"x","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}}}}])");
  CHECK(entry(patch::track_update(config_map(), object, next, writer("two")), "x")["operation"] == "Apply");
  next["metadata"]["managedFields"] = Json::parse(R"([{"manager":"x","operation":"Sing"}])");
  CHECK(patch::track_update(config_map(), object, next, writer("two")) == object);
}

TEST_CASE("updates: more than ten writers become ancient changes") {
  Json object = patch::track_update(config_map(), Json::object(), map("{}"), writer("w0"));
  for (int i = 0; i < 15; ++i) {
    Json next = object;
    next["data"]["k" + std::to_string(i)] = "v";
    object = patch::track_update(config_map(), object, next, writer(("w" + std::to_string(i)).c_str(), ("2026-01-01T00:00:" + std::to_string(10 + i) + "Z").c_str()));
  }
  CHECK(object["metadata"]["managedFields"].size() == patch::ManagedFields::kMaxUpdaters);
  CHECK(entry(object, "ancient-changes")["fieldsV1"]["f:data"].size() >= 6);
}

TEST_CASE("apply: creates, changes and removes what the manager no longer applies") {
  Json object = applied(config_map(), Json::object(), map(R"({"a":"1","b":"1"})"), "me");
  CHECK(object["data"] == Json::parse(R"({"a":"1","b":"1"})"));
  CHECK(entry(object, "me")["fieldsV1"] == Json::parse(R"({"f:data":{"f:a":{},"f:b":{}}})"));
  object = applied(config_map(), object, map(R"({"a":"2"})"), "me");
  CHECK(object["data"] == Json::parse(R"({"a":"2"})"));
  // The same again: not even the time.
  CHECK(applied(config_map(), object, map(R"({"a":"2"})"), "me", false, "2027-01-01T00:00:00Z") == object);
  // Another manager's field stays when the first gives it up.
  object = applied(config_map(), object, map(R"({"a":"2","c":"3"})"), "you");
  object = applied(config_map(), object, map("{}"), "me");
  CHECK(object["data"] == Json::parse(R"({"a":"2","c":"3"})"));
  CHECK(applied(config_map(), object, map(R"({"c":"3"})"), "you")["data"] == Json::parse(R"({"c":"3"})"));
}

TEST_CASE("apply: what others own is a conflict, unless forced") {
  Json object = patch::track_update(config_map(), Json::object(), map(R"({"a":"1","b":"1"})"), writer("editor"));
  CHECK(conflict(config_map(), object, map(R"({"a":"2"})"), "me") == "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a");
  CHECK(conflict(config_map(), object, map(R"({"a":"2","b":"2"})"), "me") ==
        "Apply failed with 2 conflicts: conflicts with \"editor\" using v1:\n- .data.a\n- .data.b");
  object = applied(config_map(), object, map(R"({"a":"2"})"), "me", true);
  CHECK(object["data"] == Json::parse(R"({"a":"2","b":"1"})"));
  CHECK(entry(object, "editor")["fieldsV1"] == Json::parse(R"({"f:data":{".":{},"f:b":{}}})"));
  // The same value is no conflict: both own it.
  object = applied(config_map(), object, map(R"({"a":"2"})"), "you");
  CHECK(conflict(config_map(), object, map(R"({"a":"3"})"), "you") == "Apply failed with 1 conflict: conflict with \"me\": .data.a");
}

TEST_CASE("apply: keyed lists, sets and atomic parts") {
  Json object = applied(pod(), Json::object(), pod_with(R"([{"name":"a","image":"a:1","ports":[{"containerPort":80}]},{"name":"b","image":"b:1"}])"), "me");
  CHECK(entry(object, "me")["fieldsV1"]["f:spec"]["f:containers"][R"(k:{"name":"a"})"]["f:ports"].contains(R"(k:{"containerPort":80,"protocol":"TCP"})"));
  // Another manager's container between ours, in its order.
  object = applied(pod(), object, pod_with(R"([{"name":"c","image":"c:1"},{"name":"b","image":"b:1"}])"), "you");
  const auto names = [](const Json& of) {
    std::string out;
    for (const Json& container : of["spec"]["containers"]) out += container["name"].get<std::string>();
    return out;
  };
  CHECK(names(object) == "acb");
  CHECK(names(applied(pod(), object, pod_with(R"([{"name":"a","image":"a:1"}])"), "me")) == "acb");   // b is yours, too
  CHECK(names(applied(pod(), object, pod_with("[]"), "you")) == "ab");
  Json with_selector = pod_with("[]");
  with_selector["spec"]["nodeSelector"] = {{"a", "1"}};
  object = applied(pod(), object, with_selector, "selecting");
  CHECK(entry(object, "selecting")["fieldsV1"]["f:spec"]["f:nodeSelector"].empty());
  with_selector["metadata"]["finalizers"] = {"x/a"};
  object = applied(pod(), object, with_selector, "selecting");
  with_selector["metadata"]["finalizers"] = {"x/b"};
  CHECK(applied(pod(), object, with_selector, "another")["metadata"]["finalizers"] == Json({"x/a", "x/b"}));
}

TEST_CASE("apply: what cannot be merged is refused") {
  const auto refused = [](const Json& config) {
    const auto out = patch::apply(pod(), Json::object(), Json::object(), config, writer("me"), false);
    REQUIRE(std::holds_alternative<patch::Refused>(out));
    return std::get<patch::Refused>(out).message;
  };
  CHECK(refused(pod_with(R"([{"name":"a"},{"name":"a"}])")) == ".spec.containers: duplicate entries for key [name=\"a\"]");
  Json config = pod_with("[]");
  config["spec"]["topologySpreadConstraints"] = Json::parse("[5]");
  CHECK(refused(config).starts_with(".spec.topologySpreadConstraints: element 0: associative list with keys"));
  CHECK(refused(Json::parse(R"({"apiVersion":"v1","kind":"Pod","spec":{"colour":"red"}})")) == ".spec.colour: field not declared in schema");
  CHECK(refused(Json::parse(R"({"apiVersion":"v2","kind":"Pod"})")) == "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1");
  CHECK(refused(Json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"managedFields":[]}})")) == "metadata.managedFields must be nil");
}

TEST_CASE("apply: kubectl takes over what its client-side apply wrote") {
  Json old = map(R"({"a":"1","b":"1"})");
  old["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = map(R"({"a":"1"})").dump();
  Json object = patch::track_update(config_map(), Json::object(), old, writer("kubectl-client-side-apply"));
  CHECK(conflict(config_map(), object, map(R"({"a":"2"})"), "me") == "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.a");
  CHECK(conflict(config_map(), object, map(R"({"a":"2","b":"2"})"), "kubectl") == "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.b");
  object = applied(config_map(), object, map(R"({"a":"2"})"), "kubectl");
  CHECK(object["data"]["a"] == "2");
  CHECK(Json::parse(object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].get<std::string>())["data"]["a"] == "2");
}

TEST_CASE("apply: an object that nobody kept account of") {
  Json object = applied(config_map(), map(R"({"a":"1","b":"1"})"), map(R"({"c":"1"})"), "me");
  CHECK(entry(object, "before-first-apply")["fieldsV1"] == Json::parse(R"({"f:data":{".":{},"f:a":{},"f:b":{}}})"));
  CHECK(conflict(config_map(), object, map(R"({"a":"2"})"), "you").find("before-first-apply") != std::string::npos);
}

TEST_CASE("same_but_times: an apply that changed only times writes nothing") {
  const Json a = applied(config_map(), Json::object(), map(R"({"a":"1"})"), "me");
  Json b = a;
  b["metadata"]["managedFields"][0]["time"] = "2030-01-01T00:00:00Z";
  CHECK(patch::same_but_times(a, b));
  b["data"]["a"] = "2";
  CHECK_FALSE(patch::same_but_times(a, b));
}
