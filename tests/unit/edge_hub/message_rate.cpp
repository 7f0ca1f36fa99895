#include <doctest/doctest.h>

#include "edge/hub/message_rate.h"

using namespace kubeedge;
using namespace kubeedge::edge;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
Message message(const std::string& resource) {
  Message m;
  m.resource = resource;
  return m;
}
}  // namespace

TEST_CASE("upstream's default rate, and a rate of 0, limit nothing") {
  CHECK_FALSE(MessageRate(30, 60).limits());
  CHECK_FALSE(MessageRate(0, 60).limits());
  CHECK_FALSE(MessageRate(-1, 0).limits());
  CHECK(MessageRate(30, 61).limits());
  CHECK(MessageRate(10, 0).limits());
}

TEST_CASE("a burst goes at once, the rest at the rate, in order") {
  MessageRate rate(10, 3);
  Milliseconds now{5000};
  for (int i = 0; i < 6; ++i) rate.push(message(std::to_string(i)));
  std::string sent;
  for (const auto& one : rate.take(now)) sent += one.resource;
  CHECK(sent == "012");
  for (const char* expected : {"3", "4", "5"}) {
    REQUIRE(rate.next(now) == now + milliseconds(100));
    CHECK(rate.take(now + milliseconds(50)).empty());
    now += milliseconds(100);
    auto sends = rate.take(now);
    REQUIRE(sends.size() == 1);
    CHECK(sends.front().resource == expected);
  }
  CHECK_FALSE(rate.next(now).has_value());
  now += seconds(3600);   // a long silence saves one burst, no more
  for (int i = 0; i < 9; ++i) rate.push(message("x"));
  CHECK(rate.take(now).size() == 3);
}

TEST_CASE("leases, status and keepalives do not count") {
  for (const char* free : {"node/e1/kube-node-lease/lease/e1", "null/nodepatch/e1", "default/podpatch/web", "default/podstatus/web", "default/nodestatus/e1"})
    CHECK_FALSE(MessageRate::counts(message(free)));
  for (const char* counted : {"node/e1/default/device/updated", "default/configmap/lease", "default/event/e"}) CHECK(MessageRate::counts(message(counted)));
  Message keepalive = message("node");
  keepalive.operation = "keepalive";
  CHECK_FALSE(MessageRate::counts(keepalive));
}

TEST_CASE("a full queue drops the oldest and counts; a broken link forgets it") {
  MessageRate rate(1, 1);
  for (std::size_t i = 0; i < kMaxPacedMessages + 2; ++i) rate.push(message(std::to_string(i)));
  CHECK(rate.dropped() == 2);
  auto sends = rate.take(Milliseconds{0});
  REQUIRE(sends.size() == 1);
  CHECK(sends.front().resource == "2");
  rate.clear();
  CHECK_FALSE(rate.next(Milliseconds{0}).has_value());
}
