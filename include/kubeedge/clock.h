// Time as a dependency, so that tests and replays own it.
#pragma once

#include <chrono>
#include <cstdint>

namespace kubeedge {
inline namespace v0 {

using Milliseconds = std::chrono::milliseconds;

// Thread rule: both calls may come from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t unix_ms() const = 0;     // wall clock; may jump
  virtual Milliseconds steady() const = 0;      // never goes back; only differences mean anything
};

// The process's real clock.
const Clock& system_clock() noexcept;

}  // namespace v0
}  // namespace kubeedge
