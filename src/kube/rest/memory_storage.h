// Storage in memory, committed at once: for tests.
#pragma once

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
    const auto found = objects_.find(key);
    if (expected == 0 && found != objects_.end()) return done(Error{Errc::kAlreadyExists, key.name});
    if (expected != 0 && found == objects_.end()) return done(Error{Errc::kNotFound, key.name});
    if (expected != 0 && found->second.revision != expected) return done(Error{Errc::kConflict, key.name});
    const Bytes previous = found == objects_.end() ? Bytes() : found->second.json;
    const StoredObject object{key, ++revision_, make(revision_)};
    objects_[key] = object;
    tell({previous.empty() ? StorageEvent::Type::kAdded : StorageEvent::Type::kModified, object, previous});
    done(object);
  }

  void remove(const StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t)> make, unique_function<void(Result<StoredObject>)> done) override {
    const auto found = objects_.find(key);
    if (found == objects_.end()) return done(Error{Errc::kNotFound, key.name});
    if (expected != 0 && found->second.revision != expected) return done(Error{Errc::kConflict, key.name});
    const Bytes previous = found->second.json;
    const StoredObject object{key, ++revision_, make(revision_)};
    objects_.erase(found);
    tell({StorageEvent::Type::kDeleted, object, previous});
    done(object);
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

  std::uint64_t floor = 0;   // tests raise it to make watches too old

 private:
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

  void tell(const StorageEvent& event) {
    log_.push_back(event);
    const auto entries = entries_;
    for (const auto& entry : entries)
      if (entry->alive && entry->resource == event.object.key.resource) entry->on_event(event);
  }

  std::map<StorageKey, StoredObject> objects_;
  std::vector<StorageEvent> log_;
  std::vector<std::shared_ptr<Entry>> entries_;
  std::uint64_t revision_ = 1;
};

}  // namespace kubeedge::kube
