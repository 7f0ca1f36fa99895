// Small text helpers that more than one folder needs. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <kubeedge/log.h>
#include <kubeedge/result.h>

namespace kubeedge::base {

std::string base64(std::string_view bytes);                       // standard alphabet, padded
std::string base64url(std::string_view bytes);                    // no padding
std::optional<std::string> from_base64(std::string_view text);    // both alphabets, padding optional
std::string hex(std::string_view bytes);                          // lower case
std::vector<std::string> split(std::string_view text, char separator);
std::string lower(std::string_view text);
std::optional<std::string> percent_decode(std::string_view text); // "+" stays; nullopt on a bad escape
std::string percent_encode(std::string_view text);                // all but unreserved
bool is_utf8(std::string_view text);
std::optional<std::int64_t> to_int(std::string_view text);        // whole text, decimal
std::string rfc3339(std::int64_t unix_s);                         // "2026-11-25T10:00:00Z"
std::string rfc3339_micro(std::int64_t unix_ms);                  // "2026-11-25T10:00:00.000000Z"
std::optional<std::int64_t> from_rfc3339(std::string_view text);  // Unix seconds; fraction ignored
std::string random_hex(std::size_t bytes);                        // from getrandom(2)
std::string uuid4();                                              // random UUID text

// `log(logger, LogLevel::kInfo, "hub", "node {} connected", id)`: formats only when the level is on.
template <class... Args>
void log(Logger& logger, LogLevel level, std::string_view part, fmt::format_string<Args...> format, Args&&... args) {
  if (logger.enabled(level)) logger.write(level, part, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
Error error(Errc code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

}  // namespace kubeedge::base
