#include "base/peer_log.h"

#include <algorithm>

namespace kubeedge::base {
namespace {

constexpr std::size_t kMaxFieldBytes = 320;   // a node name has 253 bytes at most

// A value with blanks, quotes or control bytes stands in quotes.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += ' ';
  out += name;
  out += '=';
  const bool cut = value.size() > kMaxFieldBytes;
  value = value.substr(0, kMaxFieldBytes);
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '='; });
  if (plain) {
    out += value;
  } else {
    out += '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7f) out += fmt::format("\\x{:02x}", byte);
      else out += c;
    }
    out += '"';
  }
  if (cut) out += "...";
}

}  // namespace

std::string fields(const About& about) {
  std::string out;
  append_field(out, "node", about.node);
  append_field(out, "object", about.object);
  return out;
}

void LineLimiter::refill(Key& key, Milliseconds now) const {
  const auto back = (now - key.since) / kRefill;
  if (back <= 0) return;
  key.spent = static_cast<int>(std::max<std::int64_t>(0, key.spent - back));
  key.since += back * kRefill;
}

// A key that has its whole allowance again and owes nothing is as good as unknown.
void LineLimiter::forget_settled(Milliseconds now) {
  for (auto it = keys_.begin(); it != keys_.end();) {
    refill(it->second, now);
    it = it->second.spent == 0 && it->second.quiet == 0 ? keys_.erase(it) : std::next(it);
  }
}

std::optional<std::uint64_t> LineLimiter::admit(std::string_view name, Milliseconds now) {
  auto found = keys_.find(name);
  if (found == keys_.end()) {
    if (keys_.size() >= kMaxKeys) forget_settled(now);
    found = keys_.try_emplace(std::string(keys_.size() >= kMaxKeys ? std::string_view("others") : name), Key{0, now, 0}).first;
  }
  Key& key = found->second;
  refill(key, now);
  if (key.spent >= kBurst) {
    ++key.quiet;
    ++kept_back_;
    return std::nullopt;
  }
  if (key.spent == 0) key.since = now;
  ++key.spent;
  return std::exchange(key.quiet, 0);
}

std::vector<std::pair<std::string, std::uint64_t>> LineLimiter::due(Milliseconds now) {
  std::vector<std::pair<std::string, std::uint64_t>> told;
  for (auto& [name, key] : keys_) {
    if (key.quiet == 0) continue;
    refill(key, now);
    if (key.spent >= kBurst) continue;
    ++key.spent;
    told.emplace_back(name, std::exchange(key.quiet, 0));
  }
  forget_settled(now);
  return told;
}

void PeerLog::flush() {
  for (const auto& [node, count] : limiter_.due(clock_->steady()))
    logger_->write(LogLevel::kWarning, part_, fmt::format("more of the same was not written{} suppressed={}", fields({node, {}}), count));
}

void BoundedLogger::write(LogLevel level, std::string_view part, std::string_view line) {
  std::uint64_t before = 0;
  {
    const std::lock_guard lock(mutex_);
    const Milliseconds now = clock_->steady();
    const auto fresh = static_cast<std::uint64_t>((now - filled_).count()) * kLinesPerSecond / 1000;
    if (fresh > 0) {
      tokens_ = std::min(kBurstLines, tokens_ + fresh);
      filled_ = now;
    }
    if (tokens_ == 0) {
      ++quiet_;
      ++total_;
      return;
    }
    --tokens_;
    before = std::exchange(quiet_, 0);
  }
  std::string text(line.substr(0, kMaxLineBytes));
  std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  if (line.size() > kMaxLineBytes) text += fmt::format("... ({} bytes)", line.size());
  if (before > 0) inner_->write(LogLevel::kWarning, "log", fmt::format("too many lines: suppressed={}", before));
  inner_->write(level, part, text);
}

std::uint64_t BoundedLogger::suppressed() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

}  // namespace kubeedge::base
