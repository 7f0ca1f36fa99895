// Which topics and filters may go to a broker. One that is malformed is not only refused: mosquitto ends the connection for it,
// and what is sent again at each reconnect would end it again and again.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/text.h"

namespace kubeedge::mqtt {

inline constexpr std::size_t kMaxTopicBytes = 1024;

// UTF-8 without control characters and non-characters (mosquitto counts both as malformed).
inline bool is_topic_text(std::string_view text) {
  if (text.empty() || text.size() > kMaxTopicBytes || !base::is_utf8(text)) return false;
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned c = at(i), next = at(i + 1), third = at(i + 2);
    if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0)) return false;
    if (c == 0xef && ((next == 0xb7 && third >= 0x90 && third <= 0xaf) || (next == 0xbf && third >= 0xbe))) return false;   // U+FDD0.., U+FFFE..
    if (c >= 0xf0 && (next & 0x0fU) == 0x0f && third == 0xbf && at(i + 3) >= 0xbe) return false;                         // U+1FFFE.. of each plane
  }
  return true;
}

inline bool is_topic(std::string_view text) { return is_topic_text(text) && text.find_first_of("+#") == std::string_view::npos; }

// '+' is a level of its own, '#' the last one.
inline bool is_topic_filter(std::string_view text) {
  if (!is_topic_text(text)) return false;
  const auto levels = base::split(text, '/');
  for (std::size_t i = 0; i < levels.size(); ++i) {
    if (levels[i].find_first_of("+#") == std::string::npos) continue;
    if (levels[i].size() != 1 || (levels[i] == "#" && i + 1 != levels.size())) return false;
  }
  return true;
}

// What a wildcard at the first level does not match: topics that begin with '$' (MQTT 3.1.1, 4.7.2).
// Given a filter for a topic: whether `filter` takes in all that it matches.
inline bool matches(std::string_view filter, std::string_view topic) {
  if (topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'))) return false;
  const auto wanted = base::split(filter, '/'), given = base::split(topic, '/');
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == "#") return true;   // also where the topic ends one level above
    if (i >= given.size() || given[i] == "#" || (wanted[i] != "+" && wanted[i] != given[i])) return false;
  }
  return wanted.size() == given.size();
}

}  // namespace kubeedge::mqtt
