// Deployments: rollouts against ReplicaSets that are slow, as they are.
#include <random>

#include <doctest/doctest.h>

#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/deployment.h"
#include "kube/patch/patch.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using namespace kubeedge::cloud::workloads;
using nlohmann::json;
using Verb = Action::Verb;

namespace {

// A deployment and its sets. Pods become available when the test says so.
struct World {
  State state;
  int uids = 0;
  std::int64_t most_pods = 0, least_available = 1'000'000;
  std::optional<std::int64_t> again_at;
  std::vector<std::string> told;

  explicit World(int replicas, const json& strategy = {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", "25%"}, {"maxUnavailable", "25%"}}}}) {
    state.now = 1'700'000'000;
    state.parent = {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"metadata", {{"name", "web"}, {"namespace", "default"}, {"uid", "u-d"}, {"generation", 1}}},
                    {"spec", {{"replicas", replicas}, {"revisionHistoryLimit", 2}, {"progressDeadlineSeconds", 600}, {"strategy", strategy},
                              {"selector", {{"matchLabels", {{"app", "web"}}}}}, {"template", {{"metadata", {{"labels", {{"app", "web"}}}}}, {"spec", {{"image", "a:1"}}}}}}}};
  }

  void change(const json& merge) {
    state.parent = kube::patch::merge_patch(state.parent, merge);
    state.parent["metadata"]["generation"] = state.parent["metadata"]["generation"].get<int>() + 1;
  }
  void image(const std::string& name) { change({{"spec", {{"template", {{"spec", {{"image", name}}}}}}}}); }

  json* set_named(const std::string& name) {
    for (json& child : state.children)
      if (meta_text(child, "name") == name) return &child;
    return nullptr;
  }
  json* set_of(const std::string& image) {
    for (json& child : state.children)
      if (json_text(child, {"spec", "template", "spec", "image"}) == image) return &child;
    return nullptr;
  }
  std::int64_t size(const std::string& image) { return set_of(image) == nullptr ? -1 : int_at(*set_of(image), {"spec", "replicas"}); }

  // One look; whether it did anything.
  bool look() {
    const Plan plan = plan_deployment(state);
    again_at = plan.again_at;
    for (const Action& action : plan.actions) carry_out(action);
    std::int64_t pods = 0, available = 0;
    for (const json& child : state.children) {
      pods += int_at(child, {"spec", "replicas"});
      // What the set is told to give up it may give up of those that serve.
      available += std::min(int_at(child, {"spec", "replicas"}), int_at(child, {"status", "availableReplicas"}));
    }
    most_pods = std::max(most_pods, pods);
    least_available = std::min(least_available, available);
    return !plan.actions.empty();
  }

  void carry_out(const Action& action) {
    if (!action.note.message.empty()) told.push_back(action.note.message);
    if (action.verb == Verb::kCreate) {
      json made = action.body;
      made["metadata"]["uid"] = "u-" + std::to_string(++uids);
      made["metadata"]["creationTimestamp"] = "2023-11-14T22:13:" + std::to_string(10 + uids) + "Z";
      made["metadata"]["generation"] = 1;
      state.children.push_back(std::move(made));
    } else if (action.verb == Verb::kDelete) {
      std::erase_if(state.children, [&](const json& one) { return meta_text(one, "name") == action.name; });
    } else {
      json& target = action.verb == Verb::kStatus ? state.parent : *set_named(action.name);
      target = kube::patch::merge_patch(target, action.body);
    }
  }

  // The sets' controller does its work; `grow`: how many pods of each become available.
  void pods_follow(std::int64_t grow) {
    for (json& child : state.children) {
      const std::int64_t wanted = int_at(child, {"spec", "replicas"});
      const std::int64_t available = std::min(wanted, int_at(child, {"status", "availableReplicas"}) + grow);
      child["status"] = {{"replicas", wanted}, {"readyReplicas", available}, {"availableReplicas", available}, {"observedGeneration", int_at(child, {"metadata", "generation"})}};
    }
  }

  void settle(std::int64_t grow = 1) {
    for (int i = 0; i < 400; ++i) {
      const bool did = look();
      const json before = state.children;
      pods_follow(grow);
      if (!did && before == state.children) return;
    }
    FAIL("it never comes to rest");
  }

  std::string revision() { return annotation(state.parent, kRevisionAnnotation); }
  std::string progress() { return json_text(*condition(state.parent["status"], "Progressing"), {"reason"}); }
};

}  // namespace

TEST_CASE("deployment: its first set, its status, and then rest") {
  World world(3);
  CHECK(world.look());
  REQUIRE(world.state.children.size() == 1);
  const json made = world.state.children[0];
  const std::string hash = json_text(made, {"metadata", "labels", kHashLabel});
  CHECK(hash.size() == 10);
  CHECK(meta_text(made, "name") == "web-" + hash);
  CHECK(made["spec"]["selector"]["matchLabels"] == json{{"app", "web"}, {kHashLabel, hash}});
  CHECK(made["spec"]["template"]["metadata"]["labels"] == json{{"app", "web"}, {kHashLabel, hash}});
  CHECK(made["spec"]["replicas"] == 3);
  CHECK(annotation(made, kRevisionAnnotation) == "1");
  CHECK(world.revision() == "1");
  CHECK(world.progress() == "NewReplicaSetCreated");
  CHECK(world.told == std::vector<std::string>{"Scaled up replica set web-" + hash + " from 0 to 3"});
  world.settle();
  CHECK(world.progress() == "NewReplicaSetAvailable");
  const json status = world.state.parent["status"];
  CHECK(status["updatedReplicas"] == 3);
  CHECK(status["availableReplicas"] == 3);
  CHECK_FALSE(status.contains("unavailableReplicas"));
  CHECK(json_text(*condition(status, "Available"), {"status"}) == "True");
  CHECK_FALSE(world.look());
}

TEST_CASE("deployment: a rolling update keeps to maxSurge and maxUnavailable whatever the pace") {
  std::mt19937 dice(7);
  for (int round = 0; round < 150; ++round) {
    const int replicas = 1 + static_cast<int>(dice() % 12), surge = static_cast<int>(dice() % 4), gone = surge == 0 ? 1 + static_cast<int>(dice() % 3) : static_cast<int>(dice() % 4);
    CAPTURE(replicas);
    CAPTURE(surge);
    CAPTURE(gone);
    World world(replicas, {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", surge}, {"maxUnavailable", gone}}}});
    world.settle(100);
    world.most_pods = 0;
    world.least_available = replicas;
    for (int version = 2; version < 5; ++version) {   // the next comes before the last is through
      world.image("a:" + std::to_string(version));
      for (unsigned i = 0; i < dice() % 6; ++i) {
        world.look();
        world.pods_follow(dice() % 3);
      }
    }
    world.settle(1);
    CHECK(world.most_pods <= replicas + surge);
    CHECK(world.least_available >= replicas - std::min(gone, replicas));
    CHECK(world.size("a:4") == replicas);
    CHECK(world.progress() == "NewReplicaSetAvailable");
    CHECK(world.state.children.size() <= 3);   // the new one and a history of two
  }
}

TEST_CASE("deployment: Recreate waits until the last old pod is gone") {
  World world(2, {{"type", "Recreate"}});
  world.settle();
  world.image("a:2");
  PodView old;
  old.owner = meta_text(*world.set_of("a:1"), "uid");
  old.phase = "Running";
  old.deleting = true;
  world.state.pods = {old};
  for (int i = 0; i < 5; ++i) {
    world.look();
    world.pods_follow(5);
  }
  CHECK(world.size("a:1") == 0);
  CHECK(world.size("a:2") == -1);
  CHECK(json_text(*condition(world.state.parent["status"], "Available"), {"status"}) == "False");
  world.state.pods.clear();
  world.settle();
  CHECK(world.size("a:2") == 2);
}

TEST_CASE("deployment: undo takes the old set again under a new revision, and the history says which it was") {
  World world(1);
  world.settle();
  world.image("a:2");
  world.settle();
  CHECK(world.revision() == "2");
  const std::string first = meta_text(*world.set_of("a:1"), "name");
  world.image("a:1");
  world.settle();
  CHECK(world.revision() == "3");
  const json& back = *world.set_of("a:1");
  CHECK(meta_text(back, "name") == first);
  CHECK(annotation(back, kRevisionAnnotation) == "3");
  CHECK(annotation(back, "deployment.kubernetes.io/revision-history") == "1");
  CHECK(world.size("a:2") == 0);
}

TEST_CASE("deployment: paused it scales and rolls nothing out; resumed it does") {
  World world(2);
  world.settle();
  world.change({{"spec", {{"paused", true}}}});
  world.image("a:2");
  world.settle();
  CHECK(world.size("a:2") == -1);
  CHECK(world.progress() == "DeploymentPaused");
  CHECK(world.revision() == "1");
  world.change({{"spec", {{"replicas", 4}}}});
  world.settle();
  CHECK(world.size("a:1") == 4);
  CHECK(annotation(*world.set_of("a:1"), kRevisionAnnotation) == "1");
  world.change({{"spec", {{"paused", nullptr}}}});
  world.settle();
  CHECK(world.size("a:2") == 4);
  CHECK(world.size("a:1") == 0);
  CHECK(world.revision() == "2");
}

TEST_CASE("deployment: scaled in the midst of a rollout, each set gets its share") {
  World world(10, {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 3}, {"maxUnavailable", 2}}}});
  world.settle(100);
  world.image("a:2");
  for (int i = 0; i < 4; ++i) {
    world.look();
    world.pods_follow(0);   // the new pods do not come up
  }
  CHECK(world.size("a:1") == 8);
  CHECK(world.size("a:2") == 5);
  world.change({{"spec", {{"replicas", 15}}}});   // Kubernetes' own example of its documentation
  world.look();
  CHECK(world.size("a:1") == 11);
  CHECK(world.size("a:2") == 7);
  world.change({{"spec", {{"replicas", 0}}}});
  world.settle();
  CHECK(world.size("a:1") == 0);
  CHECK(world.size("a:2") == 0);
}

TEST_CASE("deployment: to scale is no rollout; a rollout that stands still is told of at its deadline") {
  World world(1);
  world.settle();
  world.change({{"spec", {{"replicas", 3}}}});
  world.look();
  world.pods_follow(0);
  world.look();
  CHECK(world.progress() == "NewReplicaSetAvailable");
  world.settle();
  world.image("broken");
  for (int i = 0; i < 5; ++i) {
    world.look();
    world.pods_follow(0);
  }
  REQUIRE(world.again_at);
  CHECK(*world.again_at == world.state.now + 600);
  world.state.now = *world.again_at;
  world.look();
  CHECK(world.progress() == "ProgressDeadlineExceeded");
  CHECK(json_text(*condition(world.state.parent["status"], "Progressing"), {"status"}) == "False");
  CHECK_FALSE(world.look());
  world.settle();   // at last it comes up
  CHECK(world.progress() == "NewReplicaSetAvailable");
}

TEST_CASE("deployment: a name that another's set has makes another name") {
  World world(1);
  const std::string taken = "web-" + template_hash(world.state.parent["spec"]["template"], 0);
  world.state.taken = {taken};
  world.settle();
  REQUIRE(world.state.children.size() == 1);
  CHECK(meta_text(world.state.children[0], "name") != taken);
  CHECK(world.state.parent["status"]["collisionCount"] == 1);
}

TEST_CASE("deployment: its annotations go to its set, the server's own do not") {
  World world(1);
  world.state.parent["metadata"]["annotations"] = {{"kubernetes.io/change-cause", "first"}, {"kubectl.kubernetes.io/last-applied-configuration", "{}"}};
  world.settle();
  const json& set = world.state.children[0];
  CHECK(annotation(set, "kubernetes.io/change-cause") == "first");
  CHECK(annotation(set, "kubectl.kubernetes.io/last-applied-configuration").empty());
}

TEST_CASE("deployment: a set's failure is the deployment's, and one that is being deleted makes nothing") {
  World world(1);
  world.look();
  world.state.children[0]["status"] = {{"replicas", 0}, {"conditions", {{{"type", "ReplicaFailure"}, {"status", "True"}, {"reason", "FailedCreate"}, {"message", "no"}}}}};
  world.look();
  CHECK(json_text(*condition(world.state.parent["status"], "ReplicaFailure"), {"message"}) == "no");
  world.pods_follow(1);
  world.look();
  CHECK(condition(world.state.parent["status"], "ReplicaFailure") == nullptr);
  World leaving(1);
  leaving.state.parent["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z";
  leaving.look();
  CHECK(leaving.state.children.empty());
}
