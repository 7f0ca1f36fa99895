#include "edge/twin/twin_json.h"

#include <set>
#include <vector>

#include "base/json.h"

namespace kubeedge::edge {
namespace {

// Go's rule: an absent or null member leaves the field unset, another type than the field's fails the whole payload.
template <class T, class Check>
bool read(const Json& json, const char* key, std::optional<T>& out, Check is_type) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return true;
  if (!((*it).*is_type)()) return false;
  out = it->template get<T>();
  return true;
}

bool read_string(const Json& json, const char* key, std::optional<std::string>& out) { return read(json, key, out, &Json::is_string); }

bool read_value(const Json& json, const char* key, std::optional<std::string>& out) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return true;
  if (!it->is_object()) return false;
  // {"expected":{}} has no value: the side is absent (devices.md 12, trap 3).
  return read_string(*it, "value", out);
}

bool read_version(const Json& json, const char* key, std::optional<TwinVersion>& out) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return true;
  if (!it->is_object()) return false;
  std::optional<std::int64_t> cloud, edge;
  if (!read(*it, "cloud", cloud, &Json::is_number_integer) || !read(*it, "edge", edge, &Json::is_number_integer)) return false;
  out = TwinVersion{cloud.value_or(0), edge.value_or(0)};
  return true;
}

bool read_type(const Json& json, std::optional<std::string>& out) {
  const auto it = json.find("metadata");
  if (it == json.end() || it->is_null()) return true;
  return it->is_object() && read_string(*it, "type", out);
}

std::optional<TwinChange> parse_change(const Json& json) {
  TwinChange change;
  const bool ok = json.is_object() && read_value(json, "expected", change.expected) && read_value(json, "actual", change.actual) &&
                  read(json, "optional", change.optional, &Json::is_boolean) && read_type(json, change.type) &&
                  read_version(json, "expected_version", change.expected_version) &&
                  read_version(json, "actual_version", change.actual_version);
  if (!ok) return std::nullopt;
  return change;
}

Json side_json(const TwinSide& side) {
  Json out = Json::object();
  if (side.value) {
    out["value"] = *side.value;
    out["metadata"] = Json{{"timestamp", side.timestamp}};
  }
  return out;
}

}  // namespace

std::optional<Json> parse_json(std::string_view text) {
  if (text.size() > kMaxTwinPayloadBytes) return std::nullopt;
  std::vector<std::set<std::string>> keys;
  bool refused = false;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxTwinJsonDepth) refused = true;
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.empty() && !keys.back().insert(parsed.get<std::string>()).second) refused = true;
    return true;
  };
  Json json = Json::parse(text, watch, false);
  if (refused || json.is_discarded()) return std::nullopt;
  return json;
}

std::string string_or(const Json& json, const char* key, std::string fallback) {
  const auto it = json.is_object() ? json.find(key) : json.end();
  return it != json.end() && it->is_string() ? it->get<std::string>() : fallback;
}

std::optional<TwinChanges> parse_twin_changes(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  TwinChanges changes;
  for (const auto& [name, value] : json.items()) {
    if (value.is_null()) {
      changes[name] = std::nullopt;
      continue;
    }
    auto change = parse_change(value);
    if (!change) return std::nullopt;
    changes[name] = std::move(change);
  }
  return changes;
}

std::optional<TwinRequest> parse_twin_request(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  TwinRequest request;
  std::optional<std::string> event_id;
  std::optional<std::int64_t> timestamp;
  if (!read_string(json, "event_id", event_id) || !read(json, "timestamp", timestamp, &Json::is_number_integer)) return std::nullopt;
  request.event_id = event_id.value_or("");
  const auto twin = json.find("twin");
  if (twin != json.end() && !twin->is_null()) {
    request.twin = parse_twin_changes(*twin);
    if (!request.twin) return std::nullopt;
  }
  return request;
}

std::optional<MemberDevice> parse_member(const Json& json) {
  MemberDevice device;
  if (!json.is_object()) return std::nullopt;
  device.id = string_or(json, "id");
  device.name = string_or(json, "name");
  device.description = string_or(json, "description");
  device.state = string_or(json, "state");
  if (const auto it = json.find("attributes"); it != json.end() && it->is_object()) {
    for (const auto& [name, value] : it->items()) {
      AttributeState attribute;
      std::optional<std::string> text, type;
      if (!value.is_object() || !read_string(value, "value", text) || !read_type(value, type) ||
          !read(value, "optional", attribute.optional, &Json::is_boolean))
        continue;
      attribute.value = text.value_or("");
      attribute.type = type.value_or("");
      device.attributes[name] = std::move(attribute);
    }
  }
  if (const auto it = json.find("twin"); it != json.end() && !it->is_null()) {
    device.twin = parse_twin_changes(*it);
    if (!device.twin) return std::nullopt;
  }
  return device;
}

Json twin_json(const TwinState& twin, int sides, bool versions) {
  Json out = Json::object();
  // A tombstone shows both sides as objects without a value, as upstream does.
  if ((sides & kExpected) && (twin.expected.value || twin.deleted())) out["expected"] = side_json(twin.expected);
  if ((sides & kActual) && (twin.actual.value || twin.deleted())) out["actual"] = side_json(twin.actual);
  out["optional"] = twin.optional;
  out["metadata"] = Json{{"type", twin.type}};
  const auto version = [](const TwinVersion& v) { return Json{{"cloud", v.cloud}, {"edge", v.edge}}; };
  if (versions && (sides & kExpected) && twin.expected.version) out["expected_version"] = version(*twin.expected.version);
  if (versions && (sides & kActual) && twin.actual.version) out["actual_version"] = version(*twin.actual.version);
  return out;
}

Json change_json(const TwinChange& change) {
  Json out = Json::object();
  if (change.expected) out["expected"] = Json{{"value", *change.expected}};
  if (change.actual) out["actual"] = Json{{"value", *change.actual}};
  if (change.optional) out["optional"] = *change.optional;
  if (change.type) out["metadata"] = Json{{"type", *change.type}};
  return out;
}

Json attribute_json(const AttributeState& attribute) {
  Json out{{"value", attribute.value}};
  if (attribute.optional) out["optional"] = *attribute.optional;
  if (!attribute.type.empty()) out["metadata"] = Json{{"type", attribute.type}};
  return out;
}

std::string version_text(const TwinVersion& version) { return base::dump_json(Json{{"cloud", version.cloud}, {"edge", version.edge}}); }

std::optional<TwinVersion> parse_version(std::string_view text) {
  const auto json = parse_json(text);
  if (!json || !json->is_object()) return std::nullopt;
  std::optional<TwinVersion> version;
  const Json wrapped{{"v", *json}};
  if (!read_version(wrapped, "v", version)) return std::nullopt;
  return version;
}

Json base_message(std::string_view event_id, std::int64_t now_ms) {
  return Json{{"event_id", std::string(event_id)}, {"timestamp", now_ms}};
}

}  // namespace kubeedge::edge
