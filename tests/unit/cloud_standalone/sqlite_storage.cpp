#include "cloud/standalone/sqlite_storage.h"

#include <unistd.h>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "base/text.h"

using namespace kubeedge;
using cloud::SqliteStorage;
using kube::StorageEvent;
using kube::StorageKey;
using kube::StoredObject;

namespace {

struct TempFile {
  std::string path = "/tmp/ke-storage-" + base::random_hex(6) + ".db";
  ~TempFile() {
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path + suffix).c_str());
  }
};

Bytes object(std::uint64_t revision) { return Bytes(R"({"metadata":{"resourceVersion":")" + std::to_string(revision) + R"("}})"); }

}  // namespace

TEST_CASE("storage: compare and set, one key's writes in turn, events after commit, revisions survive a restart") {
  TempFile file;
  std::uint64_t last = 0;
  {
    asio::io_context loop;
    auto storage = SqliteStorage::open(Runtime{loop.get_executor()}, file.path);
    REQUIRE(storage);
    const StorageKey key{"core/pods", "default", "web"};
    std::vector<std::string> seen;
    bool too_old = true;
    auto watch = (*storage)->subscribe("core/pods", (*storage)->revision(), [&](const StorageEvent& event) {
      CHECK(((*storage)->get(event.object.key).has_value() || event.type == StorageEvent::Type::kDeleted));
      seen.push_back("event " + std::to_string(event.object.revision));
    }, too_old);
    CHECK_FALSE(too_old);
    const std::uint64_t start = (*storage)->revision();
    (*storage)->put(key, 0, object, [&](Result<StoredObject> put) {
      REQUIRE(put);
      CHECK(put->revision == start + 1);
      seen.push_back("done");
    });
    CHECK_FALSE((*storage)->get(key));  // not before the commit
    (*storage)->put(key, 0, object, [&](Result<StoredObject> put) { CHECK(put.error().code == Errc::kAlreadyExists); });
    (*storage)->put(key, start + 1, object, [&](Result<StoredObject> put) { CHECK(put.ok()); });
    (*storage)->put(key, start + 1, object, [&](Result<StoredObject> put) { CHECK(put.error().code == Errc::kConflict); });
    (*storage)->put({"core/pods", "other", "x"}, 9, object, [&](Result<StoredObject> put) { CHECK(put.error().code == Errc::kNotFound); });
    loop.run();
    REQUIRE(seen.size() == 3);
    CHECK(seen[0] == "event " + std::to_string(start + 1));
    CHECK(seen[1] == "done");
    loop.restart();
    (*storage)->remove(key, 0, object, [&](Result<StoredObject> gone) { last = gone->revision; });
    (*storage)->put({"core/pods", "default", "b"}, 0, object, [&](Result<StoredObject> put) { last = put->revision; });
    loop.run();
    CHECK(seen.size() == 5);
    CHECK((*storage)->list("core/pods", "default").size() == 1);

    // Replay from the middle, then live.
    std::vector<StorageEvent::Type> replayed;
    auto late = (*storage)->subscribe("core/pods", start + 1, [&](const StorageEvent& event) { replayed.push_back(event.type); }, too_old);
    CHECK(replayed.empty());
    loop.restart();
    loop.run();
    CHECK(replayed == std::vector{StorageEvent::Type::kModified, StorageEvent::Type::kDeleted, StorageEvent::Type::kAdded});
  }
  asio::io_context loop;
  auto again = SqliteStorage::open(Runtime{loop.get_executor()}, file.path);
  REQUIRE(again);
  CHECK((*again)->revision() == last);
  CHECK((*again)->list("core/pods", "").size() == 1);
  bool too_old = false;
  CHECK((*again)->subscribe("core/pods", last - 1, [](const StorageEvent&) {}, too_old) == nullptr);
  CHECK(too_old);
  CHECK((*again)->subscribe("core/pods", last, [](const StorageEvent&) {}, too_old) != nullptr);
}
