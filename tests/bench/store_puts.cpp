// Durable puts a second: the Store (group commit, WAL, FULL) with many writers waiting, and SQLite alone, a commit a put.
//   bench-store FOLDER      prints "group N" and "autocommit N", puts a second
#include <chrono>
#include <cstdio>
#include <string>

#include <asio/io_context.hpp>
#include <sqlite3.h>

#include "store/store.h"

namespace {

constexpr int kPuts = 40'000;          // long enough that the first pages do not count
constexpr int kAutocommits = 8'000;
constexpr int kWaiting = 512;          // puts in flight: what a burst of devices or a connect-time resend keeps waiting
constexpr const char* kSchema = "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, type TEXT, value TEXT)";
constexpr const char* kPut = "INSERT OR REPLACE INTO meta(key, type, value) VALUES(?1, ?2, ?3)";

std::string key(int i) { return "default/configmap/settings-" + std::to_string(i % 1000); }
const std::string& value() {
  static const std::string text(300, 'v');
  return text;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int group(const std::string& path) {
  asio::io_context loop{1};
  const kubeedge::Runtime runtime{loop.get_executor()};
  auto store = kubeedge::store::Store::open(runtime, path, kSchema);
  if (!store) {
    std::fprintf(stderr, "bench-store: %s\n", store.error().message.c_str());
    return 1;
  }
  int started = 0, done = 0, failed = 0;
  kubeedge::unique_function<void()> put;
  put = [&] {
    if (started == kPuts) return;
    const int i = started++;
    (*store)->write({{kPut, {key(i), std::string("configmap"), value()}}}, [&](kubeedge::Result<void> result) {
      failed += !result;
      ++done;
      put();
    });
  };
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kWaiting; ++i) put();
  while (done < kPuts) loop.run_one();
  const double took = seconds_since(start);
  std::printf("group %.0f\ncommits %llu\n", kPuts / took, static_cast<unsigned long long>((*store)->counters().commits));
  return failed == 0 ? 0 : 1;
}

int autocommit(const std::string& path) {
  sqlite3* db = nullptr;
  sqlite3_stmt* put = nullptr;
  if (sqlite3_open(path.c_str(), &db) != SQLITE_OK || sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", nullptr, nullptr, nullptr) != SQLITE_OK ||
      sqlite3_exec(db, kSchema, nullptr, nullptr, nullptr) != SQLITE_OK || sqlite3_prepare_v2(db, kPut, -1, &put, nullptr) != SQLITE_OK) {
    std::fprintf(stderr, "bench-store: %s: %s\n", path.c_str(), sqlite3_errmsg(db));
    return 1;
  }
  const auto start = std::chrono::steady_clock::now();
  int failed = 0;
  for (int i = 0; i < kAutocommits; ++i) {
    const std::string name = key(i);
    sqlite3_bind_text(put, 1, name.data(), static_cast<int>(name.size()), SQLITE_STATIC);
    sqlite3_bind_text(put, 2, "configmap", -1, SQLITE_STATIC);
    sqlite3_bind_text(put, 3, value().data(), static_cast<int>(value().size()), SQLITE_STATIC);
    failed += sqlite3_step(put) != SQLITE_DONE;
    sqlite3_reset(put);
  }
  std::printf("autocommit %.0f\n", kAutocommits / seconds_since(start));
  sqlite3_finalize(put);
  sqlite3_close(db);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench-store FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  return group(folder + "/group.db") + autocommit(folder + "/autocommit.db");
}
