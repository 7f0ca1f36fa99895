// The Storage port on one SQLite file: all objects in memory, one row each on disk, one revision counter for all.
// In: puts and removes of the API server core. Out: answers and watch events, only after the COMMIT.
// Promises: a reader never sees what a crash could undo; writes of one key run one after the other; revisions
// grow across restarts; the event log is bounded by kEventLog and kEventLogBytes, an older `after` is too_old.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "kube/rest/storage.h"

namespace kubeedge::cloud {

class SqliteStorage final : public kube::Storage {
 public:
  static constexpr std::size_t kEventLog = 10'000;
  static constexpr std::size_t kEventLogBytes = 4 * 1024 * 1024;  // objects of old events stay in memory: bound them too

  // Opens or creates the file and loads every object. Errors name the path, and the objects that do not match their
  // checksums: forgetting one would delete it at its edge, serving it would send the altered value there.
  static Result<std::unique_ptr<SqliteStorage>> open(const Runtime& runtime, const std::string& path);
  ~SqliteStorage() override;  // waits for queued writes; their callbacks do not run

  std::uint64_t revision() const override;
  std::optional<kube::StoredObject> get(const kube::StorageKey& key) const override;
  std::vector<kube::StoredObject> list(const std::string& resource, const std::string& ns) const override;
  void put(const kube::StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t)> make,
           unique_function<void(Result<kube::StoredObject>)> done) override;
  // `expected` = 0: whatever revision it has.
  void remove(const kube::StorageKey& key, std::uint64_t expected, std::function<Bytes(std::uint64_t)> make,
              unique_function<void(Result<kube::StoredObject>)> done) override;
  // Events never come from inside this call.
  std::unique_ptr<Subscription> subscribe(const std::string& resource, std::uint64_t after,
                                          std::function<void(const kube::StorageEvent&)> on_event, bool& too_old) override;

  std::string failure() const;   // why the last write did not reach the disk, "" when it did
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  explicit SqliteStorage(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
