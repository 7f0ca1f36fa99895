// One SQLite connection with its prepared statements. sqlite3.h is seen by the sources of this folder only.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "store/store.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kubeedge::store {

// Used by one thread at a time.
class Connection {
 public:
  // kAlone reads a file and its log without the shared index: a full disk has no room for one. No other connection may
  // have it open. kImmutable reads a file that nobody can change: a read-only disk where SQLite cannot make its side files.
  enum class Mode : std::uint8_t { kReadWrite, kReadOnly, kAlone, kImmutable };

  Connection() = default;
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Result<void> open(const std::string& path, Mode mode = Mode::kReadWrite);
  void close();
  Result<void> exec(const std::string& sql);
  // Rows so far are in `rows` even when it fails half way: a salvage lives on them.
  Result<void> run(const Statement& statement, std::vector<Row>* rows);
  bool in_transaction() const;
  // SQLite has called the file malformed, or no database, since open().
  bool corrupt() const { return corrupt_; }
  void call_corrupt() { corrupt_ = true; }
  sqlite3* handle() const { return db_; }

 private:
  Error failure(std::string_view what);

  std::string path_;
  sqlite3* db_ = nullptr;
  bool corrupt_ = false;
  std::unordered_map<std::string, sqlite3_stmt*> cache_;
};

}  // namespace kubeedge::store
