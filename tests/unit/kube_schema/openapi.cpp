// The OpenAPI document: its JSON form, and its protobuf form read back field by field.
#include <functional>
#include <map>

#include <doctest/doctest.h>

#include "kube/schema/openapi.h"
#include "kube/schema/schema.h"

using namespace kubeedge::kube::schema;

namespace {

// A protobuf message: field number -> values (numbers as text). Enough to look at what was written.
using Fields = std::multimap<unsigned, std::string>;

std::size_t varint(std::string_view& bytes) {
  std::size_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    REQUIRE_FALSE(bytes.empty());
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
}

Fields parse(std::string_view bytes) {
  Fields out;
  while (!bytes.empty()) {
    const auto tag = varint(bytes);
    const auto value = varint(bytes);
    if ((tag & 7) == 0) {
      out.emplace(static_cast<unsigned>(tag >> 3), std::to_string(value));
      continue;
    }
    REQUIRE((tag & 7) == 2);
    REQUIRE(value <= bytes.size());
    out.emplace(static_cast<unsigned>(tag >> 3), bytes.substr(0, value));
    bytes.remove_prefix(value);
  }
  return out;
}

std::string one(const Fields& fields, unsigned number) {
  REQUIRE(fields.count(number) == 1);
  return fields.find(number)->second;
}

// Named* messages: name = 1, value = 2.
std::map<std::string, std::string> named(const Fields& fields, unsigned number) {
  std::map<std::string, std::string> out;
  for (auto [at, end] = fields.equal_range(number); at != end; ++at) {
    const Fields entry = parse(at->second);
    out[one(entry, 1)] = one(entry, 2);
  }
  return out;
}

Json extension(const std::map<std::string, std::string>& all, const std::string& name) {
  REQUIRE(all.contains(name));
  return Json::parse(one(parse(all.at(name)), 2));  // Any.yaml
}

}  // namespace

TEST_CASE("openapi as JSON") {
  const Json all = Json::parse(openapi_v2_json("v1.32.2"));
  CHECK(all["swagger"] == "2.0");
  CHECK(all["info"]["version"] == "v1.32.2");
  const Json& definitions = all["definitions"];
  const Json& pod = definitions["io.k8s.api.core.v1.Pod"];
  CHECK(pod["x-kubernetes-group-version-kind"] == Json::parse(R"([{"group":"","kind":"Pod","version":"v1"}])"));
  CHECK(pod["properties"]["spec"] == Json::parse(R"({"$ref":"#/definitions/io.k8s.api.core.v1.PodSpec"})"));
  const Json& spec = definitions["io.k8s.api.core.v1.PodSpec"];
  CHECK(spec["required"] == Json::parse(R"(["containers"])"));
  CHECK(spec["properties"]["volumes"] == Json::parse(R"({"type":"array","items":{"$ref":"#/definitions/io.k8s.api.core.v1.Volume"},
    "x-kubernetes-patch-strategy":"merge,retainKeys","x-kubernetes-patch-merge-key":"name"})"));
  CHECK(spec["properties"]["nodeSelector"] == Json::parse(R"({"type":"object","additionalProperties":{"type":"string"}})"));
  const Json& action = definitions["io.k8s.api.core.v1.TCPSocketAction"];
  CHECK(action["properties"]["port"] == Json::parse(R"({"type":"string","format":"int-or-string"})"));
  CHECK(definitions["io.k8s.api.core.v1.ContainerPort"]["properties"]["hostPort"] == Json::parse(R"({"type":"integer","format":"int32"})"));
  const Json& device = definitions["io.kubeedge.devices.v1beta1.Device"];
  CHECK(device["properties"]["metadata"] == Json::parse(R"({"$ref":"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"})"));
  const Json& protocol = device["properties"]["spec"]["properties"]["protocol"];
  CHECK(protocol["properties"]["configData"] == Json::parse(R"({"type":"object","x-kubernetes-preserve-unknown-fields":true})"));
  const Json& model = definitions["io.kubeedge.devices.v1beta1.DeviceModel"]["properties"]["spec"]["properties"]["properties"]["items"];
  CHECK(model["properties"]["accessMode"] == Json::parse(R"({"type":"string","enum":["ReadWrite","ReadOnly"]})"));
  // Whatever is referred to is there.
  const std::string text = all.dump();
  const std::string mark = "\"#/definitions/";
  for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    const auto from = at + mark.size();
    CHECK(definitions.contains(text.substr(from, text.find('"', from) - from)));
  }
  const Json& patch = all["paths"]["/apis/devices.kubeedge.io/v1beta1/namespaces/{namespace}/devices/{name}"]["patch"];
  CHECK(patch["x-kubernetes-group-version-kind"] == Json::parse(R"({"group":"devices.kubeedge.io","kind":"Device","version":"v1beta1"})"));
  CHECK(patch["consumes"].size() == 2);  // no strategic merge for a custom kind
  CHECK(all["paths"].contains("/api/v1/nodes/{name}/status"));
}

TEST_CASE("openapi as protobuf holds the same") {
  const Json all = Json::parse(openapi_v2_json("v1.32.2"));
  const std::string bytes = openapi_v2_protobuf("v1.32.2");
  const Fields document = parse(bytes);
  CHECK(one(document, 1) == "2.0");
  CHECK(one(parse(one(document, 2)), 2) == "v1.32.2");

  const auto definitions = named(parse(one(document, 9)), 1);
  CHECK(definitions.size() == all["definitions"].size());
  const std::function<void(const Json&, const std::string&)> same = [&](const Json& schema, const std::string& message) {
    const Fields fields = parse(message);
    if (schema.contains("$ref")) CHECK(one(fields, 1) == schema["$ref"]);
    if (schema.contains("format")) CHECK(one(fields, 2) == schema["format"]);
    if (schema.contains("type")) CHECK(one(parse(one(fields, 22)), 1) == schema["type"]);
    CHECK(fields.count(19) == (schema.contains("required") ? schema["required"].size() : 0));
    CHECK(fields.count(20) == (schema.contains("enum") ? schema["enum"].size() : 0));
    if (schema.contains("items")) same(schema["items"], one(parse(one(fields, 23)), 1));
    if (schema.contains("additionalProperties")) same(schema["additionalProperties"], one(parse(one(fields, 21)), 1));
    if (schema.contains("properties")) {
      const auto properties = named(parse(one(fields, 25)), 1);
      CHECK(properties.size() == schema["properties"].size());
      for (const auto& [name, value] : properties) same(schema["properties"][name], value);
    }
    const auto extensions = named(fields, 31);
    for (const auto& item : schema.items())
      if (item.key().starts_with("x-")) CHECK(extension(extensions, item.key()) == item.value());
  };
  for (const auto& [name, message] : definitions) same(all["definitions"][name], message);

  const auto paths = named(parse(one(document, 8)), 2);
  CHECK(paths.size() == all["paths"].size());
  const Fields patch = parse(one(parse(paths.at("/api/v1/namespaces/{namespace}/pods/{name}")), 8));
  CHECK(extension(named(patch, 13), "x-kubernetes-group-version-kind")["kind"] == "Pod");
  std::vector<std::string> queries;
  for (auto [at, end] = patch.equal_range(8); at != end; ++at) {
    const Fields parameter = parse(one(parse(at->second), 1));
    if (parameter.contains(2)) queries.push_back(one(parse(one(parse(one(parameter, 2)), 3)), 4));
  }
  CHECK(queries == std::vector<std::string>{"dryRun", "fieldManager", "fieldValidation"});
}
