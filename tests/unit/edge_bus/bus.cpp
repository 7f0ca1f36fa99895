#include "edge/bus/event_bus.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <set>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "edge/bus/paho_transport.h"

using namespace kubeedge;
using namespace kubeedge::edge;

namespace {

struct FakeTransport final : MqttTransport {
  void start(Handlers given) override { handlers = std::move(given); }
  void stop() override { handlers = {}; }
  void subscribe(const std::string& filter, int qos) override {
    CHECK(qos == 1);
    filters.insert(filter);
  }
  void unsubscribe(const std::string& filter) override { filters.erase(filter); }
  void publish(const std::string& topic, Bytes payload) override { published.emplace_back(topic, payload.str()); }
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

// A mosquitto of this test's own; absent binary = the test says so and passes.
class Mosquitto {
 public:
  explicit Mosquitto(std::uint16_t port) : port_(port) {}
  ~Mosquitto() { kill(); }
  bool start() {
    config_ = "/tmp/ke-mosquitto-" + base::random_hex(4) + ".conf";
    std::ofstream(config_) << "listener " << port_ << " 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type none\n";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execlp("mosquitto", "mosquitto", "-c", config_.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 100; ++i) {
      asio::io_context io;
      asio::ip::tcp::socket probe(io);
      asio::error_code error;
      (void)probe.connect({asio::ip::make_address("127.0.0.1"), port_}, error);
      if (!error) return true;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        return false;
      }
      ::usleep(20'000);
    }
    return false;
  }
  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
    ::unlink(config_.c_str());
  }

 private:
  std::uint16_t port_;
  pid_t pid_ = -1;
  std::string config_;
};

std::uint16_t free_port() {
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
  return acceptor.local_endpoint().port();
}

template <class Until>
bool run_until(asio::io_context& loop, Until until, int seconds = 15) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!until() && std::chrono::steady_clock::now() < end) {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(20));
  }
  return until();
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

TEST_CASE("Paho: a missing broker blocks nothing; messages pass; a broker that comes back is found and subscribed again") {
  const std::uint16_t port = free_port();
  Mosquitto broker(port);
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  auto transport = paho_transport(runtime, MqttOptions::broker("127.0.0.1", port), "ke-test-" + base::random_hex(4));
  std::vector<std::string> got;
  std::vector<bool> states;
  transport->subscribe("a/#", 1);
  const auto before = std::chrono::steady_clock::now();
  transport->start({[&](const std::string& topic, const Bytes& payload, int, const std::function<void()>& acknowledge) {
                      got.push_back(topic + "=" + payload.str());
                      acknowledge();
                    },
                    [&](bool up, const std::string& why) {
                      CHECK(why.find(std::to_string(port)) != std::string::npos);
                      states.push_back(up);
                    }});
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(1));
  transport->publish("a/early", "kept");
  CHECK(run_until(loop, [&] { return states.size() == 1; }));
  CHECK_FALSE(states.at(0));
  if (!broker.start()) {
    MESSAGE("mosquitto is not there: only the missing broker was tested");
    return;
  }
  CHECK(run_until(loop, [&] { return got.size() == 1; }));
  CHECK(got.at(0) == "a/early=kept");
  CHECK(states == std::vector<bool>{false, true});
  broker.kill();
  CHECK(run_until(loop, [&] { return states.size() == 3; }));
  transport->publish("a/down", "later");
  REQUIRE(broker.start());
  CHECK(run_until(loop, [&] { return got.size() == 2; }));
  CHECK(got.back() == "a/down=later");
  for (int i = 0; i < 2000; ++i) transport->publish("a/n", std::to_string(i));
  CHECK(run_until(loop, [&] { return got.size() == 2002; }));
  CHECK(got.back() == "a/n=1999");
  transport->stop();
}
