#include "mqtt/receive_session.h"

#include <doctest/doctest.h>

using namespace kubeedge;
using namespace kubeedge::mqtt;
using namespace std::string_literals;

namespace {

std::string publication(const std::string& topic, const std::string& payload, char packet) {
  std::string body = "\0"s + static_cast<char>(topic.size()) + topic;
  if (packet != 0) body += "\0"s + packet;
  body += payload;
  return std::string(1, static_cast<char>(0x30 | (packet != 0 ? 2 : 0))) + static_cast<char>(body.size()) + body;
}

const std::string kAccepted = "\x20\x02\0\0"s;

}  // namespace

TEST_CASE("MQTT receiver: login, messages in pieces, PUBACKs when told and in the messages' order") {
  ReceiveSession session({"me", "u", "p"});
  CHECK(session.take_output() == "\x10\x14\0\x04MQTT\x04\xc0\0\x1e\0\x02me\0\x01u\0\x01p"s);
  std::vector<ReceiveSession::Event> events;
  const std::string all = kAccepted + publication("a", "one", 1) + publication("a", "", 0) + publication("b", "two", 2);
  for (const char byte : all) REQUIRE(session.feed(std::string_view(&byte, 1), events));
  REQUIRE(events.size() == 4);
  CHECK(std::holds_alternative<ReceiveSession::Opened>(events[0]));
  const auto& one = std::get<ReceiveSession::Publication>(events[1]);
  const auto& none = std::get<ReceiveSession::Publication>(events[2]);
  const auto& two = std::get<ReceiveSession::Publication>(events[3]);
  CHECK(one.topic == "a");
  CHECK(one.payload.view() == "one");
  CHECK(none.qos == 0);
  CHECK(two.payload.view() == "two");
  CHECK(session.unacknowledged() == 3);
  session.acknowledge(two.number);
  CHECK(session.take_output().empty());
  session.acknowledge(none.number);
  session.acknowledge(one.number);
  CHECK(session.take_output() == "\x40\x02\0\x01\x40\x02\0\x02"s);
  CHECK(session.unacknowledged() == 0);
  CHECK(session.unacknowledged_bytes() == 0);
  session.acknowledge(one.number);
  CHECK(session.take_output().empty());
}

TEST_CASE("MQTT receiver: subscriptions, a refused one, and what is no MQTT") {
  ReceiveSession session({"me", "", ""});
  (void)session.take_output();
  std::vector<ReceiveSession::Event> events;
  REQUIRE(session.feed(kAccepted, events));
  session.subscribe({"a/#", "b"}, 1);
  CHECK(session.take_output() == "\x82\x0c\0\x01\0\x03" "a/#\x01\0\x01" "b\x01"s);
  REQUIRE(session.feed("\x90\x04\0\x01\x01\x80"s, events));
  CHECK(std::get<ReceiveSession::Refused>(events.back()).filter == "b");
  for (const std::string& wrong : {"\x90\x03\0\x07\x01"s, kAccepted, "\x34\x05\0\x01" "a\0\x01"s, "\x32\x05\0\x01" "a\0\0"s, "\x30\x01\0"s, "\x30\xff\xff\xff\xff\x01"s, "\xe0\0"s, "\x90\xff\xff\xff\x7f"s}) {
    ReceiveSession other({"me", "", ""});
    REQUIRE(other.feed(kAccepted, events));
    CHECK_FALSE(other.feed(wrong, events));
  }
  ReceiveSession refused({"me", "u", "wrong"});
  CHECK(refused.feed("\x20\x02\0\x05"s, events).error().code == Errc::kPermissionDenied);
}

TEST_CASE("MQTT receiver: a message over the limit is cut to one byte more, not kept whole") {
  ReceiveSession session({"me", "", ""});
  std::vector<ReceiveSession::Event> events;
  REQUIRE(session.feed(kAccepted, events));
  const std::size_t size = 5 + 3 * kMaxPayloadBytes;
  std::string head = "\x32"s;
  for (std::size_t left = size; left > 0; left /= 128) head += static_cast<char>(left % 128 | (left >= 128 ? 128U : 0U));
  REQUIRE(session.feed(head + "\0\x01" "a\0\x09"s, events));
  const std::string part(100'000, 'x');
  for (std::size_t sent = 5; sent < size; sent += part.size()) REQUIRE(session.feed(std::string_view(part).substr(0, size - sent), events));
  CHECK(std::get<ReceiveSession::Publication>(events.back()).payload.size() == kMaxPayloadBytes + 1);
}
