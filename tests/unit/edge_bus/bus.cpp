#include "edge/bus/event_bus.h"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <set>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "mqtt/topic.h"

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
  void unsubscribe(const std::string& filter) override {
    CHECK(mqtt::is_topic_filter(filter));   // mosquitto ends the connection
    filters.erase(filter);
  }
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
    w.bus->on_message(down("unsubscribe", bad));
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

namespace {

struct Queue : UploadQueue {
  using UploadQueue::UploadQueue;
  void add(const std::string& topic, Milliseconds now = Milliseconds{0}) { stored(*admit(topic, 10, now)); }
  // What goes now, as "1 2 3"; message ids are the ids.
  std::string go(Milliseconds now) {
    std::string gone;
    while (const auto id = next(now)) {
      gone += (gone.empty() ? "" : " ") + std::to_string(*id);
      sent(*id, MessageId(std::to_string(*id)), now);
    }
    return gone;
  }
  bool taken(int id, Milliseconds now) { return answered(MessageId(std::to_string(id)), true, now); }
  bool put_off(int id, Milliseconds now) { return answered(MessageId(std::to_string(id)), false, now); }
};

}  // namespace

TEST_CASE("upload queue: a silent cloud has taken what its link carried for long enough, one that answers has not") {
  Queue queue({100, 100'000});
  const Milliseconds now{1'000};
  for (int i = 0; i < 3; ++i) queue.add("t");
  CHECK(queue.go(now).empty());   // no link
  queue.on_link(true, now);
  CHECK(queue.go(now) == "1 2 3");
  queue.on_time(now + UploadQueue::kTakenAfter - Milliseconds{1});
  CHECK(queue.messages() == 3);
  queue.on_time(now + UploadQueue::kTakenAfter);
  CHECK(queue.take_removed() == std::vector<UploadQueue::Id>{1, 2, 3});
  queue.add("t");
  queue.on_link(true, now);
  queue.confirms();
  CHECK(queue.go(now) == "4");
  queue.on_time(now + UploadQueue::kTakenAfter);
  CHECK(queue.messages() == 1);
  queue.on_time(now + UploadQueue::kLostAfter);
  CHECK(queue.go(now + UploadQueue::kLostAfter) == "4");
  CHECK(queue.taken(4, now));
  CHECK_FALSE(queue.taken(4, now));
  CHECK(queue.messages() == 0);
  CHECK_FALSE(queue.next_deadline());
}

TEST_CASE("upload queue: little is on its way until the cloud has said what it is") {
  Queue queue({10'000, 10'000'000});
  for (std::size_t i = 0; i < UploadQueue::kMaxUnanswered + 5; ++i) queue.add("t");
  queue.on_link(true, Milliseconds{0});
  (void)queue.go(Milliseconds{0});
  CHECK(queue.unconfirmed() == UploadQueue::kMaxUnconfirmed);
  CHECK(queue.next_deadline() == UploadQueue::kMeetAfter);
  (void)queue.go(UploadQueue::kMeetAfter);
  CHECK(queue.unconfirmed() == UploadQueue::kMaxUnanswered);
}

TEST_CASE("C60: a topic whose target is away waits in its order, the others go on") {
  Queue queue({100, 100'000});
  Milliseconds now{1'000};
  queue.on_link(true, now);
  queue.confirms();
  for (int i = 0; i < 2; ++i)
    for (const char* topic : {"bad", "good"}) queue.add(topic);
  CHECK(queue.go(now) == "1 2 3 4");
  CHECK(queue.put_off(1, now));
  queue.add("bad");    // 5
  queue.add("good");   // 6
  CHECK(queue.go(now) == "6");
  now += UploadQueue::kFirstPause;
  CHECK(queue.go(now).empty());   // 3 is on its way: after it, 1 would come too late
  CHECK(queue.put_off(3, now));
  CHECK(queue.go(now) == "1");    // alone, to see whether the target is back
  CHECK(queue.put_off(1, now));
  CHECK(queue.go(now).empty());
  CHECK(queue.next_deadline() == now + 2 * UploadQueue::kFirstPause);
  now += 2 * UploadQueue::kFirstPause;
  CHECK(queue.go(now) == "1");
  CHECK(queue.taken(1, now));
  CHECK(queue.go(now) == "3 5");
  for (const int id : {2, 3, 4, 5, 6}) CHECK(queue.taken(id, now));
  CHECK(queue.messages() == 0);
  CHECK(queue.parked_topics() == 0);
  // The pause has an end, and a new link begins anew.
  queue.add("bad");   // 7
  for (int i = 0; i < 10; ++i) {
    CHECK(queue.go(now) == "7");
    CHECK(queue.put_off(7, now));
    REQUIRE(queue.next_deadline());
    CHECK(*queue.next_deadline() <= now + UploadQueue::kMaxPause);
    now = *queue.next_deadline();
  }
  CHECK(queue.put_off(7, now) == false);
  queue.on_link(false, now);
  queue.on_link(true, now);
  CHECK(queue.go(now) == "7");
}

TEST_CASE("upload queue: with more topics put off than it keeps apart all wait, and nothing overtakes") {
  Queue queue({10'000, 10'000'000});
  const Milliseconds now{1'000};
  queue.on_link(true, now);
  queue.confirms();
  const int topics = static_cast<int>(UploadQueue::kMaxParked) + 1;
  for (int i = 1; i <= topics; ++i) queue.add("t" + std::to_string(i));
  queue.add("t" + std::to_string(topics));
  (void)queue.go(now);
  REQUIRE(queue.unconfirmed() == UploadQueue::kMaxUnconfirmed);
  for (int i = 1; i < topics; ++i) CHECK(queue.put_off(i, now));
  CHECK(queue.go(now) == std::to_string(topics) + " " + std::to_string(topics + 1));
  CHECK(queue.put_off(topics, now));
  CHECK(queue.go(now + UploadQueue::kFirstPause).empty());
  CHECK(queue.put_off(topics + 1, now));
  CHECK(queue.go(now).empty());
  CHECK(queue.go(now + UploadQueue::kFirstPause).starts_with("1 2 3 "));
}

TEST_CASE("upload queue: what waits too long goes and is counted; the room of what was let go of is free again") {
  Queue queue({3, 100'000, std::chrono::hours(1)});
  const Milliseconds hour = std::chrono::hours(1);
  queue.load(7, "t", 10, std::chrono::minutes(50), Milliseconds{0});
  queue.add("t", Milliseconds{0});   // 8
  CHECK(queue.next_deadline() == Milliseconds{std::chrono::minutes(10)});
  queue.expire(std::chrono::minutes(10));
  CHECK(queue.expired() == 1);
  CHECK(queue.take_removed() == std::vector<UploadQueue::Id>{7});
  queue.expire(hour);
  CHECK(queue.messages() == 0);
  CHECK(queue.bytes() == 0);
  for (int i = 0; i < 5; ++i) queue.add("t", hour);
  CHECK(queue.dropped() == 2);
  CHECK(queue.messages() == 3);
}

TEST_CASE("the store does not grow with what passed through it") {
  World w;
  w.link.is_up = false;
  w.open({100, 1'000'000});
  const std::string payload(1'000, 'x');
  const auto pages = [&] { return store::integer(w.db->query({"PRAGMA page_count", {}})->at(0).at(0)); };
  std::int64_t full = 0;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 300; ++i) w.uploads.arrive("default/user/n", payload);
    w.run();
    CHECK(w.rows() == 100);
    if (round == 0) full = pages();
    CHECK(pages() <= full + full / 10);
  }
}
