// EdgeController against a scripted API: the rows of hub-protocol 5.1 and 5.2, with the recorded messages.
#include "cloud/edgecontroller/edge_controller.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "scripted_api.h"

using namespace kubeedge;
using namespace kubeedge::cloud_test;

namespace {

class FakeLink final : public cloud::EdgeLink {
 public:
  struct Sent {
    std::string node;
    Message message;
  };
  std::vector<Sent> sent;
  std::set<std::string> online{"edge-1", "edge-2"};
  std::vector<std::string> deleted;

  bool connected(const NodeId& node) const override { return online.contains(node.str()); }
  std::vector<NodeId> connected_nodes() const override {
    std::vector<NodeId> nodes;
    for (const auto& name : online) nodes.emplace_back(name);
    return nodes;
  }
  void send(const NodeId& node, Message message) override { sent.push_back({node.str(), std::move(message)}); }
  void node_deleted(const NodeId& node) override { deleted.push_back(node.str()); }
};

class FakeRecords final : public cloud::SyncRecords {
 public:
  std::map<NodeId, std::map<std::string, cloud::SyncRecord>> records;
  void add(const std::string& node, const std::string& kind, const std::string& name, const std::string& uid, const std::string& version) {
    records[NodeId(node)][uid] = {kind == "Node" ? "null" : "default", "v1", kind, name, uid, version};
  }

  bool synced() const override { return true; }
  std::vector<NodeId> nodes() const override {
    std::vector<NodeId> nodes;
    for (const auto& [node, of] : records)
      if (!of.empty()) nodes.push_back(node);
    return nodes;
  }
  std::optional<cloud::SyncRecord> find(const NodeId& node, const std::string& uid) const override {
    const auto of = records.find(node);
    if (of == records.end() || !of->second.contains(uid)) return std::nullopt;
    return of->second.at(uid);
  }
  std::vector<cloud::SyncRecord> all(const NodeId& node) const override {
    std::vector<cloud::SyncRecord> all;
    if (const auto of = records.find(node); of != records.end())
      for (const auto& [uid, record] : of->second) all.push_back(record);
    return all;
  }
  void offered(const NodeId& node, cloud::SyncRecord record) override {
    record.resource_version = "0";
    records[node].try_emplace(record.uid, record);
  }
  void acknowledged(const NodeId& node, cloud::SyncRecord record) override { records[node][record.uid] = record; }
  void removed(const NodeId& node, const std::string& uid) override { records[node].erase(uid); }
  void reset(const NodeId& node, unique_function<void()> done) override {
    for (auto& [uid, record] : records[node]) record.resource_version = "0";
    done();
  }
  void clear(const NodeId& node, unique_function<void()> done) override {
    records[node].clear();
    done();
  }
};

class Silence final : public Logger {
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel, std::string_view, std::string_view line) override { lines.emplace_back(line); }

 public:
  std::vector<std::string> lines;
};

struct World {
  asio::io_context io;
  Silence log;
  Runtime runtime{io.get_executor(), log};
  ScriptedApi api{io};
  FakeLink link;
  FakeRecords records;
  cloud::EdgeController controller{runtime, api, link, records};

  void start() {
    controller.start();
    settle();
    link.sent.clear();
  }
  // Runs what is posted, but waits for no timer.
  void settle() {
    do io.restart();
    while (io.poll() > 0);
  }
  // What the last change, or message, sent to whom: "edge-1 insert default/pod/web".
  std::vector<std::string> told() {
    settle();
    std::vector<std::string> lines;
    for (const auto& [node, message] : link.sent) lines.push_back(node + " " + message.operation + " " + message.resource);
    std::sort(lines.begin(), lines.end());
    link.sent.clear();
    return lines;
  }
  Message only() {
    settle();
    REQUIRE(link.sent.size() == 1);
    Message message = std::move(link.sent[0].message);
    link.sent.clear();
    return message;
  }
  // The answer to an edge's request, checked to be one.
  Message ask(const Message& request, const std::string& node = "edge-1") {
    controller.on_message(NodeId(node), request);
    Message answer = only();
    CHECK(answer.parent_id == request.id);
    CHECK(answer.operation == "response");
    CHECK(answer.source == "edgecontroller");
    CHECK(answer.group == "resource");
    CHECK(answer.resource == request.resource);
    CHECK(answer.id != request.id);
    return answer;
  }
};

using Lines = std::vector<std::string>;

// All that is the same in every run.
void check_equal(const Message& got, const Message& wanted) {
  CHECK(got.parent_id == wanted.parent_id);
  CHECK(got.resource_version == wanted.resource_version);
  CHECK(got.source == wanted.source);
  CHECK(got.group == wanted.group);
  CHECK(got.operation == wanted.operation);
  CHECK(got.resource == wanted.resource);
  CHECK(content_of(got) == content_of(wanted));
}

}  // namespace

// ---- down (5.1)

TEST_CASE("a pod goes to its node as it was recorded: insert, update, delete") {
  World world;
  world.start();
  const Message insert = recorded("ws-down-10-pod-insert");
  json pod = content_of(insert);
  world.api.put("pods", pod);
  check_equal(world.only(), insert);

  pod["spec"]["containers"][0]["image"] = "nginx:2";
  pod["metadata"]["resourceVersion"] = "205";
  world.api.put("pods", pod);
  const Message update = world.only();
  CHECK(update.operation == "update");
  CHECK(update.resource_version == "205");
  CHECK(content_of(update) == pod);

  world.api.put("pods", content_of(insert));  // as the recording has it
  world.only();
  world.api.version(210);
  world.api.erase("pods", "default", "web");
  check_equal(world.only(), recorded("ws-down-11-pod-delete"));
}

TEST_CASE("of a pod only what its edge acts on is told") {
  World world;
  world.api.put("pods", pod("web", "edge-1"));
  world.start();
  json changed = *world.api.find("pods", "default", "web");
  const auto put = [&](const std::function<void(json&)>& edit) {
    edit(changed);
    changed["metadata"].erase("resourceVersion");
    world.api.put("pods", changed);
    return world.told();
  };
  CHECK(put([](json& p) { p["status"] = {{"phase", "Running"}}; }).empty());
  CHECK(put([](json& p) { p["metadata"]["generation"] = 7; }).empty());
  CHECK(put([](json& p) { p["metadata"]["managedFields"] = json::array({{{"manager", "kubectl"}}}); }).empty());
  CHECK(put([](json& p) { p["metadata"]["labels"] = {{"a", "b"}}; }) == Lines{"edge-1 update default/pod/web"});
  CHECK(put([](json& p) { p["metadata"]["annotations"] = {{"a", "b"}}; }) == Lines{"edge-1 update default/pod/web"});
  CHECK(put([](json& p) { p["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z"; }) == Lines{"edge-1 update default/pod/web"});
}

TEST_CASE("managedFields stay in the cloud") {
  World world;
  world.start();
  json web = pod("web", "edge-1");
  web["metadata"]["managedFields"] = json::array({{{"manager", "kubectl"}}});
  world.api.put("pods", web);
  CHECK_FALSE(content_of(world.only())["metadata"].contains("managedFields"));
}

TEST_CASE("a pod that is bound later is inserted then; one that ends already is an update") {
  World world;
  world.start();
  world.api.put("pods", pod("web", ""));
  CHECK(world.told().empty());
  json bound = *world.api.find("pods", "default", "web");
  bound["spec"]["nodeName"] = "edge-2";
  world.api.put("pods", bound);
  CHECK(world.told() == Lines{"edge-2 insert default/pod/web"});

  json ending = pod("old", "edge-1");
  ending["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z";
  world.api.put("pods", ending);
  CHECK(world.told() == Lines{"edge-1 update default/pod/old"});
}

TEST_CASE("C29: a pod made again under its name is a delete of the old UID and an insert of the new one, in that order") {
  World world;
  world.api.put("pods", pod("web-0", "edge-1"));
  world.start();
  const json old = *world.api.find("pods", "default", "web-0");
  json fresh = pod("web-0", "edge-1");
  SUBCASE("with the delete told") {
    world.api.erase("pods", "default", "web-0");
    world.api.put("pods", fresh);
  }
  SUBCASE("with the delete not told") { world.api.put("pods", fresh); }
  world.settle();
  REQUIRE(world.link.sent.size() == 2);
  const Message first = world.link.sent[0].message, second = world.link.sent[1].message;
  CHECK(first.operation == "delete");
  CHECK(content_of(first)["metadata"]["uid"] == old["metadata"]["uid"]);
  CHECK(second.operation == "insert");
  CHECK(content_of(second)["metadata"]["uid"] != old["metadata"]["uid"]);
  world.link.sent.clear();

  // The old one's delete comes once more, late: it touches nobody.
  world.api.tell_deleted("pods", old);
  CHECK(world.told().empty());
  std::vector<Message> all;
  world.controller.snapshot(NodeId("edge-1"), all);
  REQUIRE(all.size() == 1);
  CHECK(content_of(all[0])["metadata"]["uid"] == content_of(second)["metadata"]["uid"]);
}

TEST_CASE("an edge node is told its own Node, not its status; other nodes are nobody's") {
  World world;
  world.start();
  const Message recording = recorded("ws-down-25-node-update");
  json node = content_of(recording);
  world.api.put("nodes", node);
  const Message update = world.only();
  CHECK(update.operation == "update");
  CHECK(update.resource == "null/node/edge-1");
  CHECK(content_of(update) == node);

  node["status"]["capacity"]["cpu"] = "4";
  world.api.put("nodes", node);
  CHECK(world.told().empty());
  node["metadata"]["annotations"] = {{"a", "b"}};
  world.api.put("nodes", node);
  CHECK(world.told() == Lines{"edge-1 update null/node/edge-1"});

  json server = edge_node("server");
  server["metadata"]["labels"] = {{"node-role.kubernetes.io/control-plane", ""}};
  world.api.put("nodes", server);
  CHECK(world.told().empty());
}

TEST_CASE("a deleted Node ends its session and its records; so does one that is no edge node any more") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  world.api.put("nodes", edge_node("edge-2"));
  world.start();
  world.api.erase("nodes", "", "edge-1");
  CHECK(world.told().empty());
  CHECK(world.link.deleted == std::vector<std::string>{"edge-1"});
  json plain = *world.api.find("nodes", "", "edge-2");
  plain["metadata"]["labels"] = json::object();
  world.api.put("nodes", plain);
  CHECK(world.told().empty());
  CHECK(world.link.deleted == std::vector<std::string>{"edge-1", "edge-2"});
}

TEST_CASE("a configmap goes to the nodes whose pods name it: insert, update, delete; a secret: update, update, delete") {
  World world;
  world.api.put("pods", pod("a", "edge-1", volume_of("cfg")));
  world.api.put("pods", pod("b", "edge-2", volume_of("cfg")));
  world.api.put("pods", pod("c", "edge-1", {{"imagePullSecrets", json::array({{{"name", "s"}}})}}));
  world.start();
  const auto change = [](json object, const char* field) {
    object["metadata"]["labels"][field] = "changed";
    object["metadata"].erase("resourceVersion");
    return object;
  };
  world.api.put("configmaps", config_map("cfg", "1"));
  CHECK(world.told() == Lines{"edge-1 insert default/configmap/cfg", "edge-2 insert default/configmap/cfg"});
  world.api.put("configmaps", change(*world.api.find("configmaps", "default", "cfg"), "x"));
  CHECK(world.told() == Lines{"edge-1 update default/configmap/cfg", "edge-2 update default/configmap/cfg"});
  world.api.erase("configmaps", "default", "cfg");
  CHECK(world.told() == Lines{"edge-1 delete default/configmap/cfg", "edge-2 delete default/configmap/cfg"});
  world.api.put("configmaps", config_map("other", "1"));
  CHECK(world.told().empty());

  const Message recording = recorded("ws-down-21-secret-update");
  world.api.put("secrets", content_of(recording));
  check_equal(world.only(), recording);
  world.api.put("secrets", change(*world.api.find("secrets", "default", "s"), "x"));
  CHECK(world.told() == Lines{"edge-1 update default/secret/s"});
  world.api.erase("secrets", "default", "s");
  CHECK(world.told() == Lines{"edge-1 delete default/secret/s"});
}

TEST_CASE("every place where a pod can name a configmap or a secret counts") {
  const json environment = {{"envFrom", json::array({{{"configMapRef", {{"name", "c"}}}}, {{"secretRef", {{"name", "s"}}}}})}};
  const json values = {{"env", json::array({{{"name", "A"}, {"valueFrom", {{"configMapKeyRef", {{"name", "c"}, {"key", "k"}}}}}},
                                            {{"name", "B"}, {"valueFrom", {{"secretKeyRef", {{"name", "s"}, {"key", "p"}}}}}},
                                            {{"name", "C"}, {"value", "plain"}}})}};
  std::vector<json> specs;
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"})
    for (const json& container : {environment, values}) specs.push_back({{list, json::array({container})}});
  specs.push_back(
      {{"volumes", json::array({{{"configMap", {{"name", "c"}}}}, {{"secret", {{"secretName", "s"}}}}, {{"emptyDir", json::object()}}})}});
  specs.push_back(
      {{"volumes",
        json::array({{{"projected", {{"sources", json::array({{{"configMap", {{"name", "c"}}}}, {{"secret", {{"name", "s"}}}}})}}}}})}});
  for (const json& spec : specs) {
    CAPTURE(spec.dump());
    World world;
    world.api.put("pods", pod("web", "edge-1", spec));
    world.start();
    world.api.put("configmaps", config_map("c", "1"));
    world.api.put("secrets", secret("s", "cHc="));
    CHECK(world.told() == Lines{"edge-1 insert default/configmap/c", "edge-1 update default/secret/s"});
  }
}

TEST_CASE("a configmap of another namespace is another configmap") {
  World world;
  world.api.put("pods", pod("web", "edge-1", volume_of("cfg")));
  world.start();
  json foreign = config_map("cfg", "1");
  foreign["metadata"]["namespace"] = "other";
  world.api.put("configmaps", foreign);
  CHECK(world.told().empty());
}

TEST_CASE("what no pod names any more follows only on nodes that hold it") {
  World world;
  world.api.put("configmaps", config_map("cfg", "1"));
  world.api.put("pods", pod("a", "edge-1", volume_of("cfg")));
  world.api.put("pods", pod("b", "edge-2", volume_of("cfg")));
  world.start();
  const std::string uid = (*world.api.find("configmaps", "default", "cfg"))["metadata"]["uid"];
  world.records.add("edge-1", "ConfigMap", "cfg", uid, "1");  // edge-2 never asked for it
  world.api.erase("pods", "default", "a");
  world.api.erase("pods", "default", "b");
  world.told();

  // edge-1 would start the next pod with its old copy (scale to 0, edit, scale to 1).
  json edited = config_map("cfg", "2");
  edited["metadata"]["uid"] = uid;
  world.api.put("configmaps", edited);
  CHECK(world.told() == Lines{"edge-1 update default/configmap/cfg"});
  world.api.erase("configmaps", "default", "cfg");
  CHECK(world.told() == Lines{"edge-1 delete default/configmap/cfg"});
}

// ---- at connect (4.6)

TEST_CASE("a node's snapshot is its Node and its pods: inserts, or updates of what it has a record of") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  world.api.put("nodes", edge_node("edge-2"));
  world.api.put("pods", pod("known", "edge-1"));
  world.api.put("pods", pod("new", "edge-1"));
  json ending = pod("ending", "edge-1");
  ending["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z";
  world.api.put("pods", ending);
  world.api.put("pods", pod("foreign", "edge-2"));
  CHECK_FALSE(world.controller.synced());
  world.start();
  CHECK(world.controller.synced());
  const json known = *world.api.find("pods", "default", "known");
  world.records.add("edge-1", "Pod", "known", known["metadata"]["uid"], "1");

  std::vector<Message> messages;
  world.controller.snapshot(NodeId("edge-1"), messages);
  Lines lines;
  for (const Message& message : messages) {
    lines.push_back(message.operation + " " + message.resource);
    CHECK(message.resource_version == content_of(message)["metadata"]["resourceVersion"]);
    CHECK(message.source == "edgecontroller");
    CHECK(message.group == "resource");
  }
  CHECK(lines == Lines{"update null/node/edge-1", "update default/pod/ending", "update default/pod/known", "insert default/pod/new"});
  messages.clear();
  world.controller.snapshot(NodeId("ghost"), messages);
  CHECK(messages.empty());
}

TEST_CASE("what became of a recorded object: gone, or its newest state") {
  using Fate = cloud::NodeSnapshot::Fate;
  World world;
  world.api.put("configmaps", config_map("cfg", "1"));
  world.api.put("secrets", secret("s", "cHc="));
  world.start();
  const NodeId node("edge-1");
  const auto fate = [&](const std::string& kind, const std::string& name, const std::string& uid, Message& message) {
    return world.controller.fate(node, {"default", "v1", kind, name, uid, "1"}, message);
  };
  Message message;
  const std::string uid = (*world.api.find("configmaps", "default", "cfg"))["metadata"]["uid"];
  CHECK(fate("ConfigMap", "cfg", uid, message) == Fate::kCurrent);
  CHECK(message.operation == "update");
  CHECK(message.resource == "default/configmap/cfg");
  CHECK(content_of(message)["data"]["k"] == "1");
  CHECK(fate("ConfigMap", "cfg", "uid-of-an-older-one", message) == Fate::kGone);
  CHECK(fate("ConfigMap", "ghost", "uid-g", message) == Fate::kGone);
  CHECK(fate("Secret", "s", (*world.api.find("secrets", "default", "s"))["metadata"]["uid"], message) == Fate::kCurrent);
  CHECK(message.resource == "default/secret/s");
  CHECK(fate("Pod", "ghost", "uid-p", message) == Fate::kGone);
  CHECK(fate("Device", "d", "uid-d", message) == Fate::kNotMine);
  CHECK(fate("Service", "svc", "uid-s", message) == Fate::kNotMine);
}

TEST_CASE("C27: a configmap made again under its name while the node was away replaces the node's copy") {
  World world;
  world.api.put("configmaps", config_map("cfg", "new"));
  world.api.put("configmaps", config_map("unused", "new"));
  world.api.put("pods", pod("web", "edge-1", volume_of("cfg")));
  world.start();
  world.records.add("edge-1", "ConfigMap", "cfg", "uid-old", "1");
  world.records.add("edge-1", "ConfigMap", "unused", "uid-old-too", "1");
  std::vector<Message> messages;
  world.controller.snapshot(NodeId("edge-1"), messages);
  Lines lines;
  for (const Message& message : messages) lines.push_back(message.operation + " " + message.resource);
  // Before the pod, which may start at once. What no pod names is only deleted.
  CHECK(lines == Lines{"update default/configmap/cfg", "insert default/pod/web"});
  CHECK(content_of(messages[0])["data"]["k"] == "new");
}

TEST_CASE("C28: the record of a Node that was deleted goes without a word to the edge, which may have a new Node") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  world.start();
  const std::string uid = (*world.api.find("nodes", "", "edge-1"))["metadata"]["uid"];
  world.records.add("edge-1", "Node", "edge-1", "uid-old", "5");
  world.records.add("edge-1", "Node", "edge-1", uid, "6");
  Message message;
  const auto fate = world.controller.fate(NodeId("edge-1"), {"null", "v1", "Node", "edge-1", "uid-old", "5"}, message);
  CHECK(fate == cloud::NodeSnapshot::Fate::kNotMine);
  CHECK_FALSE(world.records.find(NodeId("edge-1"), "uid-old"));
  CHECK(world.records.find(NodeId("edge-1"), uid));
}

TEST_CASE("C28: records of nodes that do not exist are cleared, but not of one that is connected or known") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  world.link.online = {"edge-3"};
  for (const char* node : {"edge-1", "edge-2", "edge-3"}) world.records.add(node, "Pod", "web", "uid-x", "1");
  world.start();
  CHECK(world.link.deleted.empty());
  const auto end = world.runtime.clock().steady() + Milliseconds{10'000};
  while (world.link.deleted.empty() && world.runtime.clock().steady() < end) world.io.run_one_for(Milliseconds{100});
  CHECK(world.link.deleted == std::vector<std::string>{"edge-2"});
}

TEST_CASE("C28: before the nodes are known no record is cleared") {
  World world;
  world.api.hold_lists = true;
  world.records.add("edge-2", "Pod", "web", "uid-x", "1");
  world.controller.start();
  world.io.run_for(Milliseconds{5'500});
  CHECK(world.link.deleted.empty());
}

// ---- up (5.2)

TEST_CASE("registration: insert of the own Node") {
  World world;
  world.start();
  const Message request = recorded("ws-up-02-node-insert");
  world.controller.on_message(NodeId("edge-1"), request);
  world.settle();
  // The answer, and the push of the Node that the edge waits for when it knows the name already (5.4).
  REQUIRE(world.link.sent.size() == 2);
  const auto& sent = world.link.sent;
  const Message answer = sent[0].message.parent_id.empty() ? sent[1].message : sent[0].message;
  const Message push = sent[0].message.parent_id.empty() ? sent[0].message : sent[1].message;
  CHECK(push.operation == "update");
  CHECK(push.resource == "null/node/edge-1");
  const json content = content_of(answer), wanted = content_of(recorded("ws-down-02a-node-insert-resp-ok"));
  CHECK(answer.parent_id == request.id);
  CHECK(answer.resource == "null/node/edge-1");
  CHECK(content["Err"].is_null());
  CHECK(content["Object"]["metadata"]["labels"] == wanted["Object"]["metadata"]["labels"]);
  CHECK(content["Object"]["status"] == wanted["Object"]["status"]);
  world.link.sent.clear();

  const json again = content_of(world.ask(request)), exists = content_of(recorded("ws-down-02b-node-insert-resp-exists"));
  CHECK(again["Err"]["ErrStatus"]["reason"] == exists["Err"]["ErrStatus"]["reason"]);
  CHECK(again["Err"]["ErrStatus"]["message"] == exists["Err"]["ErrStatus"]["message"]);
  CHECK(again["Err"]["ErrStatus"]["code"] == 409);
  CHECK(again.contains("Object"));
}

TEST_CASE("a registration that the API refuses is told as the API says it") {
  World world;
  world.start();
  world.api.failures["create nodes"] = {ScriptedApi::error(422, "Invalid", "Node \"edge-1\" is invalid: metadata.labels: too long"),
                                        ScriptedApi::error(0, "", "connecting to 192.0.2.1:6443: Connection refused")};
  const json invalid = content_of(world.ask(recorded("ws-up-02-node-insert")))["Err"]["ErrStatus"];
  CHECK(invalid["message"] == "Node \"edge-1\" is invalid: metadata.labels: too long");
  const json away = content_of(world.ask(recorded("ws-up-02-node-insert")))["Err"]["ErrStatus"];
  CHECK(away["reason"] == "ServiceUnavailable");
  CHECK(away["message"].get<std::string>().find("Connection refused") != std::string::npos);
}

TEST_CASE("node status: a strategic merge patch of the status subresource, answered with the Node and its version") {
  World world;
  world.api.put("nodes", content_of(recorded("ws-down-25-node-update")));
  world.start();
  const Message request = recorded("ws-up-03-nodepatch");
  const Message answer = world.ask(request);
  CHECK(content_of(answer)["Err"].is_null());
  CHECK(content_of(answer)["Object"]["metadata"]["name"] == "edge-1");
  CHECK(answer.resource_version == content_of(answer)["Object"]["metadata"]["resourceVersion"]);
  const auto& call = world.api.calls.back();
  CHECK(call.verb == "patch");
  CHECK(call.plural == "nodes");
  CHECK(call.subresource == "status");
  CHECK(call.body == json::parse(content_of(request).get<std::string>()));
}

TEST_CASE("node update: labels and annotations are merged, the rest is left") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  world.start();
  world.controller.on_message(
      NodeId("edge-1"),
      up("update", "null/node/edge-1",
         {{"metadata", {{"name", "edge-1"}, {"labels", {{"site", "north"}}}, {"annotations", {{"a", "b"}}}, {"finalizers", {"x"}}}},
          {"spec", {{"unschedulable", true}}}}));
  world.settle();
  CHECK(world.api.calls.back().body == json{{"metadata", {{"labels", {{"site", "north"}}}, {"annotations", {{"a", "b"}}}}}});
  const json node = *world.api.find("nodes", "", "edge-1");
  CHECK(node["metadata"]["labels"] == json{{"node-role.kubernetes.io/edge", ""}, {"site", "north"}});
  bool answered = false;
  for (const auto& sent : world.link.sent)
    if (!sent.message.parent_id.empty()) {
      answered = true;
      CHECK(content_of(sent.message) == "OK");
      CHECK(sent.message.resource_version == node["metadata"]["resourceVersion"]);
    }
  CHECK(answered);
}

TEST_CASE("node query: the Node, or a bare error") {
  World world;
  world.start();
  CHECK(content_of(world.ask(up("query", "null/node/edge-1")))["ErrStatus"]["reason"] == "NotFound");
  world.api.put("nodes", edge_node("edge-1"));
  world.told();
  const Message answer = world.ask(up("query", "null/node/edge-1"));
  CHECK(content_of(answer)["kind"] == "Node");
  CHECK_FALSE(answer.resource_version.empty());
}

TEST_CASE("lease: query, insert, update, as recorded") {
  World world;
  world.start();
  check_equal(world.ask(recorded("ws-up-05-lease-query")), recorded("ws-down-05a-lease-query-resp-notfound"));
  const Message insert = recorded("ws-up-06-lease-insert");
  const json made = content_of(world.ask(insert)), wanted = content_of(recorded("ws-down-06-lease-insert-resp"));
  CHECK(made["Err"].is_null());
  CHECK(made["Object"]["spec"] == wanted["Object"]["spec"]);
  json renewed = made["Object"];
  renewed["spec"]["renewTime"] = "2023-11-14T22:13:30.000000Z";
  const Message answer = world.ask(up("update", "kube-node-lease/lease/edge-1", renewed));
  CHECK(content_of(answer)["Object"]["spec"]["renewTime"] == "2023-11-14T22:13:30.000000Z");
  CHECK(answer.resource_version.empty());
  CHECK(content_of(world.ask(recorded("ws-up-05-lease-query")))["Object"]["spec"]["renewTime"] == "2023-11-14T22:13:30.000000Z");
}

TEST_CASE("pod status: a patch of the own pod's status, answered with the Pod and its version") {
  World world;
  world.api.put("pods", content_of(recorded("ws-down-10-pod-insert")));
  world.start();
  const Message answer = world.ask(recorded("ws-up-13-podpatch"));
  CHECK(content_of(answer)["Err"].is_null());
  CHECK(content_of(answer)["Object"]["status"]["phase"] == "Running");
  CHECK(answer.resource_version == content_of(answer)["Object"]["metadata"]["resourceVersion"]);
  CHECK(world.api.calls.back().subresource == "status");
}

TEST_CASE("pod delete: with the UID as precondition; gone already, or made again, is as good") {
  World world;
  world.api.put("pods", content_of(recorded("ws-down-10-pod-insert")));
  world.start();
  const std::string uid = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
  SUBCASE("options as an object") {
    const Message request = recorded("ws-up-14-pod-delete");
    world.controller.on_message(NodeId("edge-1"), request);
    CHECK(world.told() == Lines{"edge-1 delete default/pod/web", "edge-1 response default/pod/web"});
    CHECK(world.api.calls.back().body == content_of(request));
    check_equal(world.ask(request), recorded("ws-down-14-pod-delete-resp"));  // it is gone
  }
  SUBCASE("options as the UID alone") {
    world.controller.on_message(NodeId("edge-1"), up("delete", "default/pod/web", uid));
    CHECK(world.told() == Lines{"edge-1 delete default/pod/web", "edge-1 response default/pod/web"});
    CHECK(world.api.calls.back().body == json{{"gracePeriodSeconds", 0}, {"preconditions", {{"uid", uid}}}});
  }
  SUBCASE("the name has a new UID: it stays") {
    const Message answer = world.ask(up("delete", "default/pod/web", {{"preconditions", {{"uid", "uid-old"}}}}));
    CHECK(content_of(answer) == "OK");
    CHECK(world.api.find("pods", "default", "web") != nullptr);
  }
  SUBCASE("any other refusal is told") {
    world.api.failures["remove pods"] = {ScriptedApi::error(403, "Forbidden", "no")};
    CHECK(content_of(world.ask(recorded("ws-up-14-pod-delete")))["ErrStatus"]["reason"] == "Forbidden");
  }
}

TEST_CASE("a mirror pod of the own node is made; anything else is not") {
  World world;
  world.start();
  json mirror = pod("static-edge-1", "edge-1");
  mirror["metadata"]["annotations"] = {{"kubernetes.io/config.mirror", "hash"}};
  world.controller.on_message(NodeId("edge-1"), up("insert", "default/pod/static-edge-1", mirror));
  CHECK(world.told() == Lines{"edge-1 insert default/pod/static-edge-1", "edge-1 response default/pod/static-edge-1"});
  CHECK(content_of(world.ask(up("insert", "default/pod/p", pod("p", "edge-1"))))["Err"]["ErrStatus"]["reason"] == "Forbidden");
  mirror["spec"]["nodeName"] = "edge-2";
  CHECK(content_of(world.ask(up("insert", "default/pod/static-edge-1", mirror)))["Err"]["ErrStatus"]["reason"] == "Forbidden");
}

TEST_CASE("configmap and secret query: the object with its version, or a bare error") {
  World world;
  world.api.put("configmaps", content_of(recorded("ws-down-20a-configmap-query-resp")));
  world.api.put("secrets", secret("s", "cHc="));
  json spec = volume_of("cfg");
  spec["imagePullSecrets"] = json::array({{{"name", "s"}}, {{"name", "ghost"}}});
  world.api.put("pods", pod("web", "edge-1", spec));
  world.start();
  check_equal(world.ask(recorded("ws-up-20-configmap-query")), recorded("ws-down-20a-configmap-query-resp"));
  const Message answer = world.ask(up("query", "default/secret/s"));
  CHECK(content_of(answer)["kind"] == "Secret");
  CHECK_FALSE(answer.resource_version.empty());
  const Message absent = world.ask(up("query", "default/secret/ghost"));
  CHECK(content_of(absent)["ErrStatus"]["reason"] == "NotFound");
  CHECK(absent.resource_version.empty());
}

TEST_CASE("kube-root-ca.crt is given where the node has a pod") {
  World world;
  world.api.put("configmaps", config_map("kube-root-ca.crt", "pem"));
  world.api.put("pods", pod("web", "edge-1"));
  world.start();
  CHECK(content_of(world.ask(up("query", "default/configmap/kube-root-ca.crt")))["kind"] == "ConfigMap");
  CHECK(content_of(world.ask(up("query", "default/configmap/kube-root-ca.crt"), "edge-2"))["ErrStatus"]["reason"] == "Forbidden");
  CHECK(content_of(world.ask(up("query", "other/configmap/kube-root-ca.crt")))["ErrStatus"]["reason"] == "Forbidden");
}

TEST_CASE("service account token: of an account that a pod of the node runs as, bound to that pod") {
  World world;
  world.api.put("pods", content_of(recorded("ws-down-10-pod-insert")));
  json other = pod("other", "edge-1", {{"serviceAccountName", "robot"}});
  world.api.put("pods", other);
  world.start();
  const Message request = recorded("ws-up-22-satoken-query");
  const Message answer = world.ask(request);
  json wanted = content_of(recorded("ws-down-22-satoken-resp")), got = content_of(answer);
  CHECK(got["kind"] == wanted["kind"]);
  CHECK(got["apiVersion"] == wanted["apiVersion"]);
  CHECK(got["spec"] == wanted["spec"]);
  CHECK(got["status"] == wanted["status"]);
  CHECK(answer.resource_version.empty());
  CHECK(world.api.calls.back().subresource == "token");

  CHECK(content_of(world.ask(up("query", "default/serviceaccounttoken/robot", {{"spec", json::object()}})))["kind"] == "TokenRequest");
  json foreign = content_of(request);
  foreign["spec"]["boundObjectRef"]["uid"] = (*world.api.find("pods", "default", "other"))["metadata"]["uid"];
  CHECK(content_of(world.ask(up("query", "default/serviceaccounttoken/default", foreign)))["ErrStatus"]["reason"] == "Forbidden");
  CHECK(content_of(world.ask(up("query", "default/serviceaccounttoken/admin", {{"spec", json::object()}})))["ErrStatus"]["reason"] ==
        "Forbidden");
  CHECK(content_of(world.ask(up("query", "default/serviceaccounttoken/default", "no object")))["ErrStatus"]["reason"] == "BadRequest");
}

TEST_CASE("events are stored and never answered") {
  World world;
  world.start();
  world.controller.on_message(NodeId("edge-1"), recorded("ws-up-23-event-insert"));
  CHECK(world.told().empty());
  CHECK(world.api.calls.back().body["reason"] == "Started");
  CHECK(world.api.calls.back().body["kind"] == "Event");
  world.controller.on_message(NodeId("edge-1"), recorded("ws-up-24-event-patch"));
  CHECK(world.told().empty());
  CHECK(world.api.calls.back().body == json{{"count", 2}});
  CHECK((*world.api.find("events", "default", "web.17"))["count"] == 2);
  const auto calls = world.api.calls.size();
  world.controller.on_message(NodeId("edge-1"), up("insert", "default/event/e", "no object"));
  CHECK(world.told().empty());
  CHECK(world.api.calls.size() == calls);
}

TEST_CASE("what is not served is answered, so that no edge waits; a path that is none is dropped") {
  World world;
  world.start();
  CHECK(content_of(world.ask(up("query", "null/persistentvolume/pv")))["ErrStatus"]["code"] == 501);
  CHECK(content_of(world.ask(up("insert", "default/certificatesigningrequest/c", json::object())))["Err"]["ErrStatus"]["code"] == 501);
  CHECK(content_of(world.ask(up("delete", "null/node/edge-1")))["Err"]["ErrStatus"]["code"] == 405);
  CHECK(content_of(world.ask(up("delete", "kube-node-lease/lease/edge-1", json::object())))["Err"]["ErrStatus"]["code"] == 405);
  CHECK(content_of(world.ask(up("query", "default/pod/web")))["Err"]["ErrStatus"]["code"] == 405);
  CHECK(content_of(world.ask(up("insert", "null/node/edge-1", "no object")))["Err"]["ErrStatus"]["code"] == 400);
  CHECK(content_of(world.ask(up("update", "kube-node-lease/lease/edge-1", json::array())))["Err"]["ErrStatus"]["code"] == 400);
  world.controller.on_message(NodeId("edge-1"), up("query", "nonsense"));
  world.controller.on_message(NodeId("edge-1"), up("query", "a/b/../c"));
  CHECK(world.told().empty());
}

// ---- authorization

TEST_CASE("C15: a node touches nothing of another's; each attempt is refused and logged with node and object") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  world.api.put("nodes", edge_node("edge-2"));
  world.api.put("secrets", secret("s", "cHc="));
  world.api.put("configmaps", config_map("cfg", "1"));
  json spec = volume_of("cfg");
  spec["imagePullSecrets"] = json::array({{{"name", "s"}}});
  world.api.put("pods", pod("web", "edge-2", spec));
  world.api.put("pods", pod("unbound", "", spec));
  world.start();
  world.told();
  const std::vector<Message> attempts = {
      up("query", "default/secret/s"),
      up("query", "default/configmap/cfg"),
      up("query", "default/serviceaccounttoken/default", {{"spec", json::object()}}),
      up("patch", "default/podpatch/web", R"({"status":{}})"),
      up("patch", "default/podpatch/unbound", R"({"status":{}})"),
      up("delete", "default/pod/web", {{"gracePeriodSeconds", 0}}),
      up("delete", "default/pod/unbound", {{"gracePeriodSeconds", 0}}),
      up("insert", "null/node/edge-2", edge_node("edge-2")),
      up("insert", "null/node/edge-1", edge_node("edge-2")),
      up("update", "null/node/edge-2", edge_node("edge-2")),
      up("query", "null/node/edge-2"),
      up("patch", "null/nodepatch/edge-2", R"({"status":{}})"),
      up("query", "kube-node-lease/lease/edge-2"),
      up("insert", "kube-node-lease/lease/edge-2", json::object()),
      up("update", "kube-node-lease/lease/edge-2", json::object()),
      up("update", "default/lease/edge-1", json::object()),
  };
  for (const Message& attempt : attempts) {
    CAPTURE(attempt.operation + " " + attempt.resource);
    world.api.calls.clear();
    world.log.lines.clear();
    const json content = content_of(world.ask(attempt));
    const json& status = content.contains("Err") ? content["Err"]["ErrStatus"] : content["ErrStatus"];
    CHECK(status["reason"] == "Forbidden");
    CHECK(status["code"] == 403);
    for (const auto& call : world.api.calls) CHECK(call.verb == "get");  // looked at, not touched
    REQUIRE(world.log.lines.size() == 1);
    CHECK(world.log.lines[0].find("edge-1") != std::string::npos);
    CHECK(world.log.lines[0].find(attempt.resource) != std::string::npos);
  }
}

TEST_CASE("C15: the body cannot name another object than the path") {
  World world;
  world.api.put("pods", pod("web", "edge-1"));
  world.start();
  world.api.calls.clear();
  json lease{{"metadata", {{"name", "edge-2"}, {"namespace", "kube-node-lease"}}}, {"spec", json::object()}};
  for (const char* operation : {"insert", "update"}) {
    CHECK(content_of(world.ask(up(operation, "kube-node-lease/lease/edge-1", lease)))["Err"]["ErrStatus"]["reason"] == "Forbidden");
  }
  json mirror = pod("other", "edge-1");
  mirror["metadata"]["annotations"] = {{"kubernetes.io/config.mirror", "hash"}};
  CHECK(content_of(world.ask(up("insert", "default/pod/mine", mirror)))["Err"]["ErrStatus"]["reason"] == "Forbidden");
  CHECK(world.api.calls.empty());
}

TEST_CASE("C15: an API that cannot say whose a pod is lets nobody touch it") {
  World world;
  world.api.hold_lists = true;
  world.api.put("pods", pod("web", "edge-2"));
  world.start();  // no pod is known
  for (const Message& attempt :
       {up("patch", "default/podpatch/web", R"({"status":{}})"), up("delete", "default/pod/web", {{"gracePeriodSeconds", 0}})}) {
    world.api.calls.clear();
    world.api.failures["get pods"] = {ScriptedApi::error(0, "", "time-out"), ScriptedApi::error(500, "InternalError", "etcd")};
    for (const char* reason : {"ServiceUnavailable", "InternalError", "Forbidden"}) {
      const json content = content_of(world.ask(attempt));
      const json& status = content.contains("Err") ? content["Err"]["ErrStatus"] : content["ErrStatus"];
      CHECK(status["reason"] == reason);
    }
    for (const auto& call : world.api.calls) CHECK(call.verb == "get");
  }
}

TEST_CASE("a pod that nobody knows: its status is refused by the API's word, its deletion is done") {
  World world;
  world.start();
  CHECK(content_of(world.ask(up("patch", "default/podpatch/ghost", R"({"status":{}})")))["Err"]["ErrStatus"]["reason"] == "NotFound");
  CHECK(content_of(world.ask(up("delete", "default/pod/ghost", {{"gracePeriodSeconds", 0}}))) == "OK");
}

TEST_CASE("a controller may end with requests under way") {
  World world;
  world.api.put("nodes", edge_node("edge-1"));
  auto controller = std::make_unique<cloud::EdgeController>(world.runtime, world.api, world.link, world.records);
  controller->start();
  world.settle();
  world.link.sent.clear();
  controller->on_message(NodeId("edge-1"), up("query", "null/node/edge-1"));
  controller.reset();
  CHECK(world.told().empty());
}
