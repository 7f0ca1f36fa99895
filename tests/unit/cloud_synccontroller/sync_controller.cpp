// Sync records as ObjectSync and ClusterObjectSync objects (hub-protocol 4.5), against a scripted API.
#include "cloud/synccontroller/sync_controller.h"

#include <doctest/doctest.h>

#include <functional>

#include "../cloud_edgecontroller/scripted_api.h"

using namespace kubeedge;
using namespace kubeedge::cloud_test;

namespace {

class Silence final : public Logger {
  bool enabled(LogLevel) const override { return false; }
  void write(LogLevel, std::string_view, std::string_view) override {}
};

struct World {
  asio::io_context io;
  Silence log;
  Runtime runtime{io.get_executor(), log};
  ScriptedApi api{io};
  std::unique_ptr<cloud::SyncController> sync = std::make_unique<cloud::SyncController>(runtime, api);

  void start() {
    sync->start();
    until([&] { return sync->synced(); });
    settle();
  }
  // Runs what is posted, but waits for no timer.
  void settle() {
    do io.restart();
    while (io.poll() > 0);
  }
  void until(const std::function<bool()>& done) {
    const auto end = runtime.clock().steady() + Milliseconds{10'000};
    while (!done() && runtime.clock().steady() < end) {
      io.run_one_for(Milliseconds{10});
      io.restart();
    }
    CHECK(done());
  }
  void run(Milliseconds longest) {
    io.restart();
    io.run_for(longest);
  }
  // The acknowledged version that the API has, "" without a record.
  std::string stored(const std::string& name) const {
    const json* object = api.find("objectsyncs", "default", name);
    return object == nullptr ? "" : object->value("/status/objectResourceVersion"_json_pointer, "none");
  }
};

const NodeId kNode("edge-1");

cloud::SyncRecord web(const std::string& version, const std::string& uid = "uid-web") {
  return {"default", "v1", "Pod", "web", uid, version};
}
cloud::SyncRecord node_record(const std::string& version) { return {"null", "v1", "Node", "edge-1", "uid-node", version}; }

json object_sync(const std::string& node, const std::string& uid, const std::string& version) {
  json object{{"apiVersion", "reliablesyncs.kubeedge.io/v1alpha1"},
              {"kind", "ObjectSync"},
              {"metadata", {{"name", node + "." + uid}, {"namespace", "default"}}},
              {"spec", {{"objectAPIVersion", "v1"}, {"objectKind", "Pod"}, {"objectName", "web"}}}};
  if (!version.empty()) object["status"] = {{"objectResourceVersion", version}};
  return object;
}

}  // namespace

TEST_CASE("an acknowledged object becomes an ObjectSync in its namespace, then its version by the status subresource") {
  World world;
  world.start();
  world.sync->acknowledged(kNode, web("200"));
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "200");  // at once
  world.until([&] { return world.stored("edge-1.uid-web") == "200"; });
  json made = *world.api.find("objectsyncs", "default", "edge-1.uid-web");
  CHECK(made["spec"] == json{{"objectAPIVersion", "v1"}, {"objectKind", "Pod"}, {"objectName", "web"}});
  REQUIRE(world.api.calls.size() == 2);
  CHECK(world.api.calls[0].verb == "create");
  CHECK_FALSE(world.api.calls[0].body.contains("status"));
  CHECK(world.api.calls[1].verb == "patch");
  CHECK(world.api.calls[1].subresource == "status");
}

TEST_CASE("a cluster-scoped object becomes a ClusterObjectSync") {
  World world;
  world.start();
  world.sync->acknowledged(kNode, node_record("103"));
  world.until([&] { return world.api.count("patch", "clusterobjectsyncs") == 1; });
  const json* made = world.api.find("clusterobjectsyncs", "", "edge-1.uid-node");
  REQUIRE(made != nullptr);
  CHECK((*made)["kind"] == "ClusterObjectSync");
  CHECK_FALSE((*made)["metadata"].contains("namespace"));
  CHECK((*made)["status"]["objectResourceVersion"] == "103");
  CHECK(world.api.size("objectsyncs") == 0);
}

TEST_CASE("several acknowledgements in short time are one write") {
  World world;
  world.start();
  for (int version = 1; version <= 50; ++version) world.sync->acknowledged(kNode, web(std::to_string(version)));
  world.until([&] { return world.stored("edge-1.uid-web") == "50"; });
  world.run(Milliseconds{250});
  CHECK(world.api.count("create", "objectsyncs") == 1);
  CHECK(world.api.count("patch", "objectsyncs") == 1);
}

TEST_CASE("records of an earlier life are read: their node, object and version, also of a node with dots in its name") {
  World world;
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "200"));
  world.api.put("objectsyncs", object_sync("edge.site.example", "uid-other", "7"));
  world.api.put("objectsyncs", object_sync("edge-1", "uid-fresh", ""));  // made, never acknowledged
  json node = object_sync("edge-1", "uid-node", "103");
  node["kind"] = "ClusterObjectSync";
  node["metadata"].erase("namespace");
  node["spec"] = {{"objectAPIVersion", "v1"}, {"objectKind", "Node"}, {"objectName", "edge-1"}};
  world.api.put("clusterobjectsyncs", node);
  json nonsense = object_sync("edge-1", "uid-x", "1");
  nonsense["metadata"]["name"] = "no-dot";
  world.api.put("objectsyncs", nonsense);
  CHECK_FALSE(world.sync->synced());
  world.start();
  CHECK(world.sync->nodes() == std::vector<NodeId>{kNode, NodeId("edge.site.example")});
  const auto record = world.sync->find(kNode, "uid-web");
  REQUIRE(record);
  CHECK(record->ns == "default");
  CHECK(record->api_version == "v1");
  CHECK(record->kind == "Pod");
  CHECK(record->name == "web");
  CHECK(record->uid == "uid-web");
  CHECK(record->resource_version == "200");
  CHECK(world.sync->find(kNode, "uid-fresh")->resource_version == "0");
  CHECK(world.sync->find(kNode, "uid-node")->ns == "null");
  CHECK(world.sync->find(NodeId("edge.site.example"), "uid-other")->resource_version == "7");
  CHECK_FALSE(world.sync->find(kNode, "uid-other"));
  CHECK(world.sync->all(kNode).size() == 3);
  CHECK(world.api.calls.empty());
}

TEST_CASE("C28: a node's name is no prefix of another's: its records are its own") {
  World world;
  for (const char* node : {"edge", "edge-1", "edge.1"}) world.api.put("objectsyncs", object_sync(node, "uid", "1"));
  world.start();
  CHECK(world.sync->all(NodeId("edge")).size() == 1);
  bool cleared = false;
  world.sync->clear(NodeId("edge"), [&] { cleared = true; });
  world.until([&] { return cleared; });
  CHECK(world.api.find("objectsyncs", "default", "edge.uid") == nullptr);
  CHECK(world.api.size("objectsyncs") == 2);
}

TEST_CASE("a removed record is gone at once, and from the API soon") {
  World world;
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "200"));
  world.start();
  world.sync->removed(kNode, "uid-web");
  world.sync->removed(kNode, "uid-of-nobody");
  CHECK_FALSE(world.sync->find(kNode, "uid-web"));
  CHECK(world.sync->all(kNode).empty());
  CHECK(world.sync->nodes().empty());
  world.until([&] { return world.api.size("objectsyncs") == 0; });
  CHECK(world.api.count("remove", "objectsyncs") == 1);
}

TEST_CASE("a record that was never written is removed without a word to the API") {
  World world;
  world.start();
  world.sync->acknowledged(kNode, web("200"));
  world.sync->removed(kNode, "uid-web");
  world.run(Milliseconds{250});
  CHECK(world.api.calls.empty());
}

TEST_CASE("clear: done when the API has none left; at once where there are none") {
  World world;
  for (int i = 0; i < 40; ++i) world.api.put("objectsyncs", object_sync("edge-1", "uid-" + std::to_string(i), "1"));
  world.api.put("objectsyncs", object_sync("edge-2", "uid-0", "1"));
  world.start();
  bool first = false, second = false, none = false;
  world.sync->clear(kNode, [&] { first = true; });
  world.sync->clear(kNode, [&] { second = true; });
  world.sync->clear(NodeId("ghost"), [&] { none = true; });
  CHECK_FALSE(none);  // never from inside the call
  CHECK(world.sync->all(kNode).empty());
  world.until([&] { return first && second && none; });
  CHECK(world.api.size("objectsyncs") == 1);
  CHECK(world.sync->find(NodeId("edge-2"), "uid-0"));
}

TEST_CASE("C28: a node that joins again while its old records are cleared keeps its new ones") {
  World world;
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "200"));
  world.start();
  bool cleared = false;
  world.sync->clear(kNode, [&] { cleared = true; });
  world.sync->acknowledged(kNode, web("201"));           // the same object, sent again
  world.sync->acknowledged(kNode, web("1", "uid-new"));  // and one under a new UID
  world.until([&] { return cleared && world.stored("edge-1.uid-web") == "201" && world.stored("edge-1.uid-new") == "1"; });
  world.run(Milliseconds{250});
  CHECK(world.stored("edge-1.uid-web") == "201");
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "201");
}

TEST_CASE("a removal under way and an acknowledgement: the last word stands") {
  World world;
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "200"));
  world.start();
  world.sync->removed(kNode, "uid-web");
  world.until([&] { return world.api.count("remove", "objectsyncs") == 1; });  // asked, perhaps not answered
  world.sync->acknowledged(kNode, web("205"));
  world.until([&] { return world.stored("edge-1.uid-web") == "205"; });
  world.sync->removed(kNode, "uid-web");
  world.until([&] { return world.api.size("objectsyncs") == 0; });
  world.run(Milliseconds{250});
  CHECK(world.api.size("objectsyncs") == 0);
  CHECK_FALSE(world.sync->find(kNode, "uid-web"));
}

TEST_CASE("a record that is there already, made by another cloudcore, is taken over") {
  World world;
  world.start();
  world.api.failures["create objectsyncs"] = {ScriptedApi::error(409, "AlreadyExists", "exists")};
  world.sync->acknowledged(kNode, web("200"));
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "150"));
  world.until([&] { return world.stored("edge-1.uid-web") == "200"; });
  CHECK(world.api.count("patch", "objectsyncs") == 1);
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "200");
}

TEST_CASE("a record that somebody deleted is made again at the next acknowledgement") {
  World world;
  world.start();
  world.sync->acknowledged(kNode, web("200"));
  world.until([&] { return world.stored("edge-1.uid-web") == "200"; });
  SUBCASE("told by the watch: the object counts as not sent") {
    world.api.erase("objectsyncs", "default", "edge-1.uid-web");
    world.settle();
    CHECK_FALSE(world.sync->find(kNode, "uid-web"));
    world.sync->acknowledged(kNode, web("201"));
  }
  SUBCASE("found out by the write") {
    world.sync->acknowledged(kNode, web("201"));
    world.api.failures["patch objectsyncs"] = {ScriptedApi::error(404, "NotFound", "gone")};
    world.api.erase("objectsyncs", "default", "edge-1.uid-web");
  }
  world.until([&] { return world.stored("edge-1.uid-web") == "201"; });
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "201");
}

TEST_CASE("another cloudcore's newer record is followed") {
  World world;
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "200"));
  world.start();
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "300"));
  world.settle();
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "300");
}

TEST_CASE("an event that is older than what is about to be written changes nothing") {
  World world;
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "200"));
  world.start();
  world.sync->acknowledged(kNode, web("400"));
  world.api.put("objectsyncs", object_sync("edge-1", "uid-web", "300"));
  world.settle();
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "400");
  world.until([&] { return world.stored("edge-1.uid-web") == "400"; });
}

TEST_CASE("a record whose namespace is gone is forgotten: its object went with it") {
  World world;
  world.start();
  world.api.failures["create objectsyncs"] = {ScriptedApi::error(404, "NotFound", "namespaces \"default\" not found")};
  world.sync->acknowledged(kNode, web("200"));
  world.until([&] { return !world.sync->find(kNode, "uid-web"); });
  world.run(Milliseconds{250});
  CHECK(world.api.count("create", "objectsyncs") == 1);
}

TEST_CASE("a write that fails is tried again, and holds up no other") {
  World world;
  world.start();
  world.api.failures["create objectsyncs"] = {ScriptedApi::error(0, "", "time-out")};
  world.sync->acknowledged(kNode, web("200"));
  world.sync->acknowledged(kNode, web("5", "uid-other"));
  world.until([&] { return world.stored("edge-1.uid-other") == "5"; });
  CHECK(world.stored("edge-1.uid-web").empty());
  CHECK(world.sync->find(kNode, "uid-web")->resource_version == "200");  // meanwhile it is known
  world.until([&] { return world.stored("edge-1.uid-web") == "200"; });
}

TEST_CASE("no more than kMaxSyncWrites writes are under way at once") {
  World world;
  world.start();
  constexpr int kObjects = 200;
  for (int i = 0; i < kObjects; ++i) world.sync->acknowledged(kNode, web("1", "uid-" + std::to_string(i)));
  std::size_t most = 0, before = 0;
  world.until([&] {
    most = std::max(most, world.api.calls.size() - before);
    before = world.api.calls.size();
    return world.api.count("patch", "objectsyncs") == kObjects;
  });
  CHECK(most <= cloud::kMaxSyncWrites);
  CHECK(world.api.size("objectsyncs") == kObjects);
}

TEST_CASE("a controller may end with writes under way") {
  World world;
  world.start();
  world.sync->acknowledged(kNode, web("200"));
  bool cleared = false;
  world.sync->clear(NodeId("ghost"), [&] { cleared = true; });
  world.until([&] { return world.api.count("create", "objectsyncs") == 1; });
  world.sync.reset();
  world.run(Milliseconds{250});
}
