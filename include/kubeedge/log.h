// Logging as a dependency: the library writes whole lines to a Logger it was given, and nowhere else.
#pragma once

#include <cstdint>
#include <string_view>

namespace kubeedge {
inline namespace v0 {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Thread rule: write() may be called from any thread. Lines hold no payloads, secrets or tokens.
class Logger {
 public:
  virtual ~Logger() = default;
  virtual bool enabled(LogLevel level) const = 0;
  // `part` is the module's own name (hub, twin, edged ...), `line` has no newline.
  virtual void write(LogLevel level, std::string_view part, std::string_view line) = 0;
};

// "2026-11-25T10:00:00.123Z warning hub: text" on standard error, for levels >= `least`.
Logger& stderr_logger(LogLevel least = LogLevel::kInfo);

}  // namespace v0
}  // namespace kubeedge
