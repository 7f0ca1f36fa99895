// Inputs of several steps: records end at the byte 0x1e, a record's lines at '\n' (text that a person can read and write).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fuzz {

inline constexpr std::size_t kMaxRecords = 32;

inline std::string_view take_until(std::string_view& text, char end) {
  const std::size_t at = text.find(end);
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return head;
}

inline std::vector<std::string_view> records(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string_view> found;
  while (!text.empty() && found.size() < kMaxRecords) found.push_back(take_until(text, '\x1e'));
  return found;
}

}  // namespace fuzz
