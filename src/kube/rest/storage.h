// Where the API server core keeps its objects. Ports only; the SQLite one is cloud/standalone/sqlite_storage. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::kube {

// "core/pods", "devices.kubeedge.io/devices" + namespace ("" for cluster scope) + name.
struct StorageKey {
  std::string resource, ns, name;
  auto operator<=>(const StorageKey&) const = default;
};

struct StoredObject {
  StorageKey key;
  std::uint64_t revision = 0;   // the resourceVersion of the last write
  Bytes json;                   // the object without resourceVersion drift: metadata.resourceVersion equals revision
};

struct StorageEvent {
  enum class Type { kAdded, kModified, kDeleted } type;
  StoredObject object;          // deleted: last state, revision of the deletion
  Bytes previous;               // the state before; empty for kAdded: a watch with selectors needs it
};

// Lives on one executor. Reads see committed state at once; writes answer after commit, in order.
class Storage {
 public:
  virtual ~Storage() = default;
  virtual std::uint64_t revision() const = 0;
  virtual std::optional<StoredObject> get(const StorageKey& key) const = 0;
  // All of a resource, or of one namespace of it, in key order.
  virtual std::vector<StoredObject> list(const std::string& resource, const std::string& ns) const = 0;

  // Compare-and-set: `expected` = 0: must not exist; else the revision that must be current.
  // `make` gets the new revision and returns the object's JSON that carries it.
  // done: the stored object, or kConflict / kAlreadyExists / kNotFound / kIo.
  virtual void put(const StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t revision)> make,
                   unique_function<void(Result<StoredObject>)> done) = 0;
  virtual void remove(const StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t revision)> make,
                      unique_function<void(Result<StoredObject>)> done) = 0;

  // Events with revision > `after`, then live ones. nullopt = `after` is older than the log: 410.
  // The handle ends it.
  class Subscription { public: virtual ~Subscription() = default; };
  virtual std::unique_ptr<Subscription> subscribe(const std::string& resource, std::uint64_t after,
                                                  std::function<void(const StorageEvent&)> on_event, bool& too_old) = 0;
};

}  // namespace kubeedge::kube
