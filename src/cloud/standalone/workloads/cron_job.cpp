#include "cloud/standalone/workloads/cron_job.h"

#include <algorithm>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "kube/schema/cron.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

constexpr const char* kTimeAnnotation = "batch.kubernetes.io/cronjob-scheduled-timestamp";

bool ended(const json& job, const char* how) {
  const json* one = condition(json_at(job, {"status"}), how);
  return one != nullptr && json_text(*one, {"status"}) == "True";
}
bool over(const json& job) { return ended(job, "Complete") || ended(job, "Failed"); }

class CronRun {
 public:
  explicit CronRun(const State& state) : state_(state), parent_(state.parent), next_(state.parent) {
    for (const json& job : state_.children)
      if (!over(job)) running_.push_back(&job);
  }

  Plan run() {
    if (deleting(parent_)) return {};
    trim("Complete", "successfulJobsHistoryLimit");
    trim("Failed", "failedJobsHistoryLimit");
    if (json_at(parent_, {"spec", "suspend"}) != true) keep_time();
    write_status();
    return std::move(plan_);
  }

 private:
  void trim(const char* how, const char* limit) {
    std::vector<const json*> done;
    for (const json& job : state_.children)
      if (ended(job, how) && !deleting(job)) done.push_back(&job);
    std::sort(done.begin(), done.end(), [](const json* a, const json* b) {
      return created_at(*a) != created_at(*b) ? created_at(*a) < created_at(*b) : meta_text(*a, "name") < meta_text(*b, "name");
    });
    const json& most = json_at(parent_, {"spec", limit});
    if (!most.is_number_integer()) return;
    for (std::size_t i = 0; i + most.get<std::size_t>() < done.size(); ++i) remove(*done[i], {});
  }

  void remove(const json& job, Note note) { plan_.remove(kJobs, meta_text(job, "namespace"), meta_text(job, "name"), meta_text(job, "uid"), std::move(note)); }

  void keep_time() {
    const auto schedule = kube::schema::CronSchedule::parse(json_text(parent_, {"spec", "schedule"}));
    if (!schedule) return;   // refused at the door
    if (const auto next = schedule->next(state_.now)) plan_.look_at(*next);
    const json& patience = json_at(parent_, {"spec", "startingDeadlineSeconds"});
    std::int64_t since = base::from_rfc3339(json_text(parent_, {"status", "lastScheduleTime"})).value_or(created_at(parent_));
    // What was missed for longer is not made up for.
    if (patience.is_number_integer()) since = std::max(since, state_.now - patience.get<std::int64_t>() - 1);
    const auto time = schedule->last(since, state_.now);
    if (!time) return;
    const std::string policy = json_text(parent_, {"spec", "concurrencyPolicy"});
    if (policy == "Forbid" && !running_.empty()) return;   // its end makes this be looked at again
    if (policy == "Replace")
      for (const json* job : running_)
        if (!deleting(*job)) remove(*job, {"SuccessfulDelete", "Deleted job " + meta_text(*job, "name")});
    start(*time);
  }

  // The name says the time: whatever is killed when, no time has two jobs.
  void start(std::int64_t time) {
    next_["status"]["lastScheduleTime"] = base::rfc3339(time);
    const std::string name = meta_text(parent_, "name") + "-" + std::to_string(time / 60);
    const bool there = std::any_of(state_.children.begin(), state_.children.end(), [&](const json& job) { return meta_text(job, "name") == name; });
    if (there || state_.taken.contains(name)) return;
    json metadata = {{"name", name}, {"namespace", meta_text(parent_, "namespace")}, {"ownerReferences", json::array({owner_reference(parent_)})}};
    for (const char* field : {"labels", "annotations"})
      if (const json& value = json_at(parent_, {"spec", "jobTemplate", "metadata", field}); !value.empty()) metadata[field] = value;
    metadata["annotations"][kTimeAnnotation] = base::rfc3339(time);
    plan_.create(kJobs, {{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"metadata", std::move(metadata)}, {"spec", json_at(parent_, {"spec", "jobTemplate", "spec"})}},
                 {"SuccessfulCreate", "Created job " + name});
  }

  void write_status() {
    json& status = next_["status"];
    if (!status.is_object()) status = json::object();
    json active = json::array();
    for (const json* job : running_)
      active.push_back({{"apiVersion", "batch/v1"}, {"kind", "Job"}, {"namespace", meta_text(*job, "namespace")}, {"name", meta_text(*job, "name")}, {"uid", meta_text(*job, "uid")}});
    if (active.empty()) status.erase("active");
    else status["active"] = std::move(active);
    std::string latest = json_text(status, {"lastSuccessfulTime"});
    for (const json& job : state_.children) latest = std::max(latest, json_text(job, {"status", "completionTime"}));
    if (!latest.empty()) status["lastSuccessfulTime"] = latest;
    plan_.status(kCronJobs, parent_, next_);
  }

  const State& state_;
  const json& parent_;
  json next_;
  std::vector<const json*> running_;
  Plan plan_;
};

}  // namespace

Plan plan_cron_job(const State& state) { return CronRun(state).run(); }

}  // namespace kubeedge::cloud::workloads
