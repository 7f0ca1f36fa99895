// Rules for twin keys and values (devices.md 3.5). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kubeedge::edge {

inline constexpr std::size_t kMaxTwinKeyBytes = 128;
inline constexpr std::size_t kMaxTwinValueBytes = 4096;
inline constexpr std::size_t kMaxStrictValueBytes = 512;

// nullopt = fine; else the reason text of a 400 result.
std::optional<std::string> check_twin_key(std::string_view key);
std::optional<std::string> check_twin_value(std::string_view value, bool strict);
// The value against the twin's type: "", string, int, integer, float, boolean, deleted.
std::optional<std::string> check_typed_value(std::string_view type, std::string_view value);
bool is_twin_type(std::string_view type);   // a type that a new twin may have

}  // namespace kubeedge::edge
