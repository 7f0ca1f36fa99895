#include "store/connection.h"

#include <sqlite3.h>

#include "base/text.h"

namespace kubeedge::store {
namespace {

constexpr int kBusyTimeoutMs = 5000;   // a second process (keadm debug, sqlite3) may hold a lock for a moment

static_assert(SQLITE_VERSION_NUMBER >= 3'035'000, "older ones switch TEMP triggers off together with the others");

void bind(sqlite3_stmt* prepared, const std::vector<Value>& params) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    const int at = static_cast<int>(i) + 1;
    if (const auto* number = std::get_if<std::int64_t>(&params[i])) {
      sqlite3_bind_int64(prepared, at, *number);
    } else if (const auto* text = std::get_if<std::string>(&params[i])) {
      sqlite3_bind_text64(prepared, at, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    }
  }
}

Row row(sqlite3_stmt* prepared) {
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

// As a file: URI, whose special characters a path may hold.
std::string immutable_uri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) uri += c == '%' || c == '?' || c == '#' ? base::percent_encode(std::string(1, c)) : std::string(1, c);
  return uri + "?immutable=1";
}

}  // namespace

Result<void> Connection::open(const std::string& path, Mode mode) {
  close();
  path_ = path;
  corrupt_ = false;
  const int access = mode == Mode::kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                     : mode == Mode::kAlone   ? SQLITE_OPEN_READWRITE   // its lock needs it
                                              : SQLITE_OPEN_READONLY;
  const std::string target = mode == Mode::kImmutable ? immutable_uri(path) : path;
  if (sqlite3_open_v2(target.c_str(), &db_, access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, nullptr) != SQLITE_OK) return failure("open");
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);   // those in the file are for other programs; TEMP ones work
  if (mode == Mode::kAlone)
    if (Result<void> set = exec("PRAGMA locking_mode=EXCLUSIVE"); !set) return set;
  return exec("PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY");
}

void Connection::close() {
  for (auto& [sql, statement] : cache_) sqlite3_finalize(statement);
  cache_.clear();
  sqlite3_close(db_);
  db_ = nullptr;
}

Result<void> Connection::exec(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return failure(sql);
  return {};
}

Result<void> Connection::run(const Statement& statement, std::vector<Row>* rows) {
  sqlite3_stmt*& prepared = cache_[statement.sql];
  if (prepared == nullptr && sqlite3_prepare_v3(db_, statement.sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) != SQLITE_OK) {
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

bool Connection::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

Error Connection::failure(std::string_view what) {
  const int code = sqlite3_extended_errcode(db_);
  corrupt_ = corrupt_ || (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
  const char* text = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
  return base::error(Errc::kIo, "database {}: {} ({}) in: {}", path_, text, code, what.substr(0, 80));
}

}  // namespace kubeedge::store
