#include "kube/schema/cron.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "base/text.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::int64_t kSearchSeconds = 5LL * 366 * 86400;
constexpr int kMostDigits = 9999;            // no field has more
constexpr std::size_t kMostQuoted = 40;
constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct FieldRule {
  std::string_view name;
  int low, high;
};

std::optional<int> number(const std::string& text, const FieldRule& rule) {
  if (rule.name == "month")
    for (std::size_t i = 0; i < kMonths.size(); ++i)
      if (text == kMonths[i]) return static_cast<int>(i) + 1;
  if (rule.name == "day-of-week")
    for (std::size_t i = 0; i < kWeekdays.size(); ++i)
      if (text == kWeekdays[i]) return static_cast<int>(i);
  const auto value = base::to_int(text);
  if (!value || *value < 0 || *value > kMostDigits) return std::nullopt;
  return static_cast<int>(*value);
}

// One of the comma's parts: "*", "5", "1-5", each with "/step".
template <class Bits>
Result<void> take(Bits& bits, const std::string& part, const FieldRule& rule) {
  const auto wrong = [&] { return base::error(Errc::kInvalidArgument, "the {} field \"{}\" is not valid", rule.name, part.substr(0, kMostQuoted)); };
  const auto slash = part.find('/');
  const std::string range = part.substr(0, slash);
  int low = rule.low, high = rule.high, step = 1;
  if (slash != std::string::npos) {
    const auto value = base::to_int(part.substr(slash + 1));
    if (!value || *value < 1 || *value > kMostDigits) return wrong();
    step = static_cast<int>(*value);
  }
  if (range != "*" && range != "?") {
    const auto dash = range.find('-');
    const auto first = number(range.substr(0, dash), rule);
    if (!first) return wrong();
    low = *first;
    if (dash != std::string::npos) {
      const auto last = number(range.substr(dash + 1), rule);
      if (!last) return wrong();
      high = *last;
    } else if (slash == std::string::npos) {
      high = low;
    }
    // In Kubernetes' words.
    if (low < rule.low) return base::error(Errc::kInvalidArgument, "beginning of range ({}) below minimum ({}): {}", low, rule.low, part.substr(0, kMostQuoted));
    if (high > rule.high) return base::error(Errc::kInvalidArgument, "end of range ({}) above maximum ({}): {}", high, rule.high, part.substr(0, kMostQuoted));
    if (low > high) return base::error(Errc::kInvalidArgument, "beginning of range ({}) beyond end of range ({}): {}", low, high, part.substr(0, kMostQuoted));
  }
  for (int value = low; value <= high; value += step) bits.set(static_cast<std::size_t>(value));
  return {};
}

template <class Bits>
Result<void> parse_field(Bits& bits, const std::string& text, const FieldRule& rule) {
  for (const std::string& part : base::split(text, ','))
    if (Result<void> taken = take(bits, part, rule); !taken) return taken;
  return {};
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (const std::string& word : base::split(base::lower(text), ' '))
    if (!word.empty()) out.push_back(word);
  return out;
}

// "1h30m", "90s".
std::int64_t seconds_of(std::string_view text) {
  std::int64_t sum = 0;
  while (!text.empty()) {
    const auto unit = text.find_first_not_of("0123456789");
    if (unit == 0 || unit == std::string_view::npos) return 0;
    const auto value = base::to_int(text.substr(0, unit));
    const std::int64_t factor = text[unit] == 'h' ? 3600 : text[unit] == 'm' ? 60 : text[unit] == 's' ? 1 : 0;
    if (!value || factor == 0 || *value > kSearchSeconds) return 0;
    sum += *value * factor;
    text.remove_prefix(unit + 1);
  }
  return sum;
}

}  // namespace

Result<CronSchedule> CronSchedule::parse(std::string_view text) {
  std::vector<std::string> fields = words(text);
  CronSchedule out;
  if (!fields.empty() && fields[0].starts_with('@')) {
    if (fields.size() == 2 && fields[0] == "@every") {
      out.every_ = seconds_of(fields[1]);
      if (out.every_ < 1) return base::error(Errc::kInvalidArgument, "\"{}\" is no duration of a second or more", fields[1].substr(0, kMostQuoted));
      return out;
    }
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kNamed = {{
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
        {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}}};
    for (const auto& named : kNamed)
      if (fields.size() == 1 && fields[0] == named.first) return parse(named.second);
    return base::error(Errc::kInvalidArgument, "unrecognized descriptor: {}", fields[0].substr(0, kMostQuoted));
  }
  if (fields.size() != 5) return base::error(Errc::kInvalidArgument, "expected exactly 5 fields, found {}", fields.size());
  Result<void> fine = parse_field(out.minutes_, fields[0], {"minute", 0, 59});
  if (fine) fine = parse_field(out.hours_, fields[1], {"hour", 0, 23});
  if (fine) fine = parse_field(out.days_, fields[2], {"day-of-month", 1, 31});
  if (fine) fine = parse_field(out.months_, fields[3], {"month", 1, 12});
  if (fine) fine = parse_field(out.weekdays_, fields[4], {"day-of-week", 0, 6});
  if (!fine) return std::move(fine).error();
  out.any_day_ = fields[2].starts_with('*') || fields[2].starts_with('?');
  out.any_weekday_ = fields[4].starts_with('*') || fields[4].starts_with('?');
  return out;
}

std::optional<std::int64_t> CronSchedule::next(std::int64_t unix_s) const {
  using namespace std::chrono;
  if (every_ > 0) return unix_s + every_;
  const std::int64_t last = unix_s + kSearchSeconds;
  std::int64_t now = (unix_s / 60 + 1) * 60;
  while (now <= last) {
    const sys_days day = floor<days>(sys_seconds(seconds(now)));
    const year_month_day date(day);
    const std::int64_t midnight = day.time_since_epoch().count() * 86400LL;
    const bool this_day = days_.test(static_cast<unsigned>(date.day())), this_weekday = weekdays_.test(weekday(day).c_encoding());
    const bool day_fits = any_day_ || any_weekday_ ? this_day && this_weekday : this_day || this_weekday;
    if (!months_.test(static_cast<unsigned>(date.month())) || !day_fits) {
      now = midnight + 86400;
    } else if (const std::int64_t hour = (now - midnight) / 3600; !hours_.test(static_cast<std::size_t>(hour))) {
      now = midnight + (hour + 1) * 3600;
    } else if (!minutes_.test(static_cast<std::size_t>((now - midnight) / 60 % 60))) {
      now += 60;
    } else {
      return now;
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> CronSchedule::last(std::int64_t after, std::int64_t now) const {
  if (every_ > 0) return after + every_ <= now ? std::optional(after + (now - after) / every_ * every_) : std::nullopt;
  // A schedule of every minute is not counted through from the year before.
  for (const std::int64_t back : {std::int64_t{3600}, std::int64_t{86400}, std::int64_t{32 * 86400}, kSearchSeconds}) {
    const std::int64_t from = std::max(after, now - back);
    std::optional<std::int64_t> found;
    for (auto time = next(from); time && *time <= now; time = next(*time)) found = time;
    if (found || from == after) return found;
  }
  return std::nullopt;
}

}  // namespace kubeedge::kube::schema
