#include "cloud/synccontroller/sync_controller.h"

#include <deque>
#include <map>

#include "base/json.h"
#include "base/text.h"
#include "kube/client/informer.h"
#include "runtime/timer.h"
#include "wire/validated_json.h"

namespace kubeedge::cloud {

namespace {
constexpr Milliseconds kWriteDelay{100};     // several acknowledgements of one object become one write
constexpr Milliseconds kRetryDelay{1'000};
const kube::Resource kObjectSyncs{"reliablesyncs.kubeedge.io", "v1alpha1", "objectsyncs"};
const kube::Resource kClusterObjectSyncs{"reliablesyncs.kubeedge.io", "v1alpha1", "clusterobjectsyncs"};
}  // namespace

struct SyncController::Impl : std::enable_shared_from_this<SyncController::Impl> {
  // One object in the API and what it shall become.
  struct Entry {
    SyncRecord record;
    bool wanted = true;
    bool exists = false;          // in the API
    std::string stored_version;   // there
    bool busy = false;
    bool queued = false;
    std::vector<std::shared_ptr<unique_function<void()>>> when_settled;   // a clear() or reset() waits
  };
  using Key = std::pair<NodeId, std::string>;

  Impl(const Runtime& r, kube::KubeClient& c) : runtime(r), client(c), timer(r), retry_timer(r) {}
  Runtime runtime;
  kube::KubeClient& client;
  runtime::Timer timer, retry_timer;
  std::map<Key, Entry> entries;
  std::deque<Key> dirty;
  std::deque<Key> failed;         // written again later; they hold up no other
  std::size_t writes = 0;
  bool objects_synced = false, cluster_synced = false;
  std::unique_ptr<kube::Informer> objects, cluster;

  static bool cluster_scoped(const SyncRecord& record) { return record.ns == "null"; }
  static const kube::Resource& resource(const SyncRecord& record) { return cluster_scoped(record) ? kClusterObjectSyncs : kObjectSyncs; }
  static std::string ns(const SyncRecord& record) { return cluster_scoped(record) ? std::string() : record.ns; }
  static std::string name(const Key& key) { return key.first.str() + "." + key.second; }
  static bool settled(const Entry& e) { return e.wanted ? e.exists && e.stored_version == e.record.resource_version : !e.exists; }

  void upsert(const Bytes& object) {
    auto json = wire::ValidatedJson::parse(object);
    if (!json) return;
    const std::string full = json->string_at({"metadata", "name"}).value_or("");
    const auto dot = full.rfind('.');
    if (dot == std::string::npos || dot == 0) return;
    const Key key{NodeId(full.substr(0, dot)), full.substr(dot + 1)};
    SyncRecord record;
    record.ns = json->string_at({"metadata", "namespace"}).value_or("");
    if (record.ns.empty()) record.ns = "null";
    record.api_version = json->string_at({"spec", "objectAPIVersion"}).value_or("");
    record.kind = json->string_at({"spec", "objectKind"}).value_or("");
    record.name = json->string_at({"spec", "objectName"}).value_or("");
    record.uid = key.second;
    record.resource_version = json->string_at({"status", "objectResourceVersion"}).value_or("0");
    auto [it, fresh] = entries.try_emplace(key);
    Entry& entry = it->second;
    // An event may be older than what we know and are about to write: only a settled record follows the API.
    if (!fresh && (entry.busy || entry.queued || !settled(entry))) return;
    entry.exists = true;
    entry.wanted = true;
    entry.stored_version = record.resource_version;
    entry.record = std::move(record);
  }

  void vanished(const Bytes& object) {
    auto json = wire::ValidatedJson::parse(object);
    if (!json) return;
    const std::string full = json->string_at({"metadata", "name"}).value_or("");
    const auto dot = full.rfind('.');
    if (dot == std::string::npos) return;
    const Key key{NodeId(full.substr(0, dot)), full.substr(dot + 1)};
    const auto it = entries.find(key);
    if (it == entries.end() || it->second.busy || it->second.queued) return;
    entries.erase(it);
  }

  void touch(const Key& key, Entry& entry) {
    if (entry.queued || entry.busy) return;
    entry.queued = true;
    dirty.push_back(key);
    if (!timer.running()) arm(kWriteDelay);
  }

  void arm(Milliseconds after) {
    std::weak_ptr<Impl> weak = weak_from_this();
    timer.start(after, [weak] {
      if (auto self = weak.lock()) self->flush();
    });
  }

  void arm_retry() {
    if (retry_timer.running()) return;
    std::weak_ptr<Impl> weak = weak_from_this();
    retry_timer.start(kRetryDelay, [weak] {
      auto self = weak.lock();
      if (!self) return;
      for (auto& key : std::exchange(self->failed, {})) self->dirty.push_back(std::move(key));
      self->flush();
    });
  }

  void flush() {
    while (!dirty.empty() && writes < kMaxSyncWrites) {
      const Key key = dirty.front();
      dirty.pop_front();
      const auto it = entries.find(key);
      if (it == entries.end()) continue;
      it->second.queued = false;
      write(key, it->second);
    }
  }

  void finish(const Key& key) {
    const auto it = entries.find(key);
    if (it == entries.end()) return;
    Entry& entry = it->second;
    if (!settled(entry)) return touch(key, entry);
    auto waiting = std::exchange(entry.when_settled, {});
    if (!entry.wanted) entries.erase(it);
    for (auto& done : waiting)
      if (done.use_count() == 1 && *done) (*done)();
  }

  void write(const Key& key, Entry& entry) {
    if (settled(entry)) return finish(key);
    entry.busy = true;
    ++writes;
    std::weak_ptr<Impl> weak = weak_from_this();
    const SyncRecord& record = entry.record;
    enum class Step { kCreate, kStatus, kRemove };
    const Step step = !entry.wanted ? Step::kRemove : entry.exists ? Step::kStatus : Step::kCreate;
    const std::string version = record.resource_version;
    auto done = [weak, key, step, version](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      if (!self) return;
      --self->writes;
      const auto it = self->entries.find(key);
      if (it != self->entries.end()) {
        Entry& e = it->second;
        e.busy = false;
        const int code = result ? 200 : result.error().code;
        bool again = false;
        if (step == Step::kCreate) {
          if (result || code == 409) {
            e.exists = true;
            e.stored_version = "?";
          } else if (code == 404) {
            e.wanted = false;              // its namespace is gone, and the object with it
          } else {
            again = true;
          }
        } else if (step == Step::kStatus) {
          if (result) e.stored_version = version;
          else if (code == 404) e.exists = false;
          else again = true;
        } else {
          if (result || code == 404) e.exists = false;
          else again = true;
        }
        if (again) {
          base::log(self->runtime.log(), LogLevel::kWarning, "synccontroller", "sync record {}: {}; again in 1 s", name(key), result.error().message);
          e.queued = true;
          self->failed.push_back(key);
          self->arm_retry();
        } else {
          self->finish(key);
        }
      }
      if (!self->dirty.empty() && !self->timer.running()) self->arm(Milliseconds{1});
    };
    if (step == Step::kRemove) return client.remove(resource(record), ns(record), name(key), {}, std::move(done));
    if (step == Step::kStatus) {
      const nlohmann::json patch{{"status", {{"objectResourceVersion", version}}}};
      return client.patch(resource(record), ns(record), name(key), "status", kube::PatchType::kMerge, Bytes(base::dump_json(patch)), std::move(done));
    }
    nlohmann::json metadata{{"name", name(key)}};
    if (!cluster_scoped(record)) metadata["namespace"] = record.ns;
    const nlohmann::json object{
        {"apiVersion", "reliablesyncs.kubeedge.io/v1alpha1"},
        {"kind", cluster_scoped(record) ? "ClusterObjectSync" : "ObjectSync"},
        {"metadata", std::move(metadata)},
        {"spec", {{"objectAPIVersion", record.api_version}, {"objectKind", record.kind}, {"objectName", record.name}}}};
    client.create(resource(record), ns(record), name(key), "", Bytes(base::dump_json(object)), std::move(done));
  }

  // `done` comes when the API has all of it.
  void change_all(const NodeId& node, void (*change)(Entry&), unique_function<void()> done) {
    // Every entry holds a share of `last`; whoever lets the last share go runs `done`.
    auto last = std::make_shared<unique_function<void()>>(std::move(done));
    bool any = false;
    for (auto it = entries.lower_bound({node, ""}); it != entries.end() && it->first.first == node; ++it) {
      any = true;
      change(it->second);
      it->second.when_settled.push_back(last);
      touch(it->first, it->second);
    }
    if (!any) runtime::post(runtime, [last] { (*last)(); });
  }

  std::unique_ptr<kube::Informer> watch(const kube::Resource& what, bool Impl::*synced) {
    std::weak_ptr<Impl> weak = weak_from_this();
    kube::Informer::Handlers handlers;
    handlers.on_upsert = [weak](Bytes object) {
      if (auto self = weak.lock()) self->upsert(object);
    };
    handlers.on_delete = [weak](Bytes object) {
      if (auto self = weak.lock()) self->vanished(object);
    };
    handlers.on_synced = [weak, synced] {
      if (auto self = weak.lock()) self.get()->*synced = true;
    };
    auto informer = std::make_unique<kube::Informer>(runtime, client, what, kube::ListOptions{}, std::move(handlers));
    informer->start();
    return informer;
  }
};

SyncController::SyncController(const Runtime& runtime, kube::KubeClient& client) : impl_(std::make_shared<Impl>(runtime, client)) {}
SyncController::~SyncController() = default;

void SyncController::start() {
  impl_->objects = impl_->watch(kObjectSyncs, &Impl::objects_synced);
  impl_->cluster = impl_->watch(kClusterObjectSyncs, &Impl::cluster_synced);
}

void SyncController::stop() {
  impl_->objects.reset();
  impl_->cluster.reset();
  impl_->timer.cancel();
  impl_->retry_timer.cancel();
}

bool SyncController::synced() const { return impl_->objects_synced && impl_->cluster_synced; }

std::vector<NodeId> SyncController::nodes() const {
  std::vector<NodeId> nodes;
  for (const auto& [key, entry] : impl_->entries)
    if (entry.wanted && (nodes.empty() || nodes.back() != key.first)) nodes.push_back(key.first);
  return nodes;
}

std::optional<SyncRecord> SyncController::find(const NodeId& node, const std::string& uid) const {
  const auto it = impl_->entries.find({node, uid});
  if (it == impl_->entries.end() || !it->second.wanted) return std::nullopt;
  return it->second.record;
}

std::vector<SyncRecord> SyncController::all(const NodeId& node) const {
  std::vector<SyncRecord> records;
  for (auto it = impl_->entries.lower_bound({node, ""}); it != impl_->entries.end() && it->first.first == node; ++it)
    if (it->second.wanted) records.push_back(it->second.record);
  return records;
}

void SyncController::offered(const NodeId& node, SyncRecord record) {
  const Impl::Key key{node, record.uid};
  if (const auto known = impl_->entries.find(key); known != impl_->entries.end() && known->second.wanted) return;
  record.resource_version = "0";
  acknowledged(node, std::move(record));
  impl_->arm(Milliseconds{0});   // an object must not be at the edge without a record for long
}

void SyncController::acknowledged(const NodeId& node, SyncRecord record) {
  const Impl::Key key{node, record.uid};
  Impl::Entry& entry = impl_->entries[key];
  entry.record = std::move(record);
  entry.wanted = true;
  // A clear() or reset() that still waited for this entry has done its work: the record is a new one.
  for (auto& done : std::exchange(entry.when_settled, {}))
    if (done.use_count() == 1) runtime::post(impl_->runtime, [done] { (*done)(); });
  impl_->touch(key, entry);
}

void SyncController::removed(const NodeId& node, const std::string& uid) {
  const Impl::Key key{node, uid};
  const auto it = impl_->entries.find(key);
  if (it == impl_->entries.end()) return;
  it->second.wanted = false;
  impl_->touch(key, it->second);
}

void SyncController::clear(const NodeId& node, unique_function<void()> done) {
  impl_->change_all(node, [](Impl::Entry& entry) { entry.wanted = false; }, std::move(done));
}

void SyncController::reset(const NodeId& node, unique_function<void()> done) {
  impl_->change_all(node, [](Impl::Entry& entry) { entry.record.resource_version = "0"; }, std::move(done));
}

}  // namespace kubeedge::cloud
