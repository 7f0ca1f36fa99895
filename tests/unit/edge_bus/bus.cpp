#include "edge/bus/event_bus.h"

#include <unistd.h>

#include <chrono>
#include <memory>
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

struct FakeReceiver final : mqtt::Receiver {
  void start(Handlers given) override { handlers = std::move(given); }
  void stop() override { handlers = {}; }
  void subscribe(const std::string& filter, int) override { filters.insert(filter); }
  void unsubscribe(const std::string& filter) override { filters.erase(filter); }
  void refuse(const std::string&) override { ++refusals; }
  void arrive(const std::string& topic, const std::string& payload, int qos = 1) {
    handlers.on_message(topic, payload, qos, [this] { ++acknowledged; });
  }
  Handlers handlers;
  std::set<std::string> filters;
  int acknowledged = 0, refusals = 0;
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

namespace {

struct World {
  asio::io_context loop;
  Runtime runtime{loop.get_executor()};
  TempFile file;
  std::unique_ptr<store::Store> db;
  FakeTransport mqtt;
  FakeReceiver uploads;
  FakeLink link;
  FakeTwin twin;
  std::unique_ptr<EventBus> bus;

  void open(UploadLimits limits = {}) {
    auto opened = store::Store::open(runtime, file.path, event_bus_schema());
    REQUIRE(opened);
    db = std::move(*opened);
    bus = std::make_unique<EventBus>(runtime, *db, mqtt, uploads, link, twin, NodeId("edge-1"), limits);
    REQUIRE(bus->start());
  }
  // As a kill: nothing is told, what is not committed is gone.
  void again() {
    bus.reset();
    db.reset();
    mqtt.filters.clear();
    uploads.filters.clear();
    link.sent.clear();
    open();
  }
  void run() {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(200));
  }
  std::int64_t rows() { return store::integer(db->query({"SELECT count(*) FROM ke_uploads", {}})->at(0).at(0)); }
  void answer(std::size_t which, std::string operation = "response") {
    Message message = down(std::move(operation), link.sent.at(which).resource, R"("OK")");
    message.source = "bus";
    message.parent_id = link.sent.at(which).id;
    bus->on_message(std::move(message));
  }
};

}  // namespace

TEST_CASE("the bus: dispatch, publications, and subscriptions that survive a restart") {
  World w;
  w.open();
  CHECK(w.mqtt.filters == std::set<std::string>{"$hw/events/device/+/+/state/update", "$hw/events/device/+/+/twin/+", "$hw/events/node/+/membership/get"});
  CHECK(w.uploads.filters == std::set<std::string>{"$hw/events/upload/#", "SYS/dis/upload_records", "+/user/#"});
  w.mqtt.arrive("$hw/events/device/dev/x/twin/get", "{}");
  w.mqtt.arrive("$hw/events/node/edge-1/membership/get", "{}");
  CHECK(w.twin.got.size() == 2);
  CHECK(w.mqtt.acknowledged == 2);
  CHECK(w.link.sent.empty());

  w.bus->on_message(down("subscribe", "default/alarm"));
  w.bus->on_message(down("subscribe", "default/user/x"));   // lies within +/user/#
  w.bus->on_message(down("subscribe", "default/gone"));
  w.bus->on_message(down("unsubscribe", "default/gone"));
  w.bus->on_message(down("publish", "default/cmd", R"("hello edge")"));
  w.bus->on_message(down("publish", "default/+", R"("no")"));
  w.bus->on_message(down("message", "x", R"({"message":{"topic":"legacy/t","v":1}})"));
  w.bus->on_message(down("message", "x", R"({"message":7})"));
  w.bus->on_message(down("nonsense", "x"));
  REQUIRE(w.mqtt.published.size() == 2);
  CHECK(w.mqtt.published[0] == std::pair<std::string, std::string>{"default/cmd", "hello edge"});
  CHECK(w.mqtt.published[1].first == "legacy/t");
  CHECK(w.uploads.filters.contains("default/alarm"));
  CHECK_FALSE(w.uploads.filters.contains("default/user/x"));
  // A wider one takes the place of those within it, and gives it back.
  w.bus->on_message(down("subscribe", "default/#"));
  CHECK_FALSE(w.uploads.filters.contains("default/alarm"));
  w.bus->on_message(down("unsubscribe", "default/#"));
  CHECK(w.uploads.filters.contains("default/alarm"));
  // mosquitto ends the connection for each of these; kept or queued, they would end the next one, too.
  const auto filters = w.uploads.filters;
  for (const char* bad : {"", "a/#/b", "a+", "a/b#", "x\x01y", "\xff", "\xef\xbf\xbf"}) {
    w.bus->on_message(down("subscribe", bad));
    w.bus->on_message(down("publish", bad, R"("no")"));
    w.bus->publish(bad, "no");
  }
  w.bus->on_message(down("message", "x", R"({"message":{"topic":"legacy/#"}})"));
  CHECK(w.mqtt.published.size() == 2);
  CHECK(w.uploads.filters == filters);
  w.mqtt.handlers.on_state(true, "broker fake: connected");
  CHECK(w.twin.broker_ups == 1);
  w.run();
  w.again();
  CHECK(w.uploads.filters.contains("default/alarm"));
  CHECK_FALSE(w.uploads.filters.contains("default/gone"));
}

TEST_CASE("C04: an upload is acknowledged after its commit, kept over a restart, sent in order, gone when the cloud has it") {
  World w;
  w.link.is_up = false;
  w.open();
  // As the recorded Go edge uploads (devicetwin-transcript.txt).
  w.uploads.arrive("default/user/hello", R"({"a":1})");
  w.uploads.arrive("$hw/events/upload/abc", "up", 0);
  CHECK(w.uploads.acknowledged == 0);   // not committed yet
  w.run();
  CHECK(w.uploads.acknowledged == 2);
  CHECK(w.rows() == 2);
  CHECK(w.link.sent.empty());
  w.uploads.arrive("default/user/binary", "\xff\xfe");
  CHECK(w.bus->counters().refused == 1);
  CHECK(w.uploads.acknowledged == 3);   // never taken: not asked for again
  w.again();
  w.link.is_up = true;
  w.bus->on_link(true);
  REQUIRE(w.link.sent.size() == 2);
  CHECK(w.link.sent[0].source == "bus");
  CHECK(w.link.sent[0].group == "user");
  CHECK(w.link.sent[0].operation == "upload");
  CHECK(w.link.sent[0].resource == "default/user/hello");
  CHECK(w.link.sent[0].content.view() == R"("{\"a\":1}")");
  CHECK(w.link.sent[1].resource == "$hw/events/upload/abc");
  w.bus->on_message(down("confirms", "uploads"));
  w.answer(0);
  w.run();
  CHECK(w.rows() == 1);
  // The link breaks before the second answer: it goes again, as the same message.
  w.bus->on_link(false);
  w.bus->on_link(true);
  REQUIRE(w.link.sent.size() == 3);
  CHECK(w.link.sent[2].id == w.link.sent[1].id);
  w.answer(2);
  w.run();
  CHECK(w.rows() == 0);
  CHECK(w.bus->counters().uploads.confirmed == 2);
}

TEST_CASE("an upload that the store does not take is not acknowledged: the connection ends and the broker keeps it") {
  World w;
  w.open();
  REQUIRE(w.db->query({"SELECT 1", {}}));
  bool dropped = false;
  w.db->write({{"DROP TABLE ke_uploads", {}}}, [&](const Result<void>& result) { dropped = result.ok(); });
  w.run();
  REQUIRE(dropped);
  w.uploads.arrive("default/user/hello", "x");
  w.run();
  CHECK(w.uploads.acknowledged == 0);
  CHECK(w.uploads.refusals == 1);
  w.uploads.arrive("default/user/hello", "x", 0);
  w.run();
  CHECK(w.uploads.acknowledged == 1);   // QoS 0 has no PUBACK; counted as lost
  CHECK(w.bus->counters().lost_qos0 == 1);
}

TEST_CASE("the room for uploads is bounded: the oldest go and are counted") {
  World w;
  w.link.is_up = false;
  w.open({3, 1'000'000});
  for (int i = 0; i < 5; ++i) {
    w.uploads.arrive("default/user/n", std::to_string(i));
    w.run();
  }
  CHECK(w.uploads.acknowledged == 5);
  CHECK(w.bus->counters().uploads.dropped == 2);
  CHECK(w.rows() == 3);
  w.link.is_up = true;
  w.bus->on_link(true);
  REQUIRE(w.link.sent.size() == 3);
  CHECK(w.link.sent[0].content.view() == R"("2")");
}

TEST_CASE("upload queue: a silent cloud has taken what its link carried for long enough, one that answers has not; one put off waits") {
  UploadQueue queue({100, 100'000});
  const Milliseconds now{1'000};
  for (int i = 0; i < 3; ++i) queue.stored(*queue.admit(10));
  CHECK_FALSE(queue.next(now));   // no link
  queue.on_link(true);
  for (int i = 1; i <= 3; ++i) {
    REQUIRE(queue.next(now) == i);
    queue.sent(i, MessageId(std::to_string(i)), now);
  }
  CHECK_FALSE(queue.next(now));
  queue.on_time(now + UploadQueue::kTakenAfter - Milliseconds{1});
  CHECK(queue.messages() == 3);
  CHECK(queue.answered(MessageId("2"), false, now));
  CHECK_FALSE(queue.next(now));
  CHECK(queue.next(now + UploadQueue::kRefusedPause) == 2);
  queue.on_time(now + UploadQueue::kTakenAfter);
  CHECK(queue.take_removed() == std::vector<UploadQueue::Id>{1, 3});
  queue.on_link(true);
  queue.confirms();
  REQUIRE(queue.next(now) == 2);
  queue.sent(2, MessageId("2b"), now);
  queue.on_time(now + UploadQueue::kTakenAfter);
  CHECK(queue.messages() == 1);
  queue.on_time(now + UploadQueue::kLostAfter);
  CHECK(queue.next(now) == 2);
  CHECK_FALSE(queue.answered(MessageId("2b"), true, now));
}
