#pragma once
// nlohmann-json for documents and patches off the hot path. Its parser and printer are instantiated here once, not in every user.

#include <concepts>
#include <string>
#include <string_view>

#include <kubeedge/bytes.h>
#include <nlohmann/json.hpp>

namespace kubeedge::base {

/// The value, or a discarded one (`is_discarded()`) if `text` is not JSON; the last of duplicate keys is kept.
nlohmann::json parse_json(std::string_view text);
nlohmann::json parse_json(const std::same_as<Bytes> auto& text) { return parse_json(text.view()); }

/// Compact text; bytes that are not UTF-8 become U+FFFD.
std::string dump_json(const nlohmann::json& value);
std::string dump_ordered_json(const nlohmann::ordered_json& value);
std::string dump_json(const std::same_as<nlohmann::ordered_json> auto& value) { return dump_ordered_json(value); }

}  // namespace kubeedge::base
