// The plans of Deployments and ReplicaSets, and the little machines that pace them.
#include <random>

#include <doctest/doctest.h>

#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/claims.h"
#include "cloud/standalone/workloads/deployment.h"
#include "cloud/standalone/workloads/expectations.h"
#include "cloud/standalone/workloads/index.h"
#include "cloud/standalone/workloads/replica_set.h"
#include "cloud/standalone/workloads/work_list.h"
#include "kube/patch/patch.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using namespace kubeedge::cloud::workloads;
using nlohmann::json;
using Verb = Action::Verb;

namespace {

constexpr std::int64_t kNow = 1'700'000'000;
constexpr const char* kTime = "2023-11-14T22:13:20Z";   // kNow

json pod_template(const std::string& image) {
  return {{"metadata", {{"labels", {{"app", "web"}}}}}, {"spec", {{"containers", {{{"name", "c"}, {"image", image}}}}}}};
}

json replica_set(int replicas) {
  return {{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"metadata", {{"name", "web-1"}, {"namespace", "default"}, {"uid", "u-rs"}, {"generation", 3}}},
          {"spec", {{"replicas", replicas}, {"selector", {{"matchLabels", {{"app", "web"}}}}}, {"template", pod_template("a:1")}}}};
}

PodView pod(const std::string& name, const char* phase = "Running", bool ready = true) {
  PodView out;
  out.ns = "default";
  out.name = name;
  out.uid = "u-" + name;
  out.owner = "u-rs";
  out.node = "edge1";
  out.bound = true;
  out.phase = phase;
  out.labels = R"({"app":"web"})";
  out.ready = ready;
  out.created = out.ready_since = kNow - 100;
  return out;
}

int count(const Plan& plan, Verb verb) {
  return static_cast<int>(std::count_if(plan.actions.begin(), plan.actions.end(), [&](const Action& one) { return one.verb == verb; }));
}

const Action& only(const Plan& plan, Verb verb) {
  REQUIRE(count(plan, verb) == 1);
  return *std::find_if(plan.actions.begin(), plan.actions.end(), [&](const Action& one) { return one.verb == verb; });
}

Plan plan_of(int replicas, std::vector<PodView> pods, std::int64_t now = kNow) {
  State state;
  state.parent = replica_set(replicas);
  state.pods = std::move(pods);
  state.now = now;
  return plan_replica_set(state);
}

}  // namespace

TEST_CASE("replica set: makes what is missing, of its template and its own") {
  const Plan plan = plan_of(3, {pod("a"), pod("b", "Failed"), pod("c", "Succeeded")});
  CHECK(count(plan, Verb::kCreate) == 2);
  CHECK(count(plan, Verb::kDelete) == 0);
  const json& made = plan.actions[0].body;
  CHECK(made["metadata"]["generateName"] == "web-1-");
  CHECK(made["metadata"]["labels"] == json{{"app", "web"}});
  CHECK(made["metadata"]["ownerReferences"] ==
        json::parse(R"([{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","uid":"u-rs","controller":true,"blockOwnerDeletion":true}])"));
  CHECK(made["spec"] == pod_template("a:1")["spec"]);
  const json& status = only(plan, Verb::kStatus).body["status"];
  CHECK(status == json{{"replicas", 1}, {"fullyLabeledReplicas", 1}, {"readyReplicas", 1}, {"availableReplicas", 1}, {"observedGeneration", 3}});
}

TEST_CASE("replica set: a pod on its way out counts no more, and is not deleted again") {
  PodView leaving = pod("a");
  leaving.deleting = true;
  const Plan plan = plan_of(1, {leaving});
  CHECK(count(plan, Verb::kCreate) == 1);
  CHECK(count(plan, Verb::kDelete) == 0);
}

TEST_CASE("replica set: gives up those that serve least, as Kubernetes ranks them") {
  PodView unbound = pod("unbound", "Pending", false), pending = pod("pending", "Pending", false), unready = pod("unready", "Running", false);
  unbound.bound = false;
  PodView cheap = pod("cheap"), young = pod("young"), restarted = pod("restarted"), old = pod("old");
  cheap.deletion_cost = -5;
  young.ready_since = kNow - 5;
  restarted.restarts = 3;
  std::vector<std::string> order;
  for (const PodView& one : victims_first({old, restarted, young, cheap, unready, pending, unbound}, kNow)) order.push_back(one.name);
  CHECK(order == std::vector<std::string>{"unbound", "pending", "unready", "cheap", "young", "restarted", "old"});
  PodView alone = pod("alone"), crowded = pod("crowded"), neighbour = pod("neighbour");
  alone.node = "edge2";
  alone.created = kNow;
  CHECK(victims_first({alone, crowded, neighbour}, kNow).back().name == "alone");
  const Plan plan = plan_of(1, {pod("x"), unready});
  CHECK(only(plan, Verb::kDelete).name == "unready");
  CHECK(only(plan, Verb::kDelete).body["preconditions"]["uid"] == "u-unready");
}

TEST_CASE("replica set: available only after minReadySeconds, and it looks again then") {
  State state;
  state.parent = replica_set(1);
  state.parent["spec"]["minReadySeconds"] = 30;
  state.now = kNow;
  state.pods = {pod("a")};
  state.pods[0].ready_since = kNow - 10;
  Plan plan = plan_replica_set(state);
  CHECK_FALSE(only(plan, Verb::kStatus).body["status"].contains("availableReplicas"));
  CHECK(plan.again_at == kNow + 20);
  state.now = kNow + 20;
  plan = plan_replica_set(state);
  CHECK(only(plan, Verb::kStatus).body["status"]["availableReplicas"] == 1);
  CHECK_FALSE(plan.again_at);
}

TEST_CASE("replica set: pods that fail at once come slower and slower, and do not pile up") {
  std::vector<PodView> failed;
  for (int i = 0; i < 4; ++i) failed.push_back(pod("f" + std::to_string(i), "Failed"));
  failed[2].created = kNow - 3;
  Plan plan = plan_of(1, failed);
  CHECK(count(plan, Verb::kCreate) == 0);
  CHECK(plan.again_at == kNow - 3 + 20);
  CHECK(count(plan_of(1, failed, kNow + 17), Verb::kCreate) == 1);
  for (int i = 4; i < 13; ++i) failed.push_back(pod("g" + std::to_string(i), "Failed"));
  plan = plan_of(1, failed, kNow + 1000);
  CHECK(count(plan, Verb::kDelete) == 3);
  CHECK(std::none_of(plan.actions.begin(), plan.actions.end(), [](const Action& one) { return one.name == "f2"; }));   // the newest stays
}

TEST_CASE("replica set: a refused create is a condition, and its end takes it away") {
  State state;
  state.parent = replica_set(1);
  state.now = kNow;
  state.failure = "pods is forbidden";
  Plan plan = plan_replica_set(state);
  const json condition = only(plan, Verb::kStatus).body["status"]["conditions"][0];
  CHECK(condition == json{{"type", "ReplicaFailure"}, {"status", "True"}, {"reason", "FailedCreate"}, {"message", "pods is forbidden"}, {"lastTransitionTime", kTime}});
  state.parent["status"] = {{"replicas", 0}, {"observedGeneration", 3}, {"conditions", {condition}}};
  CHECK(count(plan_replica_set(state), Verb::kStatus) == 0);
  state.failure = "";
  plan = plan_replica_set(state);
  CHECK(only(plan, Verb::kStatus).body["status"] == json{{"conditions", nullptr}});
}

TEST_CASE("replica set: one that is being deleted makes and deletes nothing; a burst is limited") {
  State state;
  state.parent = replica_set(5);
  state.parent["metadata"]["deletionTimestamp"] = kTime;
  state.now = kNow;
  state.pods = {pod("a")};
  const Plan plan = plan_replica_set(state);
  CHECK(count(plan, Verb::kCreate) + count(plan, Verb::kDelete) == 0);
  CHECK(count(plan_of(1000, {}), Verb::kCreate) == static_cast<int>(kMostCreates));
}

TEST_CASE("claims: takes what nobody owns, lets go what the selector chooses no more, leaves others' alone") {
  const json parent = replica_set(1);
  const std::vector<Claimable> all = {
      {"default", "mine", "1", "u-rs", {{"app", "web"}}, false},   {"default", "stray", "2", "", {{"app", "web"}, {"x", "y"}}, false},
      {"default", "left", "3", "u-rs", {{"app", "other"}}, false}, {"default", "others", "4", "u-else", {{"app", "web"}}, false},
      {"default", "gone", "5", "", {{"app", "web"}}, true},        {"default", "plain", "6", "", nullptr, false}};
  const Plan plan = plan_claims(parent, kPods, all);
  REQUIRE(plan.actions.size() == 2);
  CHECK(plan.actions[0].name == "stray");
  CHECK(plan.actions[0].body["metadata"]["uid"] == "2");
  CHECK(plan.actions[0].body["metadata"]["ownerReferences"][0] == owner_reference(parent));
  CHECK(plan.actions[1].name == "left");
  CHECK(plan.actions[1].body["metadata"]["ownerReferences"] == json::parse(R"([{"$patch":"delete","uid":"u-rs"}])"));
  json leaving = parent;
  leaving["metadata"]["deletionTimestamp"] = kTime;
  CHECK(plan_claims(leaving, kPods, all).actions.empty());
}

TEST_CASE("pods: a view keeps what controllers ask for") {
  const PodView view = view_of_pod(json::parse(R"({"metadata":{"namespace":"d","name":"p","uid":"u","resourceVersion":"17","creationTimestamp":"2023-11-14T22:13:20Z",
    "labels":{"a":"b"},"deletionTimestamp":"2023-11-14T22:13:20Z","annotations":{"controller.kubernetes.io/pod-deletion-cost":"7"},
    "ownerReferences":[{"uid":"x"},{"uid":"c","controller":true}]},"spec":{"nodeName":"edge1"},
    "status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2023-11-14T22:13:20Z"}],
              "containerStatuses":[{"restartCount":2},{"restartCount":1}]}})"));
  CHECK(view.key() == "d/p");
  CHECK(view.owner == "c");
  CHECK(view.labels == R"({"a":"b"})");
  CHECK(view.version == 17);
  CHECK(view.created == kNow);
  CHECK(view.ready);
  CHECK(view.ready_since == kNow);
  CHECK(view.restarts == 3);
  CHECK(view.deletion_cost == 7);
  CHECK(view.deleting);
  CHECK_FALSE(view.active());
  CHECK(view_of_pod(json::parse(R"({"metadata":7,"status":{"conditions":5}})")).name.empty());   // foreign shapes do no harm
}

TEST_CASE("index: nothing older takes the place of what is known") {
  Index<PodView> index;
  std::optional<PodView> before;
  PodView one = pod("a");
  one.version = 5;
  CHECK(index.put(one, before));
  CHECK_FALSE(before);
  CHECK_FALSE(index.put(one, before));
  one.version = 6;
  one.owner = "";
  CHECK(index.put(one, before));
  CHECK(before->owner == "u-rs");
  CHECK(index.owned_by("u-rs").empty());
  CHECK(index.owned_by("").size() == 1);
  CHECK_FALSE(index.take("default/a", "another"));
  CHECK(index.in_namespace("default").size() == 1);
  CHECK(index.in_namespace("def").empty());
  CHECK(index.take("default/a", "u-a"));
  CHECK(index.find("default/a") == nullptr);
}

TEST_CASE("expectations: a key waits for its own writes, not for ever") {
  Expectations all;
  const Milliseconds now{1000};
  all.saw("pods", 10);
  all.expect("a", "pods", 10, now);
  CHECK_FALSE(all.waits("a", now));   // seen already
  all.expect("a", "pods", 12, now);
  all.expect("a", "pods", 11, now);
  all.expect("a", "replicasets", 13, now);
  all.expect("b", "pods", 11, now);
  CHECK(all.saw("pods", 11) == std::vector<std::string>{"b"});
  CHECK(all.saw("pods", 20).empty());
  CHECK(all.waits("a", now));
  CHECK(all.saw("replicasets", 13) == std::vector<std::string>{"a"});
  CHECK_FALSE(all.waits("a", now));
  all.expect("c", "pods", 99, now);
  CHECK_FALSE(all.waits("c", now + Expectations::kLongestWait));
  all.expect("c", "pods", 99, now);
  all.forget("c");
  CHECK_FALSE(all.waits("c", now));
}

TEST_CASE("work list: one at a time, again if named meanwhile, later and later while it fails") {
  WorkList list;
  const auto at = [](int ms) { return Milliseconds{ms}; };
  CHECK_FALSE(list.next());
  list.add("a");
  list.add("a");
  CHECK(list.next() == at(0));
  CHECK(list.take(at(0)) == std::set<std::string>{"a"});
  CHECK_FALSE(list.next());
  list.add("a");
  CHECK(list.take(at(1)).empty());   // busy
  list.done("a", false, at(2));
  CHECK(list.take(at(2)).size() == 1);
  list.done("a", true, at(10));
  list.add("a");                     // no short cut past the wait
  CHECK(list.take(at(11)).empty());
  CHECK(list.next() == at(10) + WorkList::kFirstWait);
  CHECK(list.take(at(210)).size() == 1);
  list.done("a", true, at(210));
  CHECK(list.next() == at(210) + 2 * WorkList::kFirstWait);
  Milliseconds now = *list.next(), wait{0};
  for (int i = 0; i < 20; ++i) {
    CHECK(list.take(now).size() == 1);
    list.done("a", true, now);
    wait = *list.next() - now;
    now = *list.next();
  }
  CHECK(wait == WorkList::kLastWait);
  CHECK(list.take(now).size() == 1);
  list.done("a", false, now);
  list.add_at("a", now + at(500));
  list.add_at("a", now + at(900));
  CHECK(list.next() == now + at(500));
  list.add("a");
  CHECK(list.take(now).size() == 1);   // forgiven
}
