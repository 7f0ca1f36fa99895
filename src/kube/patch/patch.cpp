#include "kube/patch/patch.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::patch {
namespace {

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeletePrimitives = "$deleteFromPrimitiveList/";
constexpr std::string_view kElementOrder = "$setElementOrder/";

bool is_directive(std::string_view key) {
  return key == kDirective || key == kRetainKeys || key.starts_with(kDeletePrimitives) || key.starts_with(kElementOrder);
}

std::string directive_of(const Json& item) {
  if (!item.is_object()) return "";
  const auto found = item.find(kDirective);
  return found != item.end() && found->is_string() ? found->get<std::string>() : "";
}

// A value that is new to the document: its directives and nulls have nothing to act on.
Json fresh(const Json& value) {
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& item : value)
      if (const std::string directive = directive_of(item); directive.empty() || directive == "merge") out.push_back(fresh(item));
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [key, item] : value.items())
    if (!is_directive(key) && !item.is_null()) out[key] = fresh(item);
  return out;
}

class Merger {
 public:
  // Merges `patch` into `document` in place.
  Result<void> object(Json& document, const Json& patch, const schema::Object* type) {
    if (const auto directive = patch.find(kDirective); directive != patch.end()) {
      if (*directive == "replace") {
        Json rest = patch;
        rest.erase(std::string(kDirective));
        document = fresh(rest);
        return {};
      }
      if (*directive == "delete") {
        document = Json::object();
        return {};
      }
      if (*directive != "merge") return base::error(Errc::kInvalidArgument, "Unknown patch type found: {}", directive->dump());
    }
    if (Result<void> kept = retain_keys(document, patch); !kept) return kept;
    for (const auto& [key, value] : patch.items()) {
      if (key.starts_with(kDeletePrimitives)) delete_primitives(document, key.substr(kDeletePrimitives.size()), value);
      if (is_directive(key)) continue;
      if (value.is_null()) {
        document.erase(key);
        continue;
      }
      const schema::Field* field = type == nullptr ? nullptr : type->find(key);
      if (Result<void> merged = member(document, patch, key, value, field); !merged) return merged;
    }
    // A list that the patch only orders, or only deletes from.
    for (const auto& [key, order] : patch.items()) {
      if (!key.starts_with(kElementOrder)) continue;
      const std::string list = key.substr(kElementOrder.size());
      const auto found = document.find(list);
      if (patch.contains(list) || found == document.end() || !found->is_array() || !order.is_array()) continue;
      const schema::Field* field = type == nullptr ? nullptr : type->find(list);
      const Json before = *found;
      arrange(*found, before, order, field == nullptr ? "" : std::string(field->merge_key));
    }
    return {};
  }

 private:
  Result<void> member(Json& document, const Json& patch, const std::string& key, const Json& value, const schema::Field* field) {
    const auto found = document.find(key);
    if (found == document.end() || found->type() != value.type()) {
      document[key] = fresh(value);
      return {};
    }
    if (value.is_object()) {
      return object(*found, value, field != nullptr && field->shape == schema::Shape::kSingle ? field->object : nullptr);
    }
    if (value.is_array() && field != nullptr && field->merge) {
      const auto order = patch.find(std::string(kElementOrder) + key);
      return list(*found, value, *field, order == patch.end() ? nullptr : &*order);
    }
    document[key] = value.is_array() ? fresh(value) : value;
    return {};
  }

  static Result<void> retain_keys(Json& document, const Json& patch) {
    const auto retain = patch.find(kRetainKeys);
    if (retain == patch.end()) return {};
    if (!retain->is_array()) return base::error(Errc::kInvalidArgument, "$retainKeys must be a list");
    for (auto at = document.begin(); at != document.end();) {
      at = std::find(retain->begin(), retain->end(), Json(at.key())) == retain->end() ? document.erase(at) : std::next(at);
    }
    return {};
  }

  static void delete_primitives(Json& document, const std::string& list, const Json& values) {
    const auto found = document.find(list);
    if (found == document.end() || !found->is_array() || !values.is_array()) return;
    Json kept = Json::array();
    for (const Json& item : *found)
      if (std::find(values.begin(), values.end(), item) == values.end()) kept.push_back(item);
    *found = std::move(kept);
  }

  Result<void> list(Json& document, const Json& patch, const schema::Field& field, const Json* order) {
    const Json before = document;
    if (field.merge_key.empty()) {
      for (const Json& item : patch)
        if (std::find(document.begin(), document.end(), item) == document.end()) document.push_back(item);
    } else {
      const std::string key(field.merge_key);
      const bool replace = std::any_of(patch.begin(), patch.end(), [](const Json& item) { return directive_of(item) == "replace"; });
      if (replace) {
        Json rest = Json::array();
        for (const Json& item : patch)
          if (directive_of(item) != "replace") rest.push_back(fresh(item));
        document = std::move(rest);
        return {};
      }
      for (const Json& item : patch) {
        if (!item.is_object()) return base::error(Errc::kInvalidArgument, "{}: list of objects expected, found {}", field.name, item.type_name());
        const auto wanted = item.find(key);
        if (wanted == item.end()) return base::error(Errc::kInvalidArgument, "map: {} does not contain declared merge key: {}", base::dump_json(item), key);
        const auto same = [&](const Json& other) { return other.is_object() && other.contains(key) && other[key] == *wanted; };
        const std::string directive = directive_of(item);
        if (directive == "delete") {
          document.erase(std::remove_if(document.begin(), document.end(), same), document.end());
          continue;
        }
        if (!directive.empty() && directive != "merge") return base::error(Errc::kInvalidArgument, "Unknown patch type found: {}", directive);
        const auto found = std::find_if(document.begin(), document.end(), same);
        if (found == document.end()) {
          document.push_back(fresh(item));
        } else if (Result<void> merged = object(*found, item, field.object); !merged) {
          return merged;
        }
      }
    }
    if (order != nullptr && order->is_array()) arrange(document, before, *order, std::string(field.merge_key));
    return {};
  }

  // Items that the patch names come in the patch's order; those that only the server has keep their place among them.
  static void arrange(Json& items, const Json& before, const Json& order, const std::string& key) {
    const auto identity = [&](const Json& item) -> Json {
      if (key.empty() || !item.is_object()) return item;
      const auto found = item.find(key);
      return found == item.end() ? Json() : *found;
    };
    const auto place = [&](const Json& list, const Json& id) -> std::ptrdiff_t {
      for (std::size_t i = 0; i < list.size(); ++i)
        if (identity(list[i]) == id) return static_cast<std::ptrdiff_t>(i);
      return -1;
    };
    std::vector<Json> named, others;
    for (Json& item : items) (place(order, identity(item)) >= 0 ? named : others).push_back(std::move(item));
    std::stable_sort(named.begin(), named.end(), [&](const Json& a, const Json& b) { return place(order, identity(a)) < place(order, identity(b)); });
    Json out = Json::array();
    std::size_t n = 0, o = 0;
    while (n < named.size() || o < others.size()) {
      bool take_named = o == others.size();
      if (!take_named && n < named.size()) {
        const auto a = place(before, identity(named[n]));
        const auto b = place(before, identity(others[o]));
        take_named = a < 0 || b < 0 || a < b;
      }
      out.push_back(std::move(take_named ? named[n++] : others[o++]));
    }
    items = std::move(out);
  }
};

}  // namespace

Json merge_patch(const Json& document, const Json& patch) {
  Json out = document;
  out.merge_patch(patch);
  return out;
}

Result<Json> strategic_merge(const Json& document, const Json& patch, const schema::Object* object) {
  if (!patch.is_object()) return base::error(Errc::kInvalidArgument, "a strategic merge patch is an object");
  Json out = document;
  if (Result<void> merged = Merger().object(out, patch, object); !merged) return std::move(merged).error();
  return out;
}

}  // namespace kubeedge::kube::patch
