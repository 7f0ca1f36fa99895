// The table itself: kinds, unknown fields, types.
#include <set>

#include <doctest/doctest.h>

#include "kube/schema/schema.h"

using namespace kubeedge::kube::schema;

namespace {

const Kind& kind(std::string_view group, std::string_view version, std::string_view name) {
  const Kind* found = find_kind(group, version, name);
  REQUIRE(found != nullptr);
  return *found;
}

const Field& field(const Object& object, std::initializer_list<std::string_view> path) {
  const Object* at = &object;
  const Field* found = nullptr;
  for (const auto name : path) {
    REQUIRE(at != nullptr);
    found = at->find(name);
    REQUIRE_MESSAGE(found != nullptr, std::string(name));
    at = found->object;
  }
  return *found;
}

std::string wrong(const Kind& kind, const char* text) { return type_error(kind, Json::parse(text)); }

}  // namespace

TEST_CASE("kinds are found by resource and by name") {
  CHECK(kinds().size() == 34);
  const Kind* pods = find("", "v1", "pods");
  REQUIRE(pods != nullptr);
  CHECK(pods->kind == "Pod");
  CHECK(pods->api_version() == "v1");
  CHECK(pods->storage_resource() == "core/pods");
  CHECK(pods->namespaced);
  CHECK(pods->status);
  CHECK(pods->short_names[0] == "po");
  CHECK(find("devices.kubeedge.io", "v1beta1", "devices")->storage_resource() == "devices.kubeedge.io/devices");
  CHECK(find("devices.kubeedge.io", "v1alpha2", "devices") == nullptr);
  CHECK_FALSE(kind("reliablesyncs.kubeedge.io", "v1alpha1", "ClusterObjectSync").namespaced);
  CHECK(kind("reliablesyncs.kubeedge.io", "v1alpha1", "ObjectSync").status);
  CHECK_FALSE(kind("devices.kubeedge.io", "v1beta1", "Device").status);
  CHECK_FALSE(find("", "v1", "secrets")->status);
  // Bodies of requests are kinds, yet no resource.
  CHECK(kind("", "v1", "Binding").object->find("target") != nullptr);
  CHECK(kind("authentication.k8s.io", "v1", "TokenRequest").object->find("spec") != nullptr);
  CHECK(find("", "v1", "bindings") == nullptr);
}

TEST_CASE("every object of the table is whole: types, names, no field twice") {
  std::set<const Object*> seen;
  std::vector<const Object*> todo;
  for (const Kind& kind : kinds()) todo.push_back(kind.object);
  while (!todo.empty()) {
    const Object* object = todo.back();
    todo.pop_back();
    if (!seen.insert(object).second) continue;
    CHECK_FALSE(object->name.empty());
    std::set<std::string_view> names;
    for (const Field& one : object->fields) {
      CHECK_MESSAGE(names.insert(one.name).second, std::string(object->name));
      CHECK((one.type == Type::kObject) == (one.object != nullptr));
      if (one.object != nullptr) todo.push_back(one.object);
    }
  }
  CHECK(seen.size() > 150);
}

TEST_CASE("merge keys are Kubernetes' own") {
  const Object& pod = *kind("", "v1", "Pod").object;
  CHECK(field(pod, {"spec", "containers"}).merge_key == "name");
  CHECK(field(pod, {"spec", "containers", "ports"}).merge_key == "containerPort");
  CHECK(field(pod, {"spec", "containers", "volumeMounts"}).merge_key == "mountPath");
  CHECK(field(pod, {"spec", "volumes"}).merge);
  CHECK(field(pod, {"spec", "volumes"}).retain_keys);
  CHECK(field(pod, {"status", "conditions"}).merge_key == "type");
  CHECK(field(pod, {"metadata", "finalizers"}).merge);
  CHECK(field(pod, {"metadata", "finalizers"}).merge_key.empty());
  CHECK_FALSE(field(pod, {"spec", "tolerations"}).merge);
  CHECK(field(pod, {"spec", "containers", "resources", "limits"}).type == Type::kQuantity);
  CHECK(field(pod, {"spec", "containers", "resources", "limits"}).shape == Shape::kMap);
  CHECK(field(*kind("", "v1", "Secret").object, {"data"}).type == Type::kBytes);
  CHECK(field(*kind("coordination.k8s.io", "v1", "Lease").object, {"spec", "renewTime"}).type == Type::kMicroTime);
}

TEST_CASE("unknown fields are named with their path and removed") {
  Json pod = Json::parse(R"({"kind":"Pod","spec":{"containers":[{"name":"a","imag":"x","ports":[{"port":1}]}],"nodeNam":"n"},"extra":{}})");
  CHECK(prune_unknown(kind("", "v1", "Pod"), pod) ==
        std::vector<std::string>{"unknown field \"extra\"", "unknown field \"spec.containers[0].imag\"",
                                 "unknown field \"spec.containers[0].ports[0].port\"", "unknown field \"spec.nodeNam\""});
  CHECK(pod == Json::parse(R"({"kind":"Pod","spec":{"containers":[{"name":"a","ports":[{}]}]}})"));

  Json device = Json::parse(R"({"spec":{"nodeName":"n","old":1,"protocol":{"configData":{"any":{"thing":[1]}},"x":2}},
                               "status":{"twins":[1],"reportCycle":5}})");
  CHECK(prune_unknown(kind("devices.kubeedge.io", "v1beta1", "Device"), device) ==
        std::vector<std::string>{"unknown field \"spec.old\"", "unknown field \"spec.protocol.x\""});
  CHECK(device["spec"]["protocol"]["configData"]["any"]["thing"][0] == 1);
  CHECK(device["status"]["twins"][0] == 1);  // the status of a Device is open
}

TEST_CASE("types that do not fit answer as Go's decoder does") {
  const Kind& pod = kind("", "v1", "Pod");
  CHECK(wrong(pod, R"({"spec":{"containers":[{"name":"a","image":null,"resources":{"limits":{"cpu":1}}}]}})").empty());
  CHECK(wrong(pod, R"({"spec":{"containers":[{"name":5}]}})") ==
        "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string");
  CHECK(wrong(pod, R"({"spec":{"containers":{}}})") ==
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container");
  CHECK(wrong(pod, R"({"spec":{"hostNetwork":"yes"}})") ==
        "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool");
  CHECK(wrong(pod, R"({"spec":{"terminationGracePeriodSeconds":1.5}})") ==
        "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64");
  CHECK(wrong(pod, R"({"metadata":{"labels":{"a":true}}})") ==
        "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string");
  CHECK(wrong(pod, R"({"spec":{"containers":[{"resources":{"limits":{"cpu":"ten"}}}]}})") ==
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  CHECK(wrong(pod, R"({"metadata":{"creationTimestamp":"today"}})") ==
        "parsing time \"today\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"today\" as \"2006\"");
  CHECK(wrong(pod, "[]") == "json: cannot unmarshal array into Go value of type v1.Pod");
  CHECK(wrong(kind("", "v1", "Secret"), R"({"data":{"a":"%%"}})") ==
        "illegal base64 data at input byte 0");
  CHECK(wrong(kind("", "v1", "Secret"), R"({"data":{"a":"YQ=="}})").empty());
  // A custom object's own fields are its schema's affair.
  const Kind& device = kind("devices.kubeedge.io", "v1beta1", "Device");
  CHECK(wrong(device, R"({"spec":{"nodeName":5}})").empty());
  CHECK(wrong(device, R"({"metadata":{"name":5}})") == "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string");
  // Numbers that do not fit into what Kubernetes keeps them in.
  CHECK(wrong(pod, R"({"spec":{"containers":[{"ports":[{"containerPort":3000000000}]}]}})") ==
        "json: cannot unmarshal number 3000000000 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32");
  CHECK(wrong(pod, R"({"spec":{"activeDeadlineSeconds":18446744073709551615}})") ==
        "json: cannot unmarshal number 18446744073709551615 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64");
  CHECK(wrong(pod, R"({"metadata":{"creationTimestamp":"2025-02-30T00:00:00Z"}})") ==
        "parsing time \"2025-02-30T00:00:00Z\": day out of range");
}
