#include <doctest/doctest.h>

#include "edge/hub/link.h"

using namespace kubeedge;
using namespace kubeedge::edge;
using std::chrono::seconds;

namespace {
Message request(const char* id, const char* resource) {
  Message m;
  m.id = MessageId(id);
  m.resource = resource;
  return m;
}
Message answer(const char* parent) {
  Message m;
  m.parent_id = MessageId(parent);
  m.group = "resource";
  m.operation = "response";
  return m;
}
Result<void> ask(Link& link, const char* id, const char* resource, Milliseconds timeout, Milliseconds now) {
  Link::Done done = [](Result<Message>) {};
  return link.add_request(request(id, resource), timeout, now, done);
}
}  // namespace

TEST_CASE("dials at once, then waits at most 10 s, and after 10 minutes at most 60 s") {
  Link link(seconds(15), 7);
  Milliseconds now{1000};
  link.start(now);
  CHECK(link.poll(now).dial);
  CHECK_FALSE(link.poll(now).dial);
  Milliseconds longest{0};
  while (now < seconds(3600)) {
    (void)link.on_down(now);
    auto wait = link.next(now) - now;
    CHECK(wait.count() > 0);
    if (now < seconds(600)) CHECK(wait <= seconds(10));
    longest = std::max(longest, wait);
    now += wait;
    CHECK(link.poll(now).dial);
  }
  CHECK(longest > seconds(20));
  CHECK(longest <= seconds(60));
  link.on_up(now);
  (void)link.on_down(now);
  CHECK(link.poll(now).dial);   // a broken session: at once
}

TEST_CASE("keepalive at once and every heartbeat; requests end by answer, time or a broken link") {
  Link link(seconds(15), 1);
  Milliseconds now{0};
  link.start(now);
  (void)link.poll(now);
  link.on_up(now);
  CHECK(link.poll(now).keepalive);
  CHECK_FALSE(link.poll(now + seconds(14)).keepalive);
  CHECK(link.poll(now + seconds(15)).keepalive);
  CHECK(ask(link, "a", "x/configmap/y", seconds(60), now));
  CHECK(ask(link, "b", "x/secret/y", seconds(60), now));
  std::vector<Link::Finished> finished;
  CHECK(link.route(answer("a"), finished) == Link::Target::kWaiter);
  REQUIRE(finished.size() == 1);
  CHECK(finished[0].result.ok());
  finished.clear();
  CHECK(link.route(answer("a"), finished) == Link::Target::kMeta);   // nobody waits any more
  auto actions = link.poll(now + seconds(60));
  REQUIRE(actions.finished.size() == 1);
  CHECK(actions.finished[0].result.error().code == Errc::kTimeout);
  CHECK(ask(link, "c", "x/secret/y", seconds(60), now));
  CHECK(link.on_down(now).size() == 1);
  CHECK(ask(link, "d", "x/secret/y", seconds(60), now).error().code == Errc::kUnavailable);
}

TEST_CASE("two lease answers missing in a row: the link is dead") {
  Link link(seconds(15), 1);
  Milliseconds now{0};
  link.start(now);
  (void)link.poll(now);
  link.on_up(now);
  CHECK(ask(link, "a", "kube-node-lease/lease/n", seconds(10), now));
  CHECK_FALSE(link.poll(now + seconds(10)).close);
  CHECK(ask(link, "b", "kube-node-lease/lease/n", seconds(10), now + seconds(10)));
  CHECK(link.poll(now + seconds(20)).close);
}

TEST_CASE("messages go by group") {
  Link link(seconds(15), 1);
  std::vector<Link::Finished> none;
  Message m;
  m.group = "twin";
  CHECK(link.route(m, none) == Link::Target::kTwin);
  m.group = "user";
  CHECK(link.route(m, none) == Link::Target::kBus);
  m.group = "taskmanager";
  CHECK(link.route(m, none) == Link::Target::kTask);
  m.group = "func";
  CHECK(link.route(m, none) == Link::Target::kMeta);
  m.group = "else";
  CHECK(link.route(m, none) == Link::Target::kNone);
}

TEST_CASE("a change of address or route ends the wait, at most once a second") {
  Link link(seconds(15), 7);
  Milliseconds now{1000};
  link.start(now);
  for (int i = 0; i < 8; ++i) {           // far into the back-off
    now = link.next(now);
    CHECK(link.poll(now).dial);
    link.on_route_change(now);            // while dialling: nothing to hurry
    CHECK_FALSE(link.poll(now).dial);
    (void)link.on_down(now);
  }
  CHECK(link.next(now) - now > seconds(1));
  link.on_route_change(now);
  CHECK(link.next(now) == now + kRouteDialGap);
  now += kRouteDialGap;
  CHECK(link.poll(now).dial);
  link.on_up(now);
  link.on_route_change(now);
  CHECK(link.up());
}
