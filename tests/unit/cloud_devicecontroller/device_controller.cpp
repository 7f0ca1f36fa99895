// DeviceController against a scripted API and a recording link.
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <nlohmann/json.hpp>

#include "cloud/devicecontroller/device_controller.h"
#include "wire/message_codec.h"

using namespace kubeedge;
using nlohmann::json;

namespace {

json golden(const std::string& name) {
  std::ifstream file(std::string(KE_GOLDEN_DIR) + "/dev/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return json::parse(text.str());
}

class FakeKube final : public kube::KubeClient {
 public:
  explicit FakeKube(asio::io_context& l) : loop(l) {}
  struct Call { std::string verb, plural, name; json body; };
  struct Quiet final : kube::Watch {};
  asio::io_context& loop;
  std::map<std::string, std::vector<Bytes>> lists;
  std::map<std::string, unique_function<void(kube::WatchEvent)>> watches;
  std::vector<Call> calls;

  void answer(Done<Bytes> done, Bytes body) {
    auto held = std::make_shared<Done<Bytes>>(std::move(done));
    asio::post(loop, [held, body] { (*held)(body); });
  }
  void get(const kube::Resource&, const std::string&, const std::string&, Done<Bytes> done) override { answer(std::move(done), "{}"); }
  void list(const kube::Resource& r, kube::ListOptions, Done<kube::ObjectList> done) override {
    auto held = std::make_shared<Done<kube::ObjectList>>(std::move(done));
    kube::ObjectList result{"1", lists[r.plural]};
    asio::post(loop, [held, result] { (*held)(result); });
  }
  std::unique_ptr<kube::Watch> watch(const kube::Resource& r, kube::ListOptions, const std::string&, unique_function<void(kube::WatchEvent)> on_event,
                                     unique_function<void(kube::ApiError)>) override {
    watches[r.plural] = std::move(on_event);
    return std::make_unique<Quiet>();
  }
  void record(const char* verb, const kube::Resource& r, const std::string& name, const Bytes& body, Done<Bytes> done) {
    calls.push_back({verb, r.plural, name, json::parse(body.view(), nullptr, false)});
    answer(std::move(done), body);
  }
  void create(const kube::Resource& r, const std::string&, const std::string& n, const std::string&, Bytes b, Done<Bytes> d) override { record("create", r, n, b, std::move(d)); }
  void update(const kube::Resource& r, const std::string&, const std::string& n, const std::string&, Bytes b, Done<Bytes> d) override { record("update", r, n, b, std::move(d)); }
  void patch(const kube::Resource& r, const std::string&, const std::string& n, const std::string&, kube::PatchType, Bytes b, Done<Bytes> d) override { record("patch", r, n, b, std::move(d)); }
  void remove(const kube::Resource& r, const std::string&, const std::string& n, Bytes b, Done<Bytes> d) override { record("remove", r, n, b, std::move(d)); }
};

class FakeLink final : public cloud::EdgeLink {
 public:
  std::vector<Message> sent;
  bool connected(const NodeId&) const override { return true; }
  std::vector<NodeId> connected_nodes() const override { return {}; }
  void send(const NodeId& node, Message m) override { if (node.str() == "edge-1") sent.push_back(std::move(m)); }
  void node_deleted(const NodeId&) override {}
};

Bytes device(const std::string& name, const std::string& model) {
  json spec{{"nodeName", "edge-1"}, {"properties", json::array({{{"name", "temperature"}}})}};
  if (!model.empty()) spec["deviceModelRef"] = {{"name", model}};
  return Bytes(json{{"apiVersion", "devices.kubeedge.io/v1beta1"}, {"kind", "Device"},
                    {"metadata", {{"name", name}, {"namespace", "default"}, {"uid", "uid-" + name}, {"resourceVersion", "10"}, {"labels", {{"description", "demo"}}}}},
                    {"spec", spec}}.dump());
}
Bytes model(const std::string& name) {
  return Bytes(json{{"apiVersion", "devices.kubeedge.io/v1beta1"}, {"kind", "DeviceModel"},
                    {"metadata", {{"name", name}, {"namespace", "default"}, {"uid", "uid-m-" + name}, {"resourceVersion", "5"}}}, {"spec", json::object()}}.dump());
}
Message report() {
  Message m;
  m.id = MessageId("00000000-0000-4000-8000-0000000000aa");
  m.source = "twin";
  m.group = "resource";
  m.operation = "update";
  m.resource = "device/default/th-01/twin/edge_updated";
  m.content = R"({"event_id":"","timestamp":1,"twin":{"temperature":{"expected":{"value":"25","metadata":{"timestamp":1700000000000}},)"
              R"("actual":{"value":"21","metadata":{"timestamp":1700000000000}},"metadata":{"type":"string"}},"unknown":{"actual":{"value":"1"}}}})";
  return m;
}
void settle(asio::io_context& loop) {
  loop.restart();
  loop.run_for(std::chrono::milliseconds(100));
}

}  // namespace

TEST_CASE("membership, model, device; a device without a model disturbs nobody and completes later") {
  asio::io_context loop;
  FakeKube kube(loop);
  FakeLink link;
  kube.lists["devicemodels"] = {model("m")};
  kube.lists["devices"] = {device("bad", ""), device("late", "later"), device("th-01", "m")};
  cloud::DeviceController controller(Runtime(loop.get_executor()), kube, link, {});
  controller.start();
  settle(loop);
  REQUIRE(controller.synced());
  REQUIRE(link.sent.size() == 3);
  json added = json::parse(link.sent[0].content.view()), want = golden("cloud-down-membership-add.json")["content"];
  added["event_id"] = want["event_id"];
  added["timestamp"] = want["timestamp"];
  CHECK(added == want);
  CHECK(link.sent[1].resource == "default/devicemodel/m");
  CHECK(link.sent[2].resource == "default/device/th-01");
  CHECK(link.sent[2].resource_version == "10");
  int events = 0;
  for (const auto& call : kube.calls) events += call.plural == "events";
  CHECK(events == 2);
  kube.watches["devicemodels"]({kube::WatchEventType::kAdded, model("later")});
  settle(loop);
  REQUIRE(link.sent.size() == 6);
  CHECK(link.sent[5].resource == "default/device/late");
}

TEST_CASE("the first report is stored, then confirmed; an equal one is confirmed without a write") {
  asio::io_context loop;
  FakeKube kube(loop);
  FakeLink link;
  kube.lists["devicemodels"] = {model("m")};
  kube.lists["devices"] = {device("th-01", "m")};
  cloud::DeviceController controller(Runtime(loop.get_executor()), kube, link, {});
  controller.start();
  settle(loop);
  link.sent.clear();
  kube.calls.clear();
  controller.on_message(NodeId("edge-2"), report());   // not its device
  controller.on_message(NodeId("edge-1"), report());
  CHECK(link.sent.empty());
  REQUIRE(kube.calls.size() == 1);
  CHECK(kube.calls[0].body == golden("cloud-patch-devicestatus-twins.json"));
  settle(loop);
  REQUIRE(link.sent.size() == 1);
  CHECK(link.sent[0].parent_id.str() == "00000000-0000-4000-8000-0000000000aa");
  CHECK(link.sent[0].content.view() == "\"OK\"");
  CHECK(link.sent[0].group == "twin");
  controller.on_message(NodeId("edge-1"), report());
  CHECK(kube.calls.size() == 1);
  CHECK(link.sent.size() == 2);
}
