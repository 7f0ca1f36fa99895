// The Node as the cloud sees it: against what a real Go edgecore wrote, and the agent against a scripted MetaManager.
#include <doctest/doctest.h>

#include <asio/io_context.hpp>
#include <deque>
#include <fstream>
#include <map>
#include <set>

#include "edge/node/node_agent.h"
#include "runtime/timer.h"

using namespace kubeedge;
using namespace kubeedge::edge;
using nlohmann::json;

namespace {

json golden(const std::string& name) {
  std::ifstream file(std::string(KE_GOLDEN_DIR) + "/dev/" + name);
  json parsed = json::parse(file, nullptr, false);
  REQUIRE(parsed.is_object());
  return parsed;
}

// "metadata.labels", "spec" ... : every member that is there, lists by their first item, without its value.
void shape_of(const json& value, const std::string& at, std::set<std::string>& paths) {
  if (value.is_array()) {
    if (!value.empty()) shape_of(value[0], at + "[]", paths);
    return;
  }
  if (!value.is_object()) return;
  for (const auto& [key, child] : value.items()) {
    paths.insert(at + "." + key);
    shape_of(child, at + "." + key, paths);
  }
}
std::set<std::string> shape_of(const json& value) {
  std::set<std::string> paths;
  shape_of(value, "", paths);
  return paths;
}

// 2026-11-24T09:29:21Z and 09:54:50Z, the moments of the recording.
constexpr std::int64_t kRegistered = 1795512561, kReported = 1795514090;

// The machine and the runtime of the recording.
NodeFacts recorded_facts() {
  NodeFacts facts;
  facts.cpus = 2;
  facts.memory_kib = 24684092;
  facts.memory_available_kib = 20000000;
  facts.disk_bytes = 264212084LL * 1024;
  facts.disk_free_bytes = facts.disk_bytes / 2;
  facts.pids_max = 32768;
  facts.pids_used = 100;
  facts.machine_id = facts.system_uuid = "3d1219c7c4c5404aaa1f6d2a48adfda4";
  facts.boot_id = "7f2ce1a7-8297-4708-ac1e-56f90f6742c8";
  facts.kernel = "6.18.44-fc-v657";
  facts.os_image = "Debian GNU/Linux 12 (bookworm)";
  facts.architecture = "amd64";
  return facts;
}
NodeIdentity recorded_identity() { return {"edge1", "192.0.2.2"}; }
RuntimeState containerd() { return {true, true, "", "containerd://1.6.20", 110}; }

json condition_of(const json& status, const std::string& type) {
  for (const json& condition : status["conditions"])
    if (condition["type"] == type) return condition;
  return {};
}

}  // namespace

TEST_CASE("the Node that is registered is upstream's") {
  const json node = new_node(recorded_identity(), recorded_facts(), containerd(), kRegistered);
  json recorded = golden("real-node-edge1.json");
  // What the cloud and the API server added since.
  for (const char* theirs : {"uid", "resourceVersion", "managedFields"}) recorded["metadata"].erase(theirs);
  for (const char* theirs : {"cloudcore", "node.alpha.kubernetes.io/ttl"}) recorded["metadata"]["annotations"].erase(theirs);
  CHECK(shape_of(node) == shape_of(recorded));
  CHECK(node["metadata"]["labels"] == recorded["metadata"]["labels"]);
  CHECK(node["metadata"]["annotations"] == recorded["metadata"]["annotations"]);
  CHECK(node["metadata"]["creationTimestamp"].is_null());
  CHECK(node["spec"] == recorded["spec"]);
  CHECK(node["status"]["capacity"] == recorded["status"]["capacity"]);
  CHECK(node["status"]["allocatable"]["memory"] == recorded["status"]["allocatable"]["memory"]);
  CHECK(node["status"]["addresses"] == recorded["status"]["addresses"]);
  CHECK(node["status"]["daemonEndpoints"] == recorded["status"]["daemonEndpoints"]);
  for (json* info : {&recorded["status"]["nodeInfo"]})
    for (const char* version : {"kubeletVersion", "kubeProxyVersion"}) (*info)[version] = "v1.32.10-kubeedge-v1.23.1";
  CHECK(node["status"]["nodeInfo"] == recorded["status"]["nodeInfo"]);
}

TEST_CASE("conditions are upstream's, in its order; equal ones keep their transition time") {
  const json recorded = golden("real-node-edge1.json")["status"];
  const json status = node_status(recorded_identity(), recorded_facts(), containerd(), recorded, kReported);
  CHECK(status["conditions"] == recorded["conditions"]);
}

TEST_CASE("each condition follows its fact, and says when it changed") {
  const json before = golden("real-node-edge1.json")["status"];
  NodeFacts facts = recorded_facts();
  RuntimeState runtime = containerd();
  std::string type, reason;
  SUBCASE("memory under 100 MiB") {
    facts.memory_available_kib = 100 * 1024 - 1, type = "MemoryPressure", reason = "KubeletHasInsufficientMemory";
  }
  SUBCASE("disk under 10 %") { facts.disk_free_bytes = facts.disk_bytes / 11, type = "DiskPressure", reason = "KubeletHasDiskPressure"; }
  SUBCASE("process ids under 5 %") {
    facts.pids_used = facts.pids_max * 96 / 100, type = "PIDPressure", reason = "KubeletHasInsufficientPID";
  }
  SUBCASE("the runtime is away") {
    runtime.ready = false;
    runtime.why = "containerd does not answer";
    type = "Ready", reason = "KubeletNotReady";
  }
  if (type.empty()) return;
  const json status = node_status(recorded_identity(), facts, runtime, before, kReported);
  const json changed = condition_of(status, type);
  CHECK(changed["status"] == (type == "Ready" ? "False" : "True"));
  CHECK(changed["reason"] == reason);
  CHECK(changed["lastTransitionTime"] == "2026-11-24T09:54:50Z");
  if (type == "Ready") CHECK(changed["message"] == "containerd does not answer");
  for (const json& condition : status["conditions"])
    if (condition["type"] != type) CHECK(condition == condition_of(before, condition["type"]));
}

TEST_CASE("a node without a pod runtime takes no pods: capacity 0 and a taint; it is Ready all the same") {
  const json node = new_node(recorded_identity(), recorded_facts(), {}, kRegistered);
  CHECK(node["status"]["capacity"]["pods"] == "0");
  CHECK(node["status"]["allocatable"]["pods"] == "0");
  CHECK(condition_of(node["status"], "Ready")["status"] == "True");
  REQUIRE(node["spec"]["taints"].size() == 1);
  CHECK(node["spec"]["taints"][0]["effect"] == "NoSchedule");
}

TEST_CASE("extra labels are added, and may replace ours") {
  NodeIdentity identity = recorded_identity();
  identity.labels = {{"site", "north"}, {"kubernetes.io/hostname", "box"}};
  const json labels = node_labels(identity, recorded_facts());
  CHECK(labels["site"] == "north");
  CHECK(labels["kubernetes.io/hostname"] == "box");
  CHECK(labels["node-role.kubernetes.io/edge"] == "");
}

TEST_CASE("a patch of heartbeats alone is upstream's, and only sent when one is due") {
  json before = golden("real-node-edge1.json")["status"];
  before.erase("daemonEndpoints");
  json after = before;
  for (json& condition : after["conditions"]) condition["lastHeartbeatTime"] = "2026-11-24T09:59:50Z";
  CHECK_FALSE(node_patch(before, after, false));
  const auto patch = node_patch(before, after, true);
  REQUIRE(patch);
  json wanted = golden("real-nodepatch.json");
  for (json& condition : wanted["status"]["conditions"]) condition["lastHeartbeatTime"] = "2026-11-24T09:59:50Z";
  CHECK(json::parse(*patch) == wanted);
}

TEST_CASE("a patch has what changed and no more, and never daemonEndpoints: the tunnel's port is the cloud's") {
  json before = golden("real-node-edge1.json")["status"];
  before["daemonEndpoints"]["kubeletEndpoint"]["Port"] = 10351;
  RuntimeState runtime = containerd();
  runtime.ready = false;
  runtime.why = "away";
  NodeIdentity moved = recorded_identity();
  moved.address = "192.0.2.9";
  const json after = node_status(moved, recorded_facts(), runtime, before, kReported + 10);
  const auto text = node_patch(before, after, false);
  REQUIRE(text);
  const json patch = json::parse(*text)["status"];
  CHECK_FALSE(patch.contains("daemonEndpoints"));
  CHECK_FALSE(patch.contains("capacity"));
  CHECK(patch["addresses"] ==
        json::array({{{"type", "InternalIP"}, {"address", "192.0.2.9"}}, {{"type", "Hostname"}, {"address", "edge1"}}}));
  CHECK(patch["$setElementOrder/addresses"] == json::array({{{"type", "InternalIP"}}, {{"type", "Hostname"}}}));
  const json ready = condition_of(patch, "Ready");
  CHECK(ready["status"] == "False");
  CHECK(ready["message"] == "away");
  CHECK_FALSE(condition_of(patch, "DiskPressure").contains("status"));
  CHECK(patch["$setElementOrder/conditions"].size() == 4);
}

TEST_CASE("a first patch, from nothing, is the whole status") {
  const json after = node_status(recorded_identity(), recorded_facts(), containerd(), json(), kRegistered);
  const auto text = node_patch(json(), after, false);
  REQUIRE(text);
  json patch = json::parse(*text)["status"];
  patch.erase("$setElementOrder/conditions");
  patch.erase("$setElementOrder/addresses");
  CHECK(patch == after);
}

TEST_CASE("odd shapes in what the cloud sent are taken as absent") {
  for (const char* odd : {R"([])", R"("text")", R"({"conditions":7})",
                          R"({"conditions":[1,"x",{"type":3},{"type":"Ready","status":5},)"
                          R"({"type":"Ready","status":"True","lastTransitionTime":9}]})"}) {
    const json before = json::parse(odd);
    const json after = node_status(recorded_identity(), recorded_facts(), containerd(), before, kReported);
    CHECK(condition_of(after, "Ready")["lastTransitionTime"] == "2026-11-24T09:54:50Z");
    const auto patch = node_patch(before, after, false);
    REQUIRE(patch);
    CHECK(condition_of(json::parse(*patch)["status"], "Ready")["status"] == "True");
  }
}

namespace {

class FakeClock final : public Clock {
 public:
  std::int64_t unix_ms() const override { return kRegistered * 1000 + now.count(); }
  Milliseconds steady() const override { return Milliseconds{1'000'000} + now; }
  Milliseconds now{0};
};

// A cloud with one node and one lease, that can be told to fail. Every answer is posted.
class FakeMeta final : public MetaClient {
 public:
  explicit FakeMeta(const Runtime& runtime) : runtime_(runtime) {}

  struct Call {
    std::string what;
    json content;
    Milliseconds at = system_clock().steady();
  };
  std::vector<Call> calls;
  std::map<std::string, std::deque<MetaError>> failures;  // by call, each used once
  bool silent = false;                                    // answers are kept, until release()
  std::optional<json> node, lease;                        // the cloud's
  std::optional<json> local_node;                         // the row at the edge
  std::string lease_answer;                               // instead of the real one

  std::size_t count(const std::string& what) const {
    return static_cast<std::size_t>(std::count_if(calls.begin(), calls.end(), [&](const Call& call) { return call.what == what; }));
  }
  const json& last(const std::string& what) const {
    for (auto call = calls.rbegin(); call != calls.rend(); ++call)
      if (call->what == what) return call->content;
    FAIL("no such call: " << what);
    return calls.front().content;
  }
  std::vector<Milliseconds> times(const std::string& what) const {
    std::vector<Milliseconds> at;
    for (const Call& call : calls)
      if (call.what == what) at.push_back(call.at);
    return at;
  }
  std::vector<std::string> order() const {
    std::vector<std::string> names;
    for (const Call& call : calls) names.push_back(call.what);
    return names;
  }
  // The link broke: whoever waits hears it.
  void release() {
    silent = false;
    for (MetaDone& done : std::exchange(kept_, {})) done({std::nullopt, {"", "the link broke"}});
  }

  std::optional<Bytes> local(const std::string& key) const override {
    if (key != "null/node/edge1" || !local_node) return std::nullopt;
    return Bytes(local_node->dump());
  }
  std::vector<Bytes> local_list(const std::string&) const override { return {}; }

  void create_node(Bytes text, MetaDone done) override {
    json given = json::parse(text.view());
    if (!record("create_node", given, done)) return;
    if (node) return fail(std::move(done), {"AlreadyExists", "nodes \"edge1\" already exists"});
    given["metadata"]["uid"] = "uid-" + std::to_string(++made_);
    node = local_node = given;
    succeed(std::move(done), *node);
  }
  void update_node(Bytes text, MetaDone done) override {
    const json given = json::parse(text.view());
    if (!record("update_node", given, done)) return;
    node->at("metadata")["labels"].update(given["metadata"]["labels"]);
    local_node = node;
    succeed(std::move(done), *node);
  }
  void patch_node_status(std::string text, MetaDone done) override {
    json patch = json::parse(text);
    if (!record("patch_node_status", patch, done)) return;
    if (!node) return fail(std::move(done), {"NotFound", "nodes \"edge1\" not found"});
    json& status = node->at("status");
    for (auto& [key, value] : patch["status"].items()) {
      if (key.starts_with('$')) continue;
      if (key != "conditions") {
        status[key] = value;
        continue;
      }
      for (const json& change : value)
        for (json& condition : status["conditions"])
          if (condition["type"] == change["type"]) condition.update(change);
    }
    local_node = node;
    succeed(std::move(done), *node);
  }
  void get_lease(MetaDone done) override {
    if (!record("get_lease", nullptr, done)) return;
    if (!lease_answer.empty()) return answer(std::move(done), {Bytes(lease_answer), {}});
    if (!lease) return fail(std::move(done), {"NotFound", "no lease"});
    succeed(std::move(done), *lease);
  }
  void create_lease(Bytes text, MetaDone done) override {
    const json given = json::parse(text.view());
    if (!record("create_lease", given, done)) return;
    lease = given;
    (*lease)["metadata"]["resourceVersion"] = "1";
    succeed(std::move(done), *lease);
  }
  void update_lease(Bytes text, MetaDone done) override {
    const json given = json::parse(text.view());
    if (!record("update_lease", given, done)) return;
    lease = given;
    succeed(std::move(done), *lease);
  }

  // Not the node's.
  void get_config_map(const std::string&, const std::string&, MetaDone) override {}
  void get_secret(const std::string&, const std::string&, MetaDone) override {}
  void request_token(const std::string&, const std::string&, const std::string&, Bytes, MetaDone) override {}
  void drop_tokens(const std::string&) override {}
  void patch_pod_status(const std::string&, const std::string&, std::string, MetaDone) override {}
  void delete_pod(const std::string&, const std::string&, const std::string&, MetaDone) override {}
  void post_event(const std::string&, const std::string&, Bytes) override {}

 private:
  bool record(const std::string& what, const json& content, MetaDone& done) {
    calls.push_back(Call{what, content});
    if (silent) {
      kept_.push_back(std::move(done));
      return false;
    }
    auto& errors = failures[what];
    if (errors.empty()) return true;
    fail(std::move(done), errors.front());
    errors.pop_front();
    return false;
  }
  void answer(MetaDone done, MetaResult<Bytes> result) {
    runtime::post(runtime_, [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  void succeed(MetaDone done, const json& object) { answer(std::move(done), {Bytes(object.dump()), {}}); }
  void fail(MetaDone done, MetaError error) { answer(std::move(done), {std::nullopt, std::move(error)}); }

  Runtime runtime_;
  std::vector<MetaDone> kept_;
  int made_ = 0;
};

class Silence final : public Logger {
  bool enabled(LogLevel) const override { return false; }
  void write(LogLevel, std::string_view, std::string_view) override {}
};

struct World {
  World() : World([](NodeOptions&) {}) {}
  explicit World(const std::function<void(NodeOptions&)>& adjust) {
    NodeOptions options;
    options.identity.name = "edge1";
    options.data_dir = "/";
    // In real time: short. What the clock says is the test's.
    options.status_update = Milliseconds{10};
    options.status_report = Milliseconds{300'000};
    options.retry_first = Milliseconds{20};
    options.retry_last = longest_retry;
    options.lease_duration_s = 1;  // renewed each 250 ms
    adjust(options);
    agent = std::make_unique<NodeAgent>(
        runtime, meta, options, [this] { return state; }, [] { return std::string("192.0.2.2"); });
    agent->on_ready([this] { ++ready; });
  }
  void until(const std::function<bool()>& done) {
    run(Milliseconds{10'000}, done);
    CHECK(done());
  }
  void run(
      Milliseconds longest, const std::function<bool()>& done = [] { return false; }) {
    const auto end = system_clock().steady() + longest;
    while (!done() && system_clock().steady() < end) {
      io.run_one_for(Milliseconds{5});
      io.restart();
    }
  }

  static constexpr Milliseconds longest_retry{400};
  asio::io_context io;
  Silence silence;
  FakeClock clock;
  Runtime runtime{io.get_executor(), silence, clock};
  FakeMeta meta{runtime};
  RuntimeState state{true, true, "", "containerd://1.6.20", 110};
  std::unique_ptr<NodeAgent> agent;
  int ready = 0;
};

}  // namespace

TEST_CASE("registration, first status, lease: each in its turn; ready is told once") {
  World world;
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0 && world.meta.count("create_lease") > 0; });
  CHECK(world.meta.order() == std::vector<std::string>{"create_node", "patch_node_status", "get_lease", "create_lease"});
  const json& node = world.meta.last("create_node");
  CHECK(node["metadata"]["name"] == "edge1");
  CHECK(node["status"]["addresses"][0]["address"] == "192.0.2.2");  // what the link says
  CHECK(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10350);
  CHECK_FALSE(world.meta.last("patch_node_status")["status"].contains("daemonEndpoints"));

  json recorded = golden("real-lease.json");
  for (const char* theirs : {"uid", "resourceVersion", "managedFields"}) recorded["metadata"].erase(theirs);
  json lease = world.meta.last("create_lease");
  CHECK(lease["metadata"]["ownerReferences"][0]["uid"] == world.meta.node->at("metadata")["uid"]);
  for (const char* known_from_elsewhere : {"apiVersion", "kind"}) lease.erase(known_from_elsewhere);
  CHECK(shape_of(lease) == shape_of(recorded));
  CHECK(lease["spec"]["renewTime"].get<std::string>().size() == recorded["spec"]["renewTime"].get<std::string>().size());

  world.run(Milliseconds{100});
  CHECK(world.ready == 1);
}

TEST_CASE("a lease that is there is renewed, in the cloud's own version of it") {
  World world;
  world.meta.lease =
      json{{"metadata", {{"name", "edge1"}, {"namespace", "kube-node-lease"}, {"resourceVersion", "77"}}},
           {"spec", {{"holderIdentity", "edge1"}, {"leaseDurationSeconds", 40}, {"renewTime", "2026-11-24T09:00:00.000000Z"}}}};
  world.agent->on_link(true);
  world.until([&] { return world.meta.count("update_lease") == 1; });
  CHECK(world.meta.count("create_lease") == 0);
  CHECK(world.meta.last("update_lease")["metadata"]["resourceVersion"] == "77");
  CHECK(world.meta.last("update_lease")["spec"]["renewTime"] == "2026-11-24T09:29:21.000000Z");
  world.clock.now += Milliseconds{10'000};
  world.until([&] { return world.meta.count("update_lease") == 2; });
  CHECK(world.meta.last("update_lease")["spec"]["renewTime"] == "2026-11-24T09:29:31.000000Z");
  CHECK(world.meta.count("get_lease") == 1);
}

TEST_CASE("a lease that was not taken is read again before it is renewed") {
  World world;
  world.meta.failures["update_lease"] = {{"Conflict", "the object has been modified"}};
  world.meta.failures["create_lease"] = {{"", "the cloud's API is away"}};
  world.agent->on_link(true);
  // Not made: asked for again. Made. Not renewed: asked for again.
  world.until([&] { return world.meta.count("update_lease") == 2; });
  std::vector<std::string> leases;
  for (const std::string& call : world.meta.order())
    if (call.ends_with("lease")) leases.push_back(call);
  CHECK(leases ==
        std::vector<std::string>{"get_lease", "create_lease", "get_lease", "create_lease", "update_lease", "get_lease", "update_lease"});
}

TEST_CASE("a lease of an odd shape does no harm and is mended") {
  for (const char* odd : {R"([])", R"("x")", R"({"spec":"x"})", R"({"spec":[1]})", R"({})", "no json"}) {
    World world;
    world.meta.lease_answer = odd;
    world.agent->on_link(true);
    world.until([&] { return world.meta.count("get_lease") > 0; });
    world.run(Milliseconds{50});
    CHECK(world.ready == 1);
    world.meta.lease_answer.clear();
    world.until([&] { return world.meta.lease && world.meta.lease->value("/spec/renewTime"_json_pointer, "") != ""; });
  }
}

TEST_CASE("registration is tried again, later each time, until the cloud takes it; then the waits are short again") {
  World world;
  world.meta.failures["create_node"] = {{"", "away"}, {"", "away"}, {"", "away"}, {"Invalid", "no"}, {"", "away"}};
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0; });
  const auto at = world.meta.times("create_node");
  REQUIRE(at.size() == 6);
  for (std::size_t i = 0, wait = 20; i < 5; ++i, wait *= 2) CHECK(at[i + 1] - at[i] >= Milliseconds{wait - 1});
  CHECK(world.meta.count("patch_node_status") == 1);

  // Deleted in the cloud: the first try comes after the first wait, not the last one. The best of three, as the machine may be busy.
  Milliseconds least{10'000};
  for (int round = 0; round < 3; ++round) {
    const auto tries = world.meta.count("create_node"), patches = world.meta.count("patch_node_status");
    world.meta.node.reset();
    world.state.version += "0";
    world.until([&] { return world.meta.count("create_node") > tries && world.meta.count("patch_node_status") > patches + 1; });
    least = std::min(least, world.meta.times("create_node").back() - world.meta.times("patch_node_status")[patches]);
  }
  CHECK(least < world.longest_retry / 2);
}

TEST_CASE("a name that the cloud knows: the stored Node is waited for, its labels are brought up to date") {
  World world([](NodeOptions& options) { options.identity.labels = {{"site", "north"}}; });
  world.meta.node = golden("real-node-edge1.json");
  world.agent->on_link(true);
  world.until([&] { return world.meta.count("create_node") >= 2; });
  CHECK(world.meta.count("update_node") == 0);
  CHECK(world.ready == 0);
  world.meta.local_node = world.meta.node;  // the push of hub-protocol 5.4
  world.until([&] { return world.ready > 0; });
  CHECK(world.meta.count("update_node") == 1);
  CHECK(world.meta.last("update_node")["metadata"]["labels"]["site"] == "north");
  CHECK_FALSE(world.meta.last("update_node").contains("status"));
  CHECK(world.meta.node->at("metadata")["labels"]["site"] == "north");
}

TEST_CASE("a name that the cloud knows with the right labels is taken as it is") {
  World world;
  world.meta.node = golden("real-node-edge1.json");
  world.meta.node->at("metadata")["labels"] = node_labels({"edge1", ""}, read_node_facts("/"));
  world.meta.local_node = world.meta.node;
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0; });
  CHECK(world.meta.count("create_node") == 1);
  CHECK(world.meta.count("update_node") == 0);
}

TEST_CASE("a stored Node of an odd shape does no harm") {
  for (const char* odd :
       {R"([])", R"({"metadata":[]})", R"({"metadata":{"labels":7,"uid":5}})", R"({"metadata":{"name":"edge1"},"status":[]})"}) {
    World world;
    world.meta.node = golden("real-node-edge1.json");
    world.meta.local_node = json::parse(odd);
    world.agent->on_link(true);
    world.run(Milliseconds{100}, [&] { return world.ready > 0; });
    world.meta.local_node = world.meta.node;
    world.until([&] { return world.ready > 0 && world.meta.count("create_lease") > 0; });
  }
}

TEST_CASE("status: sent when it changed; heartbeats alone only when a report is due") {
  World world;
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0; });
  world.run(Milliseconds{100});
  const auto sent = world.meta.count("patch_node_status");
  CHECK(sent <= 2);  // a machine's facts may have moved once

  world.clock.now += Milliseconds{300'000};
  world.until([&] { return world.meta.count("patch_node_status") > sent; });
  for (const json& condition : world.meta.last("patch_node_status")["status"]["conditions"])
    CHECK(condition["lastHeartbeatTime"] == "2026-11-24T09:34:21Z");

  world.state.ready = false;
  world.state.why = "containerd is away";
  world.agent->status_changed();
  world.until([&] { return condition_of(world.meta.node->at("status"), "Ready")["status"] == "False"; });
  CHECK(condition_of(world.meta.node->at("status"), "Ready")["message"] == "containerd is away");
}

TEST_CASE("C02: what the cloud wrote while the node was silent is put right at once, not with the next report") {
  World world([](NodeOptions& options) { options.status_update = Milliseconds{60'000}; });
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0 && world.meta.lease; });
  world.agent->on_link(false);
  const json known = *world.meta.node;
  for (json& condition : world.meta.node->at("status")["conditions"]) condition["status"] = "Unknown";
  world.meta.local_node = known;   // the cloud's push of the Node comes after the first report
  world.agent->on_link(true);
  world.run(Milliseconds{100});
  CHECK(condition_of(world.meta.node->at("status"), "Ready")["status"] == "True");
}

TEST_CASE("a Node that is deleted in the cloud is registered again, with a new lease") {
  World world;
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0 && world.meta.lease; });
  const json first = *world.meta.node;
  world.meta.node.reset();
  world.meta.lease.reset();
  world.state.ready = false;
  world.agent->status_changed();
  world.until([&] { return world.meta.node && world.meta.lease; });
  CHECK(world.meta.count("create_node") == 2);
  CHECK(world.meta.node->at("metadata")["uid"] != first["metadata"]["uid"]);
  CHECK(world.meta.lease->at("metadata")["ownerReferences"][0]["uid"] == world.meta.node->at("metadata")["uid"]);
  CHECK(world.ready == 1);
}

TEST_CASE("a link that breaks with requests under way: all is taken up again with the next one") {
  World world;
  world.agent->on_link(true);
  world.until([&] { return world.ready > 0 && world.meta.lease; });
  world.meta.silent = true;
  world.clock.now += Milliseconds{300'000};
  world.until([&] { return world.meta.count("patch_node_status") >= 2 && world.meta.count("update_lease") >= 1; });
  world.agent->on_link(false);
  world.meta.release();
  const auto calls = world.meta.calls.size();
  world.run(Milliseconds{300});
  CHECK(world.meta.calls.size() == calls);  // nothing is asked without a link

  const auto renewed = world.meta.count("update_lease");
  world.agent->on_link(true);
  world.until([&] { return world.meta.count("update_lease") > renewed; });
  CHECK(world.meta.count("create_node") == 1);  // registered is registered
  CHECK(world.meta.calls.size() >= calls + 2);
}

TEST_CASE("an agent may end with requests under way") {
  World world;
  world.meta.silent = true;
  world.agent->on_link(true);
  CHECK(world.meta.count("create_node") == 1);
  world.agent.reset();
  world.meta.release();
  world.run(Milliseconds{50});
  CHECK(world.meta.count("create_node") == 1);
}
