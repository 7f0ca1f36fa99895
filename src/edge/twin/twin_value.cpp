#include "edge/twin/twin_value.h"

#include <charconv>
#include <cstdint>

namespace kubeedge::edge {
namespace {

bool in_upstream_alphabet(std::string_view text) {
  for (const char c : text) {
    const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!alnum && std::string_view("-_.,:/@#").find(c) == std::string_view::npos) return false;
  }
  return true;
}

bool is_int(std::string_view text) {
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// What Go's ParseFloat takes: decimal, inf, nan, and hex with a binary exponent.
bool is_float(std::string_view text) {
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  if (text.empty() || text.front() == '-' || text.find('(') != std::string_view::npos) return false;
  auto format = std::chars_format::general;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    if (text.find_first_of("pP") == std::string_view::npos || text.starts_with('-')) return false;
    format = std::chars_format::hex;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, format);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

// The texts below are upstream's: apps compare them.
std::optional<std::string> check_twin_key(std::string_view key) {
  if (!key.empty() && key.size() <= kMaxTwinKeyBytes && in_upstream_alphabet(key)) return std::nullopt;
  return "The key of twin must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and the "
         "length of key should be less than 128 bytes";
}

std::optional<std::string> check_twin_value(std::string_view value, bool strict) {
  if (strict) {
    if (value.size() <= kMaxStrictValueBytes && in_upstream_alphabet(value)) return std::nullopt;
    return "The value of twin must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and "
           "the length of value should be less than 512 bytes";
  }
  if (value.size() <= kMaxTwinValueBytes) return std::nullopt;
  return "The value of twin is longer than " + std::to_string(kMaxTwinValueBytes) + " bytes";
}

std::optional<std::string> check_typed_value(std::string_view type, std::string_view value) {
  if (type.empty() || type == "string" || type == "deleted") return std::nullopt;
  if (type == "int" || type == "integer") {
    if (is_int(value)) return std::nullopt;
    return "the value is not int or integer";
  }
  if (type == "float") {
    if (is_float(value)) return std::nullopt;
    return "the value is not float";
  }
  if (type == "boolean") {
    if (value == "true" || value == "false") return std::nullopt;
    return "the bool value must be true or false";
  }
  return "the value type is not allowed";
}

bool is_twin_type(std::string_view type) {
  return type == "string" || type == "int" || type == "integer" || type == "float" || type == "boolean";
}

}  // namespace kubeedge::edge
