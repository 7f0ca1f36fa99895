// Storage in memory, for tests: writes are committed at once, or by flush() where `hold` is set, as a real store would.
#pragma once

#include <deque>
#include <map>

#include "kube/rest/storage.h"

namespace kubeedge::kube {

class MemoryStorage final : public Storage {
 public:
  std::uint64_t revision() const override { return revision_; }

  std::optional<StoredObject> get(const StorageKey& key) const override {
    const auto found = objects_.find(key);
    return found == objects_.end() ? std::nullopt : std::optional(found->second);
  }

  std::vector<StoredObject> list(const std::string& resource, const std::string& ns) const override {
    std::vector<StoredObject> out;
    for (const auto& [key, object] : objects_)
      if (key.resource == resource && (ns.empty() || key.ns == ns)) out.push_back(object);
    return out;
  }

  void put(const StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t)> make, unique_function<void(Result<StoredObject>)> done) override {
    enqueue({key, expected, false, std::move(make), std::move(done)});
  }

  void remove(const StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t)> make, unique_function<void(Result<StoredObject>)> done) override {
    enqueue({key, expected, true, std::move(make), std::move(done)});
  }

  std::unique_ptr<Subscription> subscribe(const std::string& resource, std::uint64_t after, std::function<void(const StorageEvent&)> on_event, bool& too_old) override {
    too_old = after < floor || after > revision_;
    if (too_old) return nullptr;
    auto entry = std::make_shared<Entry>(Entry{resource, std::move(on_event), true});
    entries_.push_back(entry);
    for (const StorageEvent& event : log_)
      if (event.object.revision > after && event.object.key.resource == resource) entry->on_event(event);
    return std::make_unique<Handle>(entry);
  }

  // Commits what was held back.
  void flush() {
    while (!waiting_.empty()) {
      Write write = std::move(waiting_.front());
      waiting_.pop_front();
      commit(std::move(write));
    }
  }

  std::uint64_t floor = 0;   // tests raise it to make watches too old
  bool hold = false;         // keep writes until flush()

 private:
  struct Write {
    StorageKey key;
    std::uint64_t expected;
    bool removal;
    std::function<Bytes(std::uint64_t)> make;
    unique_function<void(Result<StoredObject>)> done;
  };
  struct Entry {
    std::string resource;
    std::function<void(const StorageEvent&)> on_event;
    bool alive;
  };
  struct Handle final : Subscription {
    explicit Handle(std::shared_ptr<Entry> e) : entry(std::move(e)) {}
    ~Handle() override { entry->alive = false; }
    std::shared_ptr<Entry> entry;
  };

  void enqueue(Write write) {
    waiting_.push_back(std::move(write));
    if (!hold) flush();
  }

  void commit(Write write) {
    const auto found = objects_.find(write.key);
    const bool exists = found != objects_.end();
    if (!write.removal && write.expected == 0 && exists) return write.done(Error{Errc::kAlreadyExists, write.key.name});
    if ((write.removal || write.expected != 0) && !exists) return write.done(Error{Errc::kNotFound, write.key.name});
    if (write.expected != 0 && found->second.revision != write.expected) return write.done(Error{Errc::kConflict, write.key.name});
    const Bytes previous = exists ? found->second.json : Bytes();
    const std::uint64_t revision = ++revision_;
    const StoredObject object{write.key, revision, write.make(revision)};
    if (write.removal) {
      objects_.erase(found);
    } else {
      objects_[write.key] = object;
    }
    tell({write.removal ? StorageEvent::Type::kDeleted : exists ? StorageEvent::Type::kModified : StorageEvent::Type::kAdded, object, previous});
    write.done(object);
  }

  void tell(const StorageEvent& event) {
    log_.push_back(event);
    const auto entries = entries_;
    for (const auto& entry : entries)
      if (entry->alive && entry->resource == event.object.key.resource) entry->on_event(event);
  }

  std::map<StorageKey, StoredObject> objects_;
  std::deque<Write> waiting_;
  std::vector<StorageEvent> log_;
  std::vector<std::shared_ptr<Entry>> entries_;
  std::uint64_t revision_ = 1;
};

}  // namespace kubeedge::kube
