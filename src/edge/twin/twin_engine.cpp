#include "edge/twin/twin_engine.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "edge/twin/twin_value.h"
#include "mqtt/topic.h"

namespace kubeedge::edge {
namespace {

constexpr std::string_view kNotExisted = "update rejected due to the device is not existed";
constexpr std::string_view kNoTwinKey = "Update twin error, key:twin does not exist";
constexpr std::string_view kBadBody = "Unmarshal update request body failed, please check the request";

std::string device_topic(std::string_view id, std::string_view suffix) { return fmt::format("$hw/events/device/{}/{}", id, suffix); }

std::string error_payload(std::string_view event_id, std::int64_t now_ms, int code, std::string_view reason) {
  Json json = base_message(event_id, now_ms);
  json["code"] = code;
  json["reason"] = std::string(reason);
  return base::dump_json(json);
}

store::Value side_value(const TwinSide& side) { return side.value ? store::Value(*side.value) : store::Value(nullptr); }

store::Value side_meta(const TwinSide& side) {
  if (!side.value) return nullptr;
  return base::dump_json(Json{{"timestamp", side.timestamp}});
}

store::Value side_version(const TwinSide& side) { return side.version ? store::Value(version_text(*side.version)) : store::Value(nullptr); }

// Upstream's table has no unique key on (deviceid, name): insert only where there is no row, then set the columns.
void save_twin(const std::string& device, const std::string& name, const TwinState& twin, bool is_new,
               std::vector<store::Statement>& out) {
  if (is_new)
    out.push_back({"INSERT INTO device_twin(deviceid, name, description) SELECT ?1, ?2, '' "
                   "WHERE NOT EXISTS (SELECT 1 FROM device_twin WHERE deviceid = ?1 AND name = ?2)",
                   {device, name}});
  out.push_back({"UPDATE device_twin SET expected = ?3, actual = ?4, expected_meta = ?5, actual_meta = ?6, expected_version = ?7, "
                 "actual_version = ?8, optional = ?9, attr_type = ?10, metadata = '{}' WHERE deviceid = ?1 AND name = ?2",
                 {device, name, side_value(twin.expected), side_value(twin.actual), side_meta(twin.expected), side_meta(twin.actual),
                  side_version(twin.expected), side_version(twin.actual), std::int64_t{twin.optional}, twin.type}});
}

TwinSide load_side(const store::Value& value, const store::Value& meta, const store::Value& version) {
  TwinSide side;
  const auto meta_json = parse_json(store::text(meta));
  const bool stamped = meta_json && meta_json->is_object() && meta_json->contains("timestamp");
  // Upstream writes '' for an absent side and for an empty value; only the latter has a timestamp.
  if (!store::text(value).empty() || stamped) side.value = store::text(value);
  if (stamped && (*meta_json)["timestamp"].is_number_integer()) side.timestamp = (*meta_json)["timestamp"].get<std::int64_t>();
  side.version = parse_version(store::text(version));
  return side;
}

bool known_state(std::string_view state) {
  const std::string lower = base::lower(state);
  return lower == "ok" || lower == "online" || lower == "offline" || lower == "unhealthy" || lower == "unknown";
}

bool is_online(std::string_view state) {
  const std::string lower = base::lower(state);
  return lower == "ok" || lower == "online";
}

TwinProperty to_property(const TwinState& twin) { return {twin.expected.value, twin.actual.value, twin.type}; }

}  // namespace

// What a request did, property by property, until finish() turns it into payloads.
struct TwinEngine::Outcome {
  Json result = Json::object();
  Json document = Json::object();
  std::vector<std::pair<std::string, std::string>> rejected;   // name, reason
  bool malformed = false;    // a key or value that upstream's parser refuses: it answers on the empty-id topic
  bool answer = false;       // REST: a result is due
  std::size_t asked = 0;
};

std::optional<DeviceId> parse_device_id(std::string_view text) {
  const auto parts = base::split(text, '/');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty() || !mqtt::is_topic(text)) return std::nullopt;
  return DeviceId{parts[0], parts[1]};
}

std::string_view TwinEngine::schema() {
  return R"sql(
CREATE TABLE IF NOT EXISTS `device` (`id` text,`name` text,`description` text,`state` text,`last_online` text,PRIMARY KEY (`id`));
CREATE TABLE IF NOT EXISTS `device_attr` (`id` integer PRIMARY KEY AUTOINCREMENT,`deviceid` text,`name` text,`description` text,`value` text,`optional` numeric,`attr_type` text,`metadata` text);
CREATE TABLE IF NOT EXISTS `device_twin` (`id` integer PRIMARY KEY AUTOINCREMENT,`deviceid` text,`name` text,`description` text,`expected` text,`actual` text,`expected_meta` text,`actual_meta` text,`expected_version` text,`actual_version` text,`optional` numeric,`attr_type` text,`metadata` text);
CREATE INDEX IF NOT EXISTS ke_device_twin_name ON device_twin(deviceid, name);
CREATE TABLE IF NOT EXISTS ke_dirty (deviceid text NOT NULL, name text NOT NULL, sides integer NOT NULL, copies integer NOT NULL, PRIMARY KEY (deviceid, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ke_desired (deviceid text NOT NULL, name text NOT NULL, value text NOT NULL, generation integer NOT NULL, PRIMARY KEY (deviceid, name)) WITHOUT ROWID;
)sql";
}

std::vector<store::Statement> TwinEngine::load_queries() {
  return {{"SELECT id, description, state, last_online FROM device", {}},
          {"SELECT deviceid, name, value, optional, attr_type FROM device_attr ORDER BY id", {}},
          {"SELECT deviceid, name, expected, actual, expected_meta, actual_meta, expected_version, actual_version, optional, attr_type "
           "FROM device_twin ORDER BY id", {}},
          {"SELECT deviceid, name, sides, copies FROM ke_dirty", {}},
          {"SELECT deviceid, name, value, generation FROM ke_desired", {}}};
}

TwinEngine::TwinEngine(TwinEngineOptions options) : options_(std::move(options)) {}

void TwinEngine::load(const std::vector<std::vector<store::Row>>& tables) {
  std::map<std::string, DeviceEntry> before;
  before.swap(devices_);
  in_flight_.clear();
  cleanup_.clear();
  if (tables.size() != load_queries().size()) return;
  for (const auto& row : tables[0]) {
    if (row.size() != 4) continue;
    const auto id = parse_device_id(store::text(row[0]));
    if (!id) continue;
    DeviceEntry& device = devices_[id->str()];
    device.id = *id;
    device.description = store::text(row[1]);
    device.state = store::text(row[2]);
    device.last_online = store::text(row[3]);
    if (const auto old = before.find(id->str()); old != before.end()) {
      device.declared = std::move(old->second.declared);
      device.notified = std::move(old->second.notified);
    }
  }
  for (const auto& row : tables[1]) {
    DeviceEntry* device = row.size() == 5 ? find(store::text(row[0])) : nullptr;
    if (!device) continue;
    AttributeState attribute{store::text(row[2]), std::nullopt, store::text(row[4])};
    if (!std::holds_alternative<std::nullptr_t>(row[3])) attribute.optional = store::integer(row[3]) != 0;
    device->attributes[store::text(row[1])] = std::move(attribute);
  }
  for (const auto& row : tables[2]) {
    DeviceEntry* device = row.size() == 10 ? find(store::text(row[0])) : nullptr;
    if (!device) continue;
    TwinState twin;
    twin.expected = load_side(row[2], row[4], row[6]);
    twin.actual = load_side(row[3], row[5], row[7]);
    twin.optional = std::holds_alternative<std::nullptr_t>(row[8]) || store::integer(row[8]) != 0;
    twin.type = store::text(row[9]).empty() ? "string" : store::text(row[9]);
    device->twins[store::text(row[1])] = std::move(twin);
  }
  for (const auto& row : tables[3]) {
    DeviceEntry* device = row.size() == 4 ? find(store::text(row[0])) : nullptr;
    if (!device) continue;
    const std::string name = store::text(row[1]);
    Dirty dirty;
    if (!name.empty()) {
      const auto twin = device->twins.find(name);
      if (twin == device->twins.end()) continue;
      dirty.twin = twin->second;
    }
    dirty.generation = dirty.ready_generation = ++generation_;
    dirty.sides = static_cast<int>(store::integer(row[2])) & kBothSides;
    dirty.copies = std::clamp(static_cast<int>(store::integer(row[3])), 1, kFirstReportCopies);
    dirty.ready = true;
    dirty.state = device->state;
    dirty.last_online = device->last_online;
    device->dirty[name] = std::move(dirty);
  }
  for (const auto& row : tables[4]) {
    DeviceEntry* device = row.size() == 4 ? find(store::text(row[0])) : nullptr;
    if (device) device->desired[store::text(row[1])] = Desired{store::text(row[2]), store::integer(row[3])};
  }
}

Effects TwinEngine::recover() {
  Effects out;
  for (auto& [id, device] : devices_) {
    std::erase_if(device.desired, [&, &twins = device.twins](const auto& desired) { return !twins.contains(desired.first); });
    for (const auto& [name, twin] : device.twins) mark(device, name, kBothSides, 1, out);
    if (!device.state.empty()) mark(device, "", 0, 1, out);
  }
  return out;
}

TwinEngine::DeviceEntry* TwinEngine::find(const std::string& id) {
  const auto it = devices_.find(id);
  return it == devices_.end() ? nullptr : &it->second;
}

// ---------------------------------------------------------------------------------------------------------------
// Requests over MQTT

Effects TwinEngine::on_mqtt(std::string_view topic, std::string_view payload, TwinTime now) {
  Effects out;
  // By segments: a namespace may be named "dev", "device" or "events" (devices.md 12, trap 1).
  const auto part = base::split(topic, '/');
  if (part.size() < 4 || part[0] != "$hw" || part[1] != "events" || !mqtt::is_topic(topic)) return out;
  if (part[2] == "node") {
    if (part.size() != 6 || part[3] != options_.node || part[4] != "membership" || part[5] != "get") return out;
    const auto json = parse_json(payload);
    Json result = base_message(json ? string_or(*json, "event_id") : "", now.unix_ms);
    if (!json || !json->is_object()) {
      result["code"] = 400;
      result["reason"] = "Unmarshal get membership request body failed";
    } else {
      Json list = Json::array();
      for (const auto& [id, device] : devices_) list.push_back(member_json(device));
      result["devices"] = std::move(list);
    }
    out.publications.push_back({fmt::format("$hw/events/node/{}/membership/get/result", options_.node), base::dump_json(result)});
    return out;
  }
  if (part[2] != "device" || part.size() != 7 || part[3].empty() || part[4].empty()) return out;
  const DeviceId id{part[3], part[4]};
  if (part[5] == "twin" && part[6] == "update") update_request(id, payload, Mode::kRest, now, out);
  else if (part[5] == "twin" && part[6] == "cloud_updated") update_request(id, payload, Mode::kSync, now, out);
  else if (part[5] == "twin" && part[6] == "get") twin_get(id, payload, now, out);
  else if (part[5] == "state" && part[6] == "update") {
    const auto json = parse_json(payload);
    if (json) state_update(id, string_or(*json, "state"), now, out);
    else out.warnings.push_back(fmt::format("state of {}: the payload is not JSON", id.str()));
  }
  return out;
}

Effects TwinEngine::on_cloud_updated(const DeviceId& device, std::string_view content, TwinTime now) {
  Effects out;
  if (!parse_device_id(device.str())) return out;
  update_request(device, content, Mode::kSync, now, out);
  return out;
}

void TwinEngine::update_request(const DeviceId& id, std::string_view payload, Mode mode, TwinTime now, Effects& out) {
  const std::string own = device_topic(id.str(), "twin/update/result");
  // Where upstream answers with an empty device id, that topic is kept beside the device's own (trap 2).
  const auto refuse = [&](std::string_view event_id, std::string_view reason) {
    out.publications.push_back({own, error_payload(event_id, now.unix_ms, 400, reason)});
    out.publications.push_back({device_topic("", "twin/update/result"), error_payload("", now.unix_ms, 400, reason)});
  };
  const auto json = parse_json(payload);
  const auto request = json ? parse_twin_request(*json) : std::nullopt;
  if (!request) return refuse(json ? string_or(*json, "event_id") : "", kBadBody);
  if (!request->twin) return refuse(request->event_id, kNoTwinKey);
  DeviceEntry* device = find(id.str());
  if (!device) {
    out.publications.push_back({own, error_payload(request->event_id, now.unix_ms, 404, kNotExisted)});
    return;
  }
  update(*device, *request->twin, request->event_id, mode, now, out);
}

void TwinEngine::update(DeviceEntry& device, const TwinChanges& changes, const std::string& event_id, Mode mode, TwinTime now,
                        Effects& out) {
  Outcome outcome;
  outcome.answer = mode == Mode::kRest;
  outcome.asked = changes.size();
  for (const auto& [name, change] : changes) {
    std::optional<std::string> reason = check_twin_key(name);
    if (!reason && change && change->expected) reason = check_twin_value(*change->expected, options_.strict);
    if (!reason && change && change->actual) reason = check_twin_value(*change->actual, options_.strict);
    if (reason) {
      outcome.malformed = true;
      outcome.rejected.emplace_back(name, *reason);
    } else if (!change || (mode == Mode::kSync && change->type == "deleted")) {
      delete_property(device, name, change ? &*change : nullptr, mode, outcome, out);
    } else {
      change_property(device, name, *change, mode, now, outcome, out);
    }
  }
  finish(device, outcome, event_id, now, out);
}

// Values that are as stored leave no version, document or statement; only the time moves (design: device rules).
void TwinEngine::change_property(DeviceEntry& device, const std::string& name, const TwinChange& change, Mode mode, TwinTime now,
                                 Outcome& outcome, Effects& out) {
  const auto it = device.twins.find(name);
  const bool is_new = it == device.twins.end();
  if (!change.expected && !change.actual && (is_new || it->second.deleted() || !change.optional)) {
    if (!is_new && !it->second.deleted()) outcome.result[name] = twin_json(it->second, 0, false);
    return;
  }
  if (is_new && device.twins.size() >= kMaxTwinsPerDevice) {
    outcome.rejected.emplace_back(name, fmt::format("more than {} properties on one device", kMaxTwinsPerDevice));
    return;
  }
  TwinState twin = is_new ? TwinState{} : it->second;
  const TwinState before = twin;
  const bool revived = !is_new && twin.deleted();
  if (is_new || revived) {
    twin.type = change.type.value_or("string");
    if (twin.type.empty()) twin.type = "string";
    // A sample of upstream sends type "Updated" (C46): a property that the Device object names stays usable.
    if (!is_twin_type(twin.type) && device.declared.contains(name)) twin.type = "string";
    if (change.optional) twin.optional = *change.optional;
  } else if (change.type && is_twin_type(*change.type) && !twin.actual.version && device.desired.contains(name) &&
             !check_typed_value(*change.type, twin.expected.value.value_or(""))) {
    twin.type = *change.type;   // made by a desired value; the app declares the type with its first report
  }
  for (const auto* value : {&change.expected, &change.actual}) {
    if (!*value) continue;
    if (const auto reason = check_typed_value(twin.type, **value)) {
      if (mode == Mode::kRest) outcome.rejected.emplace_back(name, *reason);
      else out.warnings.push_back(fmt::format("{} {}: value from the cloud not taken: {}", device.id.str(), name, *reason));
      return;
    }
  }
  if (mode == Mode::kSync) return sync_property(device, name, twin, change, is_new, now, outcome, out);

  int sides = 0;
  const bool equal = !is_new && !revived && (!change.expected || change.expected == twin.expected.value) &&
                     (!change.actual || change.actual == twin.actual.value);
  const auto set = [&](TwinSide& side, const std::optional<std::string>& value, int bit) {
    if (!value) return;
    side.value = value;
    side.timestamp = now.unix_ms;
    if (equal) {
      device.stale_times.insert(name);
      return;
    }
    if (!side.version) side.version = TwinVersion{};
    ++side.version->edge;
    sides |= bit;
  };
  set(twin.expected, change.expected, kExpected);
  set(twin.actual, change.actual, kActual);
  const bool fixed = twin.optional && change.optional == false;   // may only go from true to false
  if (fixed) twin.optional = false;
  const bool changed = sides != 0 || fixed || twin.optional != before.optional || twin.type != before.type;
  device.twins[name] = twin;
  outcome.result[name] = twin_json(twin, (change.expected ? kExpected : 0) | (change.actual ? kActual : 0), false);
  if (!changed) return;
  device.stale_times.erase(name);
  outcome.document[name] = Json{{"last", is_new || revived ? Json(nullptr) : twin_json(before, kBothSides, false)},
                                {"current", twin_json(twin, kBothSides, false)}};
  save_twin(device.id.str(), name, twin, is_new, out.statements);
  mark(device, name, sides, is_new ? kFirstReportCopies : 1, out);
}

// Versions decide whether the cloud's value is taken (devices.md 3.6); a refused one is answered with ours.
void TwinEngine::sync_property(DeviceEntry& device, const std::string& name, TwinState& twin, const TwinChange& change, bool is_new,
                               TwinTime now, Outcome& outcome, Effects& out) {
  const TwinState before = is_new ? TwinState{} : device.twins[name];
  int refused = 0, taken = 0;
  const auto set = [&](TwinSide& side, const std::optional<std::string>& value, const std::optional<TwinVersion>& version, int bit) {
    if (!value || refused) return;
    const TwinVersion stored = side.version.value_or(TwinVersion{});
    if (!version || stored.cloud > version->cloud || stored.edge > version->edge) {
      refused |= bit;
      return;
    }
    side.value = value;
    side.timestamp = now.unix_ms;
    side.version = version;
    taken |= bit;
  };
  set(twin.expected, change.expected, change.expected_version, kExpected);
  set(twin.actual, change.actual, change.actual_version, kActual);
  if (refused && is_new) return;
  if (refused && !taken) return mark(device, name, refused, 1, out);
  if (twin.optional && change.optional == false) twin.optional = false;
  device.twins[name] = twin;
  outcome.document[name] = Json{{"last", is_new || before.deleted() ? Json(nullptr) : twin_json(before, kBothSides, false)},
                                {"current", twin_json(twin, kBothSides, false)}};
  save_twin(device.id.str(), name, twin, is_new, out.statements);
  if (refused) mark(device, name, refused, 1, out);
}

void TwinEngine::delete_property(DeviceEntry& device, const std::string& name, const TwinChange* change, Mode mode, Outcome& outcome,
                                 Effects& out) {
  const auto it = device.twins.find(name);
  if (it == device.twins.end() || it->second.deleted()) return;
  if (mode == Mode::kRest && !it->second.optional) return;
  if (mode == Mode::kSync && !change) return;
  TwinState& twin = it->second;
  const TwinState before = twin;
  for (TwinSide* side : {&twin.expected, &twin.actual}) {
    const auto& version = change ? (side == &twin.expected ? change->expected_version : change->actual_version) : std::nullopt;
    if (side->version && mode == Mode::kRest) ++side->version->edge;
    if (side->version && mode == Mode::kSync && version) {
      if (side->version->cloud > version->cloud || side->version->edge > version->edge) {
        twin = before;
        return mark(device, name, kBothSides, 1, out);
      }
      side->version = version;
    }
    side->value.reset();
    side->timestamp = 0;
  }
  twin.type = "deleted";
  device.stale_times.erase(name);
  outcome.result[name] = nullptr;
  outcome.document[name] = Json{{"last", twin_json(before, kBothSides, false)}, {"current", nullptr}};
  save_twin(device.id.str(), name, twin, false, out.statements);
  if (mode == Mode::kRest) mark(device, name, kBothSides, 1, out);
}

// Order: result, document, delta (devices.md 3.5, step 6). Good properties are kept beside rejected ones (C45).
void TwinEngine::finish(DeviceEntry& device, const Outcome& outcome, const std::string& event_id, TwinTime now, Effects& out) {
  const std::string id = device.id.str();
  if (outcome.answer) {
    Json result = base_message(event_id, now.unix_ms);
    if (!outcome.rejected.empty()) {
      std::string reason = outcome.rejected.front().second;
      if (outcome.asked > 1) {
        reason.clear();
        for (const auto& [name, why] : outcome.rejected) reason += fmt::format("{}{}: {}", reason.empty() ? "" : "; ", name, why);
      }
      result["code"] = 400;
      result["reason"] = reason;
      if (outcome.rejected.size() < outcome.asked) result["twin"] = outcome.result;
      out.publications.push_back({device_topic(id, "twin/update/result"), base::dump_json(result)});
      if (outcome.malformed)
        out.publications.push_back({device_topic("", "twin/update/result"), error_payload("", now.unix_ms, 400, reason)});
      if (outcome.rejected.size() == outcome.asked) return;
    } else {
      result["twin"] = outcome.result;
      out.publications.push_back({device_topic(id, "twin/update/result"), base::dump_json(result)});
    }
    out.on_failure.push_back({device_topic(id, "twin/update/result"),
                              error_payload(event_id, now.unix_ms, 500, "the change could not be stored")});
  }
  if (!outcome.document.empty()) {
    Json document = base_message(event_id, now.unix_ms);
    document["twin"] = outcome.document;
    out.publications.push_back({device_topic(id, "twin/update/document"), base::dump_json(document)});
  }
  publish_delta(device, now, true, out);
}

// Recomputed over all twins at each accepted update, as upstream: apps rely on the repetition.
void TwinEngine::publish_delta(DeviceEntry& device, TwinTime now, bool notify, Effects& out) {
  Json twins = Json::object();
  Json delta = Json::object();
  TwinDelta map;
  for (const auto& [name, twin] : device.twins) {
    if (twin.deleted() || !twin.expected.value || twin.expected.value->empty()) continue;
    twins[name] = twin_json(twin, kBothSides, false);
    if (twin.expected.value != twin.actual.value) {
      delta[name] = *twin.expected.value;
      map[name] = *twin.expected.value;
    }
  }
  if (notify && map != device.notified) {
    device.notified = map;
    if (!map.empty()) out.deltas.push_back({device.id, map});
  }
  if (map.empty()) return;
  Json message = base_message(options_.new_id(), now.unix_ms);
  message["twin"] = std::move(twins);
  message["delta"] = std::move(delta);
  out.publications.push_back({device_topic(device.id.str(), "twin/update/delta"), base::dump_json(message)});
}

Effects TwinEngine::all_deltas(TwinTime now, bool notify) {
  Effects out;
  for (auto& [id, device] : devices_) {
    if (notify) device.notified.clear();
    publish_delta(device, now, notify, out);
  }
  return out;
}

void TwinEngine::twin_get(const DeviceId& id, std::string_view payload, TwinTime now, Effects& out) {
  const auto json = parse_json(payload);
  const std::string event_id = json ? string_or(*json, "event_id") : "";
  const DeviceEntry* device = find(id.str());
  std::string answer;
  if (!json || !json->is_object()) {
    answer = error_payload("", now.unix_ms, 400, "Unmarshal twin info failed, please check the request");
  } else if (!device) {
    answer = error_payload(event_id, now.unix_ms, 404, fmt::format("Device {} not found while getting twin", id.str()));
  } else {
    Json message = base_message(event_id, now.unix_ms);
    message["twin"] = Json::object();
    for (const auto& [name, twin] : device->twins)
      if (!twin.deleted()) message["twin"][name] = twin_json(twin, kBothSides, false);
    answer = base::dump_json(message);
  }
  out.publications.push_back({device_topic(id.str(), "twin/get/result"), std::move(answer)});
}

// Unknown devices and states get no answer, as upstream's (devices.md 3.10).
void TwinEngine::state_update(const DeviceId& id, const std::string& state, TwinTime now, Effects& out) {
  DeviceEntry* device = find(id.str());
  if (!device) {
    out.error = base::error(Errc::kNotFound, "device {} is not known on this node", id.str());
    out.warnings.push_back(fmt::format("state of {}: the device is not known on this node", id.str()));
    return;
  }
  if (!known_state(state)) {
    out.error = base::error(Errc::kInvalidArgument, "state of {}: one of ok, online, offline, unhealthy, unknown is wanted", id.str());
    out.warnings.push_back(out.error->message);
    return;
  }
  const bool equal = device->state == state;
  device->state = state;
  device->last_online = is_online(state) ? base::rfc3339(now.unix_ms / 1000) : "";
  if (equal) {
    device->stale_times.insert("");
  } else {
    device->stale_times.erase("");
    out.statements.push_back({"UPDATE device SET state = ?2, last_online = ?3 WHERE id = ?1", {id.str(), state, device->last_online}});
    mark(*device, "", 0, 1, out);
  }
  Json message = base_message(options_.new_id(), now.unix_ms);
  message["device"] = Json{{"name", id.name}, {"state", state}};
  if (!device->last_online.empty()) message["device"]["lastOnlineTime"] = device->last_online;
  out.publications.push_back({device_topic(id.str(), "state/update/result"), base::dump_json(message)});
}

// ---------------------------------------------------------------------------------------------------------------
// The embedding program

Effects TwinEngine::report(const DeviceId& id, const std::map<std::string, std::string>& values, TwinTime now) {
  Effects out;
  DeviceEntry* device = find(id.str());
  if (!device) {
    out.error = base::error(Errc::kNotFound, "device {} is not known on this node", id.str());
    return out;
  }
  TwinChanges changes;
  for (const auto& [name, value] : values) {
    if (!base::is_utf8(value)) {
      out.error = base::error(Errc::kInvalidArgument, "{} {}: the value is not UTF-8", id.str(), name);
      return out;
    }
    TwinChange change;
    change.actual = value;
    changes[name] = std::move(change);
  }
  Outcome outcome;
  outcome.answer = true;
  outcome.asked = changes.size();
  for (const auto& [name, change] : changes) {
    auto reason = check_twin_key(name);
    if (!reason) reason = check_twin_value(*change->actual, options_.strict);
    if (reason) outcome.rejected.emplace_back(name, *reason);
    else change_property(*device, name, *change, Mode::kRest, now, outcome, out);
  }
  if (!outcome.rejected.empty()) {
    std::string reasons;
    for (const auto& [name, why] : outcome.rejected) reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", name, why);
    out.error = base::error(Errc::kInvalidArgument, "{}: {}", id.str(), reasons);
  }
  finish(*device, outcome, "", now, out);
  for (const auto& [name, value] : values)
    if (const auto it = device->twins.find(name); it != device->twins.end()) out.result[name] = to_property(it->second);
  return out;
}

Effects TwinEngine::set_state(const DeviceId& device, const std::string& state, TwinTime now) {
  Effects out;
  state_update(device, state, now, out);
  return out;
}

Result<TwinResult> TwinEngine::get(const DeviceId& id) const {
  const auto it = devices_.find(id.str());
  if (it == devices_.end()) return base::error(Errc::kNotFound, "device {} is not known on this node", id.str());
  TwinResult result;
  for (const auto& [name, twin] : it->second.twins)
    if (!twin.deleted()) result[name] = to_property(twin);
  return result;
}

// ---------------------------------------------------------------------------------------------------------------
// Membership and Device objects

Json TwinEngine::member_json(const DeviceEntry& device) const {
  Json json{{"id", device.id.str()}, {"name", device.id.name}};
  if (!device.description.empty()) json["description"] = device.description;
  if (!device.state.empty()) json["state"] = device.state;
  if (!device.last_online.empty()) json["last_online"] = device.last_online;
  if (!device.attributes.empty()) {
    json["attributes"] = Json::object();
    for (const auto& [name, attribute] : device.attributes) json["attributes"][name] = attribute_json(attribute);
  }
  return json;
}

TwinEngine::DeviceEntry& TwinEngine::create_device(const DeviceId& id, const std::string& description, Effects& out) {
  DeviceEntry& device = devices_[id.str()];
  device.id = id;
  device.description = description;
  out.statements.push_back({"INSERT OR REPLACE INTO device(id, name, description, state, last_online) VALUES (?1, ?2, ?3, '', '')",
                            {id.str(), id.name, description}});
  return device;
}

Effects TwinEngine::on_membership(std::string_view content, bool whole, TwinTime now) {
  Effects out;
  const auto json = parse_json(content);
  if (!json || !json->is_object()) {
    out.warnings.push_back("membership from the cloud: the content is not a JSON object");
    return out;
  }
  const auto each = [&](const char* key, auto&& visit) {
    const auto list = json->find(key);
    if (list == json->end() || !list->is_array()) return;
    for (const auto& entry : *list) {
      const auto member = parse_member(entry);
      if (member && parse_device_id(member->id)) visit(*member);
      else out.warnings.push_back(fmt::format("membership from the cloud: an entry of {} is malformed or its id is not <namespace>/<name>", key));
    }
  };
  std::set<std::string> named;
  each(whole ? "devices" : "added_devices", [&](const MemberDevice& member) {
    named.insert(member.id);
    add_member(member, now, out);
  });
  if (!whole) {
    each("removed_devices", [&](const MemberDevice& member) { remove_device(member.id, now, out); });
  } else if (json->contains("devices") && (*json)["devices"].is_array()) {
    std::vector<std::string> gone;
    for (const auto& [id, device] : devices_)
      if (!named.contains(id)) gone.push_back(id);
    for (const auto& id : gone) remove_device(id, now, out);
  }
  return out;
}

void TwinEngine::add_member(const MemberDevice& member, TwinTime now, Effects& out) {
  const DeviceId id = *parse_device_id(member.id);
  DeviceEntry* device = find(member.id);
  if (device) {
    sync_attributes(*device, member.attributes, now, out);
    // Upstream answers a member without twins with a 400 at every re-send; nothing to say is said here.
    if (member.twin) update(*device, *member.twin, "", Mode::kSync, now, out);
    return;
  }
  if (devices_.size() >= kMaxDevices) {
    out.warnings.push_back(fmt::format("device {} not added: more than {} devices", member.id, kMaxDevices));
    return;
  }
  device = &create_device(id, member.description, out);
  if (member.twin) update(*device, *member.twin, "", Mode::kSync, now, out);
  sync_attributes(*device, member.attributes, now, out);
  Json added{{"id", member.id}, {"name", member.name.empty() ? id.name : member.name}};
  if (!member.description.empty()) added["description"] = member.description;
  if (!member.state.empty()) added["state"] = member.state;
  if (!member.attributes.empty()) {
    added["attributes"] = Json::object();
    for (const auto& [name, attribute] : member.attributes) added["attributes"][name] = attribute_json(attribute);
  }
  if (member.twin && !member.twin->empty()) {
    added["twin"] = Json::object();
    for (const auto& [name, change] : *member.twin) added["twin"][name] = change ? change_json(*change) : Json(nullptr);
  }
  Json message = base_message(options_.new_id(), now.unix_ms);
  message["added_devices"] = Json::array({added});
  message["removed_devices"] = nullptr;
  out.publications.push_back({fmt::format("$hw/events/node/{}/membership/updated", options_.node), base::dump_json(message)});
}

// The given set replaces the stored one; only what changed is published (devices.md 3.11).
void TwinEngine::sync_attributes(DeviceEntry& device, const std::map<std::string, AttributeState>& attributes, TwinTime now,
                                 Effects& out) {
  const std::string id = device.id.str();
  Json changed = Json::object();
  for (const auto& [name, attribute] : attributes) {
    const auto it = device.attributes.find(name);
    if (it == device.attributes.end()) {
      AttributeState added = attribute;
      if (added.type.empty()) added.type = "string";
      changed[name] = attribute_json(attribute);
      out.statements.push_back({"INSERT INTO device_attr(deviceid, name, description, value, optional, attr_type, metadata) "
                                "VALUES (?1, ?2, '', ?3, ?4, ?5, '{}')",
                                {id, name, added.value, std::int64_t{added.optional.value_or(true)}, added.type}});
      device.attributes[name] = std::move(added);
    } else if (it->second.value != attribute.value) {
      it->second.value = attribute.value;
      changed[name] = Json{{"value", attribute.value}};
      out.statements.push_back({"UPDATE device_attr SET value = ?3 WHERE deviceid = ?1 AND name = ?2", {id, name, attribute.value}});
    }
  }
  for (auto it = device.attributes.begin(); it != device.attributes.end();) {
    if (attributes.contains(it->first)) {
      ++it;
      continue;
    }
    changed[it->first] = nullptr;
    out.statements.push_back({"DELETE FROM device_attr WHERE deviceid = ?1 AND name = ?2", {id, it->first}});
    it = device.attributes.erase(it);
  }
  if (changed.empty()) return;
  Json message = base_message("", now.unix_ms);
  message["attributes"] = std::move(changed);
  out.publications.push_back({device_topic(id, "updated"), base::dump_json(message)});
}

void TwinEngine::remove_device(const std::string& id, TwinTime now, Effects& out) {
  const auto it = devices_.find(id);
  if (it == devices_.end()) return;
  const std::string name = it->second.id.name;
  std::erase_if(in_flight_, [&](const auto& entry) { return entry.second.device == id; });
  devices_.erase(it);
  std::erase_if(cleanup_, [&](const store::Statement& statement) { return store::text(statement.params.front()) == id; });
  out.statements.push_back({"DELETE FROM device WHERE id = ?1", {id}});
  for (const char* table : {"device_attr", "device_twin", "ke_dirty", "ke_desired"})
    out.statements.push_back({fmt::format("DELETE FROM {} WHERE deviceid = ?1", table), {id}});
  Json message = base_message(options_.new_id(), now.unix_ms);
  message["added_devices"] = nullptr;
  message["removed_devices"] = Json::array({Json{{"id", id}, {"name", name}}});
  out.publications.push_back({fmt::format("$hw/events/node/{}/membership/updated", options_.node), base::dump_json(message)});
}

Effects TwinEngine::on_device_removed(const DeviceId& device, TwinTime now) {
  Effects out;
  remove_device(device.str(), now, out);
  return out;
}

// A Device object is reliable where the membership message is not acknowledged: it adds the device too.
Effects TwinEngine::on_device(std::string_view text, TwinTime now) {
  Effects out;
  const auto json = Json::parse(text, nullptr, false);   // validated at the hub's door
  const auto object = [](const Json& in, const char* key) -> const Json* {
    const auto it = in.is_object() ? in.find(key) : in.end();
    return it != in.end() && it->is_object() ? &*it : nullptr;
  };
  const Json* metadata = json.is_discarded() ? nullptr : object(json, "metadata");
  const DeviceId id = metadata ? DeviceId{string_or(*metadata, "namespace"), string_or(*metadata, "name")} : DeviceId{};
  if (id.ns.empty() || id.name.empty() || !parse_device_id(id.str())) {
    out.warnings.push_back("a Device object without namespace or name, or with a name that no MQTT topic can have, was ignored");
    return out;
  }
  const Json* spec = object(json, "spec");
  const Json* model = spec ? object(*spec, "deviceModelRef") : nullptr;
  if (!model || string_or(*model, "name").empty())
    out.warnings.push_back(fmt::format("device {} has no device model reference: mappers cannot use it, its MQTT twin works", id.str()));
  DeviceEntry* device = find(id.str());
  if (!device) {
    MemberDevice member;
    member.id = id.str();
    member.name = id.name;
    const Json* labels = object(*metadata, "labels");
    if (labels) member.description = string_or(*labels, "description");
    add_member(member, now, out);
    device = find(id.str());
    if (!device) return out;
  }
  std::int64_t generation = 0;
  if (const auto it = metadata->find("generation"); it != metadata->end() && it->is_number_integer()) generation = it->get<std::int64_t>();

  Outcome outcome;
  std::set<std::string> governed;
  device->declared.clear();
  const auto properties = spec ? spec->find("properties") : json.end();
  if (spec && properties != spec->end() && properties->is_array()) {
    for (const auto& property : *properties) {
      const std::string name = string_or(property, "name");
      if (name.empty()) continue;
      if (check_twin_key(name)) {
        out.warnings.push_back(fmt::format("device {}: a property name is not usable as a twin key", id.str()));
        continue;
      }
      device->declared.insert(name);
      const Json* desired = object(property, "desired");
      const std::string value = desired ? string_or(*desired, "value") : "";
      if (value.empty()) continue;   // Go prints "desired":{"value":""} for a property without one
      governed.insert(name);
      apply_desired(*device, name, value, generation, now, outcome, out);
    }
  }
  forget_desired(*device, now, governed, outcome, out);
  if (!outcome.document.empty()) finish(*device, outcome, "", now, out);
  return out;
}

// A new generation of the object wins over what an app set; the same one sent again (cloud restart) does not.
void TwinEngine::apply_desired(DeviceEntry& device, const std::string& name, const std::string& value, std::int64_t generation,
                               TwinTime now, Outcome& outcome, Effects& out) {
  const auto known = device.desired.find(name);
  const bool is_newer = known == device.desired.end() || known->second.value != value ||
                        (generation != 0 && generation != known->second.generation);
  if (!is_newer) return;
  const auto it = device.twins.find(name);
  const bool is_new = it == device.twins.end();
  TwinState twin = is_new ? TwinState{} : it->second;
  if (twin.deleted()) twin.type = "string";
  std::optional<std::string> reason = check_typed_value(twin.type, value);
  if (!reason && value.size() > kMaxTwinValueBytes) reason = fmt::format("longer than {} bytes", kMaxTwinValueBytes);
  if (!reason && is_new && device.twins.size() >= kMaxTwinsPerDevice) reason = fmt::format("more than {} properties", kMaxTwinsPerDevice);
  if (reason) {
    out.warnings.push_back(fmt::format("device {} {}: the desired value is not taken: {}", device.id.str(), name, *reason));
    return;
  }
  device.desired[name] = Desired{value, generation};
  out.statements.push_back({"INSERT OR REPLACE INTO ke_desired(deviceid, name, value, generation) VALUES (?1, ?2, ?3, ?4)",
                            {device.id.str(), name, value, generation}});
  const bool revived = !is_new && it->second.deleted();
  if (!revived && twin.expected.value == value) return;
  const Json last = is_new || revived ? Json(nullptr) : twin_json(it->second, kBothSides, false);
  twin.expected.value = value;
  twin.expected.timestamp = now.unix_ms;
  if (!twin.expected.version) twin.expected.version = TwinVersion{};
  ++twin.expected.version->edge;
  device.twins[name] = twin;
  outcome.document[name] = Json{{"last", last}, {"current", twin_json(twin, kBothSides, false)}};
  save_twin(device.id.str(), name, twin, is_new, out.statements);
  mark(device, name, kExpected, is_new ? kFirstReportCopies : 1, out);
}

// A property that the object no longer gives a desired value: what the object had set goes, what an app set stays.
void TwinEngine::forget_desired(DeviceEntry& device, TwinTime, const std::set<std::string>& keep, Outcome& outcome, Effects& out) {
  for (auto it = device.desired.begin(); it != device.desired.end();) {
    if (keep.contains(it->first)) {
      ++it;
      continue;
    }
    const std::string name = it->first;
    const auto twin = device.twins.find(name);
    if (twin != device.twins.end() && !twin->second.deleted() && twin->second.expected.value == it->second.value) {
      const Json last = twin_json(twin->second, kBothSides, false);
      twin->second.expected.value.reset();
      if (twin->second.expected.version) ++twin->second.expected.version->edge;
      outcome.document[name] = Json{{"last", last}, {"current", twin_json(twin->second, kBothSides, false)}};
      save_twin(device.id.str(), name, twin->second, false, out.statements);
    }
    out.statements.push_back({"DELETE FROM ke_desired WHERE deviceid = ?1 AND name = ?2", {device.id.str(), name}});
    it = device.desired.erase(it);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Towards the cloud

void TwinEngine::mark(DeviceEntry& device, const std::string& name, int sides, int copies, Effects& out) {
  const auto [it, is_new] = device.dirty.try_emplace(name);
  Dirty& dirty = it->second;
  dirty.generation = ++generation_;
  dirty.sides |= sides;
  dirty.copies = is_new ? copies : std::max(dirty.copies, copies);
  // A drop of this mark that was not written yet must not follow its renewal.
  std::erase_if(cleanup_, [&](const store::Statement& statement) {
    return store::text(statement.params[0]) == device.id.str() && store::text(statement.params[1]) == name;
  });
  out.statements.push_back({"INSERT OR REPLACE INTO ke_dirty(deviceid, name, sides, copies) VALUES (?1, ?2, ?3, ?4)",
                            {device.id.str(), name, std::int64_t{dirty.sides}, std::int64_t{dirty.copies}}});
  DirtyMark mark{device.id.str(), name, dirty.generation, {}, device.state, device.last_online};
  if (const auto twin = device.twins.find(name); !name.empty() && twin != device.twins.end()) mark.twin = twin->second;
  out.marks.push_back(std::move(mark));
}

void TwinEngine::committed(const std::vector<DirtyMark>& marks, TwinTime now) {
  std::set<std::string> touched;
  for (const DirtyMark& mark : marks) {
    DeviceEntry* device = find(mark.device);
    if (!device) continue;
    const auto it = device->dirty.find(mark.name);
    if (it == device->dirty.end() || mark.generation > it->second.generation) continue;
    Dirty& dirty = it->second;
    dirty.ready = true;
    dirty.ready_generation = mark.generation;
    dirty.twin = mark.twin;
    dirty.state = mark.state;
    dirty.last_online = mark.last_online;
    touched.insert(mark.device);
  }
  for (const auto& id : touched) {
    DeviceEntry* device = find(id);
    if (!device) continue;
    device->last_change = now.steady_ms;
    flush(*device, now);
  }
}

void TwinEngine::flush(DeviceEntry& device, TwinTime now) {
  if (!link_up_) return;
  const bool quiet = now.steady_ms - device.last_change >= kQuietMs;
  bool waits = false;
  for (const bool is_state : {true, false}) {
    const Lane& lane = is_state ? device.state_lane : device.twin_lane;
    const bool unsent = std::any_of(device.dirty.begin(), device.dirty.end(), [is_state](const auto& entry) {
      return entry.first.empty() == is_state && entry.second.ready && entry.second.ready_generation != entry.second.sent_generation;
    });
    if (!unsent || lane.unconfirmed >= kMaxUnconfirmed) continue;
    if (lane.unconfirmed > 0 && !quiet) waits = true;
    else if (is_state) send_state(device, now);
    else send_twins(device, now);
  }
  if (waits) not_quiet_.insert(device.id.str());
}

void TwinEngine::send_twins(DeviceEntry& device, TwinTime now) {
  Flight flight{device.id.str(), false, {}};
  Json twins = Json::object();
  for (auto& [name, dirty] : device.dirty) {
    if (name.empty() || !dirty.ready || dirty.ready_generation == dirty.sent_generation) continue;
    twins[name] = twin_json(dirty.twin, dirty.sides, true);
    flight.sent[name] = dirty.sent_generation = dirty.ready_generation;
  }
  Json content = base_message(options_.new_id(), now.unix_ms);
  content["twin"] = std::move(twins);
  send(device, std::move(flight), fmt::format("device/{}/twin/edge_updated", device.id.str()), std::move(content), now);
}

void TwinEngine::send_state(DeviceEntry& device, TwinTime now) {
  Dirty& dirty = device.dirty.at("");
  dirty.sent_generation = dirty.ready_generation;
  Json content = base_message(options_.new_id(), now.unix_ms);
  content["device"] = Json{{"name", device.id.name}, {"state", dirty.state}};
  if (!dirty.last_online.empty()) content["device"]["lastOnlineTime"] = dirty.last_online;
  // A string that holds the JSON, as upstream's states are.
  send(device, {device.id.str(), true, {{"", dirty.ready_generation}}}, fmt::format("device/{}/state/update", device.id.str()), Json(base::dump_json(content)), now);
}

void TwinEngine::send(DeviceEntry& device, Flight flight, std::string resource, Json content, TwinTime now) {
  Message message;
  message.id = MessageId(options_.new_id());
  message.timestamp_ms = now.unix_ms;
  message.source = "twin";
  message.group = "resource";
  message.operation = "update";
  message.resource = std::move(resource);
  message.content = base::dump_json(content);
  Lane& lane = flight.is_state ? device.state_lane : device.twin_lane;
  if (lane.unconfirmed++ == 0) lane.deadline = now.steady_ms + lane.wait;
  in_flight_[message.id] = std::move(flight);
  messages_.push_back(std::move(message));
}

void TwinEngine::on_confirm(const MessageId& parent, TwinTime now) {
  const auto found = in_flight_.extract(parent);
  if (found.empty()) return;
  const Flight& flight = found.mapped();
  DeviceEntry* device = find(flight.device);
  if (!device) return;
  for (const auto& [name, generation] : flight.sent) {
    const auto it = device->dirty.find(name);
    if (it == device->dirty.end()) continue;
    Dirty& dirty = it->second;
    dirty.copies = std::max(dirty.copies - 1, 0);
    if (dirty.generation != generation) {
      dirty.copies = std::max(dirty.copies, 1);   // a newer value is on its way
    } else if (dirty.copies == 0) {
      device->dirty.erase(it);
      cleanup_.push_back({"DELETE FROM ke_dirty WHERE deviceid = ?1 AND name = ?2", {flight.device, name}});
    } else {
      dirty.sent_generation = 0;
    }
  }
  Lane& lane = flight.is_state ? device->state_lane : device->twin_lane;
  lane = {lane.unconfirmed - 1, now.steady_ms + kConfirmWaitMs, kConfirmWaitMs};
  flush(*device, now);
}

// No confirmation came: what is newest goes again, and is waited for longer.
void TwinEngine::give_up(DeviceEntry& device, bool is_state, TwinTime now) {
  const std::string id = device.id.str();
  std::erase_if(in_flight_, [&](const auto& entry) { return entry.second.device == id && entry.second.is_state == is_state; });
  for (auto& [name, dirty] : device.dirty)
    if (name.empty() == is_state) dirty.sent_generation = 0;
  Lane& lane = is_state ? device.state_lane : device.twin_lane;
  lane = {0, 0, std::min(lane.wait * 2, kMaxConfirmWaitMs)};
  flush(device, now);
}

void TwinEngine::on_link(bool up, TwinTime now) {
  link_up_ = up;
  in_flight_.clear();
  not_quiet_.clear();
  messages_.clear();
  for (auto& [id, device] : devices_) {
    device.twin_lane = device.state_lane = Lane{};
    for (auto& [name, dirty] : device.dirty) dirty.sent_generation = 0;
  }
  if (!up) return;
  Json content{{"event_type", "group_membership_event"}, {"event_id", options_.new_id()}, {"group_id", options_.node},
               {"operation", "detail"}, {"timestamp", now.unix_ms}};
  Message message;
  message.id = MessageId(options_.new_id());
  message.timestamp_ms = now.unix_ms;
  message.source = "twin";
  message.group = "resource";
  message.operation = "get";
  message.resource = "membership/detail";
  message.content = base::dump_json(Json(base::dump_json(content)));
  messages_.push_back(std::move(message));
  for (auto& [id, device] : devices_) flush(device, now);
}

std::optional<std::int64_t> TwinEngine::tick_in_ms() const {
  if (!not_quiet_.empty()) return kQuietMs;
  const bool wanted = !cleanup_.empty() || !in_flight_.empty() ||
                      std::any_of(devices_.begin(), devices_.end(), [](const auto& entry) { return !entry.second.stale_times.empty(); });
  return wanted ? std::optional(kTickMs) : std::nullopt;
}

Effects TwinEngine::tick(TwinTime now) {
  Effects out;
  out.statements = std::move(cleanup_);
  cleanup_.clear();
  for (const auto& id : std::exchange(not_quiet_, {}))
    if (DeviceEntry* device = find(id)) flush(*device, now);
  for (auto& [id, device] : devices_) {
    for (const bool is_state : {false, true}) {
      const Lane& lane = is_state ? device.state_lane : device.twin_lane;
      if (lane.unconfirmed > 0 && now.steady_ms >= lane.deadline) give_up(device, is_state, now);
    }
    if (device.stale_times.empty() || now.steady_ms - device.last_time_sync < kTimeSyncMs) continue;
    device.last_time_sync = now.steady_ms;
    for (const auto& name : std::set<std::string>(std::move(device.stale_times))) {
      if (name.empty()) {
        out.statements.push_back({"UPDATE device SET last_online = ?2 WHERE id = ?1", {id, device.last_online}});
        mark(device, "", 0, 1, out);
      } else if (const auto twin = device.twins.find(name); twin != device.twins.end() && !twin->second.deleted()) {
        save_twin(id, name, twin->second, false, out.statements);
        mark(device, name, (twin->second.actual.value ? kActual : 0) | (twin->second.expected.value ? kExpected : 0), 1, out);
      }
    }
    device.stale_times.clear();
  }
  return out;
}

std::vector<Message> TwinEngine::take_messages() { return std::exchange(messages_, {}); }

std::size_t TwinEngine::dirty_count() const {
  std::size_t count = 0;
  for (const auto& [id, device] : devices_) count += device.dirty.size();
  return count;
}

}  // namespace kubeedge::edge
