#include "store_lives.h"

#include <unistd.h>

#include "base/text.h"

namespace kubeedge::tests {
namespace {

// Small enough that a few groups reach a checkpoint: that is when the file itself is written.
constexpr const char* kSchema =
    "PRAGMA wal_autocheckpoint=12;"
    "CREATE TABLE IF NOT EXISTS meta(key text, type text, value text, PRIMARY KEY(key));"
    "CREATE TABLE IF NOT EXISTS twin(id integer PRIMARY KEY AUTOINCREMENT, deviceid text, name text, actual text);"
    "CREATE TABLE IF NOT EXISTS dirty(deviceid text NOT NULL, name text NOT NULL, value text, PRIMARY KEY(deviceid, name)) WITHOUT ROWID;";
constexpr std::size_t kKeys = 30;

// Holds the StoreThread until all of a group is queued.
struct Gate final : StoreWork {
  std::mutex mutex;
  std::condition_variable changed;
  bool reached = false, open = false;
  void run_pending() override {
    std::unique_lock lock(mutex);
    reached = true;
    changed.notify_all();
    changed.wait(lock, [this] { return open; });
  }
  // Until then the thread may still look for more of the group before.
  void wait_reached() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return reached; });
  }
  void let_go() {
    const std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
};

std::size_t below(std::mt19937_64& random, std::size_t n) { return static_cast<std::size_t>(random() % n); }

struct Planned {
  std::vector<store::Statement> statements;
  Content after;         // of a content before, were it committed
  bool refused = false;  // it breaks a constraint by intent
};

// A put or delete of a row in two tables: half of a batch would be seen.
Planned plan(Content content, std::mt19937_64& random) {
  Planned out;
  for (std::size_t left = 1 + below(random, 3); left > 0; --left) {
    const std::string n = std::to_string(below(random, kKeys));
    const std::string key = "default/configmap/c" + n;
    if (below(random, 4) == 0) {
      out.statements.push_back({"DELETE FROM meta WHERE key = ?1", {key}});
      out.statements.push_back({"DELETE FROM dirty WHERE deviceid = 'default/d' AND name = ?1", {n}});
      content.erase("m/" + key);
      content.erase("d/" + n);
      continue;
    }
    const std::size_t size = below(random, 20) == 0 ? 9000 : below(random, 200);
    const std::string value = std::to_string(random()) + std::string(size, static_cast<char>('a' + below(random, 26)));
    out.statements.push_back({"INSERT OR REPLACE INTO meta VALUES(?1, 'configmap', ?2)", {key, value}});
    out.statements.push_back({"INSERT OR REPLACE INTO dirty VALUES('default/d', ?1, ?2)", {n, value}});
    out.statements.push_back({"DELETE FROM twin WHERE name = ?1", {n}});
    out.statements.push_back({"INSERT INTO twin(deviceid, name, actual) VALUES('default/d', ?1, ?2)", {n, value}});
    content["m/" + key] = content["d/" + n] = content["t/" + n] = value;
  }
  if (below(random, 8) == 0) {
    out.statements.push_back({"INSERT INTO dirty VALUES(NULL, 'x', '')", {}});
    out.refused = true;
  }
  out.after = std::move(content);
  return out;
}

}  // namespace

TempFile::TempFile() : path("/tmp/ke-lives-" + base::random_hex(6) + ".db") {}
TempFile::~TempFile() {
  for (const char* suffix : {"", "-wal", "-shm", "-journal", ".damaged", ".damaged-wal", ".new"}) ::unlink((path + suffix).c_str());
}

StoreLife::StoreLife(const std::string& path, store::OnDamage on_damage) : opened_(store::Store::open(runtime_, path, kSchema, on_damage)) {}

void StoreLife::settle() {
  loop_.restart();
  loop_.run();
}

Content StoreLife::content() {
  Content out;
  const auto read = [&](const char* sql, const char* prefix) {
    auto rows = store().query({sql, {}});
    REQUIRE_MESSAGE(rows, rows.error().message);
    for (const store::Row& row : *rows) out[prefix + store::text(row[0])] = store::text(row[1]);
  };
  read("SELECT key, value FROM meta", "m/");
  read("SELECT name, value FROM dirty", "d/");
  read("SELECT name, actual FROM twin", "t/");
  return out;
}

Outcome StoreLife::write_group(const Content& before, std::mt19937_64& random) {
  Outcome out;
  out.acknowledged = out.whole_group = before;
  struct Told { Content after; bool refused; bool good; std::string error; };
  std::vector<Told> told;
  const auto gate = std::make_shared<Gate>();
  runtime_.store_thread().notify(gate);
  gate->wait_reached();
  for (std::size_t left = 1 + below(random, 4); left > 0; --left) {
    Planned planned = plan(out.whole_group, random);
    if (!planned.refused) out.whole_group = planned.after;
    const std::size_t at = told.size();
    told.push_back({std::move(planned.after), planned.refused, false, {}});
    store().write(std::move(planned.statements), [&told, at](Result<void> result) {
      told[at].good = result.ok();
      if (!result) told[at].error = result.error().message;
    });
  }
  gate->let_go();
  settle();
  for (const Told& one : told) {
    CHECK_FALSE((one.good && one.refused));
    ++(one.good ? out.told_good : out.told_bad);
    if (one.good) out.acknowledged = one.after;
    else if (!one.refused) out.error = one.error;
  }
  return out;
}

}  // namespace kubeedge::tests
