// Jobs: run to their end, counted once, given up in time.
#include <doctest/doctest.h>

#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/job.h"
#include "kube/patch/patch.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using namespace kubeedge::cloud::workloads;
using nlohmann::json;
using Verb = Action::Verb;

namespace {

struct World {
  State state;
  int serial = 0;
  bool removed = false;
  std::size_t most = 0;
  std::optional<std::int64_t> again_at;

  explicit World(json spec) {
    state.now = 1'700'000'000;
    spec["template"] = {{"metadata", {{"labels", {{"job-name", "j"}}}}}, {"spec", {{"restartPolicy", "Never"}}}};
    state.parent = {{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", {{"name", "j"}, {"namespace", "default"}, {"uid", "u-j"}}}, {"spec", std::move(spec)}};
  }

  bool look() {
    const Plan plan = plan_job(state);
    again_at = plan.again_at;
    for (const Action& action : plan.actions) carry_out(action);
    most = std::max(most, active());
    return !plan.actions.empty();
  }

  void carry_out(const Action& action) {
    if (action.verb == Verb::kCreate) {
      json made = action.body;
      made["metadata"]["name"] = "j-" + std::to_string(++serial);
      made["metadata"]["uid"] = "u-" + std::to_string(serial);
      PodView pod = view_of_pod(made);
      pod.created = state.now;
      pod.phase = "Running";
      state.pods.push_back(std::move(pod));
    } else if (action.verb == Verb::kDelete) {
      removed = removed || action.resource == kJobs;
      std::erase_if(state.pods, [&](const PodView& pod) { return pod.name == action.name; });
    } else if (action.verb == Verb::kStatus) {
      state.parent = kube::patch::merge_patch(state.parent, action.body);
    } else {
      for (PodView& pod : state.pods)
        if (pod.name == action.name) pod.counted = action.body["metadata"]["annotations"][kCountedAnnotation] == "true";
    }
  }

  void settle() {
    for (int i = 0; i < 50; ++i)
      if (!look()) return;
    FAIL("it never comes to rest");
  }
  void finish(std::size_t count, const char* phase) {
    for (PodView& pod : state.pods)
      if (pod.active() && count > 0) {
        pod.phase = phase;
        pod.finished = state.now;
        --count;
      }
  }
  std::size_t active() const {
    return static_cast<std::size_t>(std::count_if(state.pods.begin(), state.pods.end(), [](const PodView& pod) { return pod.active(); }));
  }
  std::int64_t status(const char* field) const { return int_at(state.parent, {"status", field}); }
  bool is(const char* type) const {
    const json* one = condition(state.parent["status"], type);
    return one != nullptr && json_text(*one, {"status"}) == "True";
  }
  std::string reason(const char* type) const { return json_text(*condition(state.parent["status"], type), {"reason"}); }
};

}  // namespace

TEST_CASE("job: so many at a time, until so many have succeeded") {
  World world({{"parallelism", 2}, {"completions", 5}, {"backoffLimit", 6}});
  world.settle();
  CHECK(world.active() == 2);
  CHECK(world.status("active") == 2);
  CHECK(json_text(world.state.parent, {"status", "startTime"}) == "2023-11-14T22:13:20Z");
  for (int i = 0; i < 2; ++i) {
    world.finish(2, "Succeeded");
    world.settle();
  }
  CHECK(world.active() == 1);
  CHECK(world.status("succeeded") == 4);
  world.finish(1, "Succeeded");
  world.settle();
  CHECK(world.most == 2);
  CHECK(world.status("succeeded") == 5);
  CHECK(world.is("Complete"));
  CHECK(world.is("SuccessCriteriaMet"));
  CHECK(world.reason("Complete") == "CompletionsReached");
  CHECK(json_text(world.state.parent, {"status", "completionTime"}) == "2023-11-14T22:13:20Z");
  CHECK(world.state.parent["status"]["uncountedTerminatedPods"] == json::object());
  CHECK_FALSE(world.state.parent["status"]["conditions"][0].contains("lastUpdateTime"));
  world.state.pods.clear();
  CHECK_FALSE(world.look());   // it is over
}

TEST_CASE("job: an end is counted once at whatever step it is begun anew, and the pod may then be deleted") {
  for (int steps = 0; steps < 5; ++steps) {
    CAPTURE(steps);
    World world({{"parallelism", 1}, {"completions", 3}});
    world.settle();
    world.finish(1, "Succeeded");
    for (int i = 0; i < steps; ++i) {
      // Only the first write of a look reaches the server, then the controller is killed.
      const Plan plan = plan_job(world.state);
      if (!plan.actions.empty()) world.carry_out(plan.actions.back());
    }
    world.settle();
    CHECK(world.status("succeeded") == 1);
    std::erase_if(world.state.pods, [](const PodView& pod) { return pod.over(); });
    world.settle();
    CHECK(world.status("succeeded") == 1);
    CHECK(world.active() == 1);
  }
}

TEST_CASE("job: failed pods are replaced later and later, and past the limit all is given up") {
  World world({{"parallelism", 1}, {"completions", 1}, {"backoffLimit", 2}});
  world.settle();
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 2; ++i) {
    world.finish(1, "Failed");
    world.settle();
    CHECK(world.active() == 0);
    REQUIRE(world.again_at);
    waits.push_back(*world.again_at - world.state.now);
    world.state.now = *world.again_at;
    world.settle();
    CHECK(world.active() == 1);
  }
  CHECK(waits == std::vector<std::int64_t>{10, 20});
  world.finish(1, "Failed");
  world.settle();
  CHECK(world.is("Failed"));
  CHECK(world.reason("Failed") == "BackoffLimitExceeded");
  CHECK(world.status("failed") == 3);
  CHECK_FALSE(json_at(world.state.parent, {"status"}).contains("completionTime"));
}

TEST_CASE("job: past its deadline its pods are stopped; Failed comes when they are gone") {
  World world({{"parallelism", 2}, {"completions", 2}, {"activeDeadlineSeconds", 30}});
  world.settle();
  CHECK(world.again_at == world.state.now + 30);
  world.state.now += 30;
  world.state.pods[0].deleting = true;   // on its way out already
  world.look();
  CHECK(world.is("FailureTarget"));
  CHECK_FALSE(world.is("Failed"));
  CHECK(world.state.pods.size() == 1);
  world.state.pods.clear();
  world.settle();
  CHECK(world.reason("Failed") == "DeadlineExceeded");
}

TEST_CASE("job: restarts in place count against the limit, too") {
  World world({{"parallelism", 1}, {"completions", 1}, {"backoffLimit", 3}});
  world.state.parent["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure";
  world.settle();
  world.state.pods[0].restarts = 2;
  world.settle();
  CHECK_FALSE(world.is("FailureTarget"));
  world.state.pods[0].restarts = 3;
  world.settle();
  CHECK(world.reason("Failed") == "BackoffLimitExceeded");
}

TEST_CASE("job: suspended it has no pods, resumed it begins again; scaled it keeps to its parallelism") {
  World world({{"parallelism", 2}, {"completions", 4}, {"suspend", true}});
  world.settle();
  CHECK(world.active() == 0);
  CHECK(world.is("Suspended"));
  CHECK_FALSE(json_at(world.state.parent, {"status"}).contains("startTime"));
  world.state.parent["spec"]["suspend"] = false;
  world.settle();
  CHECK(world.active() == 2);
  CHECK_FALSE(world.is("Suspended"));
  CHECK(world.reason("Suspended") == "JobResumed");
  world.state.parent["spec"]["parallelism"] = 1;
  world.settle();
  CHECK(world.active() == 1);
  CHECK(world.status("succeeded") == 0);
}

TEST_CASE("job: without completions the first success ends it, once the others are through") {
  World world(json{{"parallelism", 3}});
  world.settle();
  CHECK(world.active() == 3);
  world.finish(1, "Succeeded");
  world.settle();
  CHECK(world.active() == 2);
  CHECK_FALSE(world.is("Complete"));
  world.finish(2, "Succeeded");
  world.settle();
  CHECK(world.is("Complete"));
  CHECK(world.status("succeeded") == 3);
}

TEST_CASE("job: with podReplacementPolicy Failed what is leaving is waited for; a finished job goes when its time is over") {
  World world({{"parallelism", 1}, {"completions", 1}, {"podReplacementPolicy", "Failed"}, {"ttlSecondsAfterFinished", 60}});
  world.settle();
  world.state.pods[0].deleting = true;
  world.settle();
  CHECK(world.active() == 0);
  CHECK(world.status("terminating") == 1);
  world.state.pods.clear();
  world.settle();
  CHECK(world.active() == 1);
  world.finish(1, "Succeeded");
  world.settle();
  REQUIRE(world.is("Complete"));
  CHECK(world.again_at == world.state.now + 60);
  CHECK_FALSE(world.removed);
  world.state.now += 60;
  world.look();
  CHECK(world.removed);
}
