// A daemon's YAML file against a table of its keys: unknown keys and wrong types are named with file, line and key.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <yaml-cpp/yaml.h>

namespace daemons {

enum class Kind : std::uint8_t { kText, kNumber, kFlag, kTexts, kTextMap, kDuration, kAny };

struct Key {
  Kind kind;
  std::function<void(const YAML::Node&)> set;   // empty = known and of this type, without effect here
  std::int64_t least = -1;                      // of a number, or of a duration in seconds; upstream's -1 means "no limit"
};
inline constexpr std::int64_t kMostNumber = 2'147'483'647;   // upstream's int32
using Keys = std::map<std::string, Key>;        // "modules.edgeHub.heartbeat"

// Walks the file and sets what it names. Unknown keys go to `warnings` ("FILE:LINE: unknown key K (did you mean M?)"), with
// `strict` they are an error; a wrong type is always one.
kubeedge::Result<void> load_yaml(const std::string& path, bool strict, const Keys& keys, std::vector<std::string>& warnings);

// Go's duration text ("10s", "5m", "1h30m") in seconds; -1 = not one.
std::int64_t duration_s(const std::string& text);

}  // namespace daemons
