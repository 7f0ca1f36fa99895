#include "cloud/standalone/plan_run.h"

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "cloud/standalone/event_writer.h"
#include "kube/client/api_wire.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;
using workloads::Action;
using Verb = workloads::Action::Verb;

constexpr std::size_t kMostAtOnce = 100;

class PlanRun : public std::enable_shared_from_this<PlanRun> {
 public:
  PlanRun(const Runtime& runtime, kube::KubeClient& client, const char* component, const workloads::State& state, workloads::Plan plan,
          unique_function<void(PlanOutcome)> done)
      : runtime_(runtime), client_(client), component_(component), known_failure_(state.failure), actions_(std::move(plan.actions)), done_(std::move(done)) {
    for (const char* field : {"apiVersion", "kind"}) about_[field] = json_at(state.parent, {field});
    for (const char* field : {"namespace", "name", "uid"}) about_["metadata"][field] = json_at(state.parent, {"metadata", field});
  }

  void next() {
    if (outcome_.failed) skip_to_status();
    if (at_ == actions_.size()) return done_(std::move(outcome_));
    const std::size_t begin = at_;
    const Verb verb = actions_[begin].verb;
    const std::size_t most = verb == Verb::kCreate ? creates_ : kMostAtOnce;
    while (at_ < actions_.size() && at_ - begin < most && actions_[at_].verb == verb) ++at_;
    if (verb == Verb::kCreate) creates_ = std::min(creates_ * 2, kMostAtOnce);
    open_ = at_ - begin;
    for (std::size_t i = begin; i < begin + open_; ++i) send(actions_[i]);
  }

 private:
  void skip_to_status() {
    while (at_ < actions_.size() && actions_[at_].verb != Verb::kStatus) ++at_;
  }

  void send(const Action& action) {
    auto answered = [self = shared_from_this(), &action](kube::ApiResult<Bytes> result) {
      self->take(action, result);
      if (--self->open_ == 0) self->next();
    };
    Bytes body = json_bytes(action.body);
    switch (action.verb) {
      case Verb::kCreate: return client_.create(action.resource, action.ns, "", "", std::move(body), std::move(answered));
      case Verb::kPatch: return client_.patch(action.resource, action.ns, action.name, "", kube::PatchType::kStrategicMerge, std::move(body), std::move(answered));
      case Verb::kStatus: return client_.patch(action.resource, action.ns, action.name, "status", kube::PatchType::kMerge, std::move(body), std::move(answered));
      case Verb::kDelete: return client_.remove(action.resource, action.ns, action.name, std::move(body), std::move(answered));
    }
  }

  void take(const Action& action, const kube::ApiResult<Bytes>& result) {
    if (!result) return refused(action, result.error());
    const std::optional<Bytes> metadata = kube::member(*result, "metadata");
    if (!metadata) return;
    std::uint64_t& newest = outcome_.written[action.resource.plural];
    newest = std::max(newest, static_cast<std::uint64_t>(base::to_int(kube::string_member(*metadata, "resourceVersion")).value_or(0)));
    if (action.note.reason.empty()) return;
    const bool named = action.verb != Verb::kCreate || !action.name.empty();
    say("Normal", action.note.reason, action.note.message + (named ? "" : kube::string_member(*metadata, "name")));
  }

  // What is gone is gone; of another of the same name nothing is wanted: the watch tells of both.
  void refused(const Action& action, const kube::ApiError& error) {
    if (error.code == 404 && action.verb != Verb::kCreate) return;
    outcome_.failed = true;
    if (error.code == 409) return;
    base::log(runtime_.log(), LogLevel::kWarning, component_, "{}/{}: {} {}: {}", json_text(about_, {"metadata", "namespace"}), json_text(about_, {"metadata", "name"}),
              action.resource.plural, action.name, error.message);
    if (action.verb != Verb::kCreate || !outcome_.failure.empty()) return;
    // The name of a pod that was not to be is another each time: the first reason stands.
    outcome_.failure = known_failure_.empty() ? error.message : known_failure_;
    if (known_failure_.empty()) say("Warning", "FailedCreate", "Error creating: " + error.message);
  }

  void say(const char* type, const std::string& reason, const std::string& message) {
    const json event = event_of(about_, type, reason, message, component_, runtime_.clock().unix_ms() / 1000);
    client_.create(kEvents, json_text(about_, {"metadata", "namespace"}), "", "", json_bytes(event), [](const kube::ApiResult<Bytes>&) {});   // nobody waits for it
  }

  Runtime runtime_;
  kube::KubeClient& client_;
  const char* component_;
  std::string known_failure_;
  std::vector<Action> actions_;
  unique_function<void(PlanOutcome)> done_;
  json about_ = json::object();
  PlanOutcome outcome_;
  std::size_t at_ = 0, open_ = 0, creates_ = 1;
};

}  // namespace

void run_plan(const Runtime& runtime, kube::KubeClient& client, const char* component, const workloads::State& state, workloads::Plan plan,
              unique_function<void(PlanOutcome)> done) {
  std::make_shared<PlanRun>(runtime, client, component, state, std::move(plan), std::move(done))->next();
}

}  // namespace kubeedge::cloud
