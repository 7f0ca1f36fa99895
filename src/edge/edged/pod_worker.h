// One pod on this node: brings what runs to what is wanted, one step at a time, and reports it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include <kubeedge/edged.h>
#include <kubeedge/runtime.h>

#include "edge/edged/container_watch.h"
#include "edge/edged/cri_client.h"
#include "edge/edged/log_stream.h"
#include "edge/edged/pod_actions.h"
#include "edge/edged/pod_inputs.h"
#include "edge/edged/pod_status.h"
#include "edge/ports/meta_client.h"
#include "runtime/timer.h"

namespace kubeedge::edged {

// What all workers of a node share.
struct NodeContext {
  Runtime runtime;
  edge::MetaClient& meta;
  CriClient& cri;
  CriOptions options;
  std::string node_name;
  std::string host_ip;
  bool link_up = false;
};

// Lives on the edge's loop. Each sync observes the pod, decides on one step, takes it, and syncs again until there is
// nothing to do; it is woken by changes of the object, of its ConfigMaps and Secrets, of its containers, and by back-off.
class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  // `gone` is told when nothing of the pod is left on the node.
  PodWorker(NodeContext& node, Json pod, std::function<void(const std::string& uid)> gone);

  const Json& pod() const { return pod_; }
  void update(Json pod);
  // The pod is no longer wanted here: end it and remove all of it.
  void remove();
  // A container changed state, the link came up, or a look is due.
  void poke();
  void object_changed(const ObjectRef& ref);
  void refuse(const std::string& reason, const std::string& message);   // the pod fails without being started
  void stop();   // no step is begun any more; containers stay

  // Which file has the log of a container, or why none has.
  std::variant<LogStream::Source, Refusal> find_log(const std::string& container, bool previous) const;
  // The runtime's id of a container that runs, and of the pod's sandbox.
  std::variant<std::string, Refusal> find_running(const std::string& container) const;
  std::variant<std::string, Refusal> find_sandbox() const;

 private:
  void sync();
  void decide();
  void idle();
  void next();                       // a step was taken: look again
  void retry(Milliseconds after);    // look again later, at the latest then
  void refresh_status();             // pod_'s status becomes the one that the cloud knows
  bool deleting() const { return !text(member(pod_, "metadata", "deletionTimestamp")).empty(); }

  // Steps.
  void fetch_inputs();
  void fetched();
  void need_inputs_by(std::int64_t at_ms);
  void fetch_token(const TokenNeed& need);
  void prepare();
  void run_sandbox();
  bool start_one(const Actions& actions);
  void start_container(const Json& container, int restart_count);
  int known_restarts(const std::string& name) const;
  void remove_dead(const ObservedContainer& dead);
  const Json* wanted_container(const std::string& name) const;
  void start_created(const std::string& name, const std::string& id);
  void create_and_start(const Json& container, int restart_count);
  void read_messages();
  void check_deadline();
  void fail_pod();
  void watch_containers();
  void check_user(const Json& container, int restart_count);
  void kill(const std::vector<std::string>& ids, std::optional<std::int64_t> grace_s = std::nullopt);
  void stop_one(const std::string& id, std::function<void(const Result<void>&)> done);
  std::int64_t grace() const;
  void terminate();
  void tear_down();
  void erase();

  // Reporting.
  void publish();
  void wait_for(const std::string& container, std::string reason, std::string message);
  void event(const char* type, const char* reason, const std::string& message, bool always = false);
  StatusInputs status_inputs() const;
  PodFacts facts() const;
  std::string folder() const;
  std::string log_folder() const;
  // What waits goes by the steady clock: a host's clock jumps (1970 after a boot without a battery), a wait must not.
  std::int64_t now_ms() const { return node_.runtime.clock().steady().count(); }
  std::int64_t unix_ms() const { return node_.runtime.clock().unix_ms(); }
  // How long ago the runtime says that something was, in ms; a time that is still to come (our clock is behind) is now.
  std::int64_t age_ms(std::int64_t stamp_ns) const { return std::max<std::int64_t>(0, unix_ms() - stamp_ns / 1'000'000); }
  SandboxSpec sandbox_spec(std::uint32_t attempt) const { return {&pod_, attempt, log_folder()}; }
  void log(LogLevel level, const std::string& line) const;

  // Runs `f` unless the worker is gone or stopped by then.
  template <class F>
  auto guarded(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) mutable {
      const auto self = weak.lock();
      if (self && !self->stopped_) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  NodeContext& node_;
  Json pod_;
  std::function<void(const std::string&)> gone_;
  runtime::Timer wake_;
  ObservedPod observed_;
  PodInputs inputs_;
  std::map<std::string, Waiting> waiting_;
  std::map<std::string, std::string> messages_;        // container id -> termination message
  std::map<std::string, Backoff> restarts_;            // by container
  std::map<std::string, std::string> counted_;         // container -> id of the end that its back-off knows
  std::map<std::string, Backoff> pulls_;               // by image
  Backoff sandbox_backoff_;
  std::map<std::string, std::unique_ptr<ContainerWatch>> watches_;     // by id, of running containers with probes or a postStart hook
  std::map<std::string, std::shared_ptr<void>> stop_hooks_;            // container id -> its preStop hook that runs
  std::set<std::string> fresh_;                                        // ids of containers that this process started
  std::map<std::string, std::optional<std::int64_t>> ailing_;          // ids of containers that a probe or hook condemned -> grace period
  std::set<std::string> stopped_sandboxes_;
  std::string failure_reason_, failure_message_, last_event_;
  std::int64_t inputs_due_ms_ = 0;                     // when they must be fetched again: a token's renewal, something missing; 0 = never
  std::int64_t deadline_ms_ = 0;                       // activeDeadlineSeconds, Unix; 0 = none, or not started yet
  std::int64_t wake_ms_ = 0;                           // when wake_ fires; 0 = it does not run
  std::vector<std::string> killing_;                   // being stopped now, with this grace period
  std::int64_t killing_grace_ = 0;
  std::size_t fetching_ = 0;
  bool busy_ = false, again_ = false, stopped_ = false;
  // Versions of the inputs (objects and tokens, and the volumes made of them): a change while they are fetched is not lost.
  std::uint64_t inputs_wanted_ = 1, inputs_fetched_ = 0, inputs_done_ = 0;
  bool patch_busy_ = false, patch_again_ = false, dirty_ = false, removed_ = false, delete_busy_ = false, deleted_ = false;
  std::string last_patch_;
  std::int64_t last_patch_ms_ = 0;
};

}  // namespace kubeedge::edged
