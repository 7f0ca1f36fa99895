#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <unordered_map>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <sqlite3.h>

#include "base/text.h"
#include "runtime/store_thread.h"

namespace kubeedge::store {
namespace {

constexpr int kBusyTimeoutMs = 5000;      // a second process (keadm debug, sqlite3) may hold a lock for a moment
constexpr std::size_t kMaxGroup = 1024;   // batches in one COMMIT

// One SQLite connection with its prepared statements. Used by one thread at a time.
class Connection {
 public:
  ~Connection() {
    for (auto& [sql, statement] : cache_) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }

  Result<void> open(const std::string& path) {
    path_ = path;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
    if (sqlite3_open_v2(path.c_str(), &db_, flags, nullptr) != SQLITE_OK) return failure("open");
    sqlite3_busy_timeout(db_, kBusyTimeoutMs);
    return exec("PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY");
  }

  Result<void> exec(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failure(sql);
    return {};
  }

  Result<void> run(const Statement& statement, std::vector<Row>* rows) {
    sqlite3_stmt*& prepared = cache_[statement.sql];
    if (prepared == nullptr &&
        sqlite3_prepare_v3(db_, statement.sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) != SQLITE_OK) {
      Error error = failure(statement.sql);
      cache_.erase(statement.sql);
      return error;
    }
    bind(prepared, statement.params);
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(prepared)) == SQLITE_ROW)
      if (rows != nullptr) rows->push_back(row(prepared));
    Result<void> result;
    if (code != SQLITE_DONE) result = failure(statement.sql);
    sqlite3_reset(prepared);
    sqlite3_clear_bindings(prepared);
    return result;
  }

  bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

 private:
  static void bind(sqlite3_stmt* prepared, const std::vector<Value>& params) {
    for (std::size_t i = 0; i < params.size(); ++i) {
      const int at = static_cast<int>(i) + 1;
      if (const auto* number = std::get_if<std::int64_t>(&params[i])) {
        sqlite3_bind_int64(prepared, at, *number);
      } else if (const auto* text = std::get_if<std::string>(&params[i])) {
        sqlite3_bind_text64(prepared, at, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
      }
    }
  }

  static Row row(sqlite3_stmt* prepared) {
    Row out;
    const int count = sqlite3_column_count(prepared);
    out.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      switch (sqlite3_column_type(prepared, i)) {
        case SQLITE_NULL: out.emplace_back(nullptr); break;
        case SQLITE_INTEGER: out.emplace_back(std::int64_t{sqlite3_column_int64(prepared, i)}); break;
        default: {
          const auto* bytes = static_cast<const char*>(sqlite3_column_blob(prepared, i));
          const auto size = static_cast<std::size_t>(sqlite3_column_bytes(prepared, i));
          out.emplace_back(bytes == nullptr ? std::string() : std::string(bytes, size));
        }
      }
    }
    return out;
  }

  Error failure(std::string_view what) const {
    const int code = sqlite3_extended_errcode(db_);
    const char* text = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
    return base::error(Errc::kIo, "database {}: {} ({}) in: {}", path_, text, code, what.substr(0, 80));
  }

  std::string path_;
  sqlite3* db_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> cache_;
};

struct Batch {
  std::vector<Statement> statements;
  unique_function<void(Result<void>)> done;
  Result<void> result;
};

// The writer's side: owned by the Store and, while it has work, by the StoreThread.
class Writer final : public StoreWork {
 public:
  explicit Writer(asio::any_io_executor executor) : executor_(std::move(executor)) {}

  Connection connection;

  // Takes `batch` unless the queue is full.
  bool push(Batch& batch) {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= Store::kMaxQueuedWrites) return false;
    queue_.push_back(std::move(batch));
    return true;
  }

  void run_pending() override {
    for (;;) {
      std::vector<Batch> group = take();
      if (group.empty()) return;
      commit(group);
      // The loop must stay alive until it has heard: a write is outstanding work.
      asio::post(executor_, [group = std::move(group)]() mutable {
        for (Batch& batch : group)
          if (batch.done) batch.done(std::move(batch.result));
      });
    }
  }

  Store::Counters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }
  std::string failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  void wait_idle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return queue_.empty() && !busy_; });
  }

 private:
  std::vector<Batch> take() {
    const std::lock_guard lock(mutex_);
    std::vector<Batch> group;
    while (!queue_.empty() && group.size() < kMaxGroup) {
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    busy_ = !group.empty();
    if (!busy_) idle_.notify_all();
    return group;
  }

  // One COMMIT for the whole group; a batch that fails is undone alone, by its savepoint.
  void commit(std::vector<Batch>& group) {
    Result<void> begun = connection.exec("BEGIN IMMEDIATE");
    for (Batch& batch : group) batch.result = begun ? run(batch) : begun;
    if (begun) {
      const Result<void> committed = connection.exec("COMMIT");
      if (!committed) {
        if (connection.in_transaction()) static_cast<void>(connection.exec("ROLLBACK"));
        for (Batch& batch : group) batch.result = committed;
      }
    }
    const std::lock_guard lock(mutex_);
    ++counters_.commits;
    failure_.clear();
    for (const Batch& batch : group) {
      ++(batch.result ? counters_.writes : counters_.failed);
      if (!batch.result) failure_ = batch.result.error().message;
    }
  }

  Result<void> run(Batch& batch) {
    // A failure such as a full disk may have rolled the whole transaction back: then nothing more can be written in it.
    if (!connection.in_transaction()) return base::error(Errc::kIo, "the transaction was rolled back by an earlier failure");
    if (Result<void> saved = connection.exec("SAVEPOINT batch"); !saved) return saved;
    for (const Statement& statement : batch.statements) {
      if (Result<void> ran = connection.run(statement, nullptr); !ran) {
        if (connection.in_transaction()) static_cast<void>(connection.exec("ROLLBACK TO batch; RELEASE batch"));
        return ran;
      }
    }
    return connection.exec("RELEASE batch");
  }

  asio::any_io_executor executor_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<Batch> queue_;
  bool busy_ = false;
  Store::Counters counters_;
  std::string failure_;
};

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(const Runtime& runtime) : runtime_(runtime), writer_(std::make_shared<Writer>(runtime.executor())) {}
  ~SqliteStore() override { writer_->wait_idle(); }

  Result<void> open(const std::string& path, std::string_view schema) {
    // The file is made by us so that its mode is 0600 from the first byte on (it holds secrets and tokens).
    if (path != ":memory:") {
      const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      if (fd < 0) return base::error(Errc::kIo, "database {}: {}", path, std::strerror(errno));
      ::close(fd);
      if (::chmod(path.c_str(), 0600) != 0) return base::error(Errc::kIo, "database {}: {}", path, std::strerror(errno));
    }
    // Two connections of a memory database meet through its shared cache.
    const std::string target = path == ":memory:" ? "file:" + base::random_hex(8) + "?mode=memory&cache=shared" : path;
    if (Result<void> opened = writer_->connection.open(target); !opened) return opened;
    if (Result<void> set = writer_->connection.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"); !set) return set;
    if (Result<void> made = writer_->connection.exec(std::string(schema).c_str()); !made) return made;
    return reader_.open(target);
  }

  void write(std::vector<Statement> batch, unique_function<void(Result<void>)> done) override {
    Batch item{std::move(batch), std::move(done), {}};
    // The guard keeps the loop running until the outcome was told.
    item.done = [done = std::move(item.done), guard = asio::make_work_guard(runtime_.executor())](Result<void> result) mutable {
      if (done) done(std::move(result));
    };
    if (!writer_->push(item)) {
      asio::post(runtime_.executor(), [done = std::move(item.done)]() mutable {
        done(base::error(Errc::kLimitExceeded, "the store has {} writes queued", kMaxQueuedWrites));
      });
      return;
    }
    runtime_.store_thread().notify(writer_);
  }

  Result<std::vector<Row>> query(const Statement& statement) override {
    std::vector<Row> rows;
    if (Result<void> ran = reader_.run(statement, &rows); !ran) return std::move(ran).error();
    return rows;
  }

  Counters counters() const override { return writer_->counters(); }
  std::string failure() const override { return writer_->failure(); }

 private:
  Runtime runtime_;
  std::shared_ptr<Writer> writer_;
  Connection reader_;
};

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const Runtime& runtime, const std::string& path, std::string_view schema) {
  auto store = std::make_unique<SqliteStore>(runtime);
  if (Result<void> opened = store->open(path, schema); !opened) return std::move(opened).error();
  return std::unique_ptr<Store>(std::move(store));
}

void Store::collect(base::MetricsPage& page) const {
  const Counters c = counters();
  page.counter("kubeedge_store_commits_total", "Commits of the SQLite file, each of a group of writes", c.commits);
  page.counter("kubeedge_store_writes_total", "Writes made durable", c.writes);
  page.counter("kubeedge_store_failed_writes_total", "Writes that the disk did not take; nobody was told that they are there", c.failed);
}

std::string text(const Value& value) {
  if (const auto* string = std::get_if<std::string>(&value)) return *string;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  return {};
}

std::int64_t integer(const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* string = std::get_if<std::string>(&value)) return base::to_int(*string).value_or(0);
  return 0;
}

}  // namespace kubeedge::store
