// The session's state machine in virtual time.
#include <doctest/doctest.h>

#include "cloud/hub/node_session.h"

using namespace kubeedge;
using cloud::NodeSession;
using cloud::SessionOptions;

namespace {

Message object(const std::string& op, const std::string& name, const std::string& uid, const std::string& version, const std::string& id) {
  Message m;
  m.id = MessageId(id);
  m.resource_version = version;
  m.source = "edgecontroller";
  m.group = "resource";
  m.operation = op;
  m.resource = "default/pod/" + name;
  m.content = Bytes(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","namespace":"default","uid":")" + uid + R"("}})");
  return m;
}

std::vector<std::string> ids(const std::vector<Message>& messages) {
  std::vector<std::string> list;
  for (const auto& m : messages) list.push_back(m.id.str());
  return list;
}
using Ids = std::vector<std::string>;
constexpr Milliseconds t(std::int64_t ms) { return Milliseconds{ms}; }

}  // namespace

TEST_CASE("what needs an acknowledgement (hub-protocol 4.3)") {
  CHECK(cloud::needs_ack(object("insert", "web", "u", "1", "a")));
  CHECK_FALSE(cloud::needs_ack(object("response", "web", "u", "1", "a")));
  Message m = object("update", "web", "u", "1", "a");
  m.resource = "null/node/edge-1";
  CHECK(cloud::needs_ack(m));
  m.operation = "response";
  CHECK_FALSE(cloud::needs_ack(m));
  m.resource = "default/configmap/cfg";
  CHECK(cloud::needs_ack(m));
  m.content = R"({"ErrStatus":{"code":404}})";
  CHECK_FALSE(cloud::needs_ack(m));
  m.operation = "update";
  m.resource = "membership";
  CHECK_FALSE(cloud::needs_ack(m));
  m.resource = "default/serviceaccounttoken/default";
  CHECK_FALSE(cloud::needs_ack(m));
}

TEST_CASE("objects wait for begin, coalesce, and go again with the same id every 5 s") {
  NodeSession s(SessionOptions{}, t(0));
  CHECK(s.enqueue(object("insert", "web", "u1", "5", "a"), t(0)));
  CHECK(s.enqueue(object("update", "web", "u1", "7", "b"), t(0)));
  CHECK(s.enqueue(object("update", "web", "u1", "6", "c"), t(0)));   // older: dropped
  CHECK(s.take_sends().empty());
  s.begin(t(1));
  auto sent = s.take_sends();
  CHECK(ids(sent) == Ids{"b"});
  CHECK(sent[0].operation == "insert");   // the edge never saw the object
  s.on_time(t(5000));
  CHECK(s.take_sends().empty());
  s.on_time(t(5001));
  CHECK(ids(s.take_sends()) == Ids{"b"});
  CHECK_FALSE(s.on_ack(MessageId("other"), t(5100)));
  CHECK(s.on_ack(MessageId("b"), t(5100))->resource_version == "7");
  s.on_time(t(20000));
  CHECK(s.take_sends().empty());
}

TEST_CASE("a delete wins, and the successor under the same name waits for its acknowledgement") {
  NodeSession s(SessionOptions{}, t(0));
  s.begin(t(0));
  s.enqueue(object("insert", "web", "u1", "5", "a"), t(0));
  s.enqueue(object("delete", "web", "u1", "6", "b"), t(0));
  s.enqueue(object("update", "web", "u1", "9", "x"), t(0));   // after a delete: nothing
  s.enqueue(object("insert", "web", "u2", "10", "c"), t(0));
  s.enqueue(object("insert", "other", "u3", "2", "d"), t(0));
  CHECK(ids(s.take_sends()) == Ids{"a", "d"});
  s.on_ack(MessageId("a"), t(10));
  CHECK(ids(s.take_sends()) == Ids{"b"});
  s.on_ack(MessageId("b"), t(20));
  CHECK(ids(s.take_sends()) == Ids{"c"});
}

TEST_CASE("an unacknowledged message gives way to its newer version") {
  NodeSession s(SessionOptions{}, t(0));
  s.begin(t(0));
  s.enqueue(object("insert", "web", "u1", "5", "a"), t(0));
  s.enqueue(object("update", "web", "u1", "6", "b"), t(100));
  CHECK(ids(s.take_sends()) == Ids{"a"});
  s.on_time(t(5000));
  CHECK(ids(s.take_sends()) == Ids{"b"});
}

TEST_CASE("window, refusals, keepalive") {
  SessionOptions options;
  options.window = 2;
  options.max_queued = 1;
  NodeSession s(options, t(0));
  s.begin(t(0));
  s.enqueue(object("insert", "a", "1", "1", "a"), t(0));
  s.enqueue(object("insert", "b", "2", "1", "b"), t(0));
  s.enqueue(object("insert", "c", "3", "1", "c"), t(0));
  CHECK(ids(s.take_sends()) == Ids{"a", "b"});
  CHECK_FALSE(s.enqueue(object("insert", "d", "4", "1", "d"), t(0)));
  CHECK(s.overflowed());
  CHECK_FALSE(s.enqueue(object("insert", "e", "", "1", "e"), t(0)));
  CHECK_FALSE(s.enqueue(object("insert", "e", "5", "", "e"), t(0)));
  CHECK_FALSE(s.dead(t(29'999)));
  CHECK(s.dead(t(30'000)));
  s.on_keepalive(t(29'000));
  CHECK_FALSE(s.dead(t(58'999)));
}
