#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include "base/text.h"
#include "store/checks.h"
#include "store/salvage.h"
#include "store/writer.h"

namespace kubeedge::store {
namespace {

constexpr std::size_t kMaxNamed = 50;   // lost rows in the log, one line each, and in an error

// It travels in an HTTP header.
bool usable_id(std::string_view id) {
  return id.size() == 36 && std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-'; });
}

Statement set_id(const std::string& id) { return {"INSERT OR REPLACE INTO main.ke_store(key, value) VALUES ('id', ?1)", {id}}; }

bool empty_or_absent(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) != 0 || facts.st_size == 0;
}

class SqliteStore final : public Store {
 public:
  SqliteStore(const Runtime& runtime, std::string path, std::string_view schema, OnDamage on_damage)
      : runtime_(runtime), path_(std::move(path)), schema_(schema), on_damage_(on_damage), writer_(std::make_shared<Writer>(runtime.executor())) {}
  ~SqliteStore() override { writer_->wait_idle(); }

  Result<void> open();
  void write(std::vector<Statement> batch, unique_function<void(Result<void>)> done) override;
  Result<std::vector<Row>> query(const Statement& statement) override;
  Counters counters() const override { return writer_->counters(); }
  std::string failure() const override { return read_only_.empty() ? writer_->failure() : read_only_; }
  const std::string& id() const override { return id_; }
  bool lost_rows() const override { return lost_; }
  void on_loss(unique_function<void()> handler) override { loss_handler_ = std::move(handler); }
  void check_next() override;

 private:
  Result<void> connect();
  Result<void> make_file();
  Result<void> check_structure();
  Result<void> check_rows();
  Result<void> rescue();
  Result<void> open_for_reading(const Error& why);
  Result<void> read_what_is_there();
  void close();
  void heal();
  bool writable();
  void drop_damaged();
  void take_over_foreign();
  void change_id(std::vector<Statement> batch, std::vector<RowName> dropped);
  void name_lost(const std::vector<RowName>& rows) const;
  void announce(const std::string& before);

  Runtime runtime_;
  std::string path_, schema_;
  OnDamage on_damage_;
  std::shared_ptr<Writer> writer_;
  std::set<RowName> damaged_;    // found by reads; outlives reader_, whose functions write there
  std::set<RowName> dropping_;   // named, their removal is under way
  Connection reader_;
  std::vector<GuardedTable> tables_;
  std::size_t next_table_ = 0;
  std::string id_;
  std::string read_only_;        // why nothing can be written, "" when it can
  Milliseconds next_try_{0};
  bool lost_ = false;
  unique_function<void()> loss_handler_;
  std::shared_ptr<SqliteStore*> self_ = std::make_shared<SqliteStore*>(this);   // a write's outcome may come after our end
};

Result<void> SqliteStore::open() {
  Result<void> opened = connect();
  if (opened || on_damage_ == OnDamage::kRefuse || path_ == ":memory:") return opened;
  const bool malformed = writer_->connection.corrupt() || reader_.corrupt();
  close();
  if (malformed) {
    base::log(runtime_.log(), LogLevel::kError, "store", "{}: the file is damaged, what is whole in it moves to a new one", opened.error().message);
    opened = rescue();
    if (opened) opened = connect();
    if (opened) return {};
    close();
  }
  return open_for_reading(opened.error());
}

// The file is made by us so that its mode is 0600 from the first byte on (it holds secrets and tokens).
Result<void> SqliteStore::make_file() {
  finish_salvage(path_);
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return base::error(Errc::kIo, "database {}: {}", path_, std::strerror(errno));
  ::close(fd);
  if (::chmod(path_.c_str(), 0600) != 0) return base::error(Errc::kIo, "database {}: {}", path_, std::strerror(errno));
  return {};
}

Result<void> SqliteStore::connect() {
  const bool memory = path_ == ":memory:";
  if (Result<void> made = memory ? Result<void>{} : make_file(); !made) return made;
  // Two connections of a memory database meet through its shared cache.
  const std::string target = memory ? "file:" + base::random_hex(8) + "?mode=memory&cache=shared" : path_;
  Connection& writer = writer_->connection;
  if (Result<void> opened = writer.open(target); !opened) return opened;
  add_functions(writer, nullptr);
  if (Result<void> set = writer.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"); !set) return set;
  if (Result<void> made = writer.exec(schema_ + ";" + std::string(own_schema())); !made) return made;
  if (Result<void> sound = check_structure(); !sound) return sound;
  auto tables = guarded_tables(writer, schema_);
  if (!tables) return std::move(tables).error();
  tables_ = std::move(*tables);
  if (Result<void> checked = check_rows(); !checked) return checked;
  if (Result<void> kept = keep_sums(writer, tables_); !kept) return kept;
  if (Result<void> opened = reader_.open(target); !opened) return opened;
  add_functions(reader_, &damaged_);
  return hide_damaged(reader_, tables_);
}

// Pages, b-trees, indexes: a checksum says nothing of a row that no look-up finds.
Result<void> SqliteStore::check_structure() {
  std::vector<Row> rows;
  if (Result<void> ran = writer_->connection.run({"PRAGMA integrity_check(1)", {}}, &rows); !ran) return ran;
  if (rows.size() == 1 && text(rows[0][0]) == "ok") return {};
  writer_->connection.call_corrupt();
  return base::error(Errc::kIo, "database {}: {}", path_, rows.empty() ? "no answer" : text(rows[0][0]));
}

Result<void> SqliteStore::check_rows() {
  Connection& writer = writer_->connection;
  if (Result<void> begun = writer.exec("BEGIN IMMEDIATE"); !begun) return begun;
  std::vector<RowName> lost;
  for (const GuardedTable& table : tables_) {
    auto found = scan(writer, table, true);
    if (!found) return std::move(found).error();
    for (RowName& row : *found) {
      for (const Statement& drop : drop_statements(table, row.key))
        if (Result<void> ran = writer.run(drop, nullptr); !ran) return ran;
      lost.push_back(std::move(row));
    }
  }
  std::vector<Row> id;
  if (Result<void> ran = writer.run({"SELECT value FROM main.ke_store WHERE key = 'id'", {}}, &id); !ran) return ran;
  const std::string stored = id.empty() ? std::string() : text(id[0][0]);
  if (!lost.empty() && on_damage_ == OnDamage::kRefuse) {
    std::string names;
    for (std::size_t i = 0; i < std::min(lost.size(), kMaxNamed); ++i) names += (i == 0 ? "" : ", ") + lost[i].table + " " + lost[i].key;
    static_cast<void>(writer.exec("ROLLBACK"));
    return base::error(Errc::kIo, "database {}: {} rows do not match their checksums, or are gone: {}", path_, lost.size(), names);
  }
  std::vector<Row> foreign;
  if (Result<void> ran = writer.run({"DELETE FROM main.ke_store WHERE key = ?1 RETURNING value", {std::string(kForeignWrites)}}, &foreign); !ran) return ran;
  if (!foreign.empty()) base::log(runtime_.log(), LogLevel::kInfo, "store", "database {}: another program wrote to it; its rows are taken over, and the cloud is asked for all", path_);
  std::string fresh = lost.empty() && foreign.empty() && usable_id(stored) ? stored : base::uuid4();
  if (fresh != stored)
    if (Result<void> set = writer.run(set_id(fresh), nullptr); !set) return set;
  if (Result<void> done = writer.exec("COMMIT"); !done) return done;
  id_ = std::move(fresh);
  lost_ = lost_ || !lost.empty() || !foreign.empty();
  name_lost(lost);
  return {};
}

Result<void> SqliteStore::rescue() {
  auto done = salvage(path_, schema_);
  if (!done) return std::move(done).error();
  lost_ = lost_ || !done->complete();
  base::log(runtime_.log(), LogLevel::kError, "store", "database {}: {} rows kept, {} lost{}; the damaged file is {}.damaged", path_, done->kept, done->lost.size(),
            done->more_lost ? ", and more in parts that cannot be read" : "", path_);
  name_lost(done->lost);
  return {};
}

void SqliteStore::name_lost(const std::vector<RowName>& rows) const {
  for (std::size_t i = 0; i < std::min(rows.size(), kMaxNamed); ++i)
    base::log(runtime_.log(), LogLevel::kError, "store", "row {} of table {} was damaged or is gone: dropped, the cloud is asked for it", rows[i].key, rows[i].table);
  if (rows.size() > kMaxNamed) base::log(runtime_.log(), LogLevel::kError, "store", "and {} rows more", rows.size() - kMaxNamed);
}

// What is stored still serves: pods and twins come from it. Nothing new can be acknowledged.
Result<void> SqliteStore::open_for_reading(const Error& why) {
  if (Result<void> read = read_what_is_there(); !read) {
    reader_.close();
    return why;
  }
  if (read_only_ != why.message)
    base::log(runtime_.log(), LogLevel::kError, "store", "{}: what is stored is read, nothing new is stored; next try in {} s", why.message,
              kReopenInterval.count() / 1000);
  read_only_ = why.message;
  next_try_ = runtime_.clock().steady() + kReopenInterval;
  return {};
}

Result<void> SqliteStore::read_what_is_there() {
  const Statement probe{"SELECT name FROM main.sqlite_schema WHERE name = 'ke_sum'", {}};
  std::vector<Row> sums;
  if (empty_or_absent(path_)) return base::error(Errc::kIo, "database {} is not there", path_);
  Result<void> read;
  for (const auto mode : {Connection::Mode::kReadOnly, Connection::Mode::kAlone, Connection::Mode::kImmutable}) {
    if (mode == Connection::Mode::kImmutable && !empty_or_absent(path_ + "-wal")) break;   // it would not see the log
    read = reader_.open(path_, mode);
    if (read) read = reader_.run(probe, &sums);
    if (read) break;
  }
  if (!read) return read;
  auto tables = guarded_tables(reader_, schema_);
  if (!tables) return std::move(tables).error();
  tables_ = std::move(*tables);
  add_functions(reader_, &damaged_);
  std::vector<Row> id;
  if (!sums.empty()) {   // else it is a Go edge's file: nothing to compare with
    if (Result<void> hidden = hide_damaged(reader_, tables_); !hidden) return hidden;
    if (Result<void> ran = reader_.run({"SELECT value FROM main.ke_store WHERE key = 'id'", {}}, &id); !ran) return ran;
  }
  if (!id.empty() && usable_id(text(id[0][0]))) id_ = text(id[0][0]);
  if (id_.empty()) id_ = base::uuid4();
  return {};
}

void SqliteStore::close() {
  writer_->connection.close();
  reader_.close();
}

// The file proved malformed under way.
void SqliteStore::heal() {
  writer_->wait_idle();
  close();
  const std::string before = id_;
  if (Result<void> opened = open(); !opened) {
    base::log(runtime_.log(), LogLevel::kError, "store", "{}", opened.error().message);
    read_only_ = opened.error().message;
    next_try_ = runtime_.clock().steady() + kReopenInterval;
  }
  announce(before);
}

bool SqliteStore::writable() {
  if (read_only_.empty()) return true;
  if (runtime_.clock().steady() < next_try_) return false;
  writer_->wait_idle();
  const std::string before = id_;
  read_only_.clear();
  close();
  if (Result<void> opened = open(); !opened) {
    read_only_ = opened.error().message;
    next_try_ = runtime_.clock().steady() + kReopenInterval;
  }
  if (read_only_.empty()) base::log(runtime_.log(), LogLevel::kInfo, "store", "database {} can be written again", path_);
  announce(before);
  return read_only_.empty();
}

void SqliteStore::announce(const std::string& before) {
  if (id_ == before) return;
  asio::post(runtime_.executor(), [weak = std::weak_ptr(self_)] {
    if (const auto self = weak.lock(); self && (*self)->loss_handler_) (*self)->loss_handler_();
  });
}

void SqliteStore::write(std::vector<Statement> batch, unique_function<void(Result<void>)> done) {
  Batch item{std::move(batch), nullptr, {}};
  // The guard keeps the loop running until the outcome was told.
  item.done = [done = std::move(done), guard = asio::make_work_guard(runtime_.executor()), weak = std::weak_ptr(self_)](Result<void> result) mutable {
    const auto self = weak.lock();
    if (!result && self && (*self)->read_only_.empty() && (*self)->writer_->corrupt()) (*self)->heal();
    if (done) done(std::move(result));
  };
  std::optional<Error> refusal;
  if (!writable()) refusal = base::error(Errc::kIo, "the store takes no writes: {}", read_only_);
  else if (!writer_->push(item)) refusal = base::error(Errc::kLimitExceeded, "the store has {} writes queued", kMaxQueuedWrites);
  if (!refusal) return runtime_.store_thread().notify(writer_);
  asio::post(runtime_.executor(), [done = std::move(item.done), error = std::move(*refusal)]() mutable { done(std::move(error)); });
}

Result<std::vector<Row>> SqliteStore::query(const Statement& statement) {
  std::vector<Row> rows;
  Result<void> ran = reader_.run(statement, &rows);
  if (!ran && reader_.corrupt() && read_only_.empty() && path_ != ":memory:") {
    heal();
    rows.clear();
    ran = reader_.run(statement, &rows);
  }
  if (!damaged_.empty()) drop_damaged();
  if (!ran) return std::move(ran).error();
  return rows;
}

void SqliteStore::drop_damaged() {
  std::vector<RowName> fresh;
  for (const RowName& row : std::exchange(damaged_, {}))
    if (dropping_.insert(row).second) fresh.push_back(row);
  if (fresh.empty()) return;
  name_lost(fresh);
  std::vector<Statement> batch;
  for (const RowName& row : fresh)
    for (const GuardedTable& table : tables_)
      if (table.name == row.table)
        for (Statement& drop : drop_statements(table, row.key)) batch.push_back(std::move(drop));
  change_id(std::move(batch), std::move(fresh));
}

void SqliteStore::change_id(std::vector<Statement> batch, std::vector<RowName> dropped) {
  const std::string id = base::uuid4();
  batch.push_back(set_id(id));
  write(std::move(batch), [weak = std::weak_ptr(self_), dropped = std::move(dropped), id](Result<void> result) {
    const auto self = weak.lock();
    if (!self) return;
    if (!result) return base::log((*self)->runtime_.log(), LogLevel::kError, "store", "{}", result.error().message);   // it stays out of sight
    for (const RowName& row : dropped) (*self)->dropping_.erase(row);
    const std::string before = std::exchange((*self)->id_, id);
    (*self)->announce(before);
  });
}

void SqliteStore::check_next() {
  if (tables_.empty() || !read_only_.empty()) return;
  const GuardedTable& table = tables_[next_table_++ % tables_.size()];
  auto lost = scan(reader_, table, false);
  if (!lost && reader_.corrupt()) return heal();
  if (lost) damaged_.insert(lost->begin(), lost->end());
  std::vector<Row> foreign;
  const Statement marked{"SELECT 1 FROM main.ke_store WHERE key = ?1", {std::string(kForeignWrites)}};
  if (reader_.run(marked, &foreign) && !foreign.empty()) take_over_foreign();
  if (!damaged_.empty()) drop_damaged();
}

// What another program deleted has left no checksum to miss it by.
void SqliteStore::take_over_foreign() {
  base::log(runtime_.log(), LogLevel::kInfo, "store", "database {}: another program wrote to it; the cloud is asked for all", path_);
  change_id({{"DELETE FROM main.ke_store WHERE key = ?1", {std::string(kForeignWrites)}}}, {});
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const Runtime& runtime, const std::string& path, std::string_view schema, OnDamage on_damage) {
  auto store = std::make_unique<SqliteStore>(runtime, path, schema, on_damage);
  if (Result<void> opened = store->open(); !opened) return std::move(opened).error();
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
