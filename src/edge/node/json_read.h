// Members of JSON that others wrote: what has another shape than expected is taken as absent, nothing throws.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::edge {

// A member, or null.
inline const nlohmann::json& member_of(const nlohmann::json& object, const char* key) {
  static const nlohmann::json absent;
  if (!object.is_object()) return absent;
  const auto found = object.find(key);
  return found == object.end() ? absent : *found;
}

// A member's text, or "".
inline std::string text_of(const nlohmann::json& object, const char* key) {
  const nlohmann::json& member = member_of(object, key);
  return member.is_string() ? member.get<std::string>() : std::string();
}

}  // namespace kubeedge::edge
