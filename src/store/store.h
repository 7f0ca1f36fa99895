// SQLite behind one writer thread: group commit, WAL, synchronous=FULL. sqlite3.h is seen by store.cpp only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "base/metrics.h"

namespace kubeedge::store {

using Value = std::variant<std::nullptr_t, std::int64_t, std::string>;
using Row = std::vector<Value>;

// A statement and its parameters ("?1" ...), run inside the group's transaction.
struct Statement {
  std::string sql;             // prepared once and cached by text
  std::vector<Value> params;
};

// One open database file. Lives on the runtime's executor; writes run on the StoreThread.
// Rows written are visible to query() after their `done` (committed reads only).
class Store {
 public:
  // Opens or creates `path` (0600), sets WAL and FULL, runs `schema` (CREATE ... IF NOT EXISTS statements).
  // ":memory:" is for tests. Errors name the path and SQLite's own text.
  static Result<std::unique_ptr<Store>> open(const Runtime& runtime, const std::string& path, std::string_view schema);
  virtual ~Store() = default;  // waits for queued writes

  // Atomically runs `batch`; `done` comes on the executor after the COMMIT that made it durable.
  // Batches of many callers share one COMMIT; a failed batch (kIo: disk full ...) leaves no trace and
  // does not take its neighbours along. Queue limit: kMaxQueuedWrites, past it done(kLimitExceeded) at once.
  static constexpr std::size_t kMaxQueuedWrites = 100'000;
  virtual void write(std::vector<Statement> batch, unique_function<void(Result<void>)> done) = 0;

  // A read on the executor's own connection; for small, indexed look-ups and for start-up loads.
  virtual Result<std::vector<Row>> query(const Statement& statement) = 0;

  struct Counters { std::uint64_t commits = 0, writes = 0, failed = 0; };
  virtual Counters counters() const = 0;
  // Why the last group was not committed, "" when it was: the health page's word on the store.
  virtual std::string failure() const = 0;
  void collect(base::MetricsPage& page) const;
};

// Helpers for rows.
std::string text(const Value& value);           // "" for NULL, decimal for integers
std::int64_t integer(const Value& value);       // 0 for NULL and non-numbers

}  // namespace kubeedge::store
