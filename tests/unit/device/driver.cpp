#include "device/driver.h"

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "base/json.h"

using namespace kubeedge;
using namespace kubeedge::device;

namespace {

using Json = nlohmann::json;

// The broker and an edge behind it that accepts every update.
struct FakeEdge final : mqtt::Transport {
  void start(Handlers given) override { handlers = std::move(given); }
  void stop() override { handlers = {}; }
  void subscribe(const std::string& filter, int) override { filters.push_back(filter); }
  void unsubscribe(const std::string&) override {}
  void publish(const std::string& topic, Bytes payload, int qos) override {
    CHECK(qos == 0);
    published.emplace_back(topic, base::parse_json(payload));
    if (accepts && topic.ends_with("/twin/update")) say(topic + "/result", published.back().second);
  }
  void say(const std::string& topic, const Json& json) { pending.emplace_back(topic, json); }
  void speak() {
    for (auto todo = std::exchange(pending, {}); auto& [topic, json] : todo)
      if (handlers.on_message) handlers.on_message(topic, base::dump_json(json), 1, [] {});
  }
  Handlers handlers;
  bool accepts = true;
  std::vector<std::string> filters;
  std::vector<std::pair<std::string, Json>> published, pending;
};

struct Silent final : Logger {
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel, std::string_view, std::string_view line) override { lines.emplace_back(line); }
  std::vector<std::string> lines;
};

struct Bench {
  asio::io_context loop;
  Silent log;
  Runtime runtime{loop.get_executor(), log};
  FakeEdge* edge = nullptr;
  std::shared_ptr<Driver> driver = make({});

  std::shared_ptr<Driver> make(ClientOptions options) {
    return std::make_shared<Driver>(runtime, std::move(options), [this](const Runtime&, const ClientOptions&) {
      auto transport = std::make_unique<FakeEdge>();
      edge = transport.get();
      return transport;
    });
  }
  ~Bench() { driver->close(); }
  Device device() { return Device(driver, {"default", "thermo-1"}); }
  void connect() {
    CHECK(driver->start());
    edge->handlers.on_state(true, "broker fake: connected");
    turn();
  }
  void turn() {
    for (int i = 0; i < 4; ++i) {
      if (driver && edge && driver->unacknowledged() + edge->pending.size() > 0) edge->speak();
      loop.restart();
      loop.poll();
    }
  }
};

}  // namespace

TEST_CASE("an app of two properties: reports are answered, a wish is handed over typed and reported back") {
  Bench b;
  auto thermo = b.device();
  auto temperature = thermo.property<double>("temperature");
  auto target = thermo.property<int>("target");
  std::vector<int> wished;
  int durable = 0;
  target.on_desired([&](int celsius) {
    wished.push_back(celsius);
    target.report(celsius, [&](const Result<void>& result) { durable += result.ok(); });
  });
  b.connect();
  temperature.report(21.5, [&](const Result<void>& result) { durable += result.ok(); });
  CHECK(durable == 0);   // never inside the call
  b.turn();
  CHECK(durable == 1);
  const auto delta = [&](const char* value, int time) {
    b.edge->say("$hw/events/device/default/thermo-1/twin/update/delta",
                {{"twin", {{"target", {{"expected", {{"value", value}, {"metadata", {{"timestamp", time}}}}}}}}}, {"delta", {{"target", value}}}});
    b.edge->speak();
    b.turn();
  };
  delta("23", 1);
  CHECK(wished == std::vector<int>{23});
  CHECK(durable == 2);
  CHECK(b.edge->published.back().second["twin"]["target"]["metadata"]["type"] == "int");
  std::vector<std::string> errors;
  b.driver->on_error([&](const Error& error) { errors.push_back(error.message); });
  delta("warm", 2);
  delta("99999999999", 3);
  CHECK(wished.size() == 1);
  REQUIRE(errors.size() == 2);
  CHECK(errors[0].find("not an integer") != std::string::npos);
  CHECK(errors[1].find("99999999999") != std::string::npos);
}

TEST_CASE("wrong types, names and batches are refused before anything is sent") {
  Bench b;
  b.connect();
  auto thermo = b.device();
  auto speed = thermo.property<int>("speed");
  std::vector<Error> errors;
  const auto collect = [&](const Result<void>& result) { errors.push_back(result.ok() ? Error{Errc::kInternal, "ok"} : result.error()); };
  thermo.report({{"speed", 3.5}, {"note", "fine"}}, collect);
  thermo.report({{"no good", 1}}, collect);
  thermo.report({}, collect);
  thermo.property("speed", Type::kString).report(std::string("fast"), collect);
  Device(b.driver, {"a/b", "c"}).report({{"x", 1}}, collect);
  Device(b.driver, {"a/b", "c"}).set_state(State::kOnline, collect);
  std::optional<Error> got;
  Device(b.driver, {"", "c"}).get([&](const Result<TwinResult>& twin) { got = twin.error(); });
  b.turn();
  REQUIRE(errors.size() == 6);
  for (const auto& error : errors) CHECK_MESSAGE(error.code == Errc::kInvalidArgument, error.message);
  CHECK(errors[0].message == "device default/thermo-1 speed: declared as int, given a value of type double");
  REQUIRE(got);
  CHECK(got->code == Errc::kInvalidArgument);
  CHECK(b.edge->published.empty());
  CHECK_FALSE(b.log.lines.empty());   // the second declaration
  for (const char* broker : {"", "127.0.0.1", "http://x", "tcp://"}) {
    ClientOptions options;
    options.broker = broker;
    auto other = b.make(options);
    CHECK_FALSE(other->start());
    other->close();
  }
}

TEST_CASE("stop waits for what is under way; whoever is left is told kCancelled; handles may outlive the client") {
  Bench b;
  b.connect();
  auto speed = b.device().property<int>("speed");
  std::vector<bool> answers;
  speed.report(1, [&](const Result<void>& result) { answers.push_back(result.ok()); });
  bool stopped = false;
  b.driver->stop([&] { stopped = true; });
  speed.report(2, [&](const Result<void>& result) { answers.push_back(result.ok()); });
  CHECK(answers == std::vector<bool>{false});   // too late
  b.turn();
  CHECK(stopped);
  CHECK(answers == std::vector<bool>{false, true});
  b.driver->close();
  speed.report(3, [&](const Result<void>& result) { CHECK(result.error().code == Errc::kCancelled); answers.push_back(false); });
  CHECK(answers.size() == 3);

  Bench c;
  c.edge->accepts = false;
  c.connect();
  int cancelled = 0;
  c.device().report({{"x", 1}}, [&](const Result<void>& result) { cancelled += result.error().code == Errc::kCancelled; });
  c.device().get([&](const Result<TwinResult>& twin) { cancelled += twin.error().code == Errc::kCancelled; });
  c.driver->stop([&] { cancelled += 10; });
  c.loop.restart();
  c.loop.run_for(kFlushTimeout + Milliseconds{500});
  CHECK(cancelled == 12);
}

TEST_CASE("every: at once, then at its pace; a handler may end the client") {
  Bench b;
  int turns = 0;
  b.driver->every(Milliseconds{20}, [&] {
    if (++turns == 3) {
      b.driver->close();
      b.edge = nullptr;
    }
  });
  CHECK(b.driver->start());
  b.loop.poll();
  CHECK(turns == 1);
  b.loop.restart();
  b.loop.run_for(Milliseconds{300});
  CHECK(turns == 3);
}
