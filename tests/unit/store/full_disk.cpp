// The disk runs full at any write: what was acknowledged is there, what was refused is not, and it goes on with the next space.
#include "store_lives.h"

using namespace kubeedge;
using namespace kubeedge::tests;

namespace {

constexpr std::uint64_t kLastWrite = 100;   // each write up to this one meets the full disk once
constexpr std::uint64_t kStarts = 45;
constexpr int kGroups = 4;

// What the disk said, and which file.
void check_error(const std::string& error, const TempFile& file) {
  const bool named = error.find("full") != std::string::npos || error.find("rolled back by an earlier failure") != std::string::npos ||
                     error.find("disk I/O error") != std::string::npos;
  CHECK_MESSAGE(named, error);
  if (error.find("rolled back") == std::string::npos) CHECK_MESSAGE(error.find(file.path) != std::string::npos, error);
}

}  // namespace

TEST_CASE("the disk runs full at any write: nothing acknowledged is lost, the error says it, writes go on when there is space") {
  std::uint64_t refused = 0;
  for (std::uint64_t at = 1; at <= kLastWrite; ++at) {
    CAPTURE(at);
    std::mt19937_64 random(at);
    FaultDisk disk(at);
    const TempFile file;
    Content content;
    std::string id;
    {
      StoreLife store(file.path, store::OnDamage::kDrop);
      REQUIRE_MESSAGE(store.opened(), store.error());
      id = store.store().id();
      content = store.write_group({}, random).acknowledged;
      disk.full_at(at, at % 3 == 0);
      for (int i = 0; i < kGroups; ++i) {
        const Outcome outcome = store.write_group(content, random);
        content = outcome.acknowledged;
        if (!outcome.error.empty()) {
          check_error(outcome.error, file);
          CHECK_FALSE(store.store().failure().empty());
        }
        CHECK(store.content() == content);
      }
      disk.free_space();
      for (int i = 0; i < kGroups; ++i) {
        const Outcome outcome = store.write_group(content, random);
        CHECK_MESSAGE(outcome.error.empty(), outcome.error);
        content = outcome.acknowledged;
      }
      CHECK(store.content() == content);
      CHECK(store.store().id() == id);
      if (at % 2 == 0) disk.cut_at(1);   // the way out: closed well, or by a power cut
    }
    refused += disk.refused();
    disk.power_on(Unsynced::kTorn512, random);
    StoreLife again(file.path, store::OnDamage::kRefuse);
    REQUIRE_MESSAGE(again.opened(), again.error());
    CHECK(again.content() == content);
    CHECK(again.store().id() == id);
  }
  MESSAGE(kLastWrite << " runs, " << refused << " writes refused by the disk");
  CHECK(refused > kLastWrite);
}

TEST_CASE("a start on a full disk, after a power cut too: what is stored is served; with space it is written again") {
  int read_only = 0;
  for (std::uint64_t seed = 1; seed <= kStarts; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    FaultDisk disk(seed);
    const TempFile file;
    Content content, in_flight;
    {
      StoreLife store(file.path, store::OnDamage::kDrop);
      REQUIRE(store.opened());
      content = in_flight = store.write_group({}, random).acknowledged;
      if (seed % 2 == 0) {
        disk.cut_at(1 + random() % 100);
        while (!disk.off()) {
          const Outcome outcome = store.write_group(content, random);
          content = outcome.acknowledged;
          in_flight = outcome.whole_group;
        }
      }
    }
    disk.power_on(Unsynced::kSome, random);
    disk.full_at(1, seed % 3 == 0);
    StoreLife store(file.path, store::OnDamage::kDrop);
    REQUIRE_MESSAGE(store.opened(), store.error());
    const Content found = store.content();
    CHECK((found == content || found == in_flight));
    Outcome refused = store.write_group(found, random);
    CHECK(store.content() == refused.acknowledged);
    read_only += store.store().failure().empty() ? 0 : 1;
    disk.free_space();
    store.clock.now += store::Store::kReopenInterval;
    const Outcome outcome = store.write_group(refused.acknowledged, random);
    CHECK_MESSAGE(outcome.error.empty(), outcome.error);
    CHECK(store.content() == outcome.acknowledged);
    CHECK_FALSE(store.store().lost_rows());
  }
  MESSAGE(read_only << " of " << kStarts << " starts found no space");
  CHECK(read_only > 0);
}
