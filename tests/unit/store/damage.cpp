// What the store does about damage: rows by checksum, files by salvage, disks that take nothing.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>
#include <sqlite3.h>

#include "base/text.h"
#include "store/store.h"

using namespace kubeedge;

namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS meta(key text, type text, value text, PRIMARY KEY(key));"
    "CREATE TABLE IF NOT EXISTS twin(id integer PRIMARY KEY AUTOINCREMENT, deviceid text, name text, actual text);"
    "CREATE TABLE IF NOT EXISTS dirty(deviceid text NOT NULL, name text NOT NULL, sides integer NOT NULL, PRIMARY KEY(deviceid, name)) WITHOUT ROWID;";
constexpr int kRows = 40;

struct Lines final : Logger {
  std::string text;
  bool enabled(LogLevel) const override { return true; }
  void write(LogLevel, std::string_view, std::string_view line) override { text += std::string(line) + "\n"; }
};

struct TempFile {
  std::string path = "/tmp/ke-damage-" + base::random_hex(6) + ".db";
  TempFile() = default;
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  ~TempFile() {
    for (const char* suffix : {"", "-wal", "-shm", ".damaged", ".damaged-wal", ".new"}) ::unlink((path + suffix).c_str());
  }
  std::string read() const {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }
  void write(const std::string& bytes) const { std::ofstream(path, std::ios::binary) << bytes; }
  // As flash that forgets.
  void damage(const std::string& sql) const { run(sql, false); }
  // As a Go edge, or a person with the sqlite3 program.
  void by_hand(const std::string& sql) const { run(sql, true); }
  void run(const std::string& sql, bool triggers) const {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, triggers ? 1 : 0, nullptr);
    CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(db);
  }
};

std::string value_of(int i) { return "{\"i\":" + std::to_string(i) + ",\"fill\":\"" + std::string(300, static_cast<char>('a' + i % 26)) + "\"}"; }

struct Open {
  explicit Open(const TempFile& file, store::OnDamage on_damage = store::OnDamage::kDrop)
      : opened(store::Store::open(Runtime{loop.get_executor(), log}, file.path, kSchema, on_damage)) {}
  store::Store& store() { return **opened; }
  bool put(std::vector<store::Statement> batch) {
    bool good = false;
    store().write(std::move(batch), [&](Result<void> result) { good = result.ok(); });
    settle();
    return good;
  }
  void settle() {
    loop.restart();
    loop.run();
  }
  std::vector<store::Row> rows(const std::string& sql) {
    auto found = store().query({sql, {}});
    return found ? *found : std::vector<store::Row>{};
  }

  Lines log;
  asio::io_context loop;
  Result<std::unique_ptr<store::Store>> opened;
};

std::string fill(const TempFile& file) {
  Open db(file);
  REQUIRE(db.opened);
  std::vector<store::Statement> batch;
  for (int i = 0; i < kRows; ++i) {
    batch.push_back({"INSERT INTO meta VALUES(?1, 'configmap', ?2)", {"default/configmap/c" + std::to_string(i), value_of(i)}});
    batch.push_back({"INSERT INTO twin(deviceid, name, actual) VALUES('default/dev', ?1, ?2)", {"p" + std::to_string(i), std::to_string(i)}});
    batch.push_back({"INSERT INTO dirty VALUES('default/dev', ?1, ?2)", {"p" + std::to_string(i), std::int64_t{i}}});
  }
  REQUIRE(db.put(std::move(batch)));
  return db.store().id();
}

// No altered value is served; returns how many rows are there.
int check_values(Open& db) {
  int rows = 0;
  for (const auto& row : db.rows("SELECT key, type, value FROM meta")) {
    const int i = std::stoi(store::text(row[0]).substr(std::string("default/configmap/c").size()));
    CHECK(store::text(row[1]) == "configmap");
    CHECK(store::text(row[2]) == value_of(i));
    ++rows;
  }
  for (const auto& row : db.rows("SELECT deviceid, name, actual FROM twin ORDER BY id")) {
    CHECK(store::text(row[0]) == "default/dev");
    CHECK("p" + store::text(row[2]) == store::text(row[1]));
    ++rows;
  }
  for (const auto& row : db.rows("SELECT deviceid, name, sides FROM dirty")) {
    CHECK("p" + store::text(row[2]) == store::text(row[1]));
    ++rows;
  }
  return rows;
}

}  // namespace

TEST_CASE("a row altered by hand is left out, named, dropped, and the store has a new id; the others stay") {
  const TempFile file;
  const std::string id = fill(file);
  file.damage("UPDATE meta SET value = '{\"i\":\"evil\"}' WHERE key = 'default/configmap/c7'");
  Open db(file);
  REQUIRE(db.opened);
  CHECK(db.store().lost_rows());
  CHECK(db.store().id() != id);
  CHECK(db.log.text.find("default/configmap/c7") != std::string::npos);
  CHECK(check_values(db) == 3 * kRows - 1);
}

TEST_CASE("a row deleted by hand is missed") {
  const TempFile file;
  const std::string id = fill(file);
  file.damage("DELETE FROM twin WHERE name = 'p3'");
  Open db(file);
  REQUIRE(db.opened);
  CHECK(db.store().id() != id);
  CHECK(db.log.text.find("default/dev/p3/4") != std::string::npos);
  CHECK(check_values(db) == 3 * kRows - 1);
}

TEST_CASE("rows that a Go edge wrote to a file of its own are taken over and get a checksum; the id stays") {
  const TempFile file;
  const std::string id = fill(file);
  file.damage("INSERT INTO meta VALUES('default/configmap/c90', 'configmap', '" + value_of(90) + "')");
  {
    Open db(file);
    REQUIRE(db.opened);
    CHECK(db.store().id() == id);
    CHECK(check_values(db) == 3 * kRows + 1);
  }
  file.damage("UPDATE meta SET type = 'secret' WHERE key = 'default/configmap/c90'");
  Open db(file);
  REQUIRE(db.opened);
  CHECK(check_values(db) == 3 * kRows);
}

TEST_CASE("a Go edge took the file over and gave it back: what it changed, added and deleted holds, and the cloud is asked again") {
  const TempFile file;
  const std::string id = fill(file);
  file.by_hand("UPDATE meta SET value = '" + value_of(7) + "' WHERE key = 'default/configmap/c7'");
  file.by_hand("UPDATE twin SET actual = '4' , name = 'p4' WHERE name = 'p5'");
  file.by_hand("INSERT OR REPLACE INTO meta VALUES('default/configmap/c8', 'configmap', '" + value_of(8) + "'), ('default/configmap/c91', 'configmap', '" + value_of(91) + "')");
  file.by_hand("DELETE FROM dirty WHERE name = 'p3'");
  std::string next;
  {
    Open db(file);
    REQUIRE(db.opened);
    next = db.store().id();
    CHECK(next != id);
    CHECK(db.store().lost_rows());
    CHECK(check_values(db) == 3 * kRows);
    CHECK(db.log.text.find("another program wrote") != std::string::npos);
    CHECK(db.rows("SELECT id FROM twin WHERE name = 'p4'").size() == 2);
  }
  Open db(file);   // said once
  REQUIRE(db.opened);
  CHECK(db.store().id() == next);
  CHECK(check_values(db) == 3 * kRows);
}

TEST_CASE("damage while the store is open: not served, dropped, told once; an update does not vouch for it") {
  const TempFile file;
  const std::string id = fill(file);
  Open db(file);
  REQUIRE(db.opened);
  int losses = 0;
  db.store().on_loss([&] { ++losses; });
  file.damage("UPDATE meta SET value = 'x' WHERE key = 'default/configmap/c5'");
  CHECK(db.put({{"UPDATE meta SET type = 'configmap' WHERE key = 'default/configmap/c5'", {}}}));
  CHECK(db.rows("SELECT value FROM meta WHERE key = 'default/configmap/c5'").empty());
  db.settle();
  CHECK(losses == 1);
  CHECK(db.store().id() != id);
  CHECK(check_values(db) == 3 * kRows - 1);
  file.damage("DELETE FROM meta WHERE key = 'default/configmap/c6'");
  for (int i = 0; i < 3; ++i) db.store().check_next();   // found without anybody reading it
  db.settle();
  CHECK(losses == 2);
}

TEST_CASE("what a person deletes while the store is open has no checksum to be missed by: the store counts as another all the same") {
  const TempFile file;
  const std::string id = fill(file);
  Open db(file);
  REQUIRE(db.opened);
  int losses = 0;
  db.store().on_loss([&] { ++losses; });
  file.by_hand("DELETE FROM meta WHERE key = 'default/configmap/c6'");
  db.store().check_next();
  db.settle();
  CHECK(losses == 1);
  CHECK(db.store().id() != id);
  for (int i = 0; i < 3; ++i) db.store().check_next();
  db.settle();
  CHECK(losses == 1);
}

TEST_CASE("the only copy is refused, and the error names the row") {
  const TempFile file;
  fill(file);
  file.damage("UPDATE meta SET value = 'x' WHERE key = 'default/configmap/c5'");
  Open db(file, store::OnDamage::kRefuse);
  REQUIRE_FALSE(db.opened);
  CHECK(db.opened.error().message.find("default/configmap/c5") != std::string::npos);
}

TEST_CASE("each page of a small file, flipped, zeroed and cut in turn") {
  const TempFile file;
  const std::string id = fill(file);
  const std::string whole = file.read();
  REQUIRE(whole.size() >= 8 * 4096);
  std::size_t full = 0, rounds = 0;
  for (std::size_t page = 0; page < whole.size(); page += 4096) {
    for (const std::size_t at : {0, 5, 8, 100, 1500, 2500, 4000, -1, -2}) {
      std::string bytes = whole;
      if (at == static_cast<std::size_t>(-1)) bytes.replace(page, 4096, std::string(4096, '\0'));
      else if (at == static_cast<std::size_t>(-2)) bytes.resize(page);
      else bytes[page + at] = static_cast<char>(bytes[page + at] ^ 0x55);
      for (const char* side : {"-wal", "-shm"}) ::unlink((file.path + side).c_str());
      file.write(bytes);
      CAPTURE(page);
      CAPTURE(at);
      Open db(file);
      REQUIRE(db.opened);
      const int rows = check_values(db);
      if (rows < 3 * kRows) CHECK(db.store().id() != id);
      full += rows == 3 * kRows;
      ++rounds;
      CHECK(db.put({{"INSERT OR REPLACE INTO meta VALUES('default/configmap/c1', 'configmap', ?1)", {value_of(1)}}}));
    }
  }
  MESSAGE(rounds << " rounds, " << full << " without a loss");
  CHECK(full > 0);
}

TEST_CASE("a file that cannot be written is read; writes fail, and go on once it can") {
  const TempFile file;
  fill(file);
  if (::geteuid() == 0) REQUIRE(::seteuid(65534) == 0);
  {
    Open db(file);   // another user's file: as on a read-only disk
    const bool opened = db.opened.ok();
    CHECK_FALSE(opened);
    if (!opened) CHECK(db.opened.error().message.find(file.path) != std::string::npos);
  }
  REQUIRE(::seteuid(::getuid()) == 0);
  REQUIRE(::chmod(file.path.c_str(), 0644) == 0);
  if (::geteuid() == 0) REQUIRE(::seteuid(65534) == 0);
  {
    Open db(file);
    REQUIRE(db.opened);
    CHECK(check_values(db) == 3 * kRows);
    CHECK_FALSE(db.put({{"DELETE FROM meta", {}}}));
    CHECK_FALSE(db.store().failure().empty());
    CHECK(check_values(db) == 3 * kRows);
  }
  REQUIRE(::seteuid(::getuid()) == 0);
}
