#include "store/store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "base/text.h"

using namespace kubeedge;

namespace {

struct TempFile {
  std::string path = "/tmp/ke-store-" + base::random_hex(6) + ".db";
  ~TempFile() {
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path + suffix).c_str());
  }
};

constexpr const char* kSchema = "CREATE TABLE IF NOT EXISTS t(k TEXT PRIMARY KEY, v TEXT)";

}  // namespace

TEST_CASE("a write is readable, and durable for the next open, once its callback came") {
  TempFile file;
  {
    asio::io_context loop;
    const Runtime runtime{loop.get_executor()};
    auto store = store::Store::open(runtime, file.path, kSchema);
    REQUIRE(store);
    bool told = false;
    (*store)->write({{"INSERT INTO t VALUES(?1, ?2)", {"a", "1"}}}, [&](Result<void> result) {
      CHECK(result.ok());
      told = true;
      auto rows = (*store)->query({"SELECT v FROM t WHERE k = ?1", {"a"}});
      REQUIRE(rows);
      REQUIRE(rows->size() == 1);
      CHECK(store::text((*rows)[0][0]) == "1");
    });
    loop.run();
    CHECK(told);
  }
  struct stat facts {};
  REQUIRE(::stat(file.path.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  asio::io_context loop;
  auto again = store::Store::open(Runtime{loop.get_executor()}, file.path, kSchema);
  REQUIRE(again);
  CHECK((*again)->query({"SELECT * FROM t", {}})->size() == 1);
}

TEST_CASE("a failing batch leaves no trace and does not take its neighbours along") {
  TempFile file;
  asio::io_context loop;
  auto store = store::Store::open(Runtime{loop.get_executor()}, file.path, kSchema);
  REQUIRE(store);
  int good = 0, bad = 0;
  const auto count = [&](Result<void> result) { ++(result ? good : bad); };
  (*store)->write({{"INSERT INTO t VALUES('a', '1')", {}}}, count);
  (*store)->write({{"INSERT INTO t VALUES('b', '1')", {}}, {"INSERT INTO t VALUES('a', '2')", {}}}, count);
  (*store)->write({{"INSERT INTO t VALUES('c', '1')", {}}}, count);
  (*store)->write({{"nonsense", {}}}, count);
  loop.run();
  CHECK(good == 2);
  CHECK(bad == 2);
  auto rows = (*store)->query({"SELECT k FROM t ORDER BY k", {}});
  REQUIRE(rows);
  REQUIRE(rows->size() == 2);
  CHECK(store::text((*rows)[1][0]) == "c");
}

TEST_CASE("many writes share commits, and their callbacks keep the order") {
  TempFile file;
  asio::io_context loop;
  auto store = store::Store::open(Runtime{loop.get_executor()}, file.path, kSchema);
  REQUIRE(store);
  constexpr int kWrites = 2000;
  int next = 0;
  for (int i = 0; i < kWrites; ++i)
    (*store)->write({{"INSERT INTO t VALUES(?1, 'x')", {std::to_string(i)}}}, [&next, i](Result<void> result) {
      CHECK(result.ok());
      CHECK(next++ == i);
    });
  loop.run();
  CHECK(next == kWrites);
  CHECK((*store)->counters().commits < kWrites);
}

TEST_CASE("a database that cannot be opened names its path") {
  asio::io_context loop;
  auto store = store::Store::open(Runtime{loop.get_executor()}, "/nonexistent/dir/x.db", kSchema);
  REQUIRE_FALSE(store);
  CHECK(store.error().message.find("/nonexistent/dir/x.db") != std::string::npos);
}

TEST_CASE("a file that is no database is refused where it is the only copy, and set aside at an edge") {
  TempFile file;
  FILE* out = std::fopen(file.path.c_str(), "w");
  REQUIRE(out != nullptr);
  for (int i = 0; i < 200; ++i) std::fputs("this is not a database\n", out);
  std::fclose(out);
  asio::io_context loop;
  auto refused = store::Store::open(Runtime{loop.get_executor()}, file.path, kSchema, store::OnDamage::kRefuse);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::kIo);
  auto store = store::Store::open(Runtime{loop.get_executor()}, file.path, kSchema);
  REQUIRE(store);
  CHECK(::unlink((file.path + ".damaged").c_str()) == 0);
}
