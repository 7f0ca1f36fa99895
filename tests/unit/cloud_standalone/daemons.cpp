// DaemonSets: which nodes have a pod, how an update goes over them, what is remembered of older templates.
#include <doctest/doctest.h>

#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/daemon_set.h"
#include "cloud/standalone/workloads/node_fit.h"
#include "cloud/standalone/workloads/revisions.h"
#include "kube/patch/patch.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using namespace kubeedge::cloud::workloads;
using nlohmann::json;
using Verb = Action::Verb;

namespace {

// A DaemonSet, its nodes, and pods that run when the test says so.
struct World {
  State state;
  int serial = 0;
  std::size_t most = 0, least_serving = 1000;

  explicit World(int nodes = 3, const json& strategy = {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxUnavailable", 1}, {"maxSurge", 0}}}}) {
    state.now = 1'700'000'000;
    state.parent = {{"apiVersion", "apps/v1"}, {"kind", "DaemonSet"},
                    {"metadata", {{"name", "agent"}, {"namespace", "default"}, {"uid", "u-d"}, {"generation", 1}, {"annotations", {{"deprecated.daemonset.template.generation", "1"}}}}},
                    {"spec", {{"revisionHistoryLimit", 2}, {"updateStrategy", strategy}, {"selector", {{"matchLabels", {{"app", "agent"}}}}},
                              {"template", {{"metadata", {{"labels", {{"app", "agent"}}}}}, {"spec", {{"image", "a:1"}}}}}}}};
    for (int i = 1; i <= nodes; ++i) state.nodes.push_back({"edge" + std::to_string(i), {{"disk", i % 2 == 1 ? "ssd" : "hdd"}}, json()});
  }

  void change(const json& merge) {
    state.parent = kube::patch::merge_patch(state.parent, merge);
    state.parent["metadata"]["generation"] = state.parent["metadata"]["generation"].get<int>() + 1;
  }
  void image(const std::string& name) { change({{"spec", {{"template", {{"spec", {{"image", name}}}}}}}}); }

  bool look() {
    ++state.now;
    const Plan plan = plan_daemon_set(state);
    for (const Action& action : plan.actions) carry_out(action);
    return !plan.actions.empty();
  }

  void carry_out(const Action& action) {
    if (action.verb == Verb::kCreate) {
      json made = action.body;
      made["metadata"]["uid"] = "u-" + std::to_string(++serial);
      if (action.resource == kRevisions) return state.children.push_back(std::move(made));
      made["metadata"]["name"] = "agent-" + std::to_string(serial);
      PodView pod = view_of_pod(made);
      pod.created = state.now;
      pod.phase = "Pending";
      state.pods.push_back(std::move(pod));
    } else if (action.verb == Verb::kDelete && action.resource == kPods) {
      for (PodView& pod : state.pods)
        if (pod.name == action.name) pod.deleting = true;
    } else if (action.verb == Verb::kDelete) {
      std::erase_if(state.children, [&](const json& one) { return meta_text(one, "name") == action.name; });
    } else if (action.verb == Verb::kStatus) {
      state.parent = kube::patch::merge_patch(state.parent, action.body);
    } else {
      for (json& child : state.children)
        if (meta_text(child, "name") == action.name) child = kube::patch::merge_patch(child, action.body);
    }
  }

  // The nodes do their work: what is to go goes, one pod that waits comes up.
  void nodes_work() {
    std::erase_if(state.pods, [](const PodView& pod) { return pod.deleting; });
    for (PodView& pod : state.pods) {
      if (pod.ready || pod.over()) continue;
      pod.bound = pod.ready = true;
      pod.phase = "Running";
      pod.ready_since = state.now;
      break;
    }
    most = std::max(most, state.pods.size());
    least_serving = std::min(least_serving, serving());
  }
  std::size_t serving() const {
    return static_cast<std::size_t>(std::count_if(state.pods.begin(), state.pods.end(), [](const PodView& pod) { return pod.ready && !pod.deleting; }));
  }

  void settle() {
    for (int i = 0; i < 300; ++i) {
      const bool did = look();
      const std::size_t before = serving();
      nodes_work();
      if (!did && before == serving()) return;
    }
    FAIL("it never comes to rest");
  }

  std::set<std::string> places() const {
    std::set<std::string> out;
    for (const PodView& pod : state.pods) out.insert(pod.node);
    return out;
  }
  std::set<std::string> hashes() const {
    std::set<std::string> out;
    for (const PodView& pod : state.pods) out.insert(pod.label(kRevisionLabel));
    return out;
  }
  std::int64_t status(const char* field) const { return int_at(state.parent, {"status", field}); }
};

}  // namespace

TEST_CASE("node fit: tolerations, selector, affinity by labels and by name") {
  const json taint = {{"key", "k"}, {"value", "v"}, {"effect", "NoSchedule"}};
  CHECK(tolerates(json::parse(R"([{"operator":"Exists"}])"), taint));
  CHECK(tolerates(json::parse(R"([{"key":"k","value":"v"}])"), taint));
  CHECK_FALSE(tolerates(json::parse(R"([{"key":"k","value":"w"}])"), taint));
  CHECK_FALSE(tolerates(json::parse(R"([{"key":"k","operator":"Exists","effect":"NoExecute"}])"), taint));
  CHECK_FALSE(tolerates(json(), taint));
  const json labels = {{"zone", "a"}, {"cpus", "4"}};
  const auto chooses = [&](const char* term) {
    const json spec = {{"affinity", {{"nodeAffinity", {{"requiredDuringSchedulingIgnoredDuringExecution", {{"nodeSelectorTerms", json::array({json::parse(term)})}}}}}}}};
    return selects_node(spec, "edge1", labels);
  };
  CHECK(chooses(R"({"matchExpressions":[{"key":"zone","operator":"In","values":["a","b"]},{"key":"cpus","operator":"Gt","values":["2"]}]})"));
  CHECK_FALSE(chooses(R"({"matchExpressions":[{"key":"zone","operator":"NotIn","values":["a"]}]})"));
  CHECK(chooses(R"({"matchFields":[{"key":"metadata.name","operator":"In","values":["edge1"]}]})"));
  CHECK_FALSE(chooses(R"({"matchFields":[{"key":"metadata.name","operator":"In","values":["edge2"]}]})"));
  CHECK_FALSE(chooses(R"({"matchExpressions":[{"key":"gone","operator":"Exists"}],"matchFields":[{"key":"metadata.name","operator":"In","values":["edge1"]}]})"));
  CHECK_FALSE(chooses("{}"));
  CHECK(selects_node(json::parse(R"({"nodeSelector":{"zone":"a"}})"), "edge1", labels));
  CHECK_FALSE(selects_node(json::parse(R"({"nodeSelector":{"zone":"b"}})"), "edge1", labels));
  CHECK_FALSE(selects_node(json::parse(R"({"nodeSelector":{"zone":"a"}})"), "edge1", json()));
}

TEST_CASE("daemon set: one pod a node, bound to it by its name, tolerant of what a node may suffer") {
  World world;
  world.look();
  REQUIRE(world.state.children.size() == 1);   // the template is remembered before the first pod is of it
  CHECK(world.state.pods.empty());
  CHECK(world.state.children[0]["data"]["spec"]["template"]["$patch"] == "replace");
  CHECK(world.state.children[0]["revision"] == 1);
  const Plan plan = plan_daemon_set(world.state);
  const json pod = plan.actions.at(0).body;
  CHECK(pod["metadata"]["generateName"] == "agent-");
  CHECK(pod["metadata"]["labels"]["pod-template-generation"] == "1");
  CHECK(pod["metadata"]["labels"][kRevisionLabel] == world.state.children[0]["metadata"]["labels"][kRevisionLabel]);
  CHECK(selects_node(pod["spec"], "edge1", json()));
  CHECK_FALSE(selects_node(pod["spec"], "edge2", json()));
  CHECK(tolerates(pod["spec"]["tolerations"], {{"key", "node.kubernetes.io/unschedulable"}, {"effect", "NoSchedule"}}));
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge1", "edge2", "edge3"});
  for (const char* field : {"desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"}) CHECK(world.status(field) == 3);
  CHECK(world.status("numberMisscheduled") == 0);
  CHECK_FALSE(world.look());
}

TEST_CASE("daemon set: nodes come and go, by label and by taint") {
  World world;
  world.change({{"spec", {{"template", {{"spec", {{"nodeSelector", {{"disk", "ssd"}}}}}}}}}});
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge1", "edge3"});
  world.state.nodes[1].labels["disk"] = "ssd";
  world.state.nodes[0].labels["disk"] = "hdd";
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge2", "edge3"});
  world.state.nodes[2].taints = json::parse(R"([{"key":"k","effect":"NoSchedule"}])");   // it may stay, none may come
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge2", "edge3"});
  CHECK(world.status("desiredNumberScheduled") == 1);
  CHECK(world.status("numberMisscheduled") == 1);
  world.state.nodes[2].taints[0]["effect"] = "NoExecute";
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge2"});
  world.state.nodes[2].taints = json::parse(R"([{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"},{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}])");
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge2", "edge3"});
}

TEST_CASE("daemon set: of two pods on a node the older stays; a failed one is cleared away after a while") {
  World world(1);
  world.settle();
  PodView second = world.state.pods[0];
  second.name = "second";
  second.created += 5;
  world.state.pods.push_back(second);
  world.settle();
  REQUIRE(world.state.pods.size() == 1);
  CHECK(world.state.pods[0].name != "second");
  world.state.pods[0].phase = "Failed";
  world.state.pods[0].ready = false;
  world.state.pods[0].created = world.state.now;
  const std::string failed = world.state.pods[0].name;
  const Plan plan = plan_daemon_set(world.state);
  CHECK(plan.again_at == world.state.now + 10);
  world.look();
  CHECK(world.state.pods[0].name == failed);
  CHECK_FALSE(world.state.pods[0].deleting);
  world.state.now += 20;
  world.settle();
  REQUIRE(world.state.pods.size() == 1);
  CHECK(world.state.pods[0].name != failed);
}

TEST_CASE("daemon set: an update goes node by node, with maxUnavailable or with maxSurge") {
  for (const bool surge : {false, true}) {
    CAPTURE(surge);
    World world(5, {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxUnavailable", surge ? 0 : 2}, {"maxSurge", surge ? 2 : 0}}}});
    world.settle();
    world.most = 0;
    world.least_serving = 5;
    world.image("a:2");
    world.settle();
    CHECK(world.hashes().size() == 1);
    CHECK(world.places().size() == 5);
    CHECK(world.state.pods.size() == 5);
    CHECK(world.status("updatedNumberScheduled") == 5);
    CHECK(world.most == (surge ? 7 : 5));
    CHECK(world.least_serving == (surge ? 5 : 3));
    CHECK(world.state.children.size() == 2);
  }
}

TEST_CASE("daemon set: OnDelete leaves the pods alone until somebody deletes them") {
  World world(2, {{"type", "OnDelete"}});
  world.settle();
  world.image("a:2");
  world.settle();
  CHECK(world.status("updatedNumberScheduled") == 0);
  world.state.pods.erase(world.state.pods.begin());
  world.settle();
  CHECK(world.status("updatedNumberScheduled") == 1);
}

TEST_CASE("daemon set: undo makes the old revision the newest again; the history is trimmed") {
  World world(1);
  world.settle();
  const std::string first = meta_text(world.state.children[0], "name");
  for (const char* image : {"a:2", "a:3", "a:4"}) {
    world.image(image);
    world.settle();
  }
  CHECK(world.state.children.size() == 3);   // the current and two
  CHECK(std::none_of(world.state.children.begin(), world.state.children.end(), [&](const json& one) { return meta_text(one, "name") == first; }));
  world.image("a:3");
  world.settle();
  CHECK(world.state.children.size() == 3);
  std::int64_t newest = 0;
  for (const json& one : world.state.children)
    if (json_text(one, {"data", "spec", "template", "spec", "image"}) == "a:3") newest = int_at(one, {"revision"});
  CHECK(newest == 5);
  CHECK_FALSE(world.look());
}

TEST_CASE("daemon set: a revision's name that is taken, a node that is no more, a deletion") {
  World world(1);
  world.state.taken = {"agent-" + template_hash(world.state.parent["spec"]["template"], 0)};
  world.settle();
  CHECK(world.status("collisionCount") == 1);
  CHECK(world.state.children.size() == 1);
  PodView lost = world.state.pods[0];
  lost.name = "lost";
  lost.node = "edge9";
  lost.bound = false;
  world.state.pods.push_back(lost);
  world.settle();
  CHECK(world.places() == std::set<std::string>{"edge1"});
  world.state.parent["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z";
  world.state.pods.clear();
  CHECK_FALSE(world.look());
}
