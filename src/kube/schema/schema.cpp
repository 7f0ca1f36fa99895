#include "kube/schema/schema.h"

#include <algorithm>
#include <cstdint>

#include "base/json.h"
#include "kube/schema/syntax.h"
#include "kube/schema/tables.h"

namespace kubeedge::kube::schema {
namespace {

std::vector<Kind> join() {
  std::vector<Kind> all;
  for (const auto part : {builtin_kinds(), custom_kinds()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string joined(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

void prune(const Object& what, Json& value, const std::string& path, std::vector<std::string>& unknown) {
  if (!value.is_object()) return;
  for (auto it = value.begin(); it != value.end();) {
    const std::string here = joined(path, it.key());
    const Field* field = what.find(it.key());
    if (field == nullptr) {
      if (what.open) {
        ++it;
        continue;
      }
      unknown.push_back("unknown field \"" + here + "\"");
      it = value.erase(it);
      continue;
    }
    if (field->type == Type::kObject) {
      if (field->shape == Shape::kSingle) {
        prune(*field->object, *it, here, unknown);
      } else if (field->shape == Shape::kArray && it->is_array()) {
        for (std::size_t i = 0; i < it->size(); ++i) prune(*field->object, (*it)[i], here + "[" + std::to_string(i) + "]", unknown);
      } else if (field->shape == Shape::kMap && it->is_object()) {
        for (auto entry = it->begin(); entry != it->end(); ++entry) prune(*field->object, *entry, here + "." + entry.key(), unknown);
      }
    }
    ++it;
  }
}

// The last part of an Object's name: how Go's decoder calls the struct.
std::string_view short_name(const Object& object) { return object.name.substr(object.name.rfind('.') + 1); }

// The Go type that Kubernetes' decoder names.
std::string go_type(const Field& field) {
  std::string base;
  switch (field.type) {
    case Type::kString: base = "string"; break;
    case Type::kInteger: base = field.bits == 32 ? "int32" : "int64"; break;
    case Type::kNumber: base = "float64"; break;
    case Type::kBoolean: base = "bool"; break;
    case Type::kBytes: base = "[]uint8"; break;
    case Type::kObject: base = "v1." + std::string(short_name(*field.object)); break;
    case Type::kIntOrString: base = field.shape == Shape::kSingle ? "int32" : "intstr.IntOrString"; break;
    case Type::kQuantity: base = "resource.Quantity"; break;
    case Type::kAny: base = "interface {}"; break;
    case Type::kTime:
    case Type::kMicroTime:
    case Type::kDuration: base = "string"; break;
  }
  if (field.shape == Shape::kArray) return "[]" + base;
  if (field.shape == Shape::kMap) return "map[string]" + base;
  return base;
}

std::string_view json_kind(const Json& value) {
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "bool";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  return "number";
}

// Walks a value beside its Object; the first misfit ends the walk, as Go's decoder does.
class TypeWalk {
 public:
  std::string object(const Object& what, const Json& value, const std::string& path) {
    for (auto it = value.begin(); it != value.end(); ++it) {
      const Field* field = what.find(it.key());
      if (field == nullptr || it->is_null()) continue;
      std::string error = member(what, *field, *it, joined(path, it.key()));
      if (!error.empty()) return error;
    }
    return "";
  }

 private:
  std::string member(const Object& owner, const Field& field, const Json& value, const std::string& path) {
    if (field.shape == Shape::kSingle) return single(owner, field, value, path);
    if (field.shape == Shape::kArray ? !value.is_array() : !value.is_object()) return misfit(owner, value, path, go_type(field));
    Field element = field;
    element.shape = Shape::kSingle;
    for (const auto& item : value) {
      if (item.is_null()) continue;
      std::string error = single(owner, element, item, path);
      if (!error.empty()) return error;
    }
    return "";
  }

  std::string single(const Object& owner, const Field& field, const Json& value, const std::string& path) {
    switch (field.type) {
      case Type::kAny: return "";
      case Type::kObject: return value.is_object() ? object(*field.object, value, path) : misfit(owner, value, path, go_type(field));
      case Type::kString: return value.is_string() ? "" : misfit(owner, value, path, go_type(field));
      case Type::kBoolean: return value.is_boolean() ? "" : misfit(owner, value, path, go_type(field));
      case Type::kInteger: return integer_fits(value, field.bits == 32) ? "" : misfit(owner, value, path, go_type(field));
      case Type::kNumber: return value.is_number() ? "" : misfit(owner, value, path, go_type(field));
      case Type::kIntOrString: return value.is_string() || integer_fits(value, true) ? "" : misfit(owner, value, path, go_type(field));
      case Type::kQuantity: return quantity_error(value);
      case Type::kTime:
      case Type::kMicroTime:
        if (!value.is_string()) return misfit(owner, value, path, go_type(field));
        return time_error(value.get_ref<const std::string&>(), field.type == Type::kMicroTime);
      case Type::kDuration:
        return value.is_string() ? duration_error(value.get_ref<const std::string&>()) : misfit(owner, value, path, go_type(field));
      case Type::kBytes:
        return value.is_string() ? base64_error(value.get_ref<const std::string&>()) : misfit(owner, value, path, go_type(field));
    }
    return "";
  }

  static bool integer_fits(const Json& value, bool narrow) {
    if (!value.is_number_integer()) return false;
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) return false;
    const auto number = value.get<std::int64_t>();
    return !narrow || (number >= INT32_MIN && number <= INT32_MAX);
  }

  static std::string misfit(const Object& owner, const Json& value, const std::string& path, const std::string& type) {
    // A number is shown when it is one of the wrong sort.
    const bool sort = value.is_number() && (type == "int32" || type == "int64");
    return "json: cannot unmarshal " + std::string(json_kind(value)) + (sort ? " " + base::dump_json(value) : "") + " into Go struct field " +
           std::string(short_name(owner)) + "." + path + " of type " + type;
  }
};

}  // namespace

const Field* Object::find(std::string_view field) const {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == field; });
  return found == fields.end() ? nullptr : &*found;
}

std::span<const Kind> kinds() {
  static const std::vector<Kind> all = join();
  return all;
}

const Kind* find(std::string_view group, std::string_view version, std::string_view plural) {
  for (const Kind& kind : kinds())
    if (kind.plural == plural && kind.group == group && kind.version == version) return &kind;
  return nullptr;
}

std::span<const Kind> reviews() {
  static const std::vector<Kind> all = [] {
    std::vector<Kind> out;
    for (const Kind& kind : unstored_kinds())
      if (kind.plural.ends_with("reviews")) out.push_back(kind);
    return out;
  }();
  return all;
}

const Kind* find_review(std::string_view group, std::string_view version, std::string_view plural) {
  for (const Kind& kind : reviews())
    if (kind.plural == plural && kind.group == group && kind.version == version) return &kind;
  return nullptr;
}

const Kind* find_kind(std::string_view group, std::string_view version, std::string_view name) {
  for (const auto part : {kinds(), unstored_kinds()})
    for (const Kind& kind : part)
      if (kind.kind == name && kind.group == group && kind.version == version) return &kind;
  return nullptr;
}

std::vector<std::string> prune_unknown(const Kind& kind, Json& object) {
  std::vector<std::string> unknown;
  prune(*kind.object, object, "", unknown);
  return unknown;
}

std::string type_error(const Kind& kind, const Json& object) {
  if (!object.is_object())
    return "json: cannot unmarshal " + std::string(json_kind(object)) + " into Go value of type v1." + std::string(kind.kind);
  if (!kind.custom) return TypeWalk().object(*kind.object, object, "");
  // Only the metadata of a custom object is decoded into Go types.
  const auto metadata = object.find("metadata");
  const Field* field = kind.object->find("metadata");
  if (metadata == object.end() || metadata->is_null() || field == nullptr) return "";
  if (!metadata->is_object()) return "json: cannot unmarshal " + std::string(json_kind(*metadata)) + " into Go value of type v1.ObjectMeta";
  return TypeWalk().object(*field->object, *metadata, "");
}

}  // namespace kubeedge::kube::schema
