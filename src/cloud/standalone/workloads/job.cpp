#include "cloud/standalone/workloads/job.h"

#include <algorithm>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/replica_set.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

constexpr std::int64_t kFirstBackoff = 10;     // seconds after a failed pod; doubled with each, as Kubernetes has it
constexpr std::int64_t kLastBackoff = 600;
constexpr std::int64_t kBackoffLimit = 6;      // Kubernetes' default
constexpr int kMostDoublings = 6;              // 10 s * 2^6 is past kLastBackoff

class JobRun {
 public:
  explicit JobRun(const State& state) : state_(state), parent_(state.parent), next_(state.parent), status_(next_["status"]) {
    if (!status_.is_object()) status_ = json::object();
    parallel_ = int_at(parent_, {"spec", "parallelism"}, 1);
    for (const PodView& pod : state_.pods) {
      if (pod.active()) active_.push_back(pod);
      leaving_ += pod.deleting && !pod.over() ? 1 : 0;
      ready_ += pod.active() && pod.ready ? 1 : 0;
    }
  }

  Plan run() {
    if (deleting(parent_)) return {};
    if (is_true("Complete") || is_true("Failed")) {
      expire();
      return std::move(plan_);
    }
    count();
    const bool suspended = json_at(parent_, {"spec", "suspend"}) == true;
    if (!ends()) suspended ? suspend() : go_on();
    write_counters();
    plan_.status(kJobs, parent_, next_);
    return std::move(plan_);
  }

 private:
  bool is_true(const char* type) const {
    const json* one = condition(status_, type);
    return one != nullptr && json_text(*one, {"status"}) == "True";
  }

  void say(const char* type, const char* truth, const std::string& reason, const std::string& message) {
    set_condition(status_, type, truth, reason, message, state_.now);
    for (json& one : status_["conditions"])
      if (one.contains("lastUpdateTime")) {   // of a job it has another name
        one["lastProbeTime"] = one["lastUpdateTime"];
        one.erase("lastUpdateTime");
      }
  }

  // Each end of a pod is counted once, whatever is killed meanwhile: its uid goes into the status, then the pod is marked, then the
  // counter grows and the uid leaves the status.
  void count() {
    json& open = status_["uncountedTerminatedPods"];
    if (!open.is_object()) open = json::object();
    for (const auto& [phase, list, counter] : {std::tuple("Succeeded", "succeeded", "succeeded"), std::tuple("Failed", "failed", "failed")}) {
      json left = json::array();
      const json before = json_at(open, {list}).is_array() ? open[list] : json::array();
      std::int64_t sum = int_at(status_, {counter});
      for (const json& uid : before) {
        const auto pod = std::find_if(state_.pods.begin(), state_.pods.end(), [&](const PodView& one) { return one.uid == json_text(uid); });
        if (pod == state_.pods.end() || pod->counted) ++sum;
        else left.push_back(uid);
        if (pod != state_.pods.end() && !pod->counted) mark(*pod);
      }
      for (const PodView& pod : state_.pods)
        if (pod.phase == phase && !pod.counted && std::find(before.begin(), before.end(), json(pod.uid)) == before.end()) left.push_back(pod.uid);
      (phase == std::string_view("Failed") ? failed_ : succeeded_) = sum + static_cast<std::int64_t>(left.size());
      set_count(status_, counter, sum);
      if (left.empty()) open.erase(list);
      else open[list] = std::move(left);
    }
  }

  void mark(const PodView& pod) {
    plan_.patch(kPods, {{"metadata", {{"namespace", pod.ns}, {"name", pod.name}, {"uid", pod.uid}}}}, {{"metadata", {{"annotations", {{kCountedAnnotation, "true"}}}}}});
  }

  bool has_completions() const { return json_at(parent_, {"spec", "completions"}).is_number_integer(); }
  std::int64_t completions() const { return int_at(parent_, {"spec", "completions"}); }
  std::int64_t started() const { return base::from_rfc3339(json_text(status_, {"startTime"})).value_or(state_.now); }

  // What became of it, and what is still to be waited for.
  bool ends() {
    std::string reason, message;
    if (const json* known = condition(status_, "FailureTarget"); known != nullptr) {
      reason = json_text(*known, {"reason"});
      message = json_text(*known, {"message"});
    } else if (failed_ > limit() || restarted_too_often()) {
      reason = "BackoffLimitExceeded";
      message = "Job has reached the specified backoff limit";
    } else if (past_deadline()) {
      reason = "DeadlineExceeded";
      message = "Job was active longer than specified deadline";
    }
    if (!reason.empty()) {
      end("FailureTarget", "Failed", reason, message);
      return true;
    }
    const bool done = has_completions() ? succeeded_ >= completions() : succeeded_ > 0 && active_.empty();
    if (done) end("SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
    return done;
  }

  void end(const char* first, const char* last, const std::string& reason, const std::string& message) {
    say(first, "True", reason, message);
    for (const PodView& pod : active_) stop(pod);
    const bool counted = status_["uncountedTerminatedPods"].empty();
    if (!active_.empty() || leaving_ > 0 || !counted) return;
    say(last, "True", reason, message);
    if (std::string_view(last) == "Complete") status_["completionTime"] = base::rfc3339(state_.now);
  }

  std::int64_t limit() const { return int_at(parent_, {"spec", "backoffLimit"}, kBackoffLimit); }

  bool restarted_too_often() const {
    if (json_text(parent_, {"spec", "template", "spec", "restartPolicy"}) != "OnFailure") return false;
    std::int64_t sum = 0;
    for (const PodView& pod : active_) sum += pod.restarts;
    return limit() == 0 ? sum > 0 : sum >= limit();
  }

  bool past_deadline() {
    const json& seconds = json_at(parent_, {"spec", "activeDeadlineSeconds"});
    if (!seconds.is_number_integer() || !json_at(status_, {"startTime"}).is_string()) return false;
    const std::int64_t deadline = started() + seconds.get<std::int64_t>();
    if (deadline > state_.now) plan_.look_at(deadline);
    return deadline <= state_.now;
  }

  void suspend() {
    for (const PodView& pod : active_) stop(pod);
    say("Suspended", "True", "JobSuspended", "Job suspended");
    status_.erase("startTime");
  }

  void go_on() {
    if (is_true("Suspended")) say("Suspended", "False", "JobResumed", "Job resumed");
    if (!json_at(status_, {"startTime"}).is_string()) {
      status_["startTime"] = base::rfc3339(state_.now);
      if (const json& seconds = json_at(parent_, {"spec", "activeDeadlineSeconds"}); seconds.is_number_integer()) plan_.look_at(state_.now + seconds.get<std::int64_t>());
    }
    const auto has = static_cast<std::int64_t>(active_.size());
    const std::int64_t wanted = has_completions() ? std::min(parallel_, completions() - succeeded_) : succeeded_ > 0 ? std::min(has, parallel_) : parallel_;
    if (has > wanted) {
      const std::vector<PodView> ranked = victims_first(active_, state_.now);
      for (std::int64_t i = 0; i < has - wanted; ++i) stop(ranked[static_cast<std::size_t>(i)]);
    }
    // Where only what has failed is replaced, what is on its way out still counts.
    const bool waits = json_text(parent_, {"spec", "podReplacementPolicy"}) == "Failed";
    start(wanted - has - (waits ? leaving_ : 0));
  }

  void start(std::int64_t missing) {
    if (missing <= 0) return;
    if (const std::int64_t when = not_before(); when > state_.now) return plan_.look_at(when);
    for (std::int64_t i = 0; i < std::min(missing, static_cast<std::int64_t>(kMostCreates)); ++i)
      plan_.create(kPods, pod_of(parent_, json_at(parent_, {"spec", "template"}), ""), {"SuccessfulCreate", "Created pod: "});
  }

  std::int64_t not_before() const {
    std::int64_t last = 0, good = 0;
    int count = 0;
    for (const PodView& pod : state_.pods) {
      std::int64_t& newest = pod.phase == "Failed" ? last : good;
      if (pod.over()) newest = std::max(newest, std::max(pod.finished, pod.created));
    }
    for (const PodView& pod : state_.pods) count += pod.phase == "Failed" && std::max(pod.finished, pod.created) >= good ? 1 : 0;
    if (count == 0) return 0;
    return last + std::min(kLastBackoff, kFirstBackoff << std::min(count - 1, kMostDoublings));
  }

  void stop(const PodView& pod) { plan_.remove(kPods, pod.ns, pod.name, pod.uid, {"SuccessfulDelete", "Deleted pod: " + pod.name}); }

  void write_counters() {
    set_count(status_, "active", static_cast<std::int64_t>(active_.size()));
    status_["ready"] = ready_;
    status_["terminating"] = leaving_;
  }

  // A finished job goes when its time is over.
  void expire() {
    const json& ttl = json_at(parent_, {"spec", "ttlSecondsAfterFinished"});
    if (!ttl.is_number_integer()) return;
    const json* how = is_true("Complete") ? condition(status_, "Complete") : condition(status_, "Failed");
    const std::int64_t when = base::from_rfc3339(json_text(*how, {"lastTransitionTime"})).value_or(0) + ttl.get<std::int64_t>();
    if (when > state_.now) return plan_.look_at(when);
    plan_.remove(kJobs, meta_text(parent_, "namespace"), meta_text(parent_, "name"), meta_text(parent_, "uid"));
  }

  const State& state_;
  const json& parent_;
  json next_;
  json& status_;
  std::vector<PodView> active_;
  std::int64_t parallel_ = 1, leaving_ = 0, ready_ = 0, succeeded_ = 0, failed_ = 0;
  Plan plan_;
};

}  // namespace

Plan plan_job(const State& state) { return JobRun(state).run(); }

}  // namespace kubeedge::cloud::workloads
