// Objects seen through their schema: which fields one has, where two differ, how two merge, what remains without some fields.
// The rules are those of Kubernetes' structured merge: a list merges by its keys or as a set, or is one value; members that no
// schema names merge as maps. Pure.
#pragma once

#include <optional>

#include "kube/patch/field_set.h"
#include "kube/schema/merge_rule.h"

namespace kubeedge::kube::patch {

using Json = nlohmann::json;

// The type of one value.
struct TypeRef {
  enum class Form : std::uint8_t { kLeaf, kObject, kMap, kSet, kKeyed, kUntyped };
  Form form = Form::kUntyped;
  const schema::Object* object = nullptr;   // kObject: its members; kKeyed: those of its items
  const schema::Field* field = nullptr;     // kMap, kSet, kKeyed: whose values these are
  std::string_view keys = {};               // kKeyed

  static TypeRef root(const schema::Object& object) { return {Form::kObject, &object, nullptr, {}}; }
  TypeRef member(const std::string& name) const;
  bool names(const std::string& name) const { return form == Form::kObject && object->find(name) != nullptr; }
  TypeRef item() const;
};

// Why `value` cannot be merged (`.spec.containers: duplicate entries for key [name="c"]`), "" when it can. `unknown_too`:
// members that the schema does not name are a reason as well.
std::string merge_trouble(const TypeRef& type, const Json& value, bool unknown_too);

FieldSet fields_of(const TypeRef& type, const Json& value);

struct Comparison {
  FieldSet removed, modified, added;
  Comparison without(const FieldSet& prefixes) const { return {removed.without(prefixes), modified.without(prefixes), added.without(prefixes)}; }
};
Comparison compare(const TypeRef& type, const Json& before, const Json& after);

// `over` laid over `base`: what both have is `over`'s, items of keyed lists keep an order that suits both.
Json merged(const TypeRef& type, const Json& base, const Json& over);

Json without_fields(const TypeRef& type, const Json& value, const FieldSet& fields);

// Members of objects that hold a field of the set are members of it themselves.
FieldSet with_named_parents(const TypeRef& type, const FieldSet& fields);

}  // namespace kubeedge::kube::patch
