// The page that Prometheus reads, and how much peers can make us write.
#include <doctest/doctest.h>

#include "base/metrics.h"
#include "base/peer_log.h"

using namespace kubeedge;

namespace {

struct Lines final : Logger {
  std::vector<std::string> all;
  bool enabled(LogLevel level) const override { return level >= LogLevel::kInfo; }
  void write(LogLevel, std::string_view part, std::string_view line) override { all.push_back(std::string(part) + ": " + std::string(line)); }
};

struct HandClock final : Clock {
  Milliseconds at{1'000'000};
  std::int64_t unix_ms() const override { return at.count(); }
  Milliseconds steady() const override { return at; }
};

}  // namespace

TEST_CASE("metrics: samples of a family stand together, whatever their order, with one HELP and one TYPE") {
  base::Metrics metrics;
  metrics.add([](base::MetricsPage& page) { page.counter("b_total", "B", std::uint64_t{1}, {{"node", "n1"}}); });
  metrics.add([](base::MetricsPage& page) {
    page.gauge("a", "A", -7);
    page.counter("b_total", "B", std::uint64_t{2}, {{"node", "n2"}, {"way", "up"}});
  });
  const std::string text = metrics.text();
  CHECK(text.starts_with("# HELP a A\n# TYPE a gauge\na -7\n"
                         "# HELP b_total B\n# TYPE b_total counter\nb_total{node=\"n1\"} 1\nb_total{node=\"n2\",way=\"up\"} 2\n"));
  CHECK(text.ends_with("\nkubeedge_metrics_left_out 0\n"));
}

TEST_CASE("metrics: quotes, backslashes and newlines of a label cannot break out of it") {
  base::MetricsPage page;
  page.counter("x_total", "one\nline \\ \"two\"", std::uint64_t{3}, {{"name", "a\"} 1\nevil\\"}});
  CHECK(page.text().find("# HELP x_total one\\nline \\\\ \"two\"\n") != std::string::npos);
  CHECK(page.text().find("x_total{name=\"a\\\"} 1\\nevil\\\\\"} 3\n") != std::string::npos);
}

TEST_CASE("metrics: a family stops at its limit and says so") {
  base::MetricsPage page;
  for (std::size_t i = 0; i < base::MetricsPage::kMaxSeries + 5; ++i) page.counter("x_total", "X", std::uint64_t{1}, {{"n", std::to_string(i)}});
  CHECK(page.text().ends_with("\nkubeedge_metrics_left_out 5\n"));
}

TEST_CASE("log: node and object are fields; foreign text stays one short value") {
  CHECK(base::fields({"edge1", "default/pod/web"}) == " node=edge1 object=default/pod/web");
  CHECK(base::fields({"", ""}).empty());
  CHECK(base::fields({"e", "a b\n\"c\\"}) == " node=e object=\"a b\\x0a\\\"c\\\\\"");
  CHECK(base::fields({"e", std::string(100'000, 'x')}).size() < 400);
}

TEST_CASE("log: a node in a loop gets a burst, then one line a while that counts the rest; its neighbour is heard") {
  Lines lines;
  HandClock clock;
  base::PeerLog log(lines, clock, "hub");
  for (int i = 0; i < 1'000; ++i) log.warn({"bad", "x"}, "refused {}", i);
  CHECK(lines.all.size() == base::LineLimiter::kBurst);
  CHECK(lines.all[0] == "hub: refused 0 node=bad object=x");
  log.warn({"good", {}}, "refused once");
  CHECK(lines.all.back() == "hub: refused once node=good");

  clock.at += base::LineLimiter::kRefill;
  log.warn({"bad", {}}, "again");
  CHECK(lines.all.back() == "hub: again node=bad suppressed=980");
  log.warn({"bad", {}}, "again");
  CHECK(lines.all.back() == "hub: again node=bad suppressed=980");   // nothing more was said
  CHECK(log.suppressed() == 981);
}

TEST_CASE("log: what was kept back of a peer that fell silent is told by the timer, once") {
  Lines lines;
  HandClock clock;
  base::PeerLog log(lines, clock, "hub");
  for (int i = 0; i < 25; ++i) log.warn({"bad", {}}, "refused");
  log.flush();
  CHECK(lines.all.size() == 20);   // its allowance is not back yet
  clock.at += base::LineLimiter::kRefill;
  log.flush();
  CHECK(lines.all.back() == "hub: more of the same was not written node=bad suppressed=5");
  clock.at += Milliseconds{3'600'000};
  log.flush();
  CHECK(lines.all.size() == 21);
}

TEST_CASE("log: a million names take no more memory than the limit, and share one allowance past it") {
  base::LineLimiter limiter;
  std::uint64_t said = 0;
  for (int i = 0; i < 100'000; ++i) said += limiter.admit("node" + std::to_string(i), Milliseconds{1'000}).has_value();
  CHECK(said <= base::LineLimiter::kMaxKeys + base::LineLimiter::kBurst);
  CHECK(limiter.kept_back() == 100'000 - said);
  // An hour later the names are forgotten: a new one has an allowance of its own.
  CHECK(limiter.admit("fresh", Milliseconds{3'600'000}).has_value());
}

TEST_CASE("log: a process writes a burst and then so many lines a second, each one line of bounded length") {
  Lines lines;
  HandClock clock;
  base::BoundedLogger log(lines, clock);
  log.write(LogLevel::kInfo, "hub", "two\nlines\x1b[31m");
  CHECK(lines.all.back() == "hub: two?lines?[31m");
  log.write(LogLevel::kInfo, "hub", std::string(1'000'000, 'x'));
  CHECK(lines.all.back().size() < base::BoundedLogger::kMaxLineBytes + 50);

  for (int i = 0; i < 100'000; ++i) log.write(LogLevel::kError, "hub", "again");
  CHECK(lines.all.size() == base::BoundedLogger::kBurstLines);
  CHECK(log.suppressed() == 100'002 - base::BoundedLogger::kBurstLines);
  clock.at += Milliseconds{1'000};
  for (int i = 0; i < 100'000; ++i) log.write(LogLevel::kError, "hub", "again");
  CHECK(lines.all.size() == base::BoundedLogger::kBurstLines + base::BoundedLogger::kLinesPerSecond + 1);   // and the count
  CHECK(lines.all[base::BoundedLogger::kBurstLines] == "log: too many lines: suppressed=98002");
}
