#include "edge/edged/log_query.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::edged {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

bool truth(const std::string& value) { return value == "true" || value == "1"; }

// Sets one option; false: its value is malformed.
bool set(LogQuery& out, const std::string& key, const std::string& value, std::int64_t now_ns) {
  if (key == "follow") out.follow = truth(value);
  if (key == "previous") out.previous = truth(value);
  if (key == "timestamps") out.timestamps = truth(value);
  if (key == "stream") {
    if (value != "All" && value != "Stdout" && value != "Stderr") return false;
    out.out = value != "Stderr";
    out.err = value != "Stdout";
  }
  if (key == "sinceTime") {
    out.since_ns = log_time(value);
    return out.since_ns.has_value();
  }
  const bool counted = key == "tailLines" || key == "limitBytes" || key == "sinceSeconds";
  if (!counted) return true;
  const auto number = base::to_int(value);
  if (!number || *number < (key == "tailLines" ? 0 : 1)) return false;
  if (key == "tailLines") out.tail = *number;
  if (key == "limitBytes") out.limit_bytes = *number;
  if (key == "sinceSeconds") out.since_ns = *number > now_ns / kSecond ? 0 : now_ns - *number * kSecond;
  return true;
}

std::string plain_id(const Json& state) {
  const std::string id = text(member(state, "containerID"));
  const auto scheme = id.find("://");
  return scheme == std::string::npos ? id : id.substr(scheme + 3);
}

}  // namespace

std::optional<std::int64_t> log_time(std::string_view text) {
  const auto seconds = base::from_rfc3339(text);
  if (!seconds || *seconds < 0 || *seconds > 9'000'000'000) return std::nullopt;
  std::int64_t fraction = 0;
  if (const auto dot = text.find('.'); dot != std::string_view::npos) {
    std::int64_t digit = kSecond / 10;
    for (std::size_t i = dot + 1; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i, digit /= 10) fraction += (text[i] - '0') * digit;
  }
  return *seconds * kSecond + fraction;
}

std::variant<LogQuery, Refusal> parse_log_query(std::string_view query, std::int64_t now_ns) {
  LogQuery out;
  for (const std::string& pair : base::split(query, '&')) {
    const auto equal = pair.find('=');
    std::string raw = equal == std::string::npos ? "" : pair.substr(equal + 1);
    std::replace(raw.begin(), raw.end(), '+', ' ');
    const auto value = base::percent_decode(raw);
    const std::string key = pair.substr(0, equal);
    if (!value || !set(out, key, *value, now_ns)) return Refusal{422, fmt::format("invalid value of {}", base::percent_encode(key.substr(0, 40)))};
  }
  return out;
}

std::variant<std::string, Refusal> log_container(const Json& status, const std::string& pod, const std::string& container, bool previous) {
  const auto refused = [&](const char* what, const std::string& tail) { return Refusal{400, fmt::format("{} \"{}\" in pod \"{}\" {}", what, container, pod, tail)}; };
  const Json* found = nullptr;
  for (const char* list : {"containerStatuses", "initContainerStatuses"})
    for (const Json& one : items(member(status, list)))
      if (found == nullptr && text(member(one, "name")) == container) found = &one;
  if (found == nullptr) return refused("container", "is not available");

  const Json& state = member(*found, "state");
  const std::string last = plain_id(member(member(*found, "lastState"), "terminated"));
  if (previous) {
    if (last.empty()) return refused("previous terminated container", "not found");
    return last;
  }
  if (member(state, "running").is_object()) return plain_id(*found);
  if (const Json& end = member(state, "terminated"); end.is_object()) {
    const std::string id = plain_id(end);
    if (id.empty() && last.empty()) return refused("container", "is terminated");
    return id.empty() ? last : id;
  }
  if (member(*found, "lastState", "terminated").is_object()) {
    if (last.empty()) return refused("container", "is terminated");
    return last;
  }
  const std::string reason = text(member(member(state, "waiting"), "reason"));
  if (reason == "ErrImagePull") return refused("container", "is waiting to start: image can't be pulled");
  if (reason == "ImagePullBackOff") return refused("container", "is waiting to start: trying and failing to pull image");
  return refused("container", reason.empty() ? "is waiting to start - no logs yet" : "is waiting to start: " + reason);
}

}  // namespace kubeedge::edged
