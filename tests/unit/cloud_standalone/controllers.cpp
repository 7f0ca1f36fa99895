// The controllers and the collector on an API server core, as standalone has them. The test is the nodes.
#include <set>
#include <utility>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "../kube_rest/harness.h"
#include "cloud/standalone/garbage_collector.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workload_controllers.h"
#include "kube/client/local_client.h"

using namespace kubeedge;
using nlohmann::json;

namespace {

constexpr const char* kDeployments = "/apis/apps/v1/namespaces/default/deployments";
constexpr const char* kDaemons = "/apis/apps/v1/namespaces/default/daemonsets";
constexpr const char* kSets = "/apis/apps/v1/namespaces/default/replicasets";
using rest_test::kMaps;
using rest_test::kPods;

// A client whose watches can be made to lag behind its answers, as a real API server's do.
class LaggingClient final : public kube::KubeClient {
 public:
  LaggingClient(const Runtime& runtime, kube::ApiServer& server) : inner_(runtime, server, {"system:cloudcore", {"system:masters"}}) {}

  std::string lags;   // a resource
  void catch_up() {
    lags.clear();
    for (auto& tell : std::exchange(held_, {})) tell();
  }

  void get(const kube::Resource& r, const std::string& ns, const std::string& name, Done<Bytes> done) override { inner_.get(r, ns, name, std::move(done)); }
  void list(const kube::Resource& r, kube::ListOptions options, Done<kube::ObjectList> done) override { inner_.list(r, std::move(options), std::move(done)); }
  std::unique_ptr<kube::Watch> watch(const kube::Resource& r, kube::ListOptions options, const std::string& version, unique_function<void(kube::WatchEvent)> on_event,
                                     unique_function<void(kube::ApiError)> on_end) override {
    auto tell = std::make_shared<unique_function<void(kube::WatchEvent)>>(std::move(on_event));
    return inner_.watch(r, std::move(options), version, [this, tell, plural = r.plural](kube::WatchEvent event) {
      if (lags != plural) return (*tell)(std::move(event));
      held_.push_back([tell, event = std::move(event)] { (*tell)(event); });
    }, std::move(on_end));
  }
  void create(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& sub, Bytes object, Done<Bytes> done) override {
    inner_.create(r, ns, name, sub, std::move(object), std::move(done));
  }
  void update(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& sub, Bytes object, Done<Bytes> done) override {
    inner_.update(r, ns, name, sub, std::move(object), std::move(done));
  }
  void patch(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& sub, kube::PatchType type, Bytes patch, Done<Bytes> done) override {
    inner_.patch(r, ns, name, sub, type, std::move(patch), std::move(done));
  }
  void remove(const kube::Resource& r, const std::string& ns, const std::string& name, Bytes options, Done<Bytes> done) override {
    inner_.remove(r, ns, name, std::move(options), std::move(done));
  }

 private:
  kube::LocalKubeClient inner_;
  std::vector<std::function<void()>> held_;
};

struct World {
  rest_test::Harness api;
  asio::io_context io;
  Runtime runtime{io.get_executor(), stderr_logger(LogLevel::kError)};
  LaggingClient client{runtime, *api.server};
  std::unique_ptr<cloud::WorkloadControllers> workloads;
  std::unique_ptr<cloud::GarbageCollector> collector;
  bool pods_run = true;

  World() { start(); }
  void start() {
    workloads = std::make_unique<cloud::WorkloadControllers>(runtime, client);
    workloads->start();
    collector = std::make_unique<cloud::GarbageCollector>(runtime, client);
    collector->start();
  }
  // As a kill -9 does: nothing is remembered but the storage.
  void restart() {
    collector.reset();
    workloads.reset();
    start();
  }

  std::vector<json> items(const std::string& path) {
    return api.get(path)->parsed()["items"].get<std::vector<json>>();
  }
  json get(const std::string& path) {
    const auto answer = api.get(path);
    return answer->status == 200 ? answer->parsed() : json();
  }

  // Bound pods run; those that are to go, go.
  void nodes() {
    for (const json& pod : items(kPods)) {
      const std::string path = std::string(kPods) + "/" + pod["metadata"]["name"].get<std::string>();
      if (cloud::json_text(pod, {"spec", "nodeName"}).empty()) {
        const json node = pod.value("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0"_json_pointer, json("edge1"));
        api.send("POST", path + "/binding", json{{"target", {{"name", node}}}});
      } else if (pod["metadata"].contains("deletionTimestamp")) {
        api.raw("DELETE", path + "?gracePeriodSeconds=0");
      } else if (pods_run && cloud::json_text(pod, {"status", "phase"}) == "Pending") {
        api.patch(path + "/status", "merge", R"({"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2023-11-14T22:13:20Z"}]}})");
      }
    }
  }

  bool until(const std::function<bool()>& holds) {
    const auto end = runtime.clock().steady() + Milliseconds{10'000};
    while (!holds()) {
      if (runtime.clock().steady() > end) return false;
      io.run_for(Milliseconds{2});
      io.restart();
      nodes();
    }
    return true;
  }
  void idle(int ms) {
    io.run_for(Milliseconds{ms});
    io.restart();
  }

  // Nothing is written any more.
  bool comes_to_rest() {
    for (int i = 0; i < 20; ++i) {
      const auto before = api.storage.revision();
      idle(100);
      if (api.storage.revision() == before) return true;
    }
    return false;
  }

  void deploy(int replicas, const char* image = "a:1") {
    api.send("POST", kDeployments,
             json{{"metadata", {{"name", "web"}}},
                  {"spec", {{"replicas", replicas}, {"selector", {{"matchLabels", {{"app", "web"}}}}},
                            {"template", {{"metadata", {{"labels", {{"app", "web"}}}}}, {"spec", {{"containers", {{{"name", "c"}, {"image", image}}}}}}}}}}});
  }
  void image(const char* name) {
    const std::string text = std::string(R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":")") + name + "\"}]}}}}";
    CHECK(api.patch(web, "strategic-merge", text.c_str())->status == 200);
  }
  std::int64_t number(const std::string& path, const char* field) {
    const json object = get(path);
    const json& value = cloud::json_at(object, {"status", field});
    return value.is_number() ? value.get<std::int64_t>() : 0;
  }
  bool rolled_out(int replicas) {
    const json object = get(web);
    return number(web, "updatedReplicas") == replicas && number(web, "replicas") == replicas && number(web, "availableReplicas") == replicas &&
           object["status"]["observedGeneration"] == object["metadata"]["generation"];
  }
  bool nothing_left() { return items(kDeployments).empty() && items(kSets).empty() && items(kPods).empty(); }
  std::set<std::string> images() {
    std::set<std::string> out;
    for (const json& pod : items(kPods)) out.insert(pod["spec"]["containers"][0]["image"].get<std::string>());
    return out;
  }

  const std::string web = std::string(kDeployments) + "/web";
};

}  // namespace

TEST_CASE("controllers: a deployment's pods come, are replaced, are scaled and rolled over") {
  World world;
  world.deploy(3);
  CHECK(world.until([&] { return world.rolled_out(3); }));
  CHECK(world.items(kPods).size() == 3);
  CHECK(world.items(kSets).size() == 1);
  const std::string lost = world.items(kPods)[0]["metadata"]["name"];
  world.api.raw("DELETE", std::string(kPods) + "/" + lost + "?gracePeriodSeconds=0");
  CHECK(world.until([&] { return world.items(kPods).size() == 3 && world.get(std::string(kPods) + "/" + lost).is_null(); }));
  CHECK(world.api.patch(world.web + "/scale", "merge", R"({"spec":{"replicas":1}})")->status == 200);
  CHECK(world.until([&] { return world.items(kPods).size() == 1 && world.rolled_out(1); }));
  world.image("a:2");
  CHECK(world.until([&] { return world.rolled_out(1) && world.images() == std::set<std::string>{"a:2"}; }));
  CHECK(world.items(kSets).size() == 2);
  std::set<std::string> reasons;
  for (const json& event : world.items("/api/v1/namespaces/default/events")) reasons.insert(event["reason"].get<std::string>());
  CHECK(reasons == std::set<std::string>{"ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"});
}

TEST_CASE("controllers: while the watch lags behind, a set does not make its pods twice, nor delete more than it must") {
  World world;
  world.client.lags = "pods";
  world.deploy(4);
  CHECK(world.until([&] { return world.items(kPods).size() == 4; }));
  const std::string set = std::string(kSets) + "/" + world.items(kSets)[0]["metadata"]["name"].get<std::string>();
  const auto poke = [&] {   // makes the set be looked at
    for (const char* text : {R"({"metadata":{"labels":{"poke":"1"}}})", R"({"metadata":{"labels":{"poke":"2"}}})"}) {
      world.api.patch(set, "merge", text);
      world.idle(20);
    }
  };
  poke();
  CHECK(world.items(kPods).size() == 4);
  world.client.catch_up();
  CHECK(world.until([&] { return world.rolled_out(4); }));
  world.client.lags = "pods";
  world.api.patch(world.web + "/scale", "merge", R"({"spec":{"replicas":2}})");
  const auto left = [&] {
    std::size_t out = 0;
    for (const json& pod : world.items(kPods)) out += pod["metadata"].contains("deletionTimestamp") ? 0 : 1;
    return out;
  };
  CHECK(world.until([&] { return left() == 2; }));
  poke();
  CHECK(left() == 2);
  world.client.catch_up();
  CHECK(world.until([&] { return world.rolled_out(2) && world.items(kPods).size() == 2; }));
}

TEST_CASE("controllers: started anew in the midst of a rollout they come to the same end") {
  World world;
  world.deploy(4);
  CHECK(world.until([&] { return world.rolled_out(4); }));
  world.image("a:2");
  CHECK(world.until([&] { return world.images().size() == 2; }));
  world.restart();
  CHECK(world.until([&] { return world.rolled_out(4) && world.images() == std::set<std::string>{"a:2"}; }));
  CHECK(world.items(kPods).size() == 4);
}

TEST_CASE("controllers: at rest they write nothing") {
  World world;
  world.deploy(2);
  CHECK(world.until([&] { return world.rolled_out(2); }));
  CHECK(world.comes_to_rest());
}

TEST_CASE("controllers: a pod of the selector without an owner is taken, a pod whose label changes is let go and replaced") {
  World world;
  json stray = rest_test::kPod;
  stray["metadata"]["labels"] = {{"app", "solo"}};
  world.api.send("POST", kPods, stray);
  world.api.send("POST", kSets, json{{"metadata", {{"name", "solo"}}},
                                     {"spec", {{"replicas", 1}, {"selector", {{"matchLabels", {{"app", "solo"}}}}},
                                               {"template", {{"metadata", {{"labels", {{"app", "solo"}}}}}, {"spec", stray["spec"]}}}}}});
  CHECK(world.until([&] { return world.get(std::string(kPods) + "/p")["metadata"].contains("ownerReferences"); }));
  CHECK(world.until([&] { return world.number(std::string(kSets) + "/solo", "readyReplicas") == 1; }));
  CHECK(world.items(kPods).size() == 1);
  world.api.patch(std::string(kPods) + "/p", "merge", R"({"metadata":{"labels":{"app":"looked-at"}}})");
  CHECK(world.until([&] { return world.items(kPods).size() == 2 && !world.get(std::string(kPods) + "/p")["metadata"].contains("ownerReferences"); }));
}

TEST_CASE("controllers: a daemon set's pods follow the nodes and its template") {
  World world;
  const auto node = [&](const char* name) { world.api.send("POST", "/api/v1/nodes", json{{"metadata", {{"name", name}}}}); };
  node("edge1");
  world.api.send("POST", kDaemons, json{{"metadata", {{"name", "agent"}}},
                                        {"spec", {{"selector", {{"matchLabels", {{"app", "agent"}}}}},
                                                  {"template", {{"metadata", {{"labels", {{"app", "agent"}}}}}, {"spec", rest_test::kPod["spec"]}}}}}});
  const std::string path = std::string(kDaemons) + "/agent";
  CHECK(world.until([&] { return world.number(path, "numberAvailable") == 1; }));
  node("edge2");
  CHECK(world.until([&] { return world.number(path, "numberAvailable") == 2; }));
  CHECK(world.items(kPods).size() == 2);
  CHECK(world.api.patch(path, "strategic-merge", R"({"spec":{"template":{"spec":{"containers":[{"name":"c","image":"a:2"}]}}}})")->status == 200);
  CHECK(world.until([&] { return world.images() == std::set<std::string>{"a:2"} && world.number(path, "updatedNumberScheduled") == 2 && world.number(path, "numberAvailable") == 2; }));
  CHECK(world.items("/apis/apps/v1/namespaces/default/controllerrevisions").size() == 2);
  CHECK(world.comes_to_rest());
  world.api.raw("DELETE", path);
  CHECK(world.until([&] { return world.items(kPods).empty() && world.items("/apis/apps/v1/namespaces/default/controllerrevisions").empty(); }));
}

TEST_CASE("collector: background, foreground and orphan, as the deletion asks") {
  World world;
  world.deploy(2);
  CHECK(world.until([&] { return world.rolled_out(2); }));
  world.api.raw("DELETE", world.web);
  CHECK(world.get(world.web).is_null());   // gone at once, its own come after
  CHECK(world.until([&] { return world.nothing_left(); }));

  world.deploy(2);
  CHECK(world.until([&] { return world.rolled_out(2); }));
  world.api.raw("DELETE", world.web + "?propagationPolicy=Foreground");
  CHECK(world.get(world.web)["metadata"]["finalizers"] == json{"foregroundDeletion"});
  CHECK(world.until([&] { return world.get(world.web).is_null(); }));
  CHECK(world.nothing_left());             // it went last

  world.deploy(2);
  CHECK(world.until([&] { return world.rolled_out(2); }));
  const json set = world.items(kSets)[0];
  const std::string set_path = std::string(kSets) + "/" + set["metadata"]["name"].get<std::string>();
  world.api.raw("DELETE", world.web + "?propagationPolicy=Orphan");
  CHECK(world.until([&] { return world.get(world.web).is_null(); }));
  CHECK_FALSE(world.get(set_path)["metadata"].contains("ownerReferences"));
  CHECK(world.items(kPods).size() == 2);
  world.deploy(2);                         // and its like takes them in again
  CHECK(world.until([&] { return world.rolled_out(2) && world.get(set_path)["metadata"].contains("ownerReferences"); }));
  CHECK(world.items(kSets).size() == 1);
}

TEST_CASE("collector: what lost its owner while nobody looked goes after the start; what has another stays") {
  World world;
  world.collector.reset();
  const json owner = world.api.send("POST", kMaps, json{{"metadata", {{"name", "o"}}}})->parsed();
  const json link = {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "o"}, {"uid", owner["metadata"]["uid"]}};
  const json keeper = world.api.send("POST", kMaps, json{{"metadata", {{"name", "k"}}}})->parsed();
  json other = link;
  other["name"] = "k";
  other["uid"] = keeper["metadata"]["uid"];
  json unknown = link;
  unknown["apiVersion"] = "example.com/v1";
  unknown["kind"] = "Widget";
  world.api.send("POST", kMaps, json{{"metadata", {{"name", "owned"}, {"ownerReferences", {link}}}}});
  world.api.send("POST", kMaps, json{{"metadata", {{"name", "shared"}, {"ownerReferences", {link, other}}}}});
  world.api.send("POST", kMaps, json{{"metadata", {{"name", "foreign"}, {"ownerReferences", {unknown}}}}});
  world.api.raw("DELETE", std::string(kMaps) + "/o");
  CHECK_FALSE(world.get(std::string(kMaps) + "/owned").is_null());
  world.restart();
  CHECK(world.until([&] { return world.get(std::string(kMaps) + "/owned").is_null(); }));
  CHECK(world.until([&] { return world.get(std::string(kMaps) + "/shared")["metadata"]["ownerReferences"] == json{other}; }));
  CHECK_FALSE(world.get(std::string(kMaps) + "/foreign").is_null());   // of a kind that is not served nothing is known
}

TEST_CASE("controllers: refused pods are a condition and an event; once allowed they come") {
  World world;
  world.api.raw("DELETE", "/api/v1/namespaces/default/serviceaccounts/default");
  world.deploy(3);
  CHECK(world.until([&] {
    for (const json& set : world.items(kSets))
      for (const json& one : cloud::json_at(set, {"status", "conditions"}))
        if (one["type"] == "ReplicaFailure" && one["message"].get<std::string>().find("serviceaccount \"default\" not found") != std::string::npos) return true;
    return false;
  }));
  int told = 0;
  for (const json& event : world.items("/api/v1/namespaces/default/events")) told += event["reason"] == "FailedCreate" ? 1 : 0;
  CHECK(told == 1);
  world.api.send("POST", "/api/v1/namespaces/default/serviceaccounts", json{{"metadata", {{"name", "default"}}}});
  CHECK(world.until([&] { return world.rolled_out(3); }));
  CHECK(world.until([&] { return !world.items(kSets)[0]["status"].contains("conditions"); }));
}
