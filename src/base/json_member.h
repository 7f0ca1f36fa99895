#pragma once
// Reading documents that others made, without throwing.

#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::base {

/// The member, or a null where `object` is none or has none.
inline const nlohmann::json& member(const nlohmann::json& object, const char* key) {
  static const nlohmann::json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

/// The member's text, or "".
inline std::string text_of(const nlohmann::json& object, const char* key) {
  const nlohmann::json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

}  // namespace kubeedge::base
