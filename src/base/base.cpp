// The library's few process-wide objects: clock and standard-error logger; both are stateless.
#include <chrono>
#include <cstdio>
#include <string>

#include <kubeedge/clock.h>
#include <kubeedge/log.h>
#include <kubeedge/result.h>

#include "base/text.h"

namespace kubeedge {
inline namespace v0 {

const char* to_string(Errc code) noexcept {
  switch (code) {
    case Errc::kInvalidArgument: return "invalid argument";
    case Errc::kNotFound: return "not found";
    case Errc::kAlreadyExists: return "already exists";
    case Errc::kConflict: return "conflict";
    case Errc::kPermissionDenied: return "permission denied";
    case Errc::kUnauthenticated: return "unauthenticated";
    case Errc::kUnavailable: return "unavailable";
    case Errc::kTimeout: return "time-out";
    case Errc::kCancelled: return "cancelled";
    case Errc::kLimitExceeded: return "limit exceeded";
    case Errc::kUnimplemented: return "not implemented";
    case Errc::kIo: return "input/output";
    case Errc::kInternal: return "internal";
  }
  return "unknown";
}

namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t unix_ms() const override {
    return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  Milliseconds steady() const override {
    return std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now().time_since_epoch());
  }
};

class StderrLogger final : public Logger {
 public:
  explicit StderrLogger(LogLevel least) : least_(least) {}
  bool enabled(LogLevel level) const override { return level >= least_; }
  void write(LogLevel level, std::string_view part, std::string_view line) override {
    static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
    const std::string text = fmt::format("{} {} {}: {}\n", base::rfc3339_micro(system_clock().unix_ms()), kNames[static_cast<int>(level)], part, line);
    std::fwrite(text.data(), 1, text.size(), stderr);  // one call a line: lines of threads do not mix
  }

 private:
  LogLevel least_;
};

}  // namespace

const Clock& system_clock() noexcept {
  static const SystemClock clock;
  return clock;
}

Logger& stderr_logger(LogLevel least) {
  static StderrLogger loggers[] = {StderrLogger(LogLevel::kDebug), StderrLogger(LogLevel::kInfo), StderrLogger(LogLevel::kWarning), StderrLogger(LogLevel::kError)};
  return loggers[static_cast<int>(least)];
}

}  // namespace v0
}  // namespace kubeedge
