// The power goes in the middle of any write; what was acknowledged is there at the next start, and nothing by half.
#include <cstdlib>

#include "store_lives.h"

using namespace kubeedge;
using namespace kubeedge::tests;

namespace {

constexpr std::uint64_t kFirstSeed = 1;
constexpr std::uint64_t kWorlds = 25;   // files; KUBEEDGE_ROUNDS=n multiplies them
constexpr int kLives = 12;              // of one file: what a cut leaves meets the next cut
constexpr std::uint64_t kLongestLife = 300;   // changes of the disk until the cut
constexpr std::uint64_t kOpening = 60;        // about as many as it takes to open a file

struct Tally {
  int cuts = 0, cuts_at_open = 0, in_flight = 0, in_flight_kept = 0, groups = 0;
};

class World {
 public:
  World(std::uint64_t seed, Tally& tally)
      : random_(seed), tally_(tally), on_damage_(seed % 2 == 0 ? store::OnDamage::kDrop : store::OnDamage::kRefuse), disk_(seed) {}

  void live() {
    const std::uint64_t at = 1 + random_() % (random_() % 3 == 0 ? kOpening : kLongestLife);
    disk_.cut_at(at, random_() % 2 == 0);
    {
      StoreLife store(file_.path, on_damage_);
      if (store.opened() && store.store().failure().empty()) run(store);
      else if (disk_.off()) ++tally_.cuts_at_open;
      else FAIL_CHECK("not open, and the power is on: " << store.error());
    }
    tally_.cuts += disk_.off();
    constexpr Unsynced kAll[] = {Unsynced::kLost, Unsynced::kKept, Unsynced::kSome, Unsynced::kTorn512, Unsynced::kTorn4096};
    disk_.power_on(kAll[random_() % std::size(kAll)], random_);
  }

 private:
  void run(StoreLife& store) {
    const Content found = store.content();
    if (disk_.off()) return;
    CHECK((found == acknowledged_ || found == in_flight_));
    if (found != acknowledged_) ++tally_.in_flight_kept;
    if (id_.empty()) id_ = store.store().id();
    CHECK(store.store().id() == id_);   // no row was damaged or missed
    CHECK_FALSE(store.store().lost_rows());
    acknowledged_ = in_flight_ = found;
    const int groups = static_cast<int>(random_() % 30);
    for (int i = 0; i < groups && !disk_.off(); ++i) {
      Outcome outcome = store.write_group(acknowledged_, random_);
      ++tally_.groups;
      acknowledged_ = std::move(outcome.acknowledged);
      in_flight_ = std::move(outcome.whole_group);
      if (disk_.off()) tally_.in_flight += outcome.told_bad;
      else CHECK_MESSAGE(outcome.error.empty(), outcome.error);
    }
  }

  std::mt19937_64 random_;
  Tally& tally_;
  store::OnDamage on_damage_;
  FaultDisk disk_;
  TempFile file_;
  Content acknowledged_, in_flight_;
  std::string id_;
};

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void run_world(std::uint64_t seed, Tally& tally) {
  CAPTURE(seed);   // KUBEEDGE_SEED=<it> runs this one alone
  World world(seed, tally);
  for (int life = 0; life < kLives; ++life) {
    CAPTURE(life);
    world.live();
  }
}

}  // namespace

TEST_CASE("a power cut at any write: everything acknowledged is there, a group whole or not at all, checksums match") {
  Tally tally;
  const std::uint64_t only = number("KUBEEDGE_SEED", 0), worlds = kWorlds * number("KUBEEDGE_ROUNDS", 1);
  if (only != 0) run_world(only, tally);
  else for (std::uint64_t seed = kFirstSeed; seed < kFirstSeed + worlds; ++seed) run_world(seed, tally);
  MESSAGE("seeds " << kFirstSeed << ".." << kFirstSeed + worlds - 1 << ": " << tally.cuts << " power cuts (" << tally.cuts_at_open << " while opening), "
                   << tally.groups << " commits, " << tally.in_flight << " writes in flight, " << tally.in_flight_kept << " commits kept though not yet told");
  if (only == 0) {
    CHECK(tally.cuts > 250);
    CHECK(tally.in_flight > 0);
    CHECK(tally.in_flight_kept > 0);
  }
}
