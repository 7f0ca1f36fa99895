#include "edge/twin/device_twin.h"

#include <unistd.h>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"

using namespace kubeedge;
using namespace kubeedge::edge;

namespace {

struct TempFile {
  std::string path = "/tmp/ke-devicetwin-" + base::random_hex(6) + ".db";
  ~TempFile() {
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path + suffix).c_str());
  }
};

struct Output final : TwinOutput {
  void publish(std::string topic, Bytes payload) override { all.emplace_back(std::move(topic), payload.str()); }
  std::vector<std::pair<std::string, std::string>> all;
};

struct Link final : CloudLink {
  bool up() const override { return is_up; }
  void send(Message message) override { sent.push_back(std::move(message)); }
  void request(Message, Milliseconds, unique_function<void(Result<Message>)> done) override { done(Error{Errc::kUnavailable, "fake"}); }
  bool is_up = false;
  std::vector<Message> sent;
};

struct Node {
  explicit Node(const std::string& path) {
    auto opened = store::Store::open(runtime, path, device_twin_schema());
    REQUIRE(opened);
    db = std::move(*opened);
    auto made = DeviceTwin::create(runtime, *db, link, {NodeId("edge-1")});
    REQUIRE(made);
    twin = std::move(*made);
    twin->set_output(&output);
  }
  void run() {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(150));
  }
  asio::io_context loop;
  Runtime runtime{loop.get_executor()};
  std::unique_ptr<store::Store> db;
  Link link;
  Output output;
  std::unique_ptr<DeviceTwin> twin;
};

Message down(std::string resource, std::string content, MessageId parent = {}) {
  Message message;
  message.source = "devicecontroller";
  message.group = "twin";
  message.operation = parent.empty() ? "update" : "response";
  message.parent_id = std::move(parent);
  message.resource = std::move(resource);
  message.content = std::move(content);
  return message;
}

constexpr const char* kDevice =
    R"({"metadata":{"namespace":"dev","name":"pump","generation":1},"spec":{"deviceModelRef":{"name":"m"},"properties":[{"name":"rpm","desired":{"value":"1480"}}]}})";

}  // namespace

TEST_CASE("the embedded API: report is durable, desired values come once, the cloud gets the rest after a restart") {
  TempFile file;
  const DeviceId pump{"dev", "pump"};
  {
    Node node(file.path);
    std::vector<TwinDelta> desired;
    node.twin->on_desired([&](const DeviceId& id, const TwinDelta& delta) {
      CHECK(id == pump);
      desired.push_back(delta);
    });
    node.twin->start();
    bool unknown = false;
    node.twin->report(pump, {{"rpm", "1"}}, [&](Result<TwinResult> result) { unknown = !result && result.error().code == Errc::kNotFound; });
    CHECK(unknown);
    node.twin->on_device(kDevice);
    CHECK(node.output.all.empty());   // nothing before the commit
    node.run();
    REQUIRE(desired.size() == 1);
    CHECK(desired[0] == TwinDelta{{"rpm", "1480"}});

    std::vector<std::string> order;
    node.twin->report(pump, {{"rpm", "1500"}}, [&](Result<TwinResult> result) {
      REQUIRE(result);
      CHECK(result->at("rpm").actual == "1500");
      CHECK(result->at("rpm").expected == "1480");
      order.push_back("first");
    });
    node.twin->report(pump, {{"rpm", "1500"}}, [&](Result<TwinResult>) { order.push_back("equal"); });
    CHECK(order.empty());   // the equal one waits for the commit it repeats
    node.run();
    CHECK(order == std::vector<std::string>{"first", "equal"});
    bool bad = false, set = false;
    node.twin->set_state(pump, "busy", [&](Result<void> result) { bad = !result.ok(); });
    node.twin->set_state(pump, "online", [&](Result<void> result) { set = result.ok(); });
    node.run();
    CHECK(bad);
    CHECK(set);
    CHECK(desired.size() == 1);
    CHECK(node.link.sent.empty());
  }
  Node node(file.path);
  std::vector<TwinDelta> desired;
  node.twin->on_desired([&](const DeviceId&, const TwinDelta& delta) { desired.push_back(delta); });
  node.twin->start();
  node.run();
  CHECK(desired.size() == 1);   // what stands is told at start
  REQUIRE(node.twin->get(pump));
  CHECK(node.twin->get(pump)->at("rpm").actual == "1500");
  node.link.is_up = true;
  node.twin->on_link(true);
  REQUIRE(node.link.sent.size() == 3);
  CHECK(node.link.sent[0].resource == "membership/detail");
  CHECK(node.link.sent[1].resource == "device/dev/pump/state/update");
  CHECK(node.link.sent[2].resource == "device/dev/pump/twin/edge_updated");
  const auto before = node.output.all.size();
  node.twin->on_broker_up();
  CHECK(node.output.all.size() == before + 1);
  while (node.link.sent.size() > 1) {
    const MessageId id = node.link.sent.back().id;
    node.link.sent.pop_back();
    node.twin->on_message(down("twin", R"("OK")", id));
  }
  node.loop.restart();
  node.loop.run_for(std::chrono::milliseconds(1300));   // the tick writes what was confirmed
  CHECK(node.db->query({"SELECT * FROM ke_dirty", {}})->empty());

  node.twin->on_message(down("membership", R"("{\"added_devices\":null,\"removed_devices\":[{\"id\":\"dev/pump\",\"name\":\"pump\"}]}")"));
  node.twin->on_message(down("membership", "7"));
  node.twin->on_message(down("nonsense", "{}"));
  node.run();
  CHECK_FALSE(node.twin->get(pump));
}

TEST_CASE("a change that cannot be stored is answered with 500 and is not there") {
  TempFile file;
  Node node(file.path);
  node.twin->start();
  node.twin->on_device(kDevice);
  node.run();
  bool broken = false;
  node.db->write({{"CREATE TEMP TRIGGER full BEFORE UPDATE ON main.device_twin BEGIN SELECT RAISE(ABORT, 'disk full'); END", {}}}, [&](Result<void> r) { broken = r.ok(); });
  node.run();
  REQUIRE(broken);
  node.output.all.clear();
  int failed = 0;
  const auto count = [&](Result<TwinResult> result) { failed += !result.ok(); };
  node.twin->report({"dev", "pump"}, {{"rpm", "7"}}, [&](Result<TwinResult> result) {
    count(std::move(result));
    node.twin->report({"dev", "pump"}, {{"rpm", "7"}}, count);   // when it is known that the store is full
  });
  node.twin->report({"dev", "pump"}, {{"rpm", "7"}}, count);     // equal to what is not stored: nothing to write, and no success
  node.run();
  CHECK(failed == 3);
  REQUIRE(node.output.all.size() == 3);
  for (const auto& [topic, payload] : node.output.all) CHECK(payload.find("\"code\":500") != std::string::npos);
  CHECK_FALSE(node.twin->get({"dev", "pump"})->at("rpm").actual);

  node.db->write({{"DROP TRIGGER full", {}}}, [](Result<void>) {});
  node.twin->report({"dev", "pump"}, {{"rpm", "7"}}, count);
  node.run();
  CHECK(failed == 3);
  CHECK(node.twin->get({"dev", "pump"})->at("rpm").actual == "7");
}
