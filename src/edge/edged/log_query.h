// GET /containerLogs/<ns>/<pod>/<container>?...: what of a container's log is asked for, and which of its instances has it. No I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "edge/edged/json_view.h"

namespace kubeedge::edged {

struct LogQuery {
  bool follow = false, previous = false, timestamps = false;
  bool out = true, err = true;                   // which of the container's two streams
  std::optional<std::int64_t> tail;              // lines
  std::optional<std::int64_t> since_ns;          // Unix time
  std::optional<std::int64_t> limit_bytes;
};

// Answered in place of a stream; the text is for the user.
struct Refusal {
  int status = 400;
  std::string text;
};

// Keys and values as v1.PodLogOptions has them; unknown keys are ignored.
std::variant<LogQuery, Refusal> parse_log_query(std::string_view query, std::int64_t now_ns);

// The id (without "containerd://") of the instance whose log it is, from the pod's status; the words are a kubelet's.
std::variant<std::string, Refusal> log_container(const Json& status, const std::string& pod, const std::string& container, bool previous);

// "2026-11-25T10:00:00.123456789Z" in nanoseconds since 1970.
std::optional<std::int64_t> log_time(std::string_view text);

}  // namespace kubeedge::edged
