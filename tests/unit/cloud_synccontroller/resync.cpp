// What an edge is sent when it connects: the hub, EdgeController and SyncController together over a real, encrypted
// session, against a scripted API. What is newer than the node's records, deletes for what is gone, nothing else.
#include <doctest/doctest.h>

#include <functional>

#include "../cloud_edgecontroller/scripted_api.h"
#include "cloud/cloud.h"
#include "net/websocket.h"
#include "runtime/timer.h"

using namespace kubeedge;
using namespace kubeedge::cloud_test;

namespace {

using Lines = std::vector<std::string>;

struct World {
  asio::io_context io;
  Runtime runtime{io.get_executor(), stderr_logger(LogLevel::kError)};
  ScriptedApi api{io};
  pki::KeyPair ca = *pki::new_ca(now());
  pki::KeyPair server = *pki::new_server_certificate(ca, {{"localhost"}, {"127.0.0.1"}}, now());
  std::unique_ptr<cloud::Cloud> cloud;

  ~World() {
    stop();
    io.restart();
    io.run_for(Milliseconds{50});  // the sockets' last words
  }
  std::int64_t now() const { return system_clock().unix_ms() / 1000; }
  void start() {
    cloud::CloudOptions options;
    options.ca = ca;
    options.server = server;
    options.hub_address = options.join_address = "127.0.0.1";
    options.hub_port = options.join_port = options.stream_port = 0;
    auto made = cloud::Cloud::create(runtime, api, std::move(options));
    REQUIRE(made);
    cloud = std::move(*made);
    REQUIRE(cloud->start());
  }
  void stop() {
    if (!cloud) return;
    bool stopped = false;
    cloud->stop([&] { stopped = true; });
    until([&] { return stopped; });
    cloud.reset();
  }
  void until(const std::function<bool()>& done) {
    const auto end = runtime.clock().steady() + Milliseconds{20'000};
    while (!done() && runtime.clock().steady() < end) {
      io.run_one_for(Milliseconds{20});
      io.restart();
    }
    REQUIRE(done());
  }
  void run(Milliseconds longest) {
    io.restart();
    io.run_for(longest);
  }

  // A record as an earlier cloudcore left it.
  void record(const std::string& kind, const std::string& name, const std::string& uid, const std::string& version) {
    json object{{"apiVersion", "reliablesyncs.kubeedge.io/v1alpha1"},
                {"metadata", {{"name", "edge-1." + uid}}},
                {"spec", {{"objectAPIVersion", "v1"}, {"objectKind", kind}, {"objectName", name}}},
                {"status", {{"objectResourceVersion", version}}}};
    if (kind == "Node") return void(api.put("clusterobjectsyncs", object));
    object["metadata"]["namespace"] = "default";
    api.put("objectsyncs", object);
  }
  std::string recorded_version(const std::string& uid) const {
    const json* found = api.find("objectsyncs", "default", "edge-1." + uid);
    return found == nullptr ? "" : found->value("/status/objectResourceVersion"_json_pointer, "");
  }
};

// An edge that acknowledges what it is sent, unless it is told not to.
struct Edge {
  explicit Edge(World& w, std::string store_id = "", bool acknowledges = true) : world(w) {
    const std::string key = pki::new_key_sec1_der();
    const auto certificate = pki::sign_csr(w.ca, *pki::new_csr_der(key, "edge-1"), {2}, w.now(), 3600);
    REQUIRE(certificate);
    net::DialOptions dial;
    dial.tls.emplace();
    dial.tls->ca_pem = pki::pem("CERTIFICATE", w.ca.certificate_der);
    dial.tls->certificate_pem = pki::pem("CERTIFICATE", *certificate);
    dial.tls->private_key_pem = pki::pem("EC PRIVATE KEY", key);
    net::Headers headers{{"node_id", "edge-1"}, {"project_id", "e632"}, {"ConnectionUse", "msg"}};
    if (!store_id.empty()) headers.emplace_back("Kubeedge-Store-Id", store_id);
    net::websocket_dial(w.runtime, {"127.0.0.1", w.cloud->hub_port()}, "/e632/edge-1/events", headers, dial, {},
                        [this, acknowledges](Result<std::unique_ptr<net::WebSocket>> dialled) {
                          REQUIRE(dialled);
                          socket = std::move(*dialled);
                          socket->start({[this, acknowledges](Bytes text) { take(std::move(text), acknowledges); }, [](Error) {}});
                        });
    w.until([this] { return socket != nullptr; });
  }

  void take(Bytes text, bool acknowledge) {
    auto message = wire::decode(std::move(text));
    REQUIRE(message);
    if (acknowledge) socket->send(Bytes(wire::encode(wire::ack(*message, 1))));
    received.push_back(std::move(*message));
  }
  // Waits until so many messages came, then a while for one too many: "insert default/pod/web uid".
  Lines first(std::size_t count, Milliseconds more = Milliseconds{200}) {
    world.until([&] { return received.size() >= count; });
    world.run(more);
    Lines lines;
    for (const Message& message : received)
      lines.push_back(message.operation + " " + message.resource + " " + content_of(message).value("/metadata/uid"_json_pointer, ""));
    return lines;
  }

  World& world;
  std::unique_ptr<net::WebSocket> socket;
  std::vector<Message> received;
};

json with_uid(json object, const std::string& uid, const std::string& version) {
  object["metadata"]["uid"] = uid;
  object["metadata"]["resourceVersion"] = version;
  return object;
}

}  // namespace

TEST_CASE("at connect: what is newer than its record, what has none; not what is older or equal") {
  World world;
  world.api.put("pods", with_uid(pod("newer", "edge-1"), "u-newer", "20"));
  world.api.put("pods", with_uid(pod("equal", "edge-1"), "u-equal", "20"));
  world.api.put("pods", with_uid(pod("older", "edge-1"), "u-older", "9"));
  world.api.put("pods", with_uid(pod("fresh", "edge-1"), "u-fresh", "20"));
  world.api.put("pods", with_uid(pod("zero", "edge-1"), "u-zero", "20"));
  world.api.put("pods", with_uid(pod("foreign", "edge-2"), "u-foreign", "20"));
  world.record("Pod", "newer", "u-newer", "9");  // less as a number, more as a text
  world.record("Pod", "equal", "u-equal", "20");
  world.record("Pod", "older", "u-older", "10");
  world.record("Pod", "zero", "u-zero", "0");
  world.start();
  Edge edge(world);
  CHECK(edge.first(3) == Lines{"insert default/pod/fresh u-fresh", "update default/pod/newer u-newer", "insert default/pod/zero u-zero"});
  world.until([&] { return world.recorded_version("u-newer") == "20" && world.recorded_version("u-fresh") == "20"; });
  CHECK(world.recorded_version("u-older") == "10");
}

TEST_CASE("C24: a configmap and a secret that changed while the node was away, cloudcore restarted in between") {
  World world;
  world.api.put("configmaps", with_uid(config_map("cfg", "old"), "u-cfg", "10"));
  world.api.put("secrets", with_uid(secret("s", "b2xk"), "u-s", "11"));
  json spec = volume_of("cfg");
  spec["imagePullSecrets"] = json::array({{{"name", "s"}}});
  world.api.put("pods", with_uid(pod("web", "edge-1", spec), "u-web", "12"));
  world.record("Pod", "web", "u-web", "12");
  world.record("ConfigMap", "cfg", "u-cfg", "10");
  world.record("Secret", "s", "u-s", "11");
  world.start();
  {
    Edge edge(world);
    CHECK(edge.first(0).empty());
  }
  world.api.put("configmaps", with_uid(config_map("cfg", "new"), "u-cfg", "30"));
  world.api.put("secrets", with_uid(secret("s", "bmV3"), "u-s", "31"));
  world.stop();
  world.start();
  Edge edge(world);
  CHECK(edge.first(2) == Lines{"update default/configmap/cfg u-cfg", "update default/secret/s u-s"});
  CHECK(content_of(edge.received[0])["data"]["k"] == "new");
  world.until([&] { return world.recorded_version("u-cfg") == "30" && world.recorded_version("u-s") == "31"; });
}

TEST_CASE("C27: objects that vanished while the node was away: one delete each, then their records are gone") {
  World world;
  world.record("Pod", "web", "u-web", "12");
  world.record("ConfigMap", "cfg", "u-cfg", "10");
  world.record("Secret", "s", "u-s", "11");
  world.record("Service", "svc", "u-svc", "11");  // a Go cloud's module; not ours to judge
  world.start();
  Edge edge(world);
  // Longer than the comparison's interval: nothing is sent twice.
  CHECK(edge.first(3, Milliseconds{5'500}) ==
        Lines{"delete default/configmap/cfg u-cfg", "delete default/secret/s u-s", "delete default/pod/web u-web"});
  CHECK(content_of(edge.received[2]) == json{{"metadata", {{"name", "web"}, {"namespace", "default"}, {"uid", "u-web"}}}});
  CHECK(world.api.size("objectsyncs") == 1);
}

TEST_CASE("C29: a name with a new UID: the old object's delete first, and the new one waits for its acknowledgement") {
  World world;
  world.api.put("pods", with_uid(pod("web-0", "edge-1", volume_of("cfg")), "u-new", "50"));
  world.api.put("configmaps", with_uid(config_map("cfg", "new"), "u-cfg-new", "51"));
  world.record("Pod", "web-0", "u-old", "12");
  world.record("ConfigMap", "cfg", "u-cfg-old", "10");
  world.start();
  {
    Edge edge(world, "", false);
    CHECK(edge.first(2) == Lines{"delete default/configmap/cfg u-cfg-old", "delete default/pod/web-0 u-old"});
    for (const Message& message : std::vector<Message>(edge.received)) edge.socket->send(Bytes(wire::encode(wire::ack(message, 1))));
    CHECK(edge.first(4) == Lines{"delete default/configmap/cfg u-cfg-old", "delete default/pod/web-0 u-old",
                                 "update default/configmap/cfg u-cfg-new", "insert default/pod/web-0 u-new"});
  }
  world.until([&] { return world.api.size("objectsyncs") == 0; });  // both deletes were acknowledged, nothing else

  Edge again(world);
  CHECK(again.first(1) == Lines{"insert default/pod/web-0 u-new"});  // the configmap is asked for
  world.until([&] { return world.recorded_version("u-new") == "50"; });
}

TEST_CASE("C28: a Node that was made again while cloudcore was away: the edge is told the new one, never a delete") {
  World world;
  world.api.put("nodes", with_uid(edge_node("edge-1"), "u-node-new", "60"));
  world.record("Node", "edge-1", "u-node-old", "40");
  world.start();
  Edge edge(world);
  CHECK(edge.first(1, Milliseconds{5'500}) == Lines{"update null/node/edge-1 u-node-new"});
  world.until([&] { return world.api.find("clusterobjectsyncs", "", "edge-1.u-node-new") != nullptr; });
  CHECK(world.api.find("clusterobjectsyncs", "", "edge-1.u-node-old") == nullptr);
}

TEST_CASE("C28: a deleted node's records are gone, and a join under its name gets everything") {
  World world;
  world.api.put("nodes", with_uid(edge_node("edge-1"), "u-node", "60"));
  world.api.put("pods", with_uid(pod("web", "edge-1"), "u-web", "20"));
  world.record("Pod", "web", "u-web", "20");
  world.record("Node", "edge-1", "u-node", "60");
  world.start();
  world.run(Milliseconds{200});
  world.api.erase("nodes", "", "edge-1");
  world.until([&] { return world.api.size("objectsyncs") == 0 && world.api.size("clusterobjectsyncs") == 0; });

  world.api.put("nodes", with_uid(edge_node("edge-1"), "u-node-2", "70"));
  Edge edge(world);
  CHECK(edge.first(2) == Lines{"update null/node/edge-1 u-node-2", "insert default/pod/web u-web"});
}

TEST_CASE("C31: an edge with a new store gets everything again; with its old one nothing") {
  World world;
  world.api.put("nodes", with_uid(edge_node("edge-1"), "u-node", "60"));
  world.api.put("pods", with_uid(pod("web", "edge-1"), "u-web", "20"));
  world.start();
  const auto count_pods = [](const Lines& lines) { return std::count(lines.begin(), lines.end(), "insert default/pod/web u-web"); };
  {
    Edge edge(world, "store-a");
    edge.first(2);
    world.until([&] { return world.recorded_version("u-web") == "20"; });
    const auto annotated = [&] {
      return world.api.find("nodes", "", "edge-1")->value("/metadata/annotations/libkubeedge.io~1store-id"_json_pointer, "");
    };
    world.until([&] { return annotated() == "store-a"; });
    world.run(Milliseconds{300});
  }
  {
    Edge edge(world, "store-a");
    CHECK(count_pods(edge.first(0, Milliseconds{300})) == 0);
  }
  {
    Edge edge(world, "store-b");
    CHECK(count_pods(edge.first(2)) == 1);
  }
}

TEST_CASE("an object that was not acknowledged has a record without a version and comes again at the next connect") {
  World world;
  world.api.put("pods", with_uid(pod("web", "edge-1"), "u-web", "20"));
  world.start();
  {
    Edge edge(world, "", false);
    CHECK(edge.first(1) == Lines{"insert default/pod/web u-web"});
  }
  world.until([&] { return world.recorded_version("u-web") == "0"; });
  Edge edge(world);
  CHECK(edge.first(1) == Lines{"insert default/pod/web u-web"});
  world.until([&] { return world.recorded_version("u-web") == "20"; });
}

TEST_CASE("an object that the edge may hold, its acknowledgement lost, and that is gone meanwhile: its delete is sent, cloudcore restarted in between") {
  World world;
  world.api.put("pods", with_uid(pod("web", "edge-1"), "u-web", "20"));
  world.start();
  {
    Edge edge(world, "", false);
    CHECK(edge.first(1) == Lines{"insert default/pod/web u-web"});
  }
  world.api.erase("pods", "default", "web");
  world.stop();
  world.start();
  Edge edge(world);
  CHECK(edge.first(1) == Lines{"delete default/pod/web u-web"});
  world.until([&] { return world.api.size("objectsyncs") == 0; });
}

TEST_CASE("C31: a store that lost some rows under a new id: what is gone is deleted there, too") {
  World world;
  world.api.put("nodes", with_uid(edge_node("edge-1"), "u-node", "60"));
  world.api.put("pods", with_uid(pod("web", "edge-1"), "u-web", "20"));
  world.record("Pod", "web", "u-web", "20");
  world.record("Pod", "gone", "u-gone", "12");
  world.start();
  Edge edge(world, "store-b");
  const Lines lines = edge.first(3);
  CHECK(std::count(lines.begin(), lines.end(), "delete default/pod/gone u-gone") == 1);
  CHECK(std::count(lines.begin(), lines.end(), "insert default/pod/web u-web") == 1);
  world.until([&] { return world.recorded_version("u-web") == "20" && world.recorded_version("u-gone") == ""; });
}

TEST_CASE("a pod's status, changed by its edge, is no news to it") {
  World world;
  world.api.put("pods", with_uid(pod("web", "edge-1"), "u-web", "20"));
  world.start();
  Edge edge(world);
  edge.first(1);
  edge.socket->send(Bytes(wire::encode(up("patch", "default/podpatch/web", R"({"status":{"phase":"Running"}})"))));
  // The answer, and no update: neither from the watch nor from the comparison.
  CHECK(edge.first(2, Milliseconds{5'500}).size() == 2);
  CHECK(edge.received[1].resource == "default/podpatch/web");
}
