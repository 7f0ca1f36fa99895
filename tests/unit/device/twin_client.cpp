#include "device/twin_client.h"

#include <doctest/doctest.h>

#include "base/json.h"
#include "base/text.h"

using namespace kubeedge;
using namespace kubeedge::device;

namespace {

using Json = nlohmann::json;

const DeviceId kThermo{"default", "thermo-1"};

// A TwinClient, a time that the test moves, and the edge as the test writes it.
struct Bench {
  TwinClient client{"app"};
  Milliseconds time{1'000'000};
  std::vector<Publish> sent;
  std::vector<Answered> answered;
  std::vector<Got> got;
  std::vector<Wished> wished;
  std::vector<Trouble> trouble;
  std::vector<std::string> filters;

  TwinClientTime now() const { return {1'700'000'000'000 + time.count(), time}; }

  void take() {
    for (auto& action : client.take_actions()) {
      if (auto* a = std::get_if<Publish>(&action)) sent.push_back(std::move(*a));
      if (auto* a = std::get_if<Answered>(&action)) answered.push_back(std::move(*a));
      if (auto* a = std::get_if<Got>(&action)) got.push_back(std::move(*a));
      if (auto* a = std::get_if<Wished>(&action)) wished.push_back(std::move(*a));
      if (auto* a = std::get_if<Trouble>(&action)) trouble.push_back(std::move(*a));
      if (auto* a = std::get_if<SubscribeTo>(&action)) filters.push_back(a->filter);
    }
  }
  void connect() { client.connected(now()); take(); }
  void report(std::map<std::string, std::string> values, Token token = 0) {
    std::map<std::string, TwinClient::Item> items;
    for (auto& [name, value] : values) items[name] = {value, "string"};
    CHECK(client.report(kThermo, items, token, now()));
    take();
  }
  void pass(Milliseconds step) {
    time += step;
    client.tick(now());
    take();
  }
  void hear(const std::string& rest, const Json& json) {
    client.on_message("$hw/events/device/default/thermo-1/" + rest, base::dump_json(json), now());
    take();
  }
  Json last() const {
    REQUIRE_FALSE(sent.empty());
    return base::parse_json(sent.back().payload);
  }
  std::string last_id() const { return last()["event_id"].get<std::string>(); }
  void result(const std::string& id, Json rest) {
    rest["event_id"] = id;
    hear("twin/update/result", rest);
  }
  void accept() { result(last_id(), {{"twin", last()["twin"]}}); }
};

}  // namespace

TEST_CASE("a report: subscribed first, sent at once, answered by the result that names it") {
  Bench b;
  b.connect();
  b.report({{"temperature", "21.5"}}, 7);
  CHECK(b.filters.size() == 4);
  REQUIRE(b.sent.size() == 1);
  CHECK(b.sent[0].topic == "$hw/events/device/default/thermo-1/twin/update");
  CHECK(b.last()["twin"]["temperature"]["actual"]["value"] == "21.5");
  CHECK(b.last()["timestamp"].is_number_integer());
  b.result("someone-else", {{"twin", Json::object()}});
  CHECK(b.answered.empty());
  CHECK(b.client.unacknowledged() == 1);
  b.accept();
  REQUIRE(b.answered.size() == 1);
  CHECK(b.answered[0].token == 7);
  CHECK_FALSE(b.answered[0].error);
  CHECK(b.client.unacknowledged() == 0);
  b.pass(Milliseconds{60'000});
  CHECK(b.sent.size() == 1);
  CHECK_FALSE(b.client.wake());
}

TEST_CASE("one update a device under way; newer values replace each other meanwhile; a result of the older one answers only those") {
  Bench b;
  b.connect();
  b.report({{"n", "1"}}, 1);
  b.report({{"n", "2"}}, 2);
  b.report({{"n", "3"}}, 3);
  CHECK(b.sent.size() == 1);
  b.accept();
  REQUIRE(b.answered.size() == 1);
  CHECK(b.answered[0].token == 1);
  REQUIRE(b.sent.size() == 2);
  CHECK(b.last()["twin"]["n"]["actual"]["value"] == "3");
  b.accept();
  CHECK(b.answered.size() == 3);   // 2 was passed over: a newer value is durable
  CHECK(b.client.unacknowledged() == 0);
}

TEST_CASE("nothing is sent while the broker is away; at connect the newest goes; what was under way goes again") {
  Bench b;
  b.report({{"n", "1"}}, 1);
  b.report({{"n", "2"}, {"m", "x"}}, 2);
  b.pass(Milliseconds{60'000});
  CHECK(b.sent.empty());
  b.connect();
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last()["twin"].size() == 2);
  CHECK(b.last()["twin"]["n"]["actual"]["value"] == "2");
  const auto lost = b.last_id();
  b.client.disconnected();
  b.pass(Milliseconds{60'000});
  CHECK(b.sent.size() == 1);
  b.connect();
  CHECK(b.sent.size() == 2);
  b.accept();
  CHECK(b.answered.size() == 2);
}

TEST_CASE("an edge that is silent hears it again at 1, 2, 4, 5, 5 s; a late result still counts") {
  Bench b;
  b.connect();
  b.report({{"n", "1"}}, 1);
  const auto first = b.last_id();
  std::vector<long> gaps;
  for (int i = 0; i < 5; ++i) {
    const auto before = b.time;
    const auto count = b.sent.size();
    while (b.sent.size() == count) b.pass(*b.client.wake() - b.time);
    gaps.push_back((b.time - before).count());
  }
  CHECK(gaps == std::vector<long>{1000, 2000, 4000, 5000, 5000});
  b.report({{"n", "2"}}, 2);
  b.result(first, {{"twin", {{"n", Json::object()}}}});
  REQUIRE(b.answered.size() == 1);
  CHECK(b.answered[0].token == 1);
  CHECK(b.client.unacknowledged() == 1);   // the newest value was in none of those messages
  b.pass(Milliseconds{5'000});
  CHECK(b.last()["twin"]["n"]["actual"]["value"] == "2");
  b.accept();
  CHECK(b.answered.size() == 2);
  b.pass(Milliseconds{60'000});
  CHECK_FALSE(b.client.wake());
}

TEST_CASE("404: the value is kept and tried again, and told once; 500 likewise") {
  Bench b;
  b.connect();
  b.report({{"n", "1"}}, 1);
  b.result(b.last_id(), {{"code", 404}, {"reason", "unknown"}});
  b.report({{"n", "2"}}, 2);   // a busy reporter does not make it faster
  CHECK(b.sent.size() == 1);
  b.pass(Milliseconds{1'000});
  CHECK(b.sent.size() == 2);
  b.result(b.last_id(), {{"code", 500}, {"reason", "disk"}});
  b.pass(Milliseconds{1'000});
  CHECK(b.sent.size() == 2);
  b.pass(Milliseconds{1'000});
  CHECK(b.sent.size() == 3);
  CHECK(b.trouble.size() == 1);
  CHECK(b.answered.empty());
  b.accept();
  CHECK(b.answered.size() == 2);
}

TEST_CASE("400: who is refused is told and not sent again; the rest of the batch stands") {
  Bench b;
  b.connect();
  b.report({{"bad", "x"}, {"good", "1"}}, 1);
  SUBCASE("our edge names what it took") {
    b.result(b.last_id(), {{"code", 400}, {"reason", "bad: the value is not int"}, {"twin", {{"good", Json::object()}}}});
  }
  SUBCASE("upstream's edge refuses the whole message: one by one, then") {
    b.result(b.last_id(), {{"code", 400}, {"reason", "the value is not int"}});
    REQUIRE(b.sent.size() == 2);
    CHECK(b.last()["twin"].size() == 1);
    for (int i = 0; i < 2; ++i) {
      if (b.last()["twin"].contains("bad")) b.result(b.last_id(), {{"code", 400}, {"reason", "the value is not int"}});
      else b.accept();
    }
    CHECK(b.sent.size() == 3);
  }
  REQUIRE(b.answered.size() == 1);
  REQUIRE(b.answered[0].error);
  CHECK(b.answered[0].error->code == Errc::kInvalidArgument);
  CHECK(b.answered[0].error->message.find("bad") != std::string::npos);
  CHECK(b.client.unacknowledged() == 0);
  b.pass(Milliseconds{60'000});
  CHECK_FALSE(b.client.wake());
  b.report({{"bad", "y"}});
  b.result(b.last_id(), {{"code", 400}, {"reason", "again"}});
  CHECK(b.trouble.size() == 1);   // nobody waited for it
}

TEST_CASE("a batch larger than a message goes in parts, oldest first") {
  Bench b;
  b.connect();
  std::map<std::string, std::string> many;
  for (int i = 0; i < 100; ++i) many["p" + std::to_string(i)] = std::string(kMaxValueBytes, 'x');
  b.report(many, 1);
  int messages = 0;
  while (b.client.unacknowledged() > 0 && messages < 20) {
    CHECK(b.sent.back().payload.size() < 2 * TwinClient::kMaxUpdateBytes);
    b.accept();
    ++messages;
  }
  CHECK(messages == 4);
  CHECK(b.answered.size() == 1);
}

TEST_CASE("wishes: the document at connect, deltas after; each is told once, an equal value wished for anew again") {
  Bench b;
  CHECK(b.client.watch(kThermo, "target", b.now()));
  b.take();
  b.connect();
  REQUIRE(b.sent.size() == 1);
  CHECK(b.sent[0].topic.ends_with("/twin/get"));
  const auto twin = [](const char* value, int time) { return Json{{"expected", {{"value", value}, {"metadata", {{"timestamp", time}}}}}, {"actual", {{"value", "23"}}}}; };
  b.hear("twin/get/result", {{"event_id", "another"}, {"twin", {{"target", twin("99", 1)}}}});
  CHECK(b.wished.empty());
  // Reported as reached by an earlier run: the heater may have lost its power since.
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"twin", {{"target", twin("23", 1)}, {"other", twin("5", 1)}}}});
  REQUIRE(b.wished.size() == 1);
  CHECK(b.wished[0].value == "23");
  const auto delta = [&](const char* value, int time) { b.hear("twin/update/delta", {{"twin", {{"target", twin(value, time)}}}, {"delta", {{"target", value}, {"other", "1"}}}}); };
  delta("25", 2);
  delta("25", 2);
  CHECK(b.wished.size() == 2);
  delta("25", 3);
  CHECK(b.wished.size() == 3);
  b.client.disconnected();
  b.connect();
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"twin", {{"target", twin("25", 3)}}}});
  CHECK(b.wished.size() == 3);
  b.client.disconnected();
  b.connect();
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"twin", {{"target", twin("30", 4)}}}});
  REQUIRE(b.wished.size() == 4);
  CHECK(b.wished[3].value == "30");
}

TEST_CASE("the document is asked for until it comes, also while the device is not known yet") {
  Bench b;
  CHECK(b.client.watch(kThermo, "target", b.now()));
  b.connect();
  CHECK(b.sent.size() == 1);
  b.pass(Milliseconds{1'000});
  CHECK(b.sent.size() == 2);
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"code", 404}, {"reason", "not found"}});
  CHECK(b.sent.size() == 2);
  b.pass(Milliseconds{2'000});
  REQUIRE(b.sent.size() == 3);
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"twin", Json::object()}});
  b.pass(Milliseconds{60'000});
  CHECK(b.sent.size() == 3);
  CHECK(b.wished.empty());
}

TEST_CASE("a state is known by what it says; the newest wins") {
  Bench b;
  b.connect();
  CHECK(b.client.set_state(kThermo, "online", 1, b.now()));
  CHECK(b.client.set_state(kThermo, "offline", 2, b.now()));
  b.take();
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last()["state"] == "online");
  b.hear("state/update/result", {{"event_id", "uuid"}, {"device", {{"name", "thermo-1"}, {"state", "unhealthy"}}}});
  CHECK(b.answered.empty());
  b.hear("state/update/result", {{"event_id", "uuid"}, {"device", {{"name", "thermo-1"}, {"state", "online"}}}});
  REQUIRE(b.answered.size() == 1);
  CHECK(b.last()["state"] == "offline");
  b.pass(Milliseconds{1'000});   // no answer: again
  CHECK(b.sent.size() == 3);
  b.hear("state/update/result", {{"device", {{"state", "offline"}}}});
  CHECK(b.answered.size() == 2);
  CHECK(b.client.unacknowledged() == 0);
}

TEST_CASE("get: asked again where nothing comes, kNotFound for 404, kUnavailable when its time is over") {
  Bench b;
  CHECK(b.client.get(kThermo, 1, b.now()));
  b.take();
  CHECK(b.sent.empty());
  b.connect();
  REQUIRE(b.sent.size() == 1);
  b.pass(Milliseconds{2'000});
  CHECK(b.sent.size() == 2);
  CHECK(b.sent[0].payload.find(b.last_id()) != std::string::npos);
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"twin", {{"t", {{"expected", Json::object()}, {"actual", {{"value", "1"}}}, {"metadata", {{"type", "int"}}}}}}}});
  REQUIRE(b.got.size() == 1);
  REQUIRE(b.got[0].twin);
  CHECK(b.got[0].twin->at("t").actual == "1");
  CHECK_FALSE(b.got[0].twin->at("t").expected);
  CHECK(b.got[0].twin->at("t").type == "int");
  CHECK(b.client.get(kThermo, 2, b.now()));
  b.take();
  b.hear("twin/get/result", {{"event_id", b.last_id()}, {"code", 404}, {"reason", "no"}});
  CHECK(b.got[1].twin.error().code == Errc::kNotFound);
  b.client.disconnected();
  CHECK(b.client.get(kThermo, 3, b.now()));
  b.pass(kGetTimeout);
  REQUIRE(b.got.size() == 3);
  CHECK(b.got[2].twin.error().code == Errc::kUnavailable);
  CHECK_FALSE(b.client.wake());
}

TEST_CASE("limits: properties, awaited answers; the value beyond the last answer is kept") {
  Bench b;
  std::map<std::string, TwinClient::Item> many;
  for (std::size_t i = 0; i <= kMaxPropertiesPerDevice; ++i) many["p" + std::to_string(i)] = {"x", "string"};
  CHECK(b.client.report(kThermo, many, 1, b.now()).error().code == Errc::kLimitExceeded);
  for (Token token = 1; token <= kMaxWaiting; ++token) CHECK(b.client.report(kThermo, {{"n", {"x", "string"}}}, token, b.now()));
  CHECK(b.client.get(kThermo, 1, b.now()).error().code == Errc::kLimitExceeded);
  CHECK(b.client.report(kThermo, {{"n", {"last", "string"}}}, kMaxWaiting + 1, b.now()));
  b.take();
  REQUIRE(b.answered.size() == 1);
  CHECK(b.answered[0].error->code == Errc::kLimitExceeded);
  b.connect();
  CHECK(b.last()["twin"]["n"]["actual"]["value"] == "last");
  b.accept();
  CHECK(b.answered.size() == 1 + kMaxWaiting);
}

TEST_CASE("hostile answers leave it as it was") {
  Bench b;
  CHECK(b.client.watch(kThermo, "target", b.now()));
  b.connect();
  b.report({{"n", "1"}}, 1);
  const std::string deep(200'000, '[');
  for (const std::string& payload : {std::string(), std::string("null"), std::string("[]"), std::string("{"), std::string("\xff"), deep,
                                     std::string(R"({"event_id":1,"code":"x","twin":[],"delta":[1],"device":"x"})"),
                                     std::string(R"({"event_id":{},"twin":{"target":3},"delta":{"target":{}},"device":{"state":1}})"),
                                     fmt::format(R"({{"event_id":"{}","code":404}})", "app-1")})
    for (const char* rest : {"twin/update/result", "twin/update/delta", "twin/get/result", "state/update/result", "", "x"})
      b.client.on_message(std::string("$hw/events/device/default/thermo-1/") + rest, payload, b.now());
  for (const char* topic : {"", "$hw/events/device/", "$hw/events/device/a", "$hw/events/device/default/other/twin/update/result", "x/y"}) b.client.on_message(topic, "{}", b.now());
  b.take();
  CHECK(b.wished.empty());
  CHECK(b.answered.empty());
  CHECK(b.client.unacknowledged() == 1);
}
