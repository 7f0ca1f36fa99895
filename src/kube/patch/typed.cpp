#include "kube/patch/typed.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::patch {
namespace {

using Form = TypeRef::Form;

bool is_list(const TypeRef& type) { return type.form == Form::kSet || type.form == Form::kKeyed; }

// What the value itself says where the schema says nothing; an atomic part stays a leaf.
TypeRef settled(TypeRef type, const Json* one, const Json* other) {
  if (type.form != Form::kUntyped) return type;
  const auto map = [](const Json* value) { return value == nullptr || value->is_null() || value->is_object(); };
  const bool some = (one != nullptr && one->is_object()) || (other != nullptr && other->is_object());
  type.form = some && map(one) && map(other) ? Form::kMap : Form::kLeaf;
  return type;
}

bool none(const Json* value) { return value == nullptr || value->is_null() || (value->is_structured() && value->empty()); }

// A key that every item has, as Kubernetes' encoder writes it when it is not said.
std::optional<Json> always_there(const TypeRef& list, const std::string& key) {
  const schema::Field* field = list.object == nullptr ? nullptr : list.object->find(key);
  if (field == nullptr || field->empty != schema::Empty::kWrite || field->shape != schema::Shape::kSingle) return std::nullopt;
  if (field->type == schema::Type::kString) return Json("");
  return field->type == schema::Type::kInteger ? std::optional(Json(0)) : std::nullopt;
}

// The path element of a list's item; "" when it has none (a key is missing, a value is no scalar).
std::string element_of(const TypeRef& list, const Json& item) {
  if (list.form == Form::kSet) return item.is_primitive() && !item.is_null() ? "v:" + base::dump_json(item) : "";
  if (!item.is_object()) return "";
  Json keys = Json::object();
  for (const std::string& spec : base::split(list.keys, ',')) {
    const auto equal = spec.find('=');
    const std::string key = spec.substr(0, equal);
    const auto found = item.find(key);
    if (found != item.end() && !found->is_null()) keys[key] = *found;
    else if (equal != std::string::npos) keys[key] = spec.substr(equal + 1);
    else if (const auto empty = always_there(list, key)) keys[key] = *empty;
    else return "";
  }
  return "k:" + base::dump_json(keys);
}

const Json& list_of(const Json* value) {
  static const Json empty = Json::array();
  return value != nullptr && value->is_array() ? *value : empty;
}

const Json& map_of(const Json* value) {
  static const Json empty = Json::object();
  return value != nullptr && value->is_object() ? *value : empty;
}

std::set<std::string> keys_of_both(const Json& a, const Json& b) {
  std::set<std::string> out;
  for (const auto& [key, value] : a.items()) out.insert(key);
  for (const auto& [key, value] : b.items()) out.insert(key);
  return out;
}

const Json* find(const Json& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &*found;
}

// ---- the fields of a value. Says whether the value is a field by itself.

bool collect(TypeRef type, const Json& value, FieldSet& into) {
  type = settled(type, &value, nullptr);
  if (type.form == Form::kLeaf) return true;
  if (is_list(type)) {
    std::set<std::string> seen, twice;
    for (const Json& item : list_of(&value))
      if (const std::string element = element_of(type, item); !seen.insert(element).second) twice.insert(element);
    for (const Json& item : list_of(&value)) {
      const std::string element = element_of(type, item);
      if (element.empty()) continue;
      into.insert_member(element);
      if (!twice.contains(element)) collect(type.item(), item, into.child(element));
    }
    return false;
  }
  for (const auto& [key, inner] : map_of(&value).items()) {
    const std::string element = member_element(key);
    FieldSet below;
    const bool leaf = collect(type.member(key), inner, below);
    if (leaf || inner.is_null() || (inner.is_object() && inner.empty()) || !type.names(key)) into.insert_member(element);
    if (!below.empty()) into.child(element) |= below;
  }
  return false;
}

// ---- comparing

class Comparer {
 public:
  Comparison out;

  void run(TypeRef type, const Json* before, const Json* after) {
    type = settled(type, before, after);
    if (type.form == Form::kLeaf || (none(before) && none(after)) || kinds_differ(type, before, after)) return leaf(before, after);
    if (is_list(type)) items(type, list_of(before), list_of(after));
    else members(type, map_of(before), map_of(after));
    if (before == nullptr) out.added.insert(path_);
    else if (after == nullptr) out.removed.insert(path_);
  }

 private:
  // One of them is not what the schema says: nothing inside can be told apart.
  static bool kinds_differ(const TypeRef& type, const Json* before, const Json* after) {
    const auto fits = [&](const Json* value) { return value == nullptr || value->is_null() || (is_list(type) ? value->is_array() : value->is_object()); };
    return !fits(before) || !fits(after);
  }

  void leaf(const Json* before, const Json* after) {
    if (before == nullptr) out.added.insert(path_);
    else if (after == nullptr) out.removed.insert(path_);
    else if (*before != *after) out.modified.insert(path_);
  }

  void descend(const TypeRef& type, const std::string& element, const Json* before, const Json* after) {
    path_.push_back(element);
    run(type, before, after);
    path_.pop_back();
  }

  void members(const TypeRef& type, const Json& before, const Json& after) {
    for (const std::string& key : keys_of_both(before, after)) descend(type.member(key), member_element(key), find(before, key), find(after, key));
  }

  using Index = std::map<std::string, std::vector<const Json*>>;
  static Index index(const TypeRef& type, const Json& list) {
    Index out;
    for (const Json& item : list)
      if (const std::string element = element_of(type, item); !element.empty()) out[element].push_back(&item);
    return out;
  }

  void items(const TypeRef& type, const Json& before, const Json& after) {
    const Index old_items = index(type, before), new_items = index(type, after);
    std::set<std::string> all;
    for (const auto& [element, list] : old_items) all.insert(element);
    for (const auto& [element, list] : new_items) all.insert(element);
    static const std::vector<const Json*> nothing;
    for (const std::string& element : all) {
      const auto a = old_items.find(element);
      const auto b = new_items.find(element);
      item(type, element, a == old_items.end() ? nothing : a->second, b == new_items.end() ? nothing : b->second);
    }
  }

  // Items that come twice are one value together.
  void item(const TypeRef& type, const std::string& element, const std::vector<const Json*>& before, const std::vector<const Json*>& after) {
    Path here = path_;
    here.push_back(element);
    const auto equal = [&] { return std::equal(before.begin(), before.end(), after.begin(), after.end(), [](const Json* a, const Json* b) { return *a == *b; }); };
    if (before.size() < 2 && after.size() < 2) {
      descend(type.item(), element, before.empty() ? nullptr : before[0], after.empty() ? nullptr : after[0]);
    } else if (before.size() > 1 && after.size() > 1) {
      if (!equal()) out.modified.insert(here);
    } else if (before.size() > 1) {
      if (!after.empty()) descend(type.item(), element, nullptr, after[0]);
      out.removed.insert(here);
    } else {
      if (!before.empty()) descend(type.item(), element, before[0], nullptr);
      out.added.insert(here);
    }
  }

  Path path_;
};

// ---- merging. Nothing: the value is empty and was not there before.

std::optional<Json> merge(TypeRef type, const Json* base, const Json* over);

std::optional<Json> merge_members(const TypeRef& type, const Json& base, const Json& over) {
  Json out = Json::object();
  for (const std::string& key : keys_of_both(base, over))
    if (auto value = merge(type.member(key), find(base, key), find(over, key))) out[key] = std::move(*value);
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

// `over`'s items in their order; those of `base` alone stay between the neighbours they had.
std::optional<Json> merge_items(const TypeRef& type, const Json& base, const Json& over) {
  struct Item {
    std::string element;
    const Json* value;
  };
  const auto list = [&](const Json& from) {
    std::vector<Item> out;
    for (const Json& item : from) out.push_back({element_of(type, item), &item});
    return out;
  };
  const std::vector<Item> old_items = list(base), new_items = list(over);
  std::map<std::string, const Json*> old_values, new_values;
  for (const Item& item : old_items)
    if (const auto [slot, fresh] = old_values.emplace(item.element, item.value); !fresh) slot->second = nullptr;   // twice: none of them merges
  for (const Item& item : new_items) new_values.emplace(item.element, item.value);

  std::vector<std::string> shared;   // in `over`'s order, the next one first
  for (const Item& item : new_items)
    if (old_values.contains(item.element)) shared.push_back(item.element);
  std::size_t next_shared = 0;
  Json out = Json::array();
  std::set<std::string> taken;
  const auto take = [&](const Item& item, const Json* old_value, const Json* new_value) {
    if (auto value = merge(type.item(), old_value, new_value)) out.push_back(std::move(*value));
    if (next_shared < shared.size() && shared[next_shared] == item.element) ++next_shared;
  };
  std::size_t o = 0, n = 0;
  while (o < old_items.size() || n < new_items.size()) {
    if (o < old_items.size()) {
      const Item& item = old_items[o];
      if (!new_values.contains(item.element)) {
        take(item, item.value, nullptr);
        ++o;
        continue;
      }
      // A shared one out of turn comes when `over` names it.
      if (taken.contains(item.element) || (n < new_items.size() && next_shared < shared.size() && shared[next_shared] != item.element)) {
        ++o;
        continue;
      }
    }
    if (n == new_items.size()) break;
    const Item& item = new_items[n++];
    const auto old_value = old_values.find(item.element);
    const bool in_both = old_value != old_values.end();
    if (in_both && o < old_items.size() && old_items[o].element == item.element) ++o;
    taken.insert(item.element);
    take(item, in_both ? old_value->second : nullptr, item.value);
  }
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

std::optional<Json> merge(TypeRef type, const Json* base, const Json* over) {
  type = settled(type, base, over);
  const auto fits = [&](const Json* value) { return value == nullptr || value->is_null() || (is_list(type) ? value->is_array() : value->is_object()); };
  if (type.form == Form::kLeaf || (none(base) && none(over)) || !fits(base) || !fits(over)) return over != nullptr ? *over : *base;
  return is_list(type) ? merge_items(type, list_of(base), list_of(over)) : merge_members(type, map_of(base), map_of(over));
}

// ---- removing. Nothing: all of it went.

std::optional<Json> strip(TypeRef type, const Json& value, const FieldSet& fields) {
  type = settled(type, &value, nullptr);
  if (type.form == Form::kLeaf) return std::nullopt;   // part of an atomic value: as a whole
  if (is_list(type)) {
    Json out = Json::array();
    for (const Json& item : list_of(&value)) {
      const std::string element = element_of(type, item);
      if (fields.has_member(element)) continue;
      const FieldSet* below = fields.below(element);
      if (below == nullptr) out.push_back(item);
      else if (auto rest = strip(type.item(), item, *below)) out.push_back(std::move(*rest));
    }
    return out.empty() ? std::nullopt : std::optional(std::move(out));
  }
  if (!value.is_object()) return std::nullopt;
  Json out = Json::object();
  for (const auto& [key, inner] : value.items()) {
    const std::string element = member_element(key);
    if (fields.has_member(element)) continue;
    const FieldSet* below = fields.below(element);
    if (below == nullptr) out[key] = inner;
    else if (auto rest = strip(type.member(key), inner, *below)) out[key] = std::move(*rest);
  }
  return out.empty() ? std::nullopt : std::optional(std::move(out));
}

std::string trouble(TypeRef type, const Json& value, bool unknown_too, Path& path) {
  type = settled(type, &value, nullptr);
  if (value.is_null() || type.form == Form::kLeaf) return "";
  if (is_list(type)) {
    if (!value.is_array()) return fmt::format("{}: expected list, got {}", path_text(path), value.type_name());
    std::set<std::string> seen;
    std::size_t number = 0;
    for (const Json& item : value) {
      const std::string element = element_of(type, item);
      if (element.empty()) {
        if (type.form == Form::kSet) return fmt::format("{}: element {}: associative list without keys has an element that's no scalar", path_text(path), number);
        return fmt::format("{}: element {}: associative list with keys has an element that omits a key field of \"{}\"", path_text(path), number, type.keys);
      }
      if (!seen.insert(element).second) return fmt::format("{}: duplicate entries for key {}", path_text(path), path_text({element}));
      path.push_back(element);
      if (std::string inner = trouble(type.item(), item, unknown_too, path); !inner.empty()) return inner;
      path.pop_back();
      ++number;
    }
    return "";
  }
  if (!value.is_object()) return fmt::format("{}: expected map, got {}", path_text(path), value.type_name());
  for (const auto& [key, inner] : value.items()) {
    path.push_back(member_element(key));
    if (unknown_too && type.form == Form::kObject && !type.object->open && type.object->find(key) == nullptr) return path_text(path) + ": field not declared in schema";
    if (std::string why = trouble(type.member(key), inner, unknown_too, path); !why.empty()) return why;
    path.pop_back();
  }
  return "";
}

}  // namespace

TypeRef TypeRef::member(const std::string& name) const {
  if (form == Form::kMap) return field == nullptr ? TypeRef{} : item();
  if (form != Form::kObject) return {};
  const schema::Field* found = object->find(name);
  if (found == nullptr) return {};
  const schema::MergeRule rule = schema::merge_rule(*object, *found);
  switch (rule.rule) {
    case schema::Rule::kAtomic: return found->type == schema::Type::kAny && found->shape == schema::Shape::kSingle && object->open ? TypeRef{} : TypeRef{Form::kLeaf, nullptr, found, {}};
    case schema::Rule::kSet: return {Form::kSet, nullptr, found, {}};
    case schema::Rule::kKeyed: return {Form::kKeyed, found->object, found, rule.keys};
    case schema::Rule::kGranular: break;
  }
  if (found->shape == schema::Shape::kMap) return {Form::kMap, nullptr, found, {}};
  return {Form::kObject, found->object, nullptr, {}};
}

TypeRef TypeRef::item() const {
  if (field == nullptr || field->type != schema::Type::kObject) return {field == nullptr ? Form::kUntyped : Form::kLeaf, nullptr, nullptr, {}};
  if (schema::merge_rule(*field->object).rule == schema::Rule::kAtomic) return {Form::kLeaf, nullptr, nullptr, {}};
  return {Form::kObject, field->object, nullptr, {}};
}

std::string merge_trouble(const TypeRef& type, const Json& value, bool unknown_too) {
  Path path;
  return trouble(type, value, unknown_too, path);
}

FieldSet fields_of(const TypeRef& type, const Json& value) {
  FieldSet out;
  collect(type, value, out);
  return out;
}

Comparison compare(const TypeRef& type, const Json& before, const Json& after) {
  Comparer comparer;
  comparer.run(type, &before, &after);
  return std::move(comparer.out);
}

Json merged(const TypeRef& type, const Json& base, const Json& over) { return merge(type, &base, &over).value_or(Json::object()); }

Json without_fields(const TypeRef& type, const Json& value, const FieldSet& fields) {
  return fields.empty() ? value : strip(type, value, fields).value_or(Json::object());
}

FieldSet with_named_parents(const TypeRef& type, const FieldSet& fields) {
  FieldSet out;
  for (const auto& [element, node] : fields.nodes()) {
    const bool named = element.starts_with("f:");
    const std::string name = element.substr(2);
    if (node.member || (named && type.names(name))) out.insert_member(element);
    if (!node.children.empty()) out.child(element) |= with_named_parents(named ? type.member(name) : type.item(), node.children);
  }
  return out;
}

}  // namespace kubeedge::kube::patch
