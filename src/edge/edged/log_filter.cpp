#include "edge/edged/log_filter.h"

#include <algorithm>

namespace kubeedge::edged {
namespace {

constexpr std::size_t kFractionDigits = 9;

std::string_view take_word(std::string_view& text) {
  const std::size_t space = text.find(' ');
  const std::string_view word = text.substr(0, space);
  text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  return word;
}

// With nine digits of fraction, so that a column of them stands straight.
std::string full_time(std::string_view time) {
  std::size_t end = std::min(time.find('.'), time.find_first_of("Z+-", std::min<std::size_t>(time.size(), 11)));
  if (end == std::string_view::npos) return std::string(time);
  std::string out{time.substr(0, end)};
  std::string digits;
  if (time[end] == '.')
    for (++end; end < time.size() && time[end] >= '0' && time[end] <= '9'; ++end) digits += time[end];
  digits.resize(kFractionDigits, '0');
  return out + "." + digits + std::string(time.substr(end));
}

}  // namespace

void LogFilter::feed(std::string_view bytes, std::string& out) {
  while (!bytes.empty() && !full()) {
    const std::size_t newline = bytes.find('\n');
    const std::string_view part = bytes.substr(0, newline);
    const bool whole = newline != std::string_view::npos;
    bytes.remove_prefix(whole ? newline + 1 : bytes.size());
    if (skipping_) {
      skipping_ = !whole;
      continue;
    }
    if (held_.empty() && whole) {
      line(part.substr(0, kMaxLine), out);
      continue;
    }
    held_ += part.substr(0, kMaxLine - std::min(held_.size(), kMaxLine));
    skipping_ = !whole && held_.size() >= kMaxLine;
    if (!whole && !skipping_) continue;
    line(held_, out);
    held_.clear();
  }
}

void LogFilter::finish(std::string& out) {
  if (!held_.empty() && !full()) line(held_, out);
  held_.clear();
  skipping_ = false;
}

void LogFilter::line(std::string_view text, std::string& out) {
  const std::string_view time = take_word(text), stream = take_word(text), tags = take_word(text);
  const bool is_out = stream == "stdout";
  if ((!is_out && stream != "stderr") || tags.empty() || !(is_out ? query_.out : query_.err)) return;
  if (query_.since_ns) {
    const auto when = log_time(time);
    if (!when || *when < *query_.since_ns) return;
  }
  const bool partial = tags.substr(0, tags.find(':')) == "P";
  if (query_.timestamps && at_start_) give(full_time(time) + " ", out);
  give(text, out);
  if (!partial) give("\n", out);
  at_start_ = !partial;
}

void LogFilter::give(std::string_view text, std::string& out) {
  if (query_.limit_bytes) text = text.substr(0, static_cast<std::size_t>(std::min<std::int64_t>(*query_.limit_bytes - given_, static_cast<std::int64_t>(text.size()))));
  given_ += static_cast<std::int64_t>(text.size());
  out += text;
}

}  // namespace kubeedge::edged
