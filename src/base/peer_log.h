// Lines about what peers do: they name node and object as fields, and no peer can fill a disk with them. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/log.h>

#include "base/text.h"

namespace kubeedge::base {

// What a line is about; empty fields are left out. Foreign text is cut and escaped: "... node=edge1 object=default/pod/web".
struct About {
  std::string_view node, object;
};
std::string fields(const About& about);

// A few lines a key at once, then one a while; the rest is counted.
class LineLimiter {
 public:
  static constexpr int kBurst = 20;
  static constexpr Milliseconds kRefill{6'000};      // one more line a key after so long
  static constexpr std::size_t kMaxKeys = 1'024;     // past it, new keys share one allowance

  // nullopt: keep quiet. Otherwise say it, and that so many lines of this key were kept back since its last one.
  std::optional<std::uint64_t> admit(std::string_view key, Milliseconds now);
  // Keys with lines kept back that may be told now: each is told once.
  std::vector<std::pair<std::string, std::uint64_t>> due(Milliseconds now);
  std::uint64_t kept_back() const { return kept_back_; }

 private:
  struct Key {
    int spent = 0;               // of kBurst
    Milliseconds since{0};       // when the last allowance came back
    std::uint64_t quiet = 0;
  };
  void refill(Key& key, Milliseconds now) const;
  void forget_settled(Milliseconds now);

  std::map<std::string, Key, std::less<>> keys_;
  std::uint64_t kept_back_ = 0;
};

// Warnings about peers, limited by node. Lives on its owner's loop.
class PeerLog {
 public:
  PeerLog(Logger& logger, const Clock& clock, std::string part) : logger_(&logger), clock_(&clock), part_(std::move(part)) {}

  template <class... Args>
  void warn(const About& about, fmt::format_string<Args...> format, Args&&... args) {
    if (!logger_->enabled(LogLevel::kWarning)) return;
    const auto before = limiter_.admit(about.node, clock_->steady());
    if (!before) return;
    std::string line = fmt::format(format, std::forward<Args>(args)...) + fields(about);
    if (*before > 0) line += fmt::format(" suppressed={}", *before);
    logger_->write(LogLevel::kWarning, part_, line);
  }
  // Tells what was kept back of peers that are quiet by now; for the owner's timer.
  void flush();
  std::uint64_t suppressed() const { return limiter_.kept_back(); }

 private:
  Logger* logger_;
  const Clock* clock_;
  std::string part_;
  LineLimiter limiter_;
};

// The last word on how much a process writes: lines are cut, made of one line each, and past a budget left out and counted.
// Thread rule: as Logger.
class BoundedLogger final : public Logger {
 public:
  static constexpr std::size_t kMaxLineBytes = 2'048;
  static constexpr std::uint64_t kBurstLines = 2'000;
  static constexpr std::uint64_t kLinesPerSecond = 10;   // sustained: below 2 GB a day in the worst case, some MB in practice

  BoundedLogger(Logger& inner, const Clock& clock) : inner_(&inner), clock_(&clock), filled_(clock.steady()) {}
  bool enabled(LogLevel level) const override { return inner_->enabled(level); }
  void write(LogLevel level, std::string_view part, std::string_view line) override;
  std::uint64_t suppressed() const;

 private:
  Logger* inner_;
  const Clock* clock_;
  mutable std::mutex mutex_;
  std::uint64_t tokens_ = kBurstLines, quiet_ = 0, total_ = 0;
  Milliseconds filled_;
};

}  // namespace kubeedge::base
