// SQLite behind one writer thread: group commit, WAL, synchronous=FULL. Each row has a checksum (checks.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/clock.h>
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

// What is done about a row that does not match its checksum, or a file that SQLite calls malformed.
enum class OnDamage : std::uint8_t {
  kDrop,     // an edge's: it is named and dropped, the rest is kept (salvage.h), and the file gets a new id
  kRefuse,   // the only copy of something: open() fails and names it
};

// One open database file. Lives on the runtime's executor; writes run on the StoreThread.
// Rows written are visible to query() after their `done` (committed reads only).
class Store {
 public:
  // Opens or creates `path` (0600), sets WAL and FULL, runs `schema` (CREATE ... IF NOT EXISTS statements).
  // ":memory:" is for tests. Errors name the path and SQLite's own text. Every row is compared with its checksum; rows
  // without one (a Go edge's) get one. With kDrop, a file that is there and cannot be written (read-only or full disk)
  // is opened for reading: write() fails, and tries to open it anew every kReopenInterval.
  static Result<std::unique_ptr<Store>> open(const Runtime& runtime, const std::string& path, std::string_view schema,
                                             OnDamage on_damage = OnDamage::kDrop);
  virtual ~Store() = default;  // waits for queued writes

  // Atomically runs `batch`; `done` comes on the executor after the COMMIT that made it durable.
  // Batches of many callers share one COMMIT; a failed batch (kIo: disk full ...) leaves no trace and
  // does not take its neighbours along. Queue limit: kMaxQueuedWrites, past it done(kLimitExceeded) at once.
  static constexpr std::size_t kMaxQueuedWrites = 100'000;
  virtual void write(std::vector<Statement> batch, unique_function<void(Result<void>)> done) = 0;

  // A read on the executor's own connection; for small, indexed look-ups and for start-up loads. A row that does not
  // match its checksum is left out, named in the log and dropped.
  virtual Result<std::vector<Row>> query(const Statement& statement) = 0;

  struct Counters { std::uint64_t commits = 0, writes = 0, failed = 0; };
  virtual Counters counters() const = 0;
  // Why the last group was not committed, "" when it was: the health page's word on the store.
  virtual std::string failure() const = 0;
  void collect(base::MetricsPage& page) const;

  static constexpr Milliseconds kReopenInterval{10'000};

  // Made with the file, and anew in the transaction that drops a lost row: who knows what was stored under another id
  // has to tell it again.
  virtual const std::string& id() const = 0;
  // open() dropped rows, or found some gone.
  virtual bool lost_rows() const = 0;
  // id() has changed while the store was open. On the executor, never from inside a call.
  virtual void on_loss(unique_function<void()> handler) = 0;
  // Compares the next table's rows with their checksums: called now and then, it finds what nobody reads.
  virtual void check_next() = 0;
};

// Helpers for rows.
std::string text(const Value& value);           // "" for NULL, decimal for integers
std::int64_t integer(const Value& value);       // 0 for NULL and non-numbers

}  // namespace kubeedge::store
