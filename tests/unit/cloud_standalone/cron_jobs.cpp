// CronJobs: one job for each time, whatever was missed or killed.
#include <doctest/doctest.h>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/cron_job.h"
#include "kube/patch/patch.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using namespace kubeedge::cloud::workloads;
using nlohmann::json;
using Verb = Action::Verb;

namespace {

struct World {
  State state;
  std::optional<std::int64_t> again_at;
  int serial = 0;

  explicit World(const json& more = json::object()) {
    json spec = {{"schedule", "*/10 * * * *"}, {"concurrencyPolicy", "Allow"}, {"successfulJobsHistoryLimit", 2}, {"failedJobsHistoryLimit", 1},
                 {"jobTemplate", {{"metadata", {{"labels", {{"a", "b"}}}}}, {"spec", {{"parallelism", 1}}}}}};
    spec.update(more);
    state.parent = {{"apiVersion", "batch/v1"}, {"kind", "CronJob"},
                    {"metadata", {{"name", "tick"}, {"namespace", "default"}, {"uid", "u-c"}, {"creationTimestamp", "2026-01-01T00:00:30Z"}}}, {"spec", spec}};
    at("2026-01-01T00:00:30Z");
  }
  void at(const char* time) { state.now = *base::from_rfc3339(time); }

  void look(bool status_is_lost = false) {
    const Plan plan = plan_cron_job(state);
    again_at = plan.again_at;
    for (const Action& action : plan.actions) {
      if (action.verb == Verb::kCreate) {
        json made = action.body;
        made["metadata"]["uid"] = "u-" + std::to_string(++serial);
        made["metadata"]["creationTimestamp"] = base::rfc3339(state.now);
        state.children.push_back(std::move(made));
      } else if (action.verb == Verb::kDelete) {
        std::erase_if(state.children, [&](const json& one) { return meta_text(one, "name") == action.name; });
      } else if (!status_is_lost) {
        state.parent = kube::patch::merge_patch(state.parent, action.body);
      }
    }
  }
  void end(std::size_t index, const char* how) {
    state.children[index]["status"] = {{"conditions", {{{"type", how}, {"status", "True"}}}}};
    if (std::string_view(how) == "Complete") state.children[index]["status"]["completionTime"] = base::rfc3339(state.now);
  }
  std::string last() { return json_text(state.parent, {"status", "lastScheduleTime"}); }
};

}  // namespace

TEST_CASE("cron job: a job at its time, named after it, and a look at the next") {
  World world;
  world.look();
  CHECK(world.state.children.empty());
  CHECK(world.again_at == *base::from_rfc3339("2026-01-01T00:10:00Z"));
  world.at("2026-01-01T00:10:01Z");
  world.look();
  REQUIRE(world.state.children.size() == 1);
  const json job = world.state.children[0];
  CHECK(meta_text(job, "name") == "tick-" + std::to_string(*base::from_rfc3339("2026-01-01T00:10:00Z") / 60));
  CHECK(annotation(job, "batch.kubernetes.io/cronjob-scheduled-timestamp") == "2026-01-01T00:10:00Z");
  CHECK(job["metadata"]["labels"] == json{{"a", "b"}});
  CHECK(job["spec"] == json{{"parallelism", 1}});
  CHECK(world.last() == "2026-01-01T00:10:00Z");
  world.look();
  CHECK(world.state.children.size() == 1);
  CHECK(world.state.parent["status"]["active"][0]["uid"] == "u-1");
  world.end(0, "Complete");
  world.look();
  CHECK_FALSE(world.state.parent["status"].contains("active"));
  CHECK(world.state.parent["status"]["lastSuccessfulTime"] == "2026-01-01T00:10:01Z");
}

TEST_CASE("cron job: of what was missed the last is made up for, unless its deadline is over; a lost status makes no second job") {
  World world;
  world.at("2026-01-01T05:03:00Z");
  world.look(true);
  CHECK(world.state.children.size() == 1);
  world.look();
  CHECK(world.state.children.size() == 1);
  CHECK(world.last() == "2026-01-01T05:00:00Z");
  World strict(json{{"startingDeadlineSeconds", 60}});
  strict.at("2026-01-01T05:03:00Z");
  strict.look();
  CHECK(strict.state.children.empty());
  strict.at("2026-01-01T05:10:40Z");
  strict.look();
  CHECK(strict.state.children.size() == 1);
}

TEST_CASE("cron job: Allow, Forbid and Replace where the last job still runs; suspended it makes none") {
  for (const auto& [policy, jobs] : {std::pair("Allow", 2), {"Forbid", 1}, {"Replace", 1}}) {
    World world(json{{"concurrencyPolicy", policy}});
    world.at("2026-01-01T00:10:00Z");
    world.look();
    const std::string first = meta_text(world.state.children.at(0), "name");
    world.at("2026-01-01T00:20:00Z");
    world.look();
    CHECK(world.state.children.size() == static_cast<std::size_t>(jobs));
    CHECK((meta_text(world.state.children.back(), "name") == first) == (std::string_view(policy) == "Forbid"));
    if (std::string_view(policy) != "Forbid") continue;
    world.at("2026-01-01T00:23:00Z");
    world.end(0, "Complete");
    world.look();   // what was held back comes now
    CHECK(world.state.children.size() == 2);
    CHECK(world.last() == "2026-01-01T00:20:00Z");
  }
  World still(json{{"suspend", true}});
  still.at("2026-01-01T03:00:00Z");
  still.look();
  CHECK(still.state.children.empty());
}

TEST_CASE("cron job: the oldest that are over are cleared away") {
  World world;
  for (const char* time : {"2026-01-01T00:10:00Z", "2026-01-01T00:20:00Z", "2026-01-01T00:30:00Z", "2026-01-01T00:40:00Z", "2026-01-01T00:50:00Z"}) {
    world.at(time);
    world.look();
    world.end(world.state.children.size() - 1, world.serial <= 3 ? "Complete" : "Failed");
  }
  world.look();
  REQUIRE(world.state.children.size() == 3);
  CHECK(world.state.children[0]["metadata"]["uid"] == "u-2");
  CHECK(world.state.children[2]["metadata"]["uid"] == "u-5");
}
