#include "edge/bus/event_bus.h"

#include <unistd.h>

#include <set>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"

using namespace kubeedge;
using namespace kubeedge::edge;

namespace {

struct FakeTransport final : mqtt::Transport {
  void start(Handlers given) override { handlers = std::move(given); }
  void stop() override { handlers = {}; }
  void subscribe(const std::string& filter, int qos) override {
    CHECK(qos == 1);
    filters.insert(filter);
  }
  void unsubscribe(const std::string& filter) override { filters.erase(filter); }
  void publish(const std::string& topic, Bytes payload, int qos) override {
    CHECK(qos == 1);
    published.emplace_back(topic, payload.str());
  }
  void arrive(const std::string& topic, const std::string& payload) {
    handlers.on_message(topic, payload, 1, [this] { ++acknowledged; });
  }
  Handlers handlers;
  std::set<std::string> filters;
  std::vector<std::pair<std::string, std::string>> published;
  int acknowledged = 0;
};

struct FakeLink final : CloudLink {
  bool up() const override { return is_up; }
  void send(Message message) override { sent.push_back(std::move(message)); }
  void request(Message, Milliseconds, unique_function<void(Result<Message>)> done) override { done(Error{Errc::kUnavailable, "fake"}); }
  bool is_up = true;
  std::vector<Message> sent;
};

struct FakeTwin final : TwinInput {
  void on_mqtt(std::string_view topic, Bytes payload) override { got.emplace_back(topic, payload.str()); }
  void on_broker_up() override { ++broker_ups; }
  std::vector<std::pair<std::string, std::string>> got;
  int broker_ups = 0;
};

struct TempFile {
  std::string path = "/tmp/ke-bus-" + base::random_hex(6) + ".db";
  ~TempFile() {
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path + suffix).c_str());
  }
};

Message down(std::string operation, std::string resource, std::string content = "null") {
  Message message;
  message.source = "router_eventbus";
  message.operation = std::move(operation);
  message.resource = std::move(resource);
  message.content = std::move(content);
  return message;
}

}  // namespace

TEST_CASE("the bus: dispatch, uploads, and subscriptions that survive a restart") {
  TempFile file;
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  auto db = store::Store::open(runtime, file.path, event_bus_schema());
  REQUIRE(db);
  FakeTransport mqtt;
  FakeLink link;
  FakeTwin twin;
  {
    EventBus bus(runtime, **db, mqtt, link, twin, NodeId("edge-1"));
    REQUIRE(bus.start());
    CHECK(mqtt.filters == std::set<std::string>{"$hw/events/upload/#", "$hw/events/device/+/+/state/update", "$hw/events/device/+/+/twin/+",
                                                "$hw/events/node/+/membership/get", "SYS/dis/upload_records", "+/user/#"});
    mqtt.arrive("$hw/events/device/dev/x/twin/get", "{}");
    mqtt.arrive("$hw/events/node/edge-1/membership/get", "{}");
    CHECK(twin.got.size() == 2);
    CHECK(link.sent.empty());

    // As the recorded Go edge uploads (devicetwin-transcript.txt).
    mqtt.arrive("default/user/hello", R"({"a":1})");
    mqtt.arrive("$hw/events/upload/abc", "up");
    REQUIRE(link.sent.size() == 2);
    CHECK(link.sent[0].source == "bus");
    CHECK(link.sent[0].group == "user");
    CHECK(link.sent[0].operation == "upload");
    CHECK(link.sent[0].resource == "default/user/hello");
    CHECK(link.sent[0].content.view() == R"("{\"a\":1}")");
    mqtt.arrive("default/user/binary", "\xff\xfe");
    CHECK(bus.counters().refused == 1);
    link.is_up = false;
    mqtt.arrive("default/user/hello", "lost");
    CHECK(bus.counters().dropped_offline == 1);
    CHECK(mqtt.acknowledged == 6);

    bus.on_message(down("subscribe", "default/alarm"));
    bus.on_message(down("subscribe", "default/gone"));
    bus.on_message(down("unsubscribe", "default/gone"));
    bus.on_message(down("publish", "default/cmd", R"("hello edge")"));
    bus.on_message(down("publish", "default/+", R"("no")"));
    bus.on_message(down("message", "x", R"({"message":{"topic":"legacy/t","v":1}})"));
    bus.on_message(down("message", "x", R"({"message":7})"));
    bus.on_message(down("nonsense", "x"));
    REQUIRE(mqtt.published.size() == 2);
    CHECK(mqtt.published[0] == std::pair<std::string, std::string>{"default/cmd", "hello edge"});
    CHECK(mqtt.published[1].first == "legacy/t");
    // mosquitto ends the connection for each of these; kept or queued, they would end the next one, too.
    const auto filters = mqtt.filters;
    for (const char* bad : {"", "a/#/b", "a+", "a/b#", "x\x01y", "\xff", "\xef\xbf\xbf"}) {
      bus.on_message(down("subscribe", bad));
      bus.on_message(down("publish", bad, R"("no")"));
      bus.publish(bad, "no");
    }
    bus.on_message(down("message", "x", R"({"message":{"topic":"legacy/#"}})"));
    CHECK(mqtt.published.size() == 2);
    CHECK(mqtt.filters == filters);
    mqtt.handlers.on_state(true, "broker fake: connected");
    CHECK(twin.broker_ups == 1);
    loop.run();
  }
  FakeTransport again;
  EventBus bus(runtime, **db, again, link, twin, NodeId("edge-1"));
  REQUIRE(bus.start());
  CHECK(again.filters.contains("default/alarm"));
  CHECK_FALSE(again.filters.contains("default/gone"));
}
