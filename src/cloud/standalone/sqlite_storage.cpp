#include "cloud/standalone/sqlite_storage.h"

#include <deque>
#include <map>
#include <utility>

#include "base/text.h"
#include "runtime/timer.h"
#include "store/store.h"

namespace kubeedge::cloud {
namespace {

using kube::StorageEvent;
using kube::StorageKey;
using kube::StoredObject;
using Done = unique_function<void(Result<StoredObject>)>;
using Make = std::function<Bytes(std::uint64_t)>;

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS objects(resource TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL,"
    " json TEXT NOT NULL, PRIMARY KEY(resource, ns, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

// A wish that waits for its key: evaluated against committed state only.
struct Wish {
  bool removal = false;
  std::uint64_t expected = 0;
  Make make;
  Done done;
};

struct Subscriber {
  std::string resource;
  std::function<void(const StorageEvent&)> on_event;
  std::deque<StorageEvent> backlog;  // the replay, and what happens until it was delivered
  bool replaying = false;
  bool alive = true;
};

class Handle final : public kube::Storage::Subscription {
 public:
  explicit Handle(std::shared_ptr<Subscriber> subscriber) : subscriber_(std::move(subscriber)) {}
  ~Handle() override { subscriber_->alive = false; }

 private:
  std::shared_ptr<Subscriber> subscriber_;
};

std::string describe(const StorageKey& key) { return key.ns.empty() ? key.resource + " " + key.name : key.resource + " " + key.ns + "/" + key.name; }

void drain(const std::shared_ptr<Subscriber>& subscriber) {
  while (subscriber->alive && !subscriber->backlog.empty()) {
    const StorageEvent event = std::move(subscriber->backlog.front());
    subscriber->backlog.pop_front();
    subscriber->on_event(event);
  }
  subscriber->replaying = false;
}

}  // namespace

struct SqliteStorage::Impl : std::enable_shared_from_this<SqliteStorage::Impl> {
  explicit Impl(const Runtime& r) : runtime(r) {}

  Runtime runtime;
  std::unique_ptr<store::Store> store;
  std::map<std::string, std::map<std::pair<std::string, std::string>, StoredObject>> objects;
  std::map<StorageKey, std::deque<Wish>> waiting;  // a key is present while a write of it is on its way
  std::uint64_t committed = 1;  // 0 means "any" in Kubernetes' watch, so the first state has revision 1
  std::uint64_t issued = 1;
  std::deque<StorageEvent> log;
  std::size_t log_bytes = 0;
  std::uint64_t log_floor = 1;  // events up to here are forgotten
  std::vector<std::weak_ptr<Subscriber>> subscribers;

  const StoredObject* find(const StorageKey& key) const {
    const auto resource = objects.find(key.resource);
    if (resource == objects.end()) return nullptr;
    const auto object = resource->second.find({key.ns, key.name});
    return object == resource->second.end() ? nullptr : &object->second;
  }

  Result<void> load() {
    Result<std::vector<store::Row>> meta = store->query({"SELECT value FROM meta WHERE key = 'revision'", {}});
    if (!meta) return std::move(meta).error();
    if (!meta->empty()) committed = static_cast<std::uint64_t>(store::integer(meta->front()[0]));
    Result<std::vector<store::Row>> rows = store->query({"SELECT resource, ns, name, revision, json FROM objects", {}});
    if (!rows) return std::move(rows).error();
    for (const store::Row& row : *rows) {
      StoredObject object{{store::text(row[0]), store::text(row[1]), store::text(row[2])},
                          static_cast<std::uint64_t>(store::integer(row[3])), Bytes(store::text(row[4]))};
      committed = std::max(committed, object.revision);
      auto& slot = objects[object.key.resource][{object.key.ns, object.key.name}];
      slot = std::move(object);
    }
    issued = log_floor = committed;
    return {};
  }

  void enqueue(const StorageKey& key, Wish wish) {
    const auto [slot, first] = waiting.try_emplace(key);
    slot->second.push_back(std::move(wish));
    if (first) begin(key);
  }

  // Starts the first wish of `key` that its committed state allows; answers the others.
  void begin(const StorageKey& key) {
    const auto slot = waiting.find(key);
    while (!slot->second.empty()) {
      Wish wish = std::move(slot->second.front());
      slot->second.pop_front();
      const StoredObject* current = find(key);
      if (std::optional<Error> refusal = refuse(key, wish, current)) {
        answer(std::move(wish.done), std::move(*refusal));
        continue;
      }
      commit(key, std::move(wish), current == nullptr);
      return;
    }
    waiting.erase(slot);
  }

  static std::optional<Error> refuse(const StorageKey& key, const Wish& wish, const StoredObject* current) {
    if (!wish.removal && wish.expected == 0) {
      if (current != nullptr) return base::error(Errc::kAlreadyExists, "{} exists", describe(key));
      return std::nullopt;
    }
    if (current == nullptr) return base::error(Errc::kNotFound, "{} does not exist", describe(key));
    if (wish.expected != 0 && current->revision != wish.expected)
      return base::error(Errc::kConflict, "{} has revision {}, not {}", describe(key), current->revision, wish.expected);
    return std::nullopt;
  }

  void answer(Done done, Result<StoredObject> result) {
    runtime::post(runtime, [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }

  void commit(const StorageKey& key, Wish wish, bool added) {
    const std::uint64_t revision = ++issued;
    StorageEvent event{wish.removal ? StorageEvent::Type::kDeleted : added ? StorageEvent::Type::kAdded : StorageEvent::Type::kModified,
                       {key, revision, wish.make(revision)}, {}};
    if (const StoredObject* before = find(key)) event.previous = before->json;
    std::vector<store::Statement> batch;
    if (wish.removal) {
      batch.push_back({"DELETE FROM objects WHERE resource = ?1 AND ns = ?2 AND name = ?3", {key.resource, key.ns, key.name}});
    } else {
      batch.push_back({"INSERT OR REPLACE INTO objects(resource, ns, name, revision, json) VALUES(?1, ?2, ?3, ?4, ?5)",
                       {key.resource, key.ns, key.name, static_cast<std::int64_t>(revision), event.object.json.str()}});
    }
    batch.push_back({"INSERT OR REPLACE INTO meta(key, value) VALUES('revision', ?1)", {static_cast<std::int64_t>(revision)}});
    store->write(std::move(batch), [weak = weak_from_this(), event = std::move(event), done = std::move(wish.done)](Result<void> result) mutable {
      const std::shared_ptr<Impl> self = weak.lock();
      if (!self) return;
      const StorageKey key = event.object.key;
      if (result) {
        self->apply(event);
        done(event.object);
      } else {
        base::log(self->runtime.log(), LogLevel::kError, "storage", "{}: {}", describe(key), result.error().message);
        done(std::move(result).error());
      }
      if (self->waiting.contains(key)) self->begin(key);
    });
  }

  // Committed: now memory, log and watchers may know.
  void apply(const StorageEvent& event) {
    const StorageKey& key = event.object.key;
    committed = std::max(committed, event.object.revision);
    if (event.type == StorageEvent::Type::kDeleted) {
      objects[key.resource].erase({key.ns, key.name});
    } else {
      objects[key.resource][{key.ns, key.name}] = event.object;
    }
    log.push_back(event);
    log_bytes += event.object.json.size();
    while (log.size() > kEventLog || (log_bytes > kEventLogBytes && log.size() > 1)) {
      log_floor = log.front().object.revision;
      log_bytes -= log.front().object.json.size();
      log.pop_front();
    }
    // A handler may subscribe or unsubscribe: go over a copy.
    std::vector<std::shared_ptr<Subscriber>> now;
    std::erase_if(subscribers, [&](const std::weak_ptr<Subscriber>& weak) {
      std::shared_ptr<Subscriber> subscriber = weak.lock();
      if (!subscriber || !subscriber->alive) return true;
      if (subscriber->resource == key.resource) now.push_back(std::move(subscriber));
      return false;
    });
    for (const std::shared_ptr<Subscriber>& subscriber : now) {
      if (subscriber->replaying) {
        subscriber->backlog.push_back(event);
      } else if (subscriber->alive) {
        subscriber->on_event(event);
      }
    }
  }
};

SqliteStorage::SqliteStorage(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteStorage::~SqliteStorage() = default;

Result<std::unique_ptr<SqliteStorage>> SqliteStorage::open(const Runtime& runtime, const std::string& path) {
  auto impl = std::make_shared<Impl>(runtime);
  Result<std::unique_ptr<store::Store>> opened = store::Store::open(runtime, path, kSchema, store::OnDamage::kRefuse);
  if (!opened) return std::move(opened).error();
  impl->store = std::move(*opened);
  if (Result<void> loaded = impl->load(); !loaded) return std::move(loaded).error();
  return std::unique_ptr<SqliteStorage>(new SqliteStorage(std::move(impl)));
}

std::uint64_t SqliteStorage::revision() const { return impl_->committed; }

std::optional<StoredObject> SqliteStorage::get(const StorageKey& key) const {
  const StoredObject* object = impl_->find(key);
  return object == nullptr ? std::nullopt : std::optional(*object);
}

std::vector<StoredObject> SqliteStorage::list(const std::string& resource, const std::string& ns) const {
  std::vector<StoredObject> out;
  const auto found = impl_->objects.find(resource);
  if (found == impl_->objects.end()) return out;
  auto at = ns.empty() ? found->second.begin() : found->second.lower_bound({ns, ""});
  for (; at != found->second.end() && (ns.empty() || at->first.first == ns); ++at) out.push_back(at->second);
  return out;
}

void SqliteStorage::put(const StorageKey& key, std::uint64_t expected, Make make, Done done) {
  impl_->enqueue(key, Wish{false, expected, std::move(make), std::move(done)});
}

void SqliteStorage::remove(const StorageKey& key, std::uint64_t expected, Make make, Done done) {
  impl_->enqueue(key, Wish{true, expected, std::move(make), std::move(done)});
}

std::unique_ptr<kube::Storage::Subscription> SqliteStorage::subscribe(const std::string& resource, std::uint64_t after,
                                                                      std::function<void(const StorageEvent&)> on_event, bool& too_old) {
  // A revision from the future belongs to another database: the client must list again, too.
  too_old = after < impl_->log_floor || after > impl_->committed;
  if (too_old) return nullptr;
  auto subscriber = std::make_shared<Subscriber>();
  subscriber->resource = resource;
  subscriber->on_event = std::move(on_event);
  for (const StorageEvent& event : impl_->log)
    if (event.object.revision > after && event.object.key.resource == resource) subscriber->backlog.push_back(event);
  if (!subscriber->backlog.empty()) {
    subscriber->replaying = true;
    runtime::post(impl_->runtime, [subscriber] { drain(subscriber); });
  }
  impl_->subscribers.push_back(subscriber);
  return std::make_unique<Handle>(std::move(subscriber));
}

std::string SqliteStorage::failure() const { return impl_->store->failure(); }

void SqliteStorage::collect(base::MetricsPage& page) const {
  impl_->store->collect(page);
  for (const auto& [resource, objects] : impl_->objects)
    page.gauge("kubeedge_standalone_objects", "Objects in the standalone API", static_cast<std::int64_t>(objects.size()), {{"resource", resource}});
  page.gauge("kubeedge_standalone_event_log_bytes", "Bytes of past events kept for watches that resume", static_cast<std::int64_t>(impl_->log_bytes));
}

}  // namespace kubeedge::cloud
