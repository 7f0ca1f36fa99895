#include "edge/edged/pod_worker.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "edge/edged/volumes.h"

namespace kubeedge::edged {
namespace {

using State = ObservedContainer::State;

constexpr Milliseconds kRetryRuntime{2'000};      // the container runtime did not answer
constexpr Milliseconds kRetryInputs{10'000};      // a ConfigMap, Secret or token is missing
constexpr Milliseconds kTokenCheck{600'000};      // the longest time between two looks at a token
constexpr Milliseconds kRetryPatch{5'000};
constexpr const char* kDeadline = "DeadlineExceeded";
constexpr std::size_t kMaxTerminationMessage = 4096;
constexpr std::size_t kMaxLogMessage = 2048, kMaxLogLines = 80;   // of it that comes from the log
constexpr std::int64_t kDefaultGrace = 30;
constexpr std::int64_t kMinGraceAfterHook = 2;    // what a preStop hook that used up the grace period leaves, as kubelet

// kubelet writes a hash of the container's spec; ours is FNV-1a over its JSON.
std::string hash_of(const Json& container) {
  std::uint32_t hash = 2166136261U;
  for (const char c : base::dump_json(container)) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return fmt::format("{:x}", hash);
}

std::string pull_policy(const Json& container) {
  const std::string policy = text(member(container, "imagePullPolicy"));
  if (!policy.empty()) return policy;
  const std::string image = text(member(container, "image"));
  const auto slash = image.rfind('/');
  const std::string last = slash == std::string::npos ? image : image.substr(slash + 1);
  return last.find(':') == std::string::npos || last.ends_with(":latest") ? "Always" : "IfNotPresent";
}

// The credentials of the first pull secret that names the image's registry.
PullAuth pull_auth(const Json& pod, const std::string& image, const PodInputs& inputs) {
  std::string registry = image.substr(0, image.find('/'));
  if (registry == image || (registry.find('.') == std::string::npos && registry.find(':') == std::string::npos)) registry = "docker.io";
  for (const Json& ref : items(member(spec(pod), "imagePullSecrets"))) {
    const auto secret = inputs.objects.find({true, text(member(ref, "name"))});
    if (secret == inputs.objects.end()) continue;
    const auto raw = base::from_base64(text(member(secret->second, "data", ".dockerconfigjson")));
    const Json config = raw ? base::parse_json(*raw) : Json();
    const Json& auths = member(config, "auths");
    if (!auths.is_object()) continue;
    for (const auto& [server, entry] : auths.items()) {
      if (server.find(registry) == std::string::npos) continue;
      PullAuth auth{text(member(entry, "username")), text(member(entry, "password"))};
      if (auth.username.empty()) {
        const std::string pair = base::from_base64(text(member(entry, "auth"))).value_or("");
        const auto colon = pair.find(':');
        if (colon != std::string::npos) auth = {pair.substr(0, colon), pair.substr(colon + 1)};
      }
      return auth;
    }
  }
  return {};
}

bool is_running(const ObservedPod& observed, const std::string& id) {
  return std::any_of(observed.containers.begin(), observed.containers.end(), [&](const ObservedContainer& one) { return one.id == id && one.state == State::kRunning; });
}

std::string joined(const std::string& folder, const std::string& name) { return folder + "/" + name; }

}  // namespace

PodWorker::PodWorker(NodeContext& node, Json pod, std::function<void(const std::string&)> gone)
    : node_(node), pod_(std::move(pod)), gone_(std::move(gone)), wake_(node.runtime) {}

void PodWorker::update(Json pod) {
  const bool same_spec = spec(pod) == spec(pod_);
  pod_ = std::move(pod);
  if (!same_spec) ++inputs_wanted_;
  // Deleted once more with less patience: what is being stopped is stopped sooner.
  if (!killing_.empty() && grace() < killing_grace_) {
    killing_grace_ = grace();
    for (const std::string& id : killing_) node_.cri.stop_container(id, killing_grace_, [](const Result<void>&) {});
  }
  poke();
}

void PodWorker::remove() {
  removed_ = true;
  poke();
}

void PodWorker::refuse(const std::string& reason, const std::string& message) {
  failure_reason_ = reason;
  failure_message_ = message;
  event("Warning", reason.c_str(), message, true);
  poke();
}

void PodWorker::object_changed(const ObjectRef& ref) {
  if (!needs_of(pod_).objects.contains(ref)) return;
  ++inputs_wanted_;
  poke();
}

void PodWorker::stop() {
  stopped_ = true;
  watches_.clear();
  stop_hooks_.clear();
  wake_.cancel();
  wake_ms_ = 0;
}

void PodWorker::poke() {
  if (stopped_) return;
  if (busy_) {
    again_ = true;
    return;
  }
  sync();
}

void PodWorker::sync() {
  busy_ = true;
  again_ = false;
  wake_.cancel();
  wake_ms_ = 0;
  node_.cri.observe(pod_uid(pod_), guarded([](PodWorker& self, Result<ObservedPod> observed) {
                      if (!observed) {
                        self.log(LogLevel::kDebug, observed.error().message);
                        self.busy_ = false;
                        return self.retry(kRetryRuntime);
                      }
                      self.observed_ = std::move(*observed);
                      self.decide();
                    }));
}

void PodWorker::next() {
  if (!stopped_) sync();
}

void PodWorker::idle() {
  busy_ = false;
  publish();
  if (again_) return sync();
  if (deadline_ms_ > unix_ms()) retry(Milliseconds{deadline_ms_ - unix_ms()});
  if (inputs_due_ms_ > 0) retry(Milliseconds{std::max<std::int64_t>(1'000, inputs_due_ms_ - now_ms())});
}

void PodWorker::retry(Milliseconds after) {
  if (stopped_) return;
  if (again_) return runtime::post(node_.runtime, guarded([](PodWorker& self) { self.poke(); }));
  const std::int64_t at = now_ms() + after.count();
  if (wake_ms_ > 0 && wake_ms_ <= at) return;
  wake_ms_ = at;
  wake_.start(after, guarded([](PodWorker& self) {
                self.wake_ms_ = 0;
                self.poke();
              }));
}

void PodWorker::refresh_status() {
  const auto row = node_.meta.local(pod_namespace(pod_) + "/pod/" + pod_name(pod_));
  if (!row) return;
  Json known = base::parse_json(row->view());
  if (pod_uid(known) == pod_uid(pod_) && member(known, "status").is_object()) pod_["status"] = std::move(known["status"]);
}

void PodWorker::decide() {
  const bool unread = std::any_of(observed_.containers.begin(), observed_.containers.end(),
                                  [&](const ObservedContainer& one) { return one.state == State::kExited && !messages_.contains(one.id); });
  if (unread) return read_messages();
  std::erase_if(messages_, [&](const auto& entry) {
    return std::none_of(observed_.containers.begin(), observed_.containers.end(), [&](const ObservedContainer& one) { return one.id == entry.first; });
  });
  for (const ObservedContainer& one : observed_.containers)
    if (one.state == State::kRunning) waiting_.erase(one.name);
  refresh_status();
  watch_containers();
  publish();
  if (removed_) return tear_down();
  if (deleting()) return terminate();
  check_deadline();
  if (!failure_reason_.empty()) return fail_pod();
  if (inputs_due_ms_ > 0 && now_ms() >= inputs_due_ms_) ++inputs_wanted_;
  if (inputs_done_ != inputs_wanted_) return fetch_inputs();

  const Actions actions = next_actions(pod_, observed_);
  if (!actions.kill.empty()) return kill(actions.kill);
  for (const auto& [id, grace_s] : ailing_)
    if (is_running(observed_, id)) return kill({id}, grace_s);
  ailing_.clear();
  for (const std::string& id : actions.stop_sandboxes) {
    if (!stopped_sandboxes_.insert(id).second) continue;
    return node_.cri.stop_sandbox(id, guarded([](PodWorker& self, const Result<void>& stopped) {
                                    if (!stopped) self.log(LogLevel::kWarning, stopped.error().message);
                                    self.next();
                                  }));
  }
  const auto removed = [this] {
    return guarded([](PodWorker& self, const Result<void>& done) {
      if (done || done.error().code == Errc::kNotFound) return self.next();
      self.log(LogLevel::kWarning, "removing: " + done.error().message);
      self.idle();
      self.retry(kRetryRuntime);
    });
  };
  if (!actions.remove.empty()) {
    for (const ObservedContainer& one : observed_.containers)
      if (one.id == actions.remove.front()) remove_dead(one);
    return node_.cri.remove_container(actions.remove.front(), removed());
  }
  if (!actions.remove_sandboxes.empty()) return node_.cri.remove_sandbox(actions.remove_sandboxes.front(), removed());
  if (actions.done) {
    waiting_.clear();
    inputs_due_ms_ = deadline_ms_ = 0;   // nothing runs: nothing is due
    return idle();
  }
  if (actions.create_sandbox) return run_sandbox();
  if (!start_one(actions)) idle();
}

// activeDeadlineSeconds counts from the pod's start time.
void PodWorker::check_deadline() {
  const std::int64_t limit_s = number(member(spec(pod_), "activeDeadlineSeconds"));
  const auto begun = base::from_rfc3339(text(member(pod_, "status", "startTime")));
  const std::string phase = text(member(pod_, "status", "phase"));
  if (limit_s <= 0 || !begun || !failure_reason_.empty() || phase == "Succeeded") return;
  deadline_ms_ = (*begun + limit_s) * 1000;
  if (unix_ms() < deadline_ms_ || (phase == "Failed" && text(member(pod_, "status", "reason")) != kDeadline)) return;
  failure_reason_ = kDeadline;
  failure_message_ = "Pod was active on the node longer than the specified deadline";
  event("Normal", kDeadline, failure_message_);
  publish();
}

// What still runs of a failed pod is ended; its sandbox gives its network back.
void PodWorker::fail_pod() {
  std::vector<std::string> running;
  for (const ObservedContainer& one : observed_.containers)
    if (one.state == State::kRunning || one.state == State::kUnknown) running.push_back(one.id);
  if (!running.empty()) return kill(running);
  for (const ObservedSandbox& sandbox : observed_.sandboxes) {
    if (!sandbox.ready || !stopped_sandboxes_.insert(sandbox.id).second) continue;
    return node_.cri.stop_sandbox(sandbox.id, guarded([](PodWorker& self, const Result<void>&) { self.next(); }));
  }
  idle();
}

// Each running container with probes or a postStart hook has a watch; none while the pod is being ended.
void PodWorker::watch_containers() {
  std::erase_if(watches_, [&](const auto& entry) { return !is_running(observed_, entry.first); });
  if (deleting() || removed_) return watches_.clear();
  for (const ObservedContainer& one : observed_.containers) {
    const Json* container = wanted_container(one.name);
    if (one.state != State::kRunning || container == nullptr || watches_.contains(one.id) || ailing_.contains(one.id)) continue;
    const auto has = [&](const char* field) { return member(*container, field).is_object(); };
    if (!has("startupProbe") && !has("livenessProbe") && !has("readinessProbe") && !member(*container, "lifecycle", "postStart").is_object()) continue;
    ContainerWatch::Before before{age_ms(one.started_ns), fresh_.erase(one.id) > 0, false, false};
    for (const Json& known : items(member(pod_, "status", "containerStatuses"))) {
      if (!text(member(known, "containerID")).ends_with("://" + one.id)) continue;
      before.started = flag(member(known, "started"));
      before.ready = flag(member(known, "ready"));
    }
    watches_[one.id] = std::make_unique<ContainerWatch>(node_.runtime, node_.cri, one.id, *container, facts().pod_ip, before, ContainerWatch::Listener{
        guarded([](PodWorker& self) { self.poke(); }),
        guarded([id = one.id, name = one.name](PodWorker& self, const std::string& why, std::optional<std::int64_t> grace_s) {
          self.event("Normal", "Killing", fmt::format("Container {} failed: {}", name, why));
          self.ailing_[id] = grace_s;
          self.poke();
        }),
        guarded([](PodWorker& self, const char* reason, const std::string& message) { self.event("Warning", reason, message); })});
  }
}

// What the node keeps of a container's instance besides the runtime: its log and its termination message.
void PodWorker::remove_dead(const ObservedContainer& dead) {
  node_.runtime.run_blocking(
      [log = fmt::format("{}/{}/{}.log", log_folder(), dead.name, dead.restart_count), message = fmt::format("{}/containers/{}/{}", folder(), dead.name, dead.restart_count)] {
        remove_tree(log);
        remove_tree(message);
      },
      [] {});
}

// ---- inputs and volumes

void PodWorker::fetch_inputs() {
  const PodNeeds needs = needs_of(pod_);
  inputs_due_ms_ = 0;
  inputs_fetched_ = inputs_wanted_;
  fetching_ = 1 + needs.objects.size() + needs.tokens.size();
  const std::string ns = pod_namespace(pod_);
  for (const auto& [ref, required] : needs.objects) {
    auto done = guarded([ref = ref, required = required](PodWorker& self, edge::MetaResult<Bytes> answer) {
      if (answer) {
        self.inputs_.objects[ref] = base::parse_json(answer.value->view());
      } else if (answer.error.reason == "NotFound") {
        self.inputs_.objects.erase(ref);
        if (required) self.need_inputs_by(self.now_ms() + kRetryInputs.count());
      } else {
        self.need_inputs_by(self.now_ms() + kRetryInputs.count());  // could not be asked: what we have stays
      }
      self.fetched();
    });
    if (ref.secret) {
      node_.meta.get_secret(ns, ref.name, std::move(done));
    } else {
      node_.meta.get_config_map(ns, ref.name, std::move(done));
    }
  }
  for (const TokenNeed& token : needs.tokens) fetch_token(token);
  fetched();
}

void PodWorker::fetch_token(const TokenNeed& need) {
  Json audiences = Json::array();
  if (!need.audience.empty()) audiences.push_back(need.audience);
  const Json request = {{"metadata", {{"creationTimestamp", nullptr}}},
                        {"spec", {{"audiences", need.audience.empty() ? Json() : audiences}, {"expirationSeconds", need.expiration_s},
                                  {"boundObjectRef", {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", pod_name(pod_)}, {"uid", pod_uid(pod_)}}}}},
                        {"status", {{"token", ""}, {"expirationTimestamp", nullptr}}}};
  node_.meta.request_token(pod_namespace(pod_), text(member(spec(pod_), "serviceAccountName"), "default"), pod_uid(pod_), Bytes(base::dump_json(request)),
                           guarded([key = need.volume + "/" + need.path, life = need.expiration_s](PodWorker& self, edge::MetaResult<Bytes> answer) {
                             const Json token = answer ? base::parse_json(answer.value->view()) : Json();
                             const std::string value = text(member(token, "status", "token"));
                             if (value.empty()) {
                               self.need_inputs_by(self.now_ms() + kRetryInputs.count());
                             } else {
                               self.inputs_.tokens[key] = value;
                               // Renewed at 80 % of its life, as kubelet does; not at once where it is over already: the cloud's clock and
                               // ours may differ, and the pod does not wait for them. Asked for again meanwhile, which costs a look into
                               // the store, in case the clock was wrong.
                               const auto end = base::from_rfc3339(text(member(token, "status", "expirationTimestamp")));
                               const std::int64_t left = end ? *end * 1000 - self.unix_ms() - life * 200 : life * 800;
                               self.need_inputs_by(self.now_ms() + std::clamp(left, std::int64_t{kRetryInputs.count()}, std::int64_t{kTokenCheck.count()}));
                             }
                             self.fetched();
                           }));
}

void PodWorker::need_inputs_by(std::int64_t at_ms) { inputs_due_ms_ = inputs_due_ms_ == 0 ? at_ms : std::min(inputs_due_ms_, at_ms); }

void PodWorker::fetched() {
  if (--fetching_ == 0) prepare();
}

void PodWorker::prepare() {
  // Copies go to the blocking thread: the worker's own may change meanwhile.
  struct Work {
    std::string root;
    Json pod;
    PodInputs inputs;
    PodFacts facts;
    std::vector<TokenNeed> tokens;
    Result<void> result;
  };
  auto work = std::make_shared<Work>(Work{node_.options.root_dir, pod_, inputs_, facts(), needs_of(pod_).tokens, {}});
  node_.runtime.run_blocking(
      [work] {
        // A token that cannot be renewed now (no cloud) is kept as the file has it.
        for (const TokenNeed& need : work->tokens) {
          std::string& token = work->inputs.tokens[need.volume + "/" + need.path];
          if (!token.empty()) continue;
          for (const Json& volume : items(member(spec(work->pod), "volumes")))
            if (text(member(volume, "name")) == need.volume) token = read_start(volume_path(work->root, work->pod, volume) + "/" + need.path, 64 * 1024);
          if (token.empty()) work->inputs.tokens.erase(need.volume + "/" + need.path);
        }
        work->result = prepare_volumes(work->root, work->pod, work->inputs, work->facts);
      },
      guarded([work](PodWorker& self) {
        if (!work->result) {
          const std::string& why = work->result.error().message;
          self.event("Warning", "FailedMount", "MountVolume.SetUp failed: " + why);
          for (const Json& container : items(member(spec(self.pod_), "containers"))) {
            const std::string name = text(member(container, "name"));
            if (self.observed_.container(name) == nullptr) self.wait_for(name, "ContainerCreating", why);
          }
          self.idle();
          return self.retry(kRetryInputs);
        }
        self.inputs_done_ = self.inputs_fetched_;   // what changed meanwhile is fetched at the next decision
        self.decide();
      }));
}

// ---- running

void PodWorker::run_sandbox() {
  if (sandbox_backoff_.allowed_at() > now_ms()) {
    idle();
    return retry(Milliseconds{sandbox_backoff_.allowed_at() - now_ms()});
  }
  const std::uint32_t attempt = observed_.sandboxes.empty() ? 0 : observed_.sandboxes.front().attempt + 1;
  node_.runtime.run_blocking([folder = log_folder()] { static_cast<void>(make_folder(folder)); }, guarded([attempt](PodWorker& self) {
    self.node_.cri.run_sandbox(self.sandbox_spec(attempt), self.guarded([](PodWorker& me, Result<std::string> id) {
      if (!id) {
        me.sandbox_backoff_.failed(me.now_ms());
        me.log(LogLevel::kWarning, "sandbox: " + id.error().message);
        me.event("Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: " + id.error().message);
      } else {
        me.sandbox_backoff_.reset();
      }
      me.next();
    }));
  }));
}

const Json* PodWorker::wanted_container(const std::string& name) const {
  for (const char* list : {"initContainers", "containers"})
    for (const Json& container : items(member(spec(pod_), list)))
      if (text(member(container, "name")) == name) return &container;
  return nullptr;
}

bool PodWorker::start_one(const Actions& actions) {
  std::int64_t earliest = 0;
  for (const std::string& name : actions.start) {
    const Json* wanted = wanted_container(name);
    if (wanted == nullptr) continue;
    const ObservedContainer* last = observed_.container(name);
    Backoff& backoff = restarts_[name];
    if (last != nullptr && last->state == State::kExited && counted_[name] != last->id) {
      // What went down with its sandbox (a reboot) did not fail: it is started at once.
      if (last->sandbox_id == observed_.sandboxes.front().id) {
        const std::int64_t finished = now_ms() - std::min(age_ms(last->finished_ns), kBackoffMaxMs);
        if (counted_[name].empty() && last->restart_count > 0) backoff = Backoff::after(last->restart_count, finished);
        backoff.failed(finished);
      }
      counted_[name] = last->id;
    }
    const auto pull = pulls_.find(text(member(*wanted, "image")));
    const std::int64_t at = std::max(backoff.allowed_at(), pull == pulls_.end() ? 0 : pull->second.allowed_at());
    if (at > now_ms()) {
      if (at == backoff.allowed_at()) {
        wait_for(name, "CrashLoopBackOff",
                 fmt::format("back-off {} restarting failed container={} pod={}_{}({})", go_duration(backoff.wait_ms()), name, pod_name(pod_), pod_namespace(pod_), pod_uid(pod_)));
      } else {
        wait_for(name, "ImagePullBackOff", fmt::format("Back-off pulling image \"{}\"", text(member(*wanted, "image"))));
      }
      earliest = earliest == 0 ? at : std::min(earliest, at);
      continue;
    }
    if (last != nullptr && last->state == State::kCreated) {
      start_created(name, last->id);
      return true;
    }
    start_container(*wanted, last == nullptr ? known_restarts(name) : last->restart_count + 1);
    return true;
  }
  if (earliest > 0) {
    idle();
    if (!busy_) retry(Milliseconds{std::max<std::int64_t>(10, earliest - now_ms())});
    return true;
  }
  return false;
}

// A container that is not in the runtime any more but was, says the cloud's copy: its count goes on.
int PodWorker::known_restarts(const std::string& name) const {
  for (const char* list : {"containerStatuses", "initContainerStatuses"})
    for (const Json& status : items(member(pod_, "status", list)))
      if (text(member(status, "name")) == name && !text(member(status, "containerID")).empty()) return static_cast<int>(number(member(status, "restartCount"))) + 1;
  return 0;
}

void PodWorker::start_container(const Json& container, int restart_count) {
  const std::string image = text(member(container, "image"));
  const std::string name = text(member(container, "name"));
  const std::string policy = pull_policy(container);
  node_.cri.image_status(image, guarded([container, restart_count, image, name, policy](PodWorker& self, Result<CriClient::Image> id) {
    if (!id && id.error().code != Errc::kNotFound) {
      self.log(LogLevel::kWarning, "image " + image + ": " + id.error().message);
      self.idle();
      return self.retry(kRetryRuntime);
    }
    if (id && policy != "Always") return self.check_user(container, restart_count);
    if (!id && policy == "Never") {
      self.wait_for(name, "ErrImageNeverPull", fmt::format("Container image \"{}\" is not present with pull policy of Never", image));
      self.pulls_[image].failed(self.now_ms());
      self.idle();
      return self.retry(kRetryInputs);
    }
    self.event("Normal", "Pulling", fmt::format("Pulling image \"{}\"", image));
    self.node_.cri.pull(image, pull_auth(self.pod_, image, self.inputs_), self.guarded([container, restart_count, image, name](PodWorker& me, Result<std::string> pulled) {
      if (pulled) {
        me.pulls_.erase(image);
        return me.check_user(container, restart_count);
      }
      me.pulls_[image].failed(me.now_ms());
      me.wait_for(name, "ErrImagePull", pulled.error().message);
      me.event("Warning", "Failed", fmt::format("Failed to pull image \"{}\": {}", image, pulled.error().message));
      me.publish();
      // The second look says ImagePullBackOff, as kubelet's does.
      me.busy_ = false;
      me.retry(Milliseconds{1000});
    }));
  }));
}

// runAsNonRoot: refused before the start where the container would run as root, or nobody can tell.
void PodWorker::check_user(const Json& container, int restart_count) {
  const auto setting = [&](const char* field) -> const Json& {
    const Json& own = member(container, "securityContext", field);
    return own.is_null() ? member(spec(pod_), "securityContext", field) : own;
  };
  const std::string name = text(member(container, "name"));
  if (setting("runAsNonRoot") != true || number(setting("runAsUser")) > 0) return create_and_start(container, restart_count);
  const auto refuse_start = [name](PodWorker& self, const std::string& why) {
    self.wait_for(name, "CreateContainerConfigError", why);
    self.event("Warning", "Failed", "Error: " + why);
    self.idle();
    self.retry(kRetryInputs);
  };
  if (setting("runAsUser").is_number()) return refuse_start(*this, "container's runAsUser breaks non-root policy");
  node_.cri.image_status(text(member(container, "image")), guarded([container, restart_count, refuse_start](PodWorker& self, Result<CriClient::Image> image) {
    if (!image) return refuse_start(self, image.error().message);
    if (image->uid.value_or(0) > 0) return self.create_and_start(container, restart_count);
    if (!image->user.empty() && image->user != "root" && !image->uid) {
      return refuse_start(self, fmt::format("container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root", image->user));
    }
    refuse_start(self, "container has runAsNonRoot and image will run as root");
  }));
}

void PodWorker::create_and_start(const Json& container, int restart_count) {
  const std::string name = text(member(container, "name"));
  auto environment = edged::environment(pod_, container, inputs_, facts());
  if (!environment) {
    wait_for(name, "CreateContainerConfigError", environment.error().message);
    event("Warning", "Failed", "Error: " + environment.error().message);
    idle();
    ++inputs_wanted_;
    return retry(kRetryInputs);
  }
  std::map<std::string, std::string> values(environment->begin(), environment->end());

  // What must be on disk before the start.
  struct Work {
    Json pod, container;
    std::string root, folder, log_folder, termination_file, etc_hosts;
    std::string hosts_text;
    std::vector<ContainerMount> mounts;
    Result<void> result;
  };
  auto work = std::make_shared<Work>();
  work->pod = pod_;
  work->container = container;
  work->root = node_.options.root_dir;
  work->folder = folder();
  work->log_folder = joined(log_folder(), name);
  work->termination_file = fmt::format("{}/containers/{}/{}", folder(), name, restart_count);
  if (!flag(member(spec(pod_), "hostNetwork"))) {
    work->etc_hosts = folder() + "/etc-hosts";
    work->hosts_text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    if (const std::string ip = facts().pod_ip; !ip.empty()) work->hosts_text += ip + "\t" + text(member(spec(pod_), "hostname"), pod_name(pod_)) + "\n";
    for (const Json& alias : items(member(spec(pod_), "hostAliases"))) {
      work->hosts_text += text(member(alias, "ip"));
      for (const Json& host : items(member(alias, "hostnames"))) work->hosts_text += "\t" + text(host);
      work->hosts_text += "\n";
    }
  }
  const auto prepare_start = [work] {
    const auto fail = [&](Error error) { work->result = std::move(error); };
    if (Result<void> made = make_folder(work->log_folder); !made) return fail(std::move(made).error());
    if (Result<void> made = make_folder(work->termination_file.substr(0, work->termination_file.rfind('/'))); !made) return fail(std::move(made).error());
    if (Result<void> made = write_file(work->termination_file, "", 0666); !made) return fail(std::move(made).error());
    int index = 0;
    for (const Json& mount : items(member(work->container, "volumeMounts"))) {
      const std::string volume_name = text(member(mount, "name"));
      std::string path;
      for (const Json& volume : items(member(spec(work->pod), "volumes")))
        if (text(member(volume, "name")) == volume_name) path = volume_path(work->root, work->pod, volume);
      if (path.empty()) return fail(base::error(Errc::kInvalidArgument, "volumeMounts: no volume \"{}\"", volume_name));
      if (const std::string sub = text(member(mount, "subPath")); !sub.empty()) {
        std::string bound = fmt::format("{}/volume-subpaths/{}/{}/{}", work->folder, volume_name, text(member(work->container, "name")), index);
        if (Result<void> done = bind_sub_path(path, sub, bound); !done) return fail(std::move(done).error());
        path = std::move(bound);
      }
      ++index;
      const std::string propagation = text(member(mount, "mountPropagation"));
      work->mounts.push_back({text(member(mount, "mountPath")), path, flag(member(mount, "readOnly")), propagation == "Bidirectional" ? 2 : propagation == "HostToContainer" ? 1 : 0});
    }
    work->mounts.push_back({text(member(work->container, "terminationMessagePath"), "/dev/termination-log"), work->termination_file, false, 0});
    if (!work->etc_hosts.empty()) {
      if (Result<void> made = write_file(work->etc_hosts, work->hosts_text, 0644); !made) return fail(std::move(made).error());
      const bool own = std::any_of(work->mounts.begin(), work->mounts.end(), [](const ContainerMount& mount) { return mount.container_path == "/etc/hosts"; });
      if (!own) work->mounts.push_back({"/etc/hosts", work->etc_hosts, false, 0});
    }
  };
  node_.runtime.run_blocking(prepare_start, guarded([work, restart_count, name, values = std::move(values), environment = std::move(*environment)](PodWorker& self) mutable {
    if (!work->result) {
      self.wait_for(name, "CreateContainerConfigError", work->result.error().message);
      self.idle();
      return self.retry(kRetryInputs);
    }
    const ObservedSandbox* sandbox = self.observed_.sandbox();
    if (sandbox == nullptr) return self.next();
    ContainerSpec wanted;
    wanted.pod = &self.pod_;
    wanted.container = &work->container;
    wanted.restart_count = restart_count;
    wanted.image = text(member(work->container, "image"));
    for (const Json& part : items(member(work->container, "command"))) wanted.command.push_back(expand(text(part), values));
    for (const Json& part : items(member(work->container, "args"))) wanted.args.push_back(expand(text(part), values));
    wanted.environment = std::move(environment);
    wanted.mounts = work->mounts;
    wanted.log_path = fmt::format("{}/{}.log", name, restart_count);
    wanted.hash = hash_of(work->container);
    self.node_.cri.create_container(sandbox->id, self.sandbox_spec(sandbox->attempt), wanted, self.guarded([name](PodWorker& me, Result<std::string> id) {
      if (!id) {
        me.restarts_[name].failed(me.now_ms());
        me.wait_for(name, "CreateContainerError", id.error().message);
        me.event("Warning", "Failed", "Error: " + id.error().message);
        return me.next();
      }
      me.start_created(name, *id);
    }));
  }));
}

void PodWorker::start_created(const std::string& name, const std::string& id) {
  node_.cri.start_container(id, guarded([name, id](PodWorker& self, const Result<void>& started) {
    if (started) {
      self.fresh_.insert(id);
      self.event("Normal", "Started", "Started container " + name);
      return self.next();
    }
    // The runtime shows it as exited (128, StartError) from now on: the relist sees that, and it counts as a crash.
    self.wait_for(name, "RunContainerError", started.error().message);
    self.event("Warning", "Failed", "Error: " + started.error().message);
    self.idle();
    self.retry(kRetryInputs);
  }));
}

void PodWorker::read_messages() {
  struct Ended {
    std::string message_file, log;   // log: "" unless the container says FallbackToLogsOnError and ended with an error
    std::string text;
  };
  auto ends = std::make_shared<std::map<std::string, Ended>>();   // by container id
  for (const ObservedContainer& one : observed_.containers) {
    if (one.state != State::kExited || messages_.contains(one.id)) continue;
    Ended& end = (*ends)[one.id];
    end.message_file = fmt::format("{}/containers/{}/{}", folder(), one.name, one.restart_count);
    const Json* container = wanted_container(one.name);
    const bool from_log = container != nullptr && text(member(*container, "terminationMessagePolicy")) == "FallbackToLogsOnError" && one.exit_code != 0;
    if (from_log) end.log = fmt::format("{}/{}/{}.log", log_folder(), one.name, one.restart_count);
  }
  node_.runtime.run_blocking(
      [ends] {
        for (auto& [id, end] : *ends) {
          end.text = read_start(end.message_file, kMaxTerminationMessage);
          if (end.text.empty() && !end.log.empty()) end.text = log_tail(end.log, kMaxLogMessage, kMaxLogLines);
        }
      },
      guarded([ends](PodWorker& self) {
        for (auto& [id, end] : *ends) self.messages_[id] = base::is_utf8(end.text) ? end.text : "";
        self.decide();
      }));
}

// ---- ending

std::int64_t PodWorker::grace() const {
  return number(member(pod_, "metadata", "deletionGracePeriodSeconds"), number(member(spec(pod_), "terminationGracePeriodSeconds"), kDefaultGrace));
}

void PodWorker::kill(const std::vector<std::string>& ids, std::optional<std::int64_t> grace_s) {
  killing_ = ids;
  killing_grace_ = grace_s.value_or(grace());
  auto left = std::make_shared<std::size_t>(ids.size());
  for (const std::string& id : ids) {
    stop_one(id, guarded([left, id](PodWorker& self, const Result<void>& stopped) {
      self.stop_hooks_.erase(id);
      if (!stopped && stopped.error().code != Errc::kNotFound) self.log(LogLevel::kWarning, "stopping: " + stopped.error().message);
      if (--*left > 0) return;
      self.killing_.clear();
      // An error (a runtime that is away) must not become a busy loop.
      if (stopped) return self.next();
      self.busy_ = false;
      self.retry(kRetryRuntime);
    }));
  }
}

// The preStop hook, which counts against the grace period, then SIGTERM and SIGKILL.
void PodWorker::stop_one(const std::string& id, std::function<void(const Result<void>&)> done) {
  const auto found = std::find_if(observed_.containers.begin(), observed_.containers.end(), [&](const ObservedContainer& one) { return one.id == id; });
  const Json* container = found == observed_.containers.end() ? nullptr : wanted_container(found->name);
  const Json& hook = container == nullptr ? Json() : member(*container, "lifecycle", "preStop");
  if (!hook.is_object() || found->state != State::kRunning || killing_grace_ < 1) return node_.cri.stop_container(id, killing_grace_, std::move(done));
  const std::int64_t begun = now_ms();
  stop_hooks_[id] = run_handler(node_.runtime, node_.cri, id, handler_of(hook, *container, facts().pod_ip), Milliseconds{killing_grace_ * 1000},
                                guarded([id, begun, done = std::move(done)](PodWorker& self, const Result<void>& ran) {
    if (!ran) self.event("Warning", "FailedPreStopHook", "PreStopHook failed: " + ran.error().message);
    const std::int64_t left = self.killing_grace_ - (self.now_ms() - begun) / 1000;
    self.node_.cri.stop_container(id, std::max(kMinGraceAfterHook, left), done);
  }));
}

void PodWorker::terminate() {
  std::vector<std::string> running;
  for (const ObservedContainer& one : observed_.containers)
    if (one.state == State::kRunning || one.state == State::kUnknown) running.push_back(one.id);
  if (!running.empty()) {
    event("Normal", "Killing", "Stopping containers");
    return kill(running);
  }
  for (const ObservedSandbox& sandbox : observed_.sandboxes) {
    if (!sandbox.ready) continue;
    return node_.cri.stop_sandbox(sandbox.id, guarded([](PodWorker& self, const Result<void>& stopped) {
                                    if (stopped) return self.next();
                                    self.busy_ = false;
                                    self.retry(kRetryRuntime);
                                  }));
  }
  // All is dead: the cloud hears the last status, then that the pod may go; its delete message ends it here.
  idle();
  if (patch_busy_ || dirty_ || delete_busy_ || deleted_ || !node_.link_up) return;
  delete_busy_ = true;
  node_.meta.delete_pod(pod_namespace(pod_), pod_name(pod_), pod_uid(pod_), guarded([](PodWorker& self, edge::MetaResult<Bytes> answer) {
    self.delete_busy_ = false;
    if (answer) {
      self.deleted_ = true;
    } else if (answer.error.reason == "NotFound") {
      self.remove();
    } else {
      self.retry(kRetryPatch);
    }
  }));
}

void PodWorker::tear_down() {
  std::vector<std::string> running;
  for (const ObservedContainer& one : observed_.containers)
    if (one.state == State::kRunning || one.state == State::kUnknown) running.push_back(one.id);
  if (!running.empty()) return kill(running);
  const auto then = [this] {
    return guarded([](PodWorker& self, const Result<void>& done) {
      if (done || done.error().code == Errc::kNotFound) return self.next();
      self.log(LogLevel::kWarning, "removing: " + done.error().message);
      self.busy_ = false;
      self.retry(kRetryRuntime);
    });
  };
  for (const ObservedSandbox& sandbox : observed_.sandboxes)
    if (sandbox.ready || stopped_sandboxes_.insert(sandbox.id).second) return node_.cri.stop_sandbox(sandbox.id, then());
  if (!observed_.containers.empty()) return node_.cri.remove_container(observed_.containers.front().id, then());
  if (!observed_.sandboxes.empty()) return node_.cri.remove_sandbox(observed_.sandboxes.front().id, then());
  erase();
}

void PodWorker::erase() {
  auto result = std::make_shared<Result<void>>();
  node_.runtime.run_blocking(
      [result, root = node_.options.root_dir, uid = pod_uid(pod_), logs = node_.options.pod_logs_dir] {
        *result = remove_volumes(root, uid);
        remove_logs(logs, uid);
      },
      guarded([result](PodWorker& self) {
        if (!*result) {
          self.log(LogLevel::kWarning, result->error().message);
          self.busy_ = false;
          return self.retry(kRetryInputs);
        }
        self.node_.meta.drop_tokens(pod_uid(self.pod_));
        self.stop();
        self.gone_(pod_uid(self.pod_));
      }));
}

// ---- reporting

StatusInputs PodWorker::status_inputs() const {
  StatusInputs inputs;
  inputs.waiting = waiting_;
  inputs.messages = messages_;
  for (const auto& [id, watch] : watches_) inputs.health[id] = {watch->started(), watch->ready()};
  inputs.host_ip = node_.host_ip;
  inputs.failure_reason = failure_reason_;
  inputs.failure_message = failure_message_;
  inputs.now_unix_s = unix_ms() / 1000;
  return inputs;
}

void PodWorker::publish() {
  if (removed_ || spec(pod_).is_null()) return;
  refresh_status();
  const Json before = member(pod_, "status").is_object() ? member(pod_, "status") : Json::object();
  const Json after = pod_status(pod_, observed_, status_inputs(), before);
  const auto patch = status_patch(pod_uid(pod_), before, after);
  dirty_ = patch.has_value();
  if (!patch || !node_.link_up) return;
  if (patch_busy_) {
    patch_again_ = true;
    return;
  }
  // Where the cloud's answer does not show what it was told, it is not told again without pause.
  if (*patch == last_patch_ && now_ms() < last_patch_ms_ + kRetryPatch.count()) return retry(kRetryPatch);
  last_patch_ = *patch;
  last_patch_ms_ = now_ms();
  patch_busy_ = true;
  node_.meta.patch_pod_status(pod_namespace(pod_), pod_name(pod_), *patch, guarded([](PodWorker& self, edge::MetaResult<Bytes> answer) {
    self.patch_busy_ = false;
    const bool again = std::exchange(self.patch_again_, false);
    if (!answer) {
      self.last_patch_.clear();   // never taken: what follows is no repetition
      if (self.node_.link_up) self.log(LogLevel::kWarning, "status was not taken: " + answer.error.message);
      self.retry(kRetryPatch);
      return;
    }
    self.dirty_ = false;
    if (again) self.publish();
    if (self.deleting()) self.poke();  // the last word before the deletion was taken
  }));
}

std::variant<LogStream::Source, Refusal> PodWorker::find_log(const std::string& container, bool previous) const {
  if (wanted_container(container) == nullptr) return Refusal{404, fmt::format("container \"{}\" not found in pod \"{}\"", container, pod_name(pod_))};
  const auto id = log_container(pod_status(pod_, observed_, status_inputs(), member(pod_, "status")), pod_name(pod_), container, previous);
  if (const auto* refusal = std::get_if<Refusal>(&id)) return *refusal;
  const std::string& wanted = std::get<std::string>(id);
  for (const ObservedContainer& one : observed_.containers)
    if (one.id == wanted) return LogStream::Source{one.id, fmt::format("{}/{}/{}.log", log_folder(), one.name, one.restart_count), one.state == State::kRunning};
  return Refusal{400, fmt::format("container \"{}\" in pod \"{}\": the instance {} is not on this node any more", container, pod_name(pod_), wanted.substr(0, 13))};
}

std::variant<std::string, Refusal> PodWorker::find_running(const std::string& container) const {
  const ObservedContainer* now = observed_.container(container);
  if (now == nullptr || now->state != State::kRunning) return Refusal{500, fmt::format("container not found (\"{}\")", container)};   // a kubelet's words
  return now->id;
}

std::variant<std::string, Refusal> PodWorker::find_sandbox() const {
  const ObservedSandbox* sandbox = observed_.sandbox();
  if (sandbox == nullptr || !sandbox->ready) return Refusal{500, fmt::format("the pod \"{}\" has no sandbox that runs", pod_name(pod_))};
  return sandbox->id;
}

void PodWorker::wait_for(const std::string& container, std::string reason, std::string message) { waiting_[container] = {std::move(reason), std::move(message)}; }

void PodWorker::event(const char* type, const char* reason, const std::string& message, bool always) {
  if (!node_.options.report_events && !always) return;
  // The same words again and again say nothing new.
  if (last_event_ == std::string(reason) + message) return;
  last_event_ = std::string(reason) + message;
  const std::string time = base::rfc3339(unix_ms() / 1000);
  const std::string name = fmt::format("{}.{}", pod_name(pod_), base::random_hex(8));
  const Json event = {{"apiVersion", "v1"},
                      {"kind", "Event"},
                      {"metadata", {{"name", name}, {"namespace", pod_namespace(pod_)}, {"creationTimestamp", nullptr}}},
                      {"involvedObject", {{"kind", "Pod"}, {"namespace", pod_namespace(pod_)}, {"name", pod_name(pod_)}, {"uid", pod_uid(pod_)}, {"apiVersion", "v1"}}},
                      {"reason", reason},
                      {"message", message.substr(0, 1024)},
                      {"source", {{"component", "edged"}, {"host", node_.node_name}}},
                      {"firstTimestamp", time},
                      {"lastTimestamp", time},
                      {"count", 1},
                      {"type", type},
                      {"eventTime", nullptr},
                      {"reportingComponent", "edged"},
                      {"reportingInstance", node_.node_name}};
  node_.meta.post_event(pod_namespace(pod_), name, Bytes(base::dump_json(event)));
}

PodFacts PodWorker::facts() const {
  PodFacts out{node_.node_name, node_.host_ip, ""};
  if (out.host_ip.empty()) out.host_ip = text(member(pod_, "status", "hostIP"));   // started offline: as it was
  const ObservedSandbox* sandbox = observed_.sandbox();
  if (flag(member(spec(pod_), "hostNetwork"))) {
    out.pod_ip = out.host_ip;
  } else if (sandbox != nullptr && sandbox->ready && !sandbox->ips.empty()) {
    out.pod_ip = sandbox->ips.front();
  }
  return out;
}

std::string PodWorker::folder() const { return pod_folder(node_.options.root_dir, pod_uid(pod_)); }

std::string PodWorker::log_folder() const { return fmt::format("{}/{}_{}_{}", node_.options.pod_logs_dir, pod_namespace(pod_), pod_name(pod_), pod_uid(pod_)); }

void PodWorker::log(LogLevel level, const std::string& line) const { base::log(node_.runtime.log(), level, "edged", "pod {}/{}: {}", pod_namespace(pod_), pod_name(pod_), line); }

}  // namespace kubeedge::edged
