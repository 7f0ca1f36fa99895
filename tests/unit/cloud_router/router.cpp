// The Router's core: paths, rules bound to endpoints, requests, uploads, time; counts on their way into Rule.status.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cloud/router/router_core.h"
#include "cloud/router/rule_status.h"
#include "wire/message_codec.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using nlohmann::json;

namespace {

constexpr std::int64_t kUnix = 1'700'000'000'123;
const NodeId kNode("edge-1");

Bytes endpoint(const std::string& name, const std::string& type, json properties = json::object()) {
  return Bytes(json{{"metadata", {{"name", name}, {"namespace", "default"}}}, {"spec", {{"ruleEndpointType", type}, {"properties", std::move(properties)}}}}.dump());
}
Bytes rule(const std::string& name, const std::string& source, json source_resource, const std::string& target, json target_resource, json status = json::object()) {
  return Bytes(json{{"metadata", {{"name", name}, {"namespace", "default"}, {"resourceVersion", "7"}}},
                    {"spec", {{"source", source}, {"sourceResource", std::move(source_resource)}, {"target", target}, {"targetResource", std::move(target_resource)}}},
                    {"status", std::move(status)}}.dump());
}

// A core with endpoints of every kind.
struct World {
  RouterCore core{Milliseconds{60'000}};
  std::vector<RouterCore::Action> kept;   // what connect() found beside
  Milliseconds now{1'000};

  World() {
    for (const auto& one : {endpoint("rest", "rest"), endpoint("bus", "eventbus"), endpoint("svc", "servicebus", {{"service_port", "9090"}})}) REQUIRE(core.on_endpoint(one));
    core.on_synced();
    (void)core.take(kUnix);
  }
  void put(const Bytes& object) { REQUIRE(core.on_rule(object)); }
  // A node of ours, which is told that its uploads are answered.
  void connect(const NodeId& node) {
    core.on_connected(node, true);
    bool told = false;
    for (auto& action : core.take(kUnix)) {
      const auto* send = std::get_if<RouterCore::Send>(&action);
      if (send && send->message.operation == "confirms") told = send->node == node && send->message.source == "router_eventbus" && send->message.group == "user";
      else kept.push_back(std::move(action));
    }
    CHECK(told);
  }
  template <class T>
  std::vector<T> take() {
    std::vector<T> found;
    auto actions = std::exchange(kept, {});
    for (auto& action : core.take(kUnix)) actions.push_back(std::move(action));
    for (auto& action : actions)
      if (auto* one = std::get_if<T>(&action)) found.push_back(std::move(*one));
    return found;
  }
  void request(std::uint64_t id, const std::string& target, const std::string& body = "x", const std::string& method = "POST") {
    core.on_request(id, {method, target, {{"Accept", "*/*"}, {"Connection", "close"}}, Bytes(body)}, kUnix, now);
  }
  // "status text" of the one reply.
  std::string replied() {
    const auto replies = take<RouterCore::Reply>();
    REQUIRE(replies.size() == 1);
    return std::to_string(replies[0].status) + " " + replies[0].body;
  }
  Message upload(const std::string& source, const std::string& resource, const std::string& content, const std::string& id = "up-1") const {
    Message message;
    message.id = MessageId(id);
    message.source = source;
    message.group = "user";
    message.operation = "upload";
    message.resource = resource;
    message.content = wire::json_string(content);
    return message;
  }
};

std::string matched(const std::vector<const char*>& paths, const std::string& target) {
  const auto parsed = RestTarget::parse("/edge-1/default" + target);
  if (!parsed) return "refused";
  std::string best = "none";
  const RestPath* winner = nullptr;
  std::vector<RestPath> all;   // in the order of `paths`
  for (const char* path : paths) {
    auto made = RestPath::parse(path);
    REQUIRE(made);
    all.push_back(std::move(*made));
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto tail = all[i].match(*parsed);
    if (!tail || (winner && !all[i].before(*winner))) continue;
    winner = &all[i];
    best = std::string(paths[i]) + " + " + *tail;
  }
  return best;
}

}  // namespace

TEST_CASE("C105: whole segments, the most specific rule, no way out of a path") {
  const std::vector<const char*> paths{"/test", "/test/{id}/123", "/test/abc"};
  CHECK(matched(paths, "/test/aaa/123") == "/test/{id}/123 + test/aaa/123");
  CHECK(matched(paths, "/test/abc") == "/test/abc + ");
  CHECK(matched(paths, "/test/abc/") == "/test/abc + ");
  CHECK(matched(paths, "/test/abc/123") == "/test/abc + 123");
  CHECK(matched(paths, "/test/x/y") == "/test + x/y");
  CHECK(matched(paths, "/test") == "/test + ");
  CHECK(matched(paths, "/TEST/abc") == "none");
  CHECK(matched(paths, "/testabc") == "none");
  CHECK(matched(paths, "/%74est/abc") == "/test/abc + ");
  CHECK(matched(paths, "/test/a%20b") == "/test + a%20b");
  for (const char* wrong : {"/test/%2e%2e/abc", "/test/../abc", "/test/./abc", "/test//abc", "/test/a%2fb", "/test/%00", "/test/%zz", "/test/%ff"}) CHECK(matched(paths, wrong) == "refused");
  for (const char* wrong : {"a//b", "a/../b", "a/{b", "a?b"}) CHECK_FALSE(RestPath::parse(wrong));
  for (const char* wrong : {"", "x", "/", "/edge-1", "/edge-1/"}) CHECK_FALSE(RestTarget::parse(wrong));
}

TEST_CASE("topics match filters as in MQTT") {
  CHECK(topic_matches("default/up", "default/up"));
  CHECK(topic_matches("default/+/x", "default/1/x"));
  CHECK(topic_matches("default/#", "default/a/b"));
  CHECK(topic_matches("default/#", "default"));
  CHECK_FALSE(topic_matches("default/+", "default/a/b"));
  CHECK_FALSE(topic_matches("+/up", "$SYS/up"));
  CHECK_FALSE(topic_matches("default/up/x", "default/up"));
}

TEST_CASE("rest to eventbus: the recorded message; a node of ours confirms, a Go edge does not") {
  World world;
  world.core.on_connected(kNode, false);
  world.put(rule("down", "rest", {{"path", "/down/"}}, "bus", {{"topic", "down"}}));
  world.request(1, "/edge-1/default/down", "hello-edge");
  auto actions = world.core.take(kUnix);
  std::vector<RouterCore::Send> sends;
  std::string reply;
  for (auto& action : actions) {
    if (auto* send = std::get_if<RouterCore::Send>(&action)) sends.push_back(std::move(*send));
    if (auto* one = std::get_if<RouterCore::Reply>(&action)) reply = std::to_string(one->status) + one->body;
  }
  CHECK(reply == "200message delivered");
  REQUIRE(sends.size() == 1);
  Message sent = sends[0].message;
  sent.id = MessageId("f6cfa74a-515f-42ab-9b6f-f0f1fd2007c3");
  sent.timestamp_ms = 1795514549004;
  CHECK(wire::encode(sent) == R"({"header":{"msg_id":"f6cfa74a-515f-42ab-9b6f-f0f1fd2007c3","timestamp":1795514549004},"route":{"source":"router_eventbus","group":"user","operation":"publish","resource":"down"},"content":"hello-edge"})" "\n");

  world.connect(kNode);
  (void)world.core.take(kUnix);
  world.request(2, "/edge-1/default/down/a/b?x=1", "two");
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].message.resource == "down/a/b");
  CHECK(world.core.pending_requests() == 1);
  const Message answer = wire::ack(sends[0].message, kUnix);
  world.core.on_message(NodeId("edge-2"), answer, kUnix, world.now);   // not its message
  CHECK(world.core.pending_requests() == 1);
  world.core.on_message(kNode, answer, kUnix, world.now);
  CHECK(world.replied() == "200 message delivered");

  world.request(3, "/edge-1/default/down", "three");
  Message error = wire::ack(world.take<RouterCore::Send>().at(0).message, kUnix);
  error.operation = "error";
  error.content = "\"the broker is full\"";
  world.core.on_message(kNode, error, kUnix, world.now);
  CHECK(world.replied() == "502 the broker is full");
}

TEST_CASE("refusals: unknown path, body that is no text, no topic, too large, a node that is away") {
  World world;
  world.put(rule("down", "rest", {{"path", "down"}}, "bus", {{"topic", "t"}}));
  world.request(1, "/edge-1/default/else");
  CHECK(world.replied().starts_with("404 "));
  world.request(2, "/edge-1/other/down");
  CHECK(world.replied().starts_with("404 "));
  world.request(3, "/edge-1/default/down");
  CHECK(world.take<RouterCore::Locate>().at(0).node == kNode);
  world.connect(kNode);
  world.request(4, "/edge-1/default/down", "\xff");
  CHECK(world.replied().starts_with("400 "));
  world.request(5, "/edge-1/default/down/a+b");
  CHECK(world.replied().starts_with("400 "));
  world.request(6, "/edge-1/default/down", std::string(4 * 1024 * 1024, '\x01'));
  CHECK(world.replied().starts_with("413 "));
  CHECK(world.core.pending_requests() == 0);
  for (std::uint64_t id = 10; id < 10 + kMaxPendingRequests; ++id) world.request(id, "/edge-1/default/down");
  (void)world.core.take(kUnix);
  world.request(9'999, "/edge-1/default/down");
  CHECK(world.replied().starts_with("503 "));
}

TEST_CASE("rest to servicebus: the recorded call and answer; C62 time-out, link lost, what the edge says itself") {
  World world;
  world.core.on_connected(kNode, false);
  world.put(rule("call", "rest", {{"path", "svc"}}, "svc", {{"path", "/svc"}}));
  world.request(1, "/edge-1/default/svc", R"({"x":1})");
  auto sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].message.source == "router_servicebus");
  CHECK(sends[0].message.operation == "POST");
  CHECK(sends[0].message.resource == "9090:/svc");
  CHECK(sends[0].message.content.view() == R"({"header":{"Accept":["*/*"]},"body":"eyJ4IjoxfQ==","method":"POST","url":""})");
  const auto answer = [&](const char* content, const char* operation) {
    Message message = world.upload("servicebus", "", "");
    message.parent_id = sends.at(0).message.id;
    message.operation = operation;
    message.content = content;
    world.core.on_message(kNode, message, kUnix, world.now);
  };
  answer(R"({"header":{"Content-Type":["text/plain"],"Content-Length":["2"],"Connection":["close"]},"status_code":200,"body":"aGk="})", "upload");
  auto replies = world.take<RouterCore::Reply>();
  REQUIRE(replies.size() == 1);
  CHECK(replies[0].status == 200);
  CHECK(replies[0].body == "hi");
  CHECK(replies[0].headers == wire::HttpHeaders{{"Content-Type", "text/plain"}});

  world.request(2, "/edge-1/default/svc/a:b?q=1", "", "GET");
  sends = world.take<RouterCore::Send>();
  CHECK(sends.at(0).message.resource == "9090:/svc/a%3Ab?q=1");
  answer(R"({"header":{"Server":["kubeedge-edgecore"]},"status_code":404,"body":"ZXJyb3IgdG8gY2FsbCBzZXJ2aWNl"})", "");   // a Go edge's
  CHECK(world.replied() == "502 error to call service");
  world.request(3, "/edge-1/default/svc");
  sends = world.take<RouterCore::Send>();
  answer(R"({"status_code":404,"body":""})", "upload");   // a server's
  CHECK(world.replied() == "404 ");
  for (const char* bad : {"7", "{}", R"({"status_code":99})", R"({"status_code":200,"body":"%"})", R"({"status_code":200,"header":[]})"}) {
    world.request(4, "/edge-1/default/svc");
    sends = world.take<RouterCore::Send>();
    answer(bad, "upload");
    CHECK(world.replied().starts_with("502 "));
  }
  world.request(5, "/edge-1/default/svc");
  (void)world.core.take(kUnix);
  REQUIRE(world.core.next_deadline() == world.now + Milliseconds{60'000});
  world.core.on_time(world.now + Milliseconds{59'999});
  CHECK(world.core.pending_requests() == 1);
  world.core.on_time(world.now + Milliseconds{60'000});
  CHECK(world.replied() == "504 node edge-1 gave no answer within 60 s");
  world.request(6, "/edge-1/default/svc");
  (void)world.core.take(kUnix);
  world.core.on_disconnected(kNode);
  CHECK(world.replied().starts_with("502 node edge-1 disconnected"));
  world.core.on_connected(kNode, false);
  world.request(7, "/edge-1/default/svc");
  world.core.on_client_gone(7);
  CHECK(world.core.pending_requests() == 0);
  CHECK_FALSE(world.core.next_deadline());
}

TEST_CASE("eventbus to rest: subscribed at the node as recorded, posted, confirmed when the target has it") {
  World world;
  world.connect(kNode);
  world.put(rule("up", "bus", {{"topic", "up"}, {"node_name", "edge-1"}}, "rest", {{"resource", "http://127.0.0.1:1/in"}}));
  auto sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].message.operation == "subscribe");
  CHECK(sends[0].message.source == "router_eventbus");
  CHECK(sends[0].message.resource == "default/up");
  CHECK(sends[0].message.content.view() == "null");

  world.core.on_message(kNode, world.upload("bus", "default/up", "hello"), kUnix, world.now);
  auto posts = world.take<RouterCore::Post>();
  REQUIRE(posts.size() == 1);
  CHECK(posts[0].url == "http://127.0.0.1:1/in");
  CHECK(posts[0].body.view() == "hello");
  world.core.on_posted(posts[0].id, wire::HttpAnswer{{}, 204, ""}, world.now);
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].message.parent_id.str() == "up-1");
  CHECK(sends[0].message.operation == "response");

  // Another node's topic of that name is not this rule's. Its subscription, if it has one, ends.
  world.connect(NodeId("edge-2"));
  world.core.on_message(NodeId("edge-2"), world.upload("bus", "default/up", "x"), kUnix, world.now);
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 2);
  CHECK(sends[0].message.operation == "unsubscribe");
  CHECK(sends[1].message.operation == "response");
  // What every edge uploads is confirmed and forgotten.
  world.core.on_message(kNode, world.upload("bus", "SYS/dis/upload_records", "x"), kUnix, world.now);
  CHECK(world.take<RouterCore::Send>().size() == 1);

  // A target that says no is not asked twice: the upload is lost, by name.
  world.core.on_message(kNode, world.upload("bus", "default/up", "no"), kUnix, world.now);
  world.core.on_posted(world.take<RouterCore::Post>().at(0).id, wire::HttpAnswer{{}, 403, ""}, world.now);
  bool lost = false, confirmed = false;
  for (const auto& action : world.core.take(kUnix)) {
    if (const auto* one = std::get_if<RouterCore::Lost>(&action)) lost = one->node == kNode && one->topic == "default/up" && one->why == "http://127.0.0.1:1/in answered 403";
    if (const auto* send = std::get_if<RouterCore::Send>(&action)) confirmed = send->message.operation == "response";
  }
  CHECK(lost);
  CHECK(confirmed);
  CHECK(world.core.waiting_uploads() == 0);
}

namespace {

// A node of ours with a rule for each of two topics.
struct Uploads : World {
  Uploads() {
    connect(kNode);
    for (const char* name : {"up", "other"}) put(rule(name, "bus", {{"topic", name}, {"node_name", "edge-1"}}, "rest", {{"resource", std::string("http://127.0.0.1:1/") + name}}));
    (void)core.take(kUnix);
  }
  void send(const std::string& id, const std::string& topic = "default/up") { core.on_message(kNode, upload("bus", topic, id, id), kUnix, now); }
  // What happened, as "post:1 response:1 error:2 count lost"; posts are kept in `under_way` by body.
  std::string events() {
    std::string out;
    for (const auto& action : core.take(kUnix)) {
      std::string one;
      if (const auto* post = std::get_if<RouterCore::Post>(&action)) {
        one = "post:" + post->body.str();
        under_way[post->body.str()] = post->id;
      }
      if (const auto* send = std::get_if<RouterCore::Send>(&action)) one = send->message.operation + ":" + send->message.parent_id.str();
      if (std::holds_alternative<RouterCore::Count>(action)) one = "count";
      if (std::holds_alternative<RouterCore::Lost>(action)) one = "lost";
      if (!one.empty()) out += (out.empty() ? "" : " ") + one;
    }
    return out;
  }
  void answers(const std::string& id, int status) { core.on_posted(under_way.at(id), wire::HttpAnswer{{}, status, ""}, now); }
  // All tries of it that the core makes.
  void fails(const std::string& id) {
    for (int turn = 1; turn <= kPostTries; ++turn) {
      core.on_posted(under_way.at(id), Error{Errc::kUnavailable, "refused"}, now);
      if (turn == kPostTries) return;
      CHECK(events().empty());
      CHECK(core.next_deadline() == now + kPostRetry * turn);
      now += kPostRetry * turn;
      core.on_time(now);
      CHECK(events() == "post:" + id);
    }
  }
  std::map<std::string, std::uint64_t> under_way;
};

}  // namespace

TEST_CASE("C04: an upload whose target is away goes back to the node that keeps it, with those behind it; other topics go on") {
  Uploads world;
  for (const char* id : {"1", "2", "3"}) world.send(id);
  world.send("a", "default/other");
  CHECK(world.events() == "post:1 post:a");   // one at a time of a topic
  world.answers("a", 200);
  CHECK(world.events() == "count response:a");
  world.fails("1");
  CHECK(world.events() == "count error:1 error:2 error:3");
  CHECK(world.core.waiting_uploads() == 0);
  // Sent before the node knew: posted now it would come before 1.
  world.send("4");
  CHECK(world.events() == "error:4");
  world.send("1");
  CHECK(world.events() == "post:1");
  world.fails("1");
  CHECK(world.events() == "error:1");   // counted once
  world.send("1");
  CHECK(world.events() == "post:1");
  world.send("1");                      // again over a new connection, while it is under way
  world.answers("1", 200);
  CHECK(world.events() == "count response:1");
  for (const char* id : {"2", "3"}) world.send(id);
  CHECK(world.events() == "post:2");
  world.answers("2", 503);
  CHECK(world.events().empty());
  // The session ends; the target comes back; the new session sends what it has no answer to.
  world.core.on_disconnected(kNode);
  world.now += kPostRetry;
  world.core.on_time(world.now);
  CHECK(world.events() == "post:2");
  world.connect(kNode);
  (void)world.core.take(kUnix);
  for (const char* id : {"2", "3", "5"}) world.send(id);
  CHECK(world.events().empty());
  world.answers("2", 200);
  CHECK(world.events() == "count response:2 post:3");
  world.answers("3", 200);
  CHECK(world.events() == "count response:3 post:5");
}

TEST_CASE("an upload of two rules is answered when both are done; the one that took it does not get it again") {
  Uploads world;
  world.put(rule("also", "bus", {{"topic", "up"}, {"node_name", "edge-1"}}, "rest", {{"resource", "http://127.0.0.1:1/also"}}));
  (void)world.core.take(kUnix);
  const auto posts = [&] {
    std::map<std::string, std::uint64_t> ids;
    for (auto& post : world.take<RouterCore::Post>()) ids[post.url.substr(post.url.rfind('/'))] = post.id;
    return ids;
  };
  world.send("1");
  auto ids = posts();
  REQUIRE(ids.size() == 2);
  world.core.on_posted(ids.at("/also"), wire::HttpAnswer{{}, 204, ""}, world.now);
  CHECK(world.events() == "count");
  world.under_way["1"] = ids.at("/up");
  world.fails("1");
  CHECK(world.events() == "count error:1");
  world.send("1");
  ids = posts();
  REQUIRE(ids.size() == 1);
  world.core.on_posted(ids.at("/up"), wire::HttpAnswer{{}, 204, ""}, world.now);
  CHECK(world.events() == "count response:1");
}

TEST_CASE("a Go edge keeps nothing: an upload that cannot be delivered is counted, named and lost, and the next one goes") {
  Uploads world;
  world.core.on_connected(kNode, false);
  (void)world.core.take(kUnix);
  for (const char* id : {"1", "2"}) world.send(id);
  CHECK(world.events() == "post:1");
  world.fails("1");
  CHECK(world.events() == "count lost post:2");
  world.answers("2", 200);
  CHECK(world.events() == "count");
}

TEST_CASE("uploads are bounded: so many under way, so many at one url, so many waiting, the newest goes back and is counted") {
  Uploads world;
  world.put(rule("many", "bus", {{"topic", "many/+"}, {"node_name", "edge-1"}}, "rest", {{"resource", "http://127.0.0.1:1/many"}}));
  (void)world.core.take(kUnix);
  for (std::size_t i = 0; i < kMaxWaitingUploads; ++i) world.send(std::to_string(i), "default/many/" + std::to_string(i % 100));
  CHECK(world.take<RouterCore::Post>().size() == kMaxPostsPerUrl);
  world.send("late");
  CHECK(world.events() == "count error:late");
  CHECK(world.core.waiting_uploads() == kMaxWaitingUploads);
}

TEST_CASE("before the rules are known every upload goes back") {
  RouterCore core{Milliseconds{60'000}};
  core.on_connected(kNode, true);
  (void)core.take(kUnix);
  Uploads world;
  core.on_message(kNode, world.upload("bus", "default/up", "x"), kUnix, world.now);
  const auto actions = core.take(kUnix);
  REQUIRE(actions.size() == 1);
  CHECK(std::get<RouterCore::Send>(actions[0]).message.operation == "error");
}

TEST_CASE("C64: servicebus to rest; every target url of a node is opened, and closed with its rule, also one that was away") {
  World world;
  for (const char* name : {"a", "b", "c"})
    world.put(rule(name, "svc", {{"target_url", std::string("http://x/") + name}, {"node_name", "edge-1"}}, "rest", {{"resource", "http://127.0.0.1:1/in"}}));
  CHECK(world.take<RouterCore::Send>().empty());
  world.connect(kNode);
  auto sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 3);
  for (const auto& send : sends) CHECK(send.message.operation == "start");
  world.core.on_disconnected(kNode);
  world.core.on_rule_gone(rule("a", "", {}, "", {}));
  CHECK(world.take<RouterCore::Send>().empty());
  world.connect(kNode);
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 3);
  CHECK(sends[0].message.operation == "stop");
  CHECK(sends[0].message.resource == "http://x/a");
  // The app's JSON, not the base64 that it travels as.
  world.core.on_message(kNode, world.upload("servicebus", "http://x/b", "eyJ4IjoxfQ=="), kUnix, world.now);
  auto posts = world.take<RouterCore::Post>();
  REQUIRE(posts.size() == 1);
  CHECK(posts[0].body.view() == R"({"x":1})");
  world.core.on_posted(posts[0].id, wire::HttpAnswer{{}, 200, "the answer"}, world.now);
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].message.content.view() == "\"the answer\"");
  CHECK(sends[0].message.source == "servicebus");
  world.core.on_message(kNode, world.upload("servicebus", "http://x/a", "e30="), kUnix, world.now);
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 2);
  CHECK(sends[1].message.operation == "error");
}

TEST_CASE("a rule waits for its endpoints, follows changes, and says what it lacks") {
  World world;
  world.connect(kNode);
  world.put(rule("late", "missing", {{"topic", "up"}, {"node_name", "edge-1"}}, "rest", {{"resource", "http://h/"}}));
  auto problems = world.take<RouterCore::Problem>();
  REQUIRE(problems.size() >= 1);
  CHECK(problems.back().text == "source: RuleEndpoint default/missing does not exist");
  REQUIRE(world.core.on_endpoint(endpoint("missing", "eventbus")));
  auto sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 1);
  CHECK(sends[0].message.operation == "subscribe");
  world.put(rule("late", "missing", {{"topic", "other"}, {"node_name", "edge-1"}}, "rest", {{"resource", "http://h/"}}));
  sends = world.take<RouterCore::Send>();
  REQUIRE(sends.size() == 2);
  CHECK(sends[0].message.operation == "unsubscribe");
  CHECK(sends[0].message.resource == "default/up");
  CHECK(sends[1].message.resource == "default/other");
  world.core.on_endpoint_gone(endpoint("missing", "eventbus"));
  CHECK(world.take<RouterCore::Send>().at(0).message.operation == "unsubscribe");
  const std::vector<std::pair<Bytes, const char*>> wrong{
      {rule("w", "rest", {}, "bus", {{"topic", "t"}}), "sourceResource.path is missing"},
      {rule("w", "rest", {{"path", "p"}}, "bus", {{"topic", "a/#"}}), "no MQTT topic"},
      {rule("w", "rest", {{"path", "p"}}, "rest", {{"resource", "http://h/"}}), "from rest to rest is not served"},
      {rule("w", "bus", {{"topic", "t"}}, "rest", {{"resource", "http://h/"}}), "node_name is missing"},
      {rule("w", "bus", {{"topic", "t"}, {"node_name", "n"}}, "rest", {{"resource", "ftp://h/"}}), "http://HOST:PORT/PATH"},
      {rule("w", "bus", {{"topic", "t"}, {"node_name", "n"}}, "rest", {{"resource", "http://user:pass@h/"}}), "user or password"}};
  for (const auto& [object, text] : wrong) {
    world.put(object);
    problems = world.take<RouterCore::Problem>();
    REQUIRE(problems.size() >= 1);
    CHECK(problems.back().text.find(text) != std::string::npos);
  }
  for (const char* nonsense : {"", "7", "[]", "{}", R"({"metadata":{"name":7}})"}) {
    CHECK_FALSE(world.core.on_rule(Bytes(nonsense)));
    CHECK_FALSE(world.core.on_endpoint(Bytes(nonsense)));
    world.core.on_rule_gone(Bytes(nonsense));
    world.core.on_endpoint_gone(Bytes(nonsense));
  }
}

TEST_CASE("counts go into the status once a second, on top of what is stored there") {
  RuleTable table;
  std::set<RuleId> changed;
  const RuleId id{"default", "up"};
  REQUIRE(table.put_rule(rule("up", "a", {}, "b", {}, {{"successMessages", 10}, {"errors", {"old"}}}), changed));
  RuleStatus status;
  for (int i = 0; i < 5; ++i) status.count(id, "");
  status.count(id, "the target is away");
  auto patches = status.due(table, Milliseconds{1'000});
  REQUIRE(patches.size() == 1);
  CHECK(json::parse(patches[0].merge_patch.view()) ==
        json::parse(R"({"metadata":{"resourceVersion":"7"},"status":{"successMessages":15,"failMessages":1,"errors":["the target is away"]}})"));
  status.count(id, "");
  CHECK(status.due(table, Milliseconds{5'000}).empty());   // one at a time
  status.failed(id);                                       // a conflict: on top of the newer one
  REQUIRE(table.put_rule(rule("up", "a", {}, "b", {}, {{"successMessages", 20}}), changed));
  patches = status.due(table, Milliseconds{2'000});
  REQUIRE(patches.size() == 1);
  CHECK(json::parse(patches[0].merge_patch.view())["status"]["successMessages"] == 26);
  REQUIRE(table.put_rule(rule("up", "a", {}, "b", {}, {{"successMessages", 26}, {"failMessages", 1}, {"errors", {"the target is away"}}}), changed));
  status.stored(id);
  CHECK(status.due(table, Milliseconds{9'000}).empty());
  status.problem(id, "");   // it was changed, and works
  patches = status.due(table, Milliseconds{9'000});
  REQUIRE(patches.size() == 1);
  CHECK(json::parse(patches[0].merge_patch.view())["status"] == json{{"errors", json::array()}});
}
