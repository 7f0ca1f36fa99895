// Schedules as cron(8) and Kubernetes read them.
#include <doctest/doctest.h>

#include "base/text.h"
#include "kube/schema/cron.h"

using namespace kubeedge;
using kube::schema::CronSchedule;

namespace {

std::string after(const char* schedule, const char* time) {
  const auto parsed = CronSchedule::parse(schedule);
  REQUIRE(parsed.ok());
  const auto next = parsed->next(*base::from_rfc3339(time));
  return next ? base::rfc3339(*next) : "never";
}

std::string between(const char* schedule, const char* from, const char* to) {
  const auto parsed = CronSchedule::parse(schedule);
  REQUIRE(parsed.ok());
  const auto last = parsed->last(*base::from_rfc3339(from), *base::from_rfc3339(to));
  return last ? base::rfc3339(*last) : "never";
}

}  // namespace

TEST_CASE("cron: the next time") {
  CHECK(after("*/15 * * * *", "2026-01-01T00:00:00Z") == "2026-01-01T00:15:00Z");   // not now, but next
  CHECK(after("*/15 * * * *", "2026-01-01T00:14:59Z") == "2026-01-01T00:15:00Z");
  CHECK(after("30 8-18 * * mon-fri", "2026-01-02T18:30:00Z") == "2026-01-05T08:30:00Z");   // over a weekend
  CHECK(after("0 0 29 2 *", "2026-01-01T00:00:00Z") == "2028-02-29T00:00:00Z");
  CHECK(after("0 0 31 2 *", "2026-01-01T00:00:00Z") == "never");
  CHECK(after("0 0 13 * 5", "2026-01-01T00:00:00Z") == "2026-01-02T00:00:00Z");   // the 13th or a Friday
  CHECK(after("0 0 * * 0", "2026-01-01T00:00:00Z") == "2026-01-04T00:00:00Z");
  CHECK(after("5,10 1 * jan,mar *", "2026-01-31T02:00:00Z") == "2026-03-01T01:05:00Z");
  CHECK(after("10/20 * * * *", "2026-01-01T00:11:00Z") == "2026-01-01T00:30:00Z");
  CHECK(after("@daily", "2026-12-31T12:00:00Z") == "2027-01-01T00:00:00Z");
  CHECK(after("@every 90s", "2026-01-01T00:00:10Z") == "2026-01-01T00:01:40Z");
}

TEST_CASE("cron: the last time that was due") {
  CHECK(between("* * * * *", "2021-01-01T00:00:00Z", "2026-01-01T00:00:30Z") == "2026-01-01T00:00:00Z");
  CHECK(between("0 0 1 1 *", "2024-06-01T00:00:00Z", "2026-06-01T00:00:00Z") == "2026-01-01T00:00:00Z");
  CHECK(between("0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:59:59Z") == "never");
  CHECK(between("0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z") == "2026-01-01T01:00:00Z");
  CHECK(between("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z") == "2026-01-01T00:04:30Z");
  CHECK(between("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z") == "never");
}

TEST_CASE("cron: what is none") {
  for (const char* bad : {"", "*", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1,,2 * * * *",
                          "@often", "@every", "@every 5", "@every 0s", "-1 * * * *", "* * * foo *", "99999999999999999999 * * * *"})
    CHECK_FALSE(CronSchedule::parse(bad).ok());
}
