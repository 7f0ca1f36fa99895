// One walk over the table makes the document as JSON; its protobuf form is written from that tree.
#include "kube/schema/openapi.h"

#include <set>

#include "base/json.h"
#include "kube/schema/tables.h"

namespace kubeedge::kube::schema {
namespace {

constexpr auto kGvk = "x-kubernetes-group-version-kind";

// --- the document

std::string definition_name(const Object& object) { return std::string(object.name); }
bool is_named(const Object& object) { return object.name.starts_with("io.k8s."); }  // parts of our own kinds stand inline, as CRDs' do

class Definitions {
 public:
  Definitions() {
    for (const auto part : {kinds(), unstored_kinds()}) {
      for (const Kind& kind : part) {
        define(*kind.object);
        out_[definition_name(*kind.object)][kGvk] =
            Json::array({{{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}}});
      }
    }
  }
  Json take() { return std::move(out_); }

 private:
  void define(const Object& object) {
    if (!seen_.insert(object.name).second) return;
    out_[definition_name(object)] = body(object);
  }

  Json body(const Object& object) {
    Json out = {{"type", "object"}};
    for (const Field& field : object.fields) {
      out["properties"][std::string(field.name)] = property(field);
      if (field.required) out["required"].push_back(field.name);
    }
    if (object.open) out["x-kubernetes-preserve-unknown-fields"] = true;
    return out;
  }

  Json property(const Field& field) {
    Json out = single(field);
    if (field.shape == Shape::kArray) out = {{"type", "array"}, {"items", std::move(out)}};
    if (field.shape == Shape::kMap) out = {{"type", "object"}, {"additionalProperties", std::move(out)}};
    std::string strategy = field.merge ? "merge" : "";
    if (field.retain_keys) strategy += strategy.empty() ? "retainKeys" : ",retainKeys";
    if (!strategy.empty()) out["x-kubernetes-patch-strategy"] = strategy;
    if (!field.merge_key.empty()) out["x-kubernetes-patch-merge-key"] = field.merge_key;
    return out;
  }

  Json single(const Field& field) {
    switch (field.type) {
      case Type::kObject:
        if (!is_named(*field.object)) return body(*field.object);
        define(*field.object);
        return {{"$ref", "#/definitions/" + definition_name(*field.object)}};
      case Type::kInteger: {
        Json out = {{"type", "integer"}};
        if (field.bits != 0) out["format"] = field.bits == 32 ? "int32" : "int64";
        return out;
      }
      case Type::kNumber: return {{"type", "number"}};
      case Type::kBoolean: return {{"type", "boolean"}};
      case Type::kIntOrString: return {{"type", "string"}, {"format", "int-or-string"}};
      case Type::kTime:
      case Type::kMicroTime: return {{"type", "string"}, {"format", "date-time"}};
      case Type::kBytes: return {{"type", "string"}, {"format", "byte"}};
      case Type::kAny: return {{"type", "object"}};
      case Type::kString:
      case Type::kQuantity:
      case Type::kDuration: break;
    }
    Json out = {{"type", "string"}};
    for (std::string_view rest = field.enum_values; !rest.empty();) {
      const auto bar = rest.find('|');
      out["enum"].push_back(rest.substr(0, bar));
      rest = bar == std::string_view::npos ? std::string_view() : rest.substr(bar + 1);
    }
    return out;
  }

  Json out_ = Json::object();
  std::set<std::string_view> seen_;
};

Json query(const char* name, const char* type) { return {{"name", name}, {"in", "query"}, {"type", type}, {"uniqueItems", true}}; }
Json in_path(const char* name) { return {{"name", name}, {"in", "path"}, {"type", "string"}, {"required", true}, {"uniqueItems", true}}; }

// kubectl looks whether the patch of a kind knows dryRun and fieldValidation.
Json operation(const Kind& kind, const std::string& verb, const char* action) {
  const std::string where = (kind.group.empty() ? "core" : std::string(kind.group)) + std::string(kind.version);
  Json out = {{"operationId", verb + std::string(kind.kind) + "In" + where},
              {"x-kubernetes-action", action},
              {kGvk, {{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}}},
              {"responses", {{"200", {{"description", "OK"}}}}}};
  const bool writes = std::string_view(action) != "get" && std::string_view(action) != "list";
  if (std::string_view(action) == "patch") {
    out["consumes"] = Json::array({"application/json-patch+json", "application/merge-patch+json"});
    if (!kind.custom) out["consumes"].push_back("application/strategic-merge-patch+json");
  }
  if (!writes) return out;
  Json& parameters = out["parameters"] = Json::array();
  const bool body = std::string_view(action) != "delete";
  Json schema = {{"type", "object"}};
  if (body && std::string_view(action) != "patch") schema = {{"$ref", "#/definitions/" + definition_name(*kind.object)}};
  parameters.push_back({{"name", "body"}, {"in", "body"}, {"required", body}, {"schema", std::move(schema)}});
  parameters.push_back(query("dryRun", "string"));
  if (body) {
    parameters.push_back(query("fieldManager", "string"));
    parameters.push_back(query("fieldValidation", "string"));
  }
  return out;
}

Json paths() {
  Json out = Json::object();
  for (const Kind& kind : kinds()) {
    std::string path = kind.group.empty() ? "/api/" : "/apis/" + std::string(kind.group) + "/";
    path += std::string(kind.version);
    Json scope = Json::array();
    if (kind.namespaced) {
      path += "/namespaces/{namespace}";
      scope.push_back(in_path("namespace"));
    }
    path += "/" + std::string(kind.plural);
    Json named = scope;
    named.insert(named.begin(), in_path("name"));
    out[path] = {{"get", operation(kind, "list", "list")}, {"post", operation(kind, "create", "post")}, {"parameters", scope}};
    out[path + "/{name}"] = {{"get", operation(kind, "read", "get")}, {"put", operation(kind, "replace", "put")},
                             {"patch", operation(kind, "patch", "patch")}, {"delete", operation(kind, "delete", "delete")},
                             {"parameters", named}};
    if (kind.status)
      out[path + "/{name}/status"] = {{"get", operation(kind, "readStatusOf", "get")}, {"put", operation(kind, "replaceStatusOf", "put")},
                                      {"patch", operation(kind, "patchStatusOf", "patch")}, {"parameters", named}};
  }
  return out;
}

Json document(const std::string& git_version) {
  return {{"swagger", "2.0"},
          {"info", {{"title", "Kubernetes"}, {"version", git_version}}},
          {"paths", paths()},
          {"definitions", Definitions().take()}};
}

// --- protobuf: openapi.v2 of gnostic-models. A message is its fields one after the other.

class Message {
 public:
  void text(unsigned field, std::string_view value) {
    tag(field, 2);
    varint(value.size());
    out_ += value;
  }
  void message(unsigned field, const Message& value) { text(field, value.out_); }
  void flag(unsigned field, bool value) {
    tag(field, 0);
    varint(value ? 1 : 0);
  }
  std::string take() { return std::move(out_); }

 private:
  void tag(unsigned field, unsigned wire) { varint(field << 3 | wire); }
  void varint(std::size_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>((value & 0x7f) | 0x80);
    out_ += static_cast<char>(value);
  }
  std::string out_;
};

Message named(std::string_view name, const Message& value) {
  Message out;
  out.text(1, name);
  out.message(2, value);
  return out;
}

// Any{yaml}: JSON is YAML.
Message yaml(const Json& value) {
  Message out;
  out.text(2, base::dump_json(value) + "\n");
  return out;
}

void extensions(Message& out, unsigned field, const Json& object) {
  for (const auto& item : object.items())
    if (item.key().starts_with("x-")) out.message(field, named(item.key(), yaml(item.value())));
}

const std::string& str_of(const Json& value) { return value.get_ref<const std::string&>(); }

Message schema_message(const Json& schema) {
  Message out;
  for (const auto& item : schema.items()) {
    const std::string& name = item.key();
    const Json& value = item.value();
    if (name == "$ref") out.text(1, str_of(value));
    else if (name == "format") out.text(2, str_of(value));
    else if (name == "required") {
      for (const auto& one : value) out.text(19, str_of(one));
    } else if (name == "enum") {
      for (const auto& one : value) out.message(20, yaml(one));
    } else if (name == "additionalProperties") {
      Message either;  // AdditionalPropertiesItem{schema}
      either.message(1, schema_message(value));
      out.message(21, either);
    } else if (name == "type") {
      Message type;  // TypeItem
      type.text(1, str_of(value));
      out.message(22, type);
    } else if (name == "items") {
      Message list;  // ItemsItem
      list.message(1, schema_message(value));
      out.message(23, list);
    } else if (name == "properties") {
      Message all;
      for (const auto& property : value.items()) all.message(1, named(property.key(), schema_message(property.value())));
      out.message(25, all);
    }
  }
  extensions(out, 31, schema);
  return out;
}

// ParametersItem{parameter{body_parameter | non_body_parameter{query | path}}}
Message parameter_message(const Json& parameter) {
  Message inner, either, item;
  const auto& in = str_of(parameter["in"]);
  if (in == "body") {
    inner.text(2, str_of(parameter["name"]));
    inner.text(3, in);
    if (parameter["required"].get<bool>()) inner.flag(4, true);
    inner.message(5, schema_message(parameter["schema"]));
    either.message(1, inner);
  } else {
    const bool query = in == "query";
    if (!query) inner.flag(1, true);
    inner.text(2, in);
    inner.text(4, str_of(parameter["name"]));
    inner.text(query ? 6 : 5, str_of(parameter["type"]));
    inner.flag(query ? 20 : 19, true);  // unique_items
    Message non_body;
    non_body.message(query ? 3 : 4, inner);
    either.message(2, non_body);
  }
  item.message(1, either);
  return item;
}

Message operation_message(const Json& operation) {
  Message out;
  out.text(5, str_of(operation["operationId"]));
  if (operation.contains("consumes"))
    for (const auto& one : operation["consumes"]) out.text(7, str_of(one));
  if (operation.contains("parameters"))
    for (const auto& one : operation["parameters"]) out.message(8, parameter_message(one));
  Message responses;
  for (const auto& item : operation["responses"].items()) {
    Message response, value;
    response.text(1, str_of(item.value()["description"]));
    value.message(1, response);
    responses.message(1, named(item.key(), value));
  }
  out.message(9, responses);
  extensions(out, 13, operation);
  return out;
}

Message path_message(const Json& path) {
  Message out;
  for (const auto& item : path.items()) {
    if (item.key() == "get") out.message(2, operation_message(item.value()));
    else if (item.key() == "put") out.message(3, operation_message(item.value()));
    else if (item.key() == "post") out.message(4, operation_message(item.value()));
    else if (item.key() == "delete") out.message(5, operation_message(item.value()));
    else if (item.key() == "patch") out.message(8, operation_message(item.value()));
    else if (item.key() == "parameters")
      for (const auto& one : item.value()) out.message(9, parameter_message(one));
  }
  return out;
}

}  // namespace

std::string openapi_v2_protobuf(const std::string& git_version) {
  const Json all = document(git_version);
  Message out, info, paths, definitions;
  info.text(1, str_of(all["info"]["title"]));
  info.text(2, git_version);
  for (const auto& item : all["paths"].items()) paths.message(2, named(item.key(), path_message(item.value())));
  for (const auto& item : all["definitions"].items()) definitions.message(1, named(item.key(), schema_message(item.value())));
  out.text(1, str_of(all["swagger"]));
  out.message(2, info);
  out.message(8, paths);
  out.message(9, definitions);
  return out.take();
}

std::string openapi_v2_json(const std::string& git_version) {
  return base::dump_json(document(git_version));
}

}  // namespace kubeedge::kube::schema
