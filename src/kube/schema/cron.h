// A CronJob's schedule: five fields as cron(8) reads them, or @hourly and its kin. Pure.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>

#include <kubeedge/result.h>

namespace kubeedge::kube::schema {

class CronSchedule {
 public:
  // "*/15 8-18 * * mon-fri", "@daily", "@every 90s". The error says which field is wrong.
  static Result<CronSchedule> parse(std::string_view text);
  // The first time after `unix_s` (UTC); nothing where there is none within five years, as on a 30th of February.
  std::optional<std::int64_t> next(std::int64_t unix_s) const;
  // The last time after `after` and not after `now`; nothing where there is none.
  std::optional<std::int64_t> last(std::int64_t after, std::int64_t now) const;

 private:
  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;       // from 1
  std::bitset<13> months_;     // from 1
  std::bitset<7> weekdays_;    // Sunday is 0
  bool any_day_ = false, any_weekday_ = false;   // "*": then the other of the two decides alone
  std::int64_t every_ = 0;     // "@every": seconds, and nothing else counts
};

}  // namespace kubeedge::kube::schema
