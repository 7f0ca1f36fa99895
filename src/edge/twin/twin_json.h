// Payloads of the twin topics: parsing and printing with upstream's keys and key order (devices.md 3.4). Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <kubeedge/result.h>
#include <nlohmann/json.hpp>

namespace kubeedge::edge {

using Json = nlohmann::ordered_json;

inline constexpr std::size_t kMaxTwinPayloadBytes = 256 * 1024;
inline constexpr int kMaxTwinJsonDepth = 16;

struct TwinVersion {
  std::int64_t cloud = 0;
  std::int64_t edge = 0;
  bool operator==(const TwinVersion&) const = default;
};

struct TwinSide {
  std::optional<std::string> value;
  std::int64_t timestamp = 0;             // Unix ms of the value; meaningless without one
  std::optional<TwinVersion> version;     // stays when the value is deleted
};

struct TwinState {
  TwinSide expected;
  TwinSide actual;
  bool optional = true;
  std::string type = "string";            // "deleted" = a tombstone
  bool deleted() const { return type == "deleted"; }
};

inline constexpr int kActual = 1;         // sides as bits
inline constexpr int kExpected = 2;
inline constexpr int kBothSides = 3;

// One property of a request.
struct TwinChange {
  std::optional<std::string> expected, actual;
  std::optional<bool> optional;
  std::optional<std::string> type;
  std::optional<TwinVersion> expected_version, actual_version;
};
using TwinChanges = std::map<std::string, std::optional<TwinChange>>;   // nullopt = JSON null: delete

struct TwinRequest {
  std::string event_id;
  std::optional<TwinChanges> twin;        // nullopt = no key "twin"
};

struct AttributeState {
  std::string value;
  std::optional<bool> optional;
  std::string type;                       // "" = none given
};

struct MemberDevice {
  std::string id, name, description, state;
  std::map<std::string, AttributeState> attributes;
  std::optional<TwinChanges> twin;
};

// Whole text is checked: JSON, UTF-8, size, depth, no duplicate keys. Never throws.
std::optional<Json> parse_json(std::string_view text);

// nullopt = not JSON or a wrong type anywhere.
std::optional<TwinRequest> parse_twin_request(const Json& json);
std::optional<TwinChanges> parse_twin_changes(const Json& json);
std::optional<MemberDevice> parse_member(const Json& json);
std::string string_or(const Json& json, const char* key, std::string fallback = {});

// MsgTwin without versions, of the given sides; with `versions` for the cloud.
Json twin_json(const TwinState& twin, int sides, bool versions);
Json change_json(const TwinChange& change);    // as asked, versions stripped
Json attribute_json(const AttributeState& attribute);
std::string version_text(const TwinVersion& version);
std::optional<TwinVersion> parse_version(std::string_view text);

// {event_id, timestamp}
Json base_message(std::string_view event_id, std::int64_t now_ms);

}  // namespace kubeedge::edge
