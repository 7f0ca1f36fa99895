// Reading nlohmann documents without throwing.
#pragma once

#include <initializer_list>
#include <string>

#include <kubeedge/bytes.h>

#include "base/json.h"

namespace kubeedge::cloud {

// The value at a path of keys; a null where there is none.
inline const nlohmann::json& json_at(const nlohmann::json& object, std::initializer_list<const char*> path) {
  static const nlohmann::json kNull;
  const nlohmann::json* now = &object;
  for (const char* key : path) {
    if (!now->is_object()) return kNull;
    const auto found = now->find(key);
    if (found == now->end()) return kNull;
    now = &*found;
  }
  return *now;
}
inline std::string json_text(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : std::string(); }
inline std::string json_text(const nlohmann::json& object, std::initializer_list<const char*> path) { return json_text(json_at(object, path)); }
inline Bytes json_bytes(const nlohmann::json& value) {
  return Bytes(base::dump_json(value));
}

}  // namespace kubeedge::cloud
