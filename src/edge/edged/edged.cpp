#include <kubeedge/edged.h>

#include <algorithm>
#include <map>

#include "base/json.h"
#include "base/text.h"
#include "edge/edged/node_api.h"
#include "edge/edged/pod_worker.h"
#include "edge/edged/volumes.h"
#include "edge/ports/pod_runtime.h"

namespace kubeedge::edged {
namespace {

constexpr Milliseconds kRelist{1'000};           // how soon a container's end is seen
constexpr Milliseconds kRelistAway{500};         // the runtime does not answer: at boot it comes up beside us

class Edged final : public PodRuntime, private NodePods {
 public:
  Edged(const Runtime& runtime, edge::MetaClient& meta, CriOptions options, std::string node_name, std::string node_ip)
      : cri_(runtime, options.endpoint), node_{runtime, meta, cri_, std::move(options), std::move(node_name), std::move(node_ip), false}, relist_(runtime), api_(runtime, *this, cri_) {}
  ~Edged() override { stop_workers(); }

  // ---- PodRuntime

  void start() override { look_at_runtime(); }

  void stop(unique_function<void()> done) override {
    stopped_ = true;
    relist_.cancel();
    stop_workers();
    runtime::post(node_.runtime, std::move(done));
  }

  std::string runtime_version() const override { return version_.name.empty() ? "" : version_.name + "://" + version_.version; }

  bool ready(std::string& why) const override {
    why = version_.why;
    return version_.ready;
  }

  int max_pods() const override { return node_.options.max_pods; }
  void on_state(std::function<void()> handler) override { on_state_ = std::move(handler); }
  void set_node_ip(const std::string& ip) override { node_.host_ip = ip; }
  edge::NodeStreams* streams() override { return &api_; }

  // ---- LinkObserver

  void on_link(bool up) override {
    node_.link_up = up;
    if (!up) return;
    for (const auto& [uid, worker] : copy()) worker->poke();  // what could not be told until now
  }

  // ---- PodSink

  void on_pod_set(std::vector<Bytes> pods) override {
    for (Bytes& pod : pods) on_pod(std::move(pod));
    set_known_ = true;
    // Folders that a killed edgecore left of pods that nobody wants any more.
    std::set<std::string> wanted;
    for (const auto& [uid, worker] : workers_) wanted.insert(uid);
    auto forgotten = std::make_shared<std::vector<std::string>>();
    node_.runtime.run_blocking([forgotten, root = node_.options.root_dir] { *forgotten = pods_on_disk(root); }, [weak = std::weak_ptr(alive_), this, forgotten] {
      if (weak.expired()) return;
      for (const std::string& uid : *forgotten)
        if (!workers_.contains(uid)) forget(uid, "", "");
    });
  }

  void on_pod(Bytes text_of_pod) override {
    Json pod = base::parse_json(text_of_pod);
    const std::string uid = pod_uid(pod);
    if (uid.empty() || pod_name(pod).empty() || spec(pod).is_null()) {
      return base::log(node_.runtime.log(), LogLevel::kWarning, "edged", "a pod without uid, name or spec was refused");
    }
    if (text(member(spec(pod), "nodeName")) != node_.node_name) return;
    if (const auto found = workers_.find(uid); found != workers_.end()) return found->second->update(std::move(pod));
    const bool full = workers_.size() >= static_cast<std::size_t>(node_.options.max_pods);
    const std::string field = unsupported_field(pod);
    const auto worker = add(std::move(pod));
    if (!field.empty()) return worker->refuse("UnsupportedPodField", "edged does not honour " + field + " yet: the pod was not started");
    if (full) return worker->refuse("OutOfpods", fmt::format("Node didn't have enough resource: pods, limit {}", node_.options.max_pods));
    worker->poke();
  }

  void on_pod_removed(const std::string& ns, const std::string& name, const std::string& uid) override {
    for (const auto& [key, worker] : copy()) {
      const bool named = pod_namespace(worker->pod()) == ns && pod_name(worker->pod()) == name;
      if (named && (uid.empty() || uid == key)) worker->remove();  // never a successor of the same name
    }
  }

  void on_object(const std::string& type, const std::string& ns, const std::string& name) override {
    if (type != "configmap" && type != "secret") return;
    const ObjectRef ref{type == "secret", name};
    for (const auto& [uid, worker] : copy())
      if (pod_namespace(worker->pod()) == ns) worker->object_changed(ref);
  }

 private:
  using Workers = std::map<std::string, std::shared_ptr<PodWorker>>;
  Workers copy() const { return workers_; }  // a worker may end while it is called

  // ---- NodePods

  template <class T, class Ask>
  Found<T> ask(const std::string& ns, const std::string& pod, Ask what) const {
    for (const auto& [uid, worker] : workers_)
      if (pod_namespace(worker->pod()) == ns && pod_name(worker->pod()) == pod) return what(*worker);
    return Refusal{404, fmt::format("pod \"{}\" does not exist", pod)};
  }
  Found<LogStream::Source> find_log(const std::string& ns, const std::string& pod, const std::string& container, bool previous) const override {
    return ask<LogStream::Source>(ns, pod, [&](const PodWorker& worker) { return worker.find_log(container, previous); });
  }
  Found<std::string> find_running(const std::string& ns, const std::string& pod, const std::string& container) const override {
    return ask<std::string>(ns, pod, [&](const PodWorker& worker) { return worker.find_running(container); });
  }
  Found<std::string> find_sandbox(const std::string& ns, const std::string& pod) const override {
    return ask<std::string>(ns, pod, [](const PodWorker& worker) { return worker.find_sandbox(); });
  }

  // ---- pods

  std::shared_ptr<PodWorker> add(Json pod) {
    const std::string uid = pod_uid(pod);
    auto worker = std::make_shared<PodWorker>(node_, std::move(pod), [this](const std::string& gone) { workers_.erase(gone); });
    workers_[uid] = worker;
    return worker;
  }

  // A pod that the runtime or the disk has and nobody wants.
  void forget(const std::string& uid, const std::string& ns, const std::string& name) {
    base::log(node_.runtime.log(), LogLevel::kInfo, "edged", "pod {}/{} ({}) is not wanted here any more: removing it", ns, name, uid);
    add({{"metadata", {{"uid", uid}, {"namespace", ns}, {"name", name}}}})->remove();
  }

  void stop_workers() {
    for (const auto& [uid, worker] : copy()) worker->stop();
    workers_.clear();
  }

  // Version and readiness, then the first list; again whenever the runtime was away.
  void look_at_runtime() {
    cri_.version([weak = std::weak_ptr(alive_), this](Result<CriClient::Version> version) {
      if (weak.expired() || stopped_) return;
      set_version(version ? *version : CriClient::Version{version_.name, version_.version, false, "container runtime is down: " + version.error().message});
      if (version) return look_at_pods();
      relist_.start(kRelistAway, [this] { look_at_runtime(); });
    });
  }

  void set_version(const CriClient::Version& version) {
    const bool changed = version.ready != version_.ready || version.why != version_.why;
    version_ = version;
    if (!changed) return;
    if (version.ready) {
      base::log(node_.runtime.log(), LogLevel::kInfo, "edged", "{} is ready", runtime_version());
    } else {
      base::log(node_.runtime.log(), LogLevel::kWarning, "edged", "{}", version.why);
    }
    if (on_state_) on_state_();
  }

  void look_at_pods() {
    cri_.list([weak = std::weak_ptr(alive_), this](Result<std::map<std::string, PodSummary>> pods) {
      if (weak.expired() || stopped_) return;
      if (!pods) return look_at_runtime();
      for (const auto& [uid, pod] : *pods) {
        const auto before = seen_.find(uid);
        const auto worker = workers_.find(uid);
        if (worker == workers_.end()) {
          if (set_known_) forget(uid, pod.ns, pod.name);
        } else if (before == seen_.end() || before->second != pod) {
          const auto held = worker->second;
          held->poke();
        }
      }
      for (const auto& [uid, pod] : seen_) {
        const auto worker = workers_.find(uid);
        if (pods->contains(uid) || worker == workers_.end()) continue;
        const auto held = worker->second;
        held->poke();
      }
      seen_ = std::move(*pods);
      api_.relisted(seen_);
      // A runtime whose network was not ready is asked again; a ready one shows its outage by a failing list.
      relist_.start(kRelist, [this] { version_.ready ? look_at_pods() : look_at_runtime(); });
    });
  }

  CriClient cri_;
  NodeContext node_;
  runtime::Timer relist_;
  NodeApi api_;
  Workers workers_;
  std::map<std::string, PodSummary> seen_;
  CriClient::Version version_{"", "", false, "the container runtime did not answer yet"};
  std::function<void()> on_state_;
  bool set_known_ = false, stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class Factory final : public PodRuntimeFactory {
 public:
  explicit Factory(CriOptions options) : options_(std::move(options)) {}
  std::unique_ptr<PodRuntime> create(const Runtime& runtime, edge::MetaClient& meta, const std::string& node_name, const std::string& node_ip) override {
    return std::make_unique<Edged>(runtime, meta, options_, node_name, node_ip);
  }

 private:
  CriOptions options_;
};

}  // namespace
}  // namespace kubeedge::edged

namespace kubeedge {
inline namespace v0 {

std::shared_ptr<PodRuntimeFactory> cri_pod_runtime(CriOptions options) { return std::make_shared<edged::Factory>(std::move(options)); }

}  // namespace v0
}  // namespace kubeedge
