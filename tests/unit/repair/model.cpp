// The edge's copy equals the cloud's, whatever happened to messages, connections, machines and files (docs/repair.md).
// Random operations and faults in virtual time, then quiet, then both sides are compared.
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/text.h"
#include "machines.h"

using namespace kubeedge;
using namespace kubeedge::model;
using cloud_test::json;

namespace {

constexpr std::uint64_t kFirstSeed = 1;
constexpr std::uint64_t kRuns = 100;              // KUBEEDGE_ROUNDS=n multiplies them, KUBEEDGE_SEED=s runs one
constexpr Milliseconds kHealed{90'000};           // after the last fault: a dead link found, a request timed out, a reconnect, a comparison
constexpr Milliseconds kDamageFound{120'000};     // and for rows that nobody reads: each table once

constexpr Milliseconds kStaysSo{25'000};

struct Difference {
  std::string what;
  explicit operator bool() const { return !what.empty(); }
};

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed), network_(loop_, seed + 1), api_(loop_.io) {
    api_.put("nodes", cloud_test::edge_node(kNode.str()));
    api_.put("leases", {{"metadata", {{"name", "edge-1"}, {"namespace", "kube-node-lease"}}}});
    network_.set_accept([this](const std::string& store_id, std::unique_ptr<net::WebSocket> socket) {
      if (cloud_) cloud_->accept(store_id, std::move(socket));
      return cloud_ != nullptr;
    });
    start_cloud();
    start_edge();
    if (random_() % 2 == 0) network_.set_faults(kWorseThanTcp);
  }
  ~World() {
    edge_.reset();
    cloud_.reset();
    loop_.run_until(loop_.now() + Milliseconds{1'000});
    remove_file();
  }

  void run_wild() {
    for (std::size_t left = 5 + random_() % 40; left > 0; --left) {
      operation();
      loop_.run_until(loop_.now() + Milliseconds{static_cast<std::int64_t>(random_() % (random_() % 8 == 0 ? 40'000 : 3'000))});
    }
  }

  // How long it took until both sides were equal, and stayed so.
  Difference heal(Milliseconds& took) {
    network_.set_faults({});
    network_.resume();
    if (!cloud_) start_cloud();
    if (!edge_) start_edge();
    const Milliseconds quiet = loop_.now();
    const Milliseconds longest = kHealed + (damaged_ ? kDamageFound : Milliseconds{0});
    Milliseconds equal_since = quiet;
    Difference found;
    for (Milliseconds at = quiet; at < quiet + longest; at += Milliseconds{5'000}) {
      loop_.run_until(at);
      found = compare();
      if (found) equal_since = at + Milliseconds{5'000};
      else if (at >= equal_since + kStaysSo) break;
    }
    took = equal_since - quiet;
    return found;
  }

 private:
  static constexpr Faults kWorseThanTcp{0.05, 0.1, 0.1};

  std::string name(const char* prefix, std::size_t count) { return prefix + std::to_string(random_() % count); }
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }

  void operation() {
    const auto what = random_() % 22;
    base::log(loop_.runtime.log(), LogLevel::kInfo, "model", "{:.3f} s, operation {}", static_cast<double>(loop_.now().count()) / 1000, what);
    switch (what) {
      case 0: case 1: case 2: case 3: return put_pod();
      case 4: case 5: return erase_pod();
      case 6: return end_pod();
      case 7: return erase_pod(), put_pod();
      case 8: case 9: return put_config();
      case 10: return api_.erase("configmaps", "default", name("c", 3));
      case 11: return replace_config();
      case 12: return label_node();
      case 13: case 14: return network_.reset();
      case 15: return network_.stall(chance(0.7), chance(0.7));
      case 16: case 17: return network_.resume();
      case 18: return restart_cloud();
      case 19: return restart_edge();
      case 20: return damage();
      default: return wipe();
    }
  }

  void put_pod() {
    const std::string which = name("p", 5);
    json pod = cloud_test::pod(which, chance(0.85) ? kNode.str() : "edge-2", chance(0.6) ? cloud_test::volume_of(name("c", 3)) : json::object());
    if (const json* old = api_.find("pods", "default", which)) {   // a pod's spec stays
      pod = *old;
      pod["metadata"]["labels"]["change"] = std::to_string(++changes_);
    }
    api_.put("pods", pod);
  }
  void erase_pod() { api_.erase("pods", "default", name("p", 5)); }
  void end_pod() {
    const json* old = api_.find("pods", "default", name("p", 5));
    if (old == nullptr || (*old)["metadata"].contains("deletionTimestamp")) return;
    json pod = *old;
    pod["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z";
    api_.put("pods", pod);
  }
  void put_config() {
    const std::string which = name("c", 3);
    json config = cloud_test::config_map(which, std::to_string(++changes_));
    if (const json* old = api_.find("configmaps", "default", which)) {
      json data = config["data"];
      config = *old;
      config["data"] = data;
    }
    api_.put("configmaps", config);
  }
  void replace_config() {
    const std::string which = name("c", 3);
    api_.erase("configmaps", "default", which);
    api_.put("configmaps", cloud_test::config_map(which, std::to_string(++changes_)));
  }
  void label_node() {
    json node = *api_.find("nodes", "", kNode.str());
    node["metadata"]["labels"]["change"] = std::to_string(++changes_);
    api_.put("nodes", node);
  }

  void start_cloud() { cloud_ = std::make_unique<CloudMachine>(loop_, api_); }
  void restart_cloud() {
    if (std::exchange(cloud_, nullptr) == nullptr) start_cloud();
    else if (chance(0.7)) start_cloud();
  }
  void start_edge() { edge_ = std::make_unique<EdgeMachine>(loop_, network_, file_, random_()); }
  void restart_edge() {
    if (std::exchange(edge_, nullptr) == nullptr) start_edge();
    else if (chance(0.7)) start_edge();
  }
  void wipe() {
    if (!chance(0.5)) return;
    edge_.reset();
    remove_file();
    start_edge();
  }
  void remove_file() {
    for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((file_ + suffix).c_str());
  }

  // By flash that forgets (no trigger sees it), or by a person with the sqlite3 program.
  void damage() {
    const std::string row = " WHERE key = 'default/" + (chance(0.7) ? "pod/" + name("p", 5) : "configmap/" + name("c", 3)) + "'";
    const std::string sql = chance(0.5) ? "DELETE FROM meta" + row : "UPDATE meta SET value = json_set(value, '$.spec.evil', 1)" + row;
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(file_.c_str(), &db) == SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, chance(0.5) ? 1 : 0, nullptr);
    CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(db);
    damaged_ = true;
    if (edge_) edge_->watch_closely();
  }

  // What the edge should do and hold by: all but versions and status.
  static json essence(json object) {
    for (const char* key : {"resourceVersion", "managedFields", "generation"}) object["metadata"].erase(key);
    object.erase("status");
    return object;
  }

  Difference compare() {
    if (!edge_ || !edge_->up()) return {"the edge is not connected"};
    auto rows = edge_->store().query({"SELECT key, value FROM meta WHERE type IN ('pod', 'configmap', 'node') ORDER BY key", {}});
    REQUIRE(rows);
    std::map<std::string, json> held;   // by uid
    for (const store::Row& row : *rows) {
      const std::string key = store::text(row[0]);
      const json object = json::parse(store::text(row[1]));
      const auto parts = base::split(key, '/');
      const json* there = api_.find(parts[1] + "s", parts[0] == "null" ? "" : parts[0], parts[2]);
      if (there == nullptr) return {key + " is only at the edge"};
      if (essence(*there) != essence(object)) return {key + " differs: " + object.dump() + " at the edge, " + there->dump()};
      if (parts[1] == "pod" && (*there)["spec"]["nodeName"] != kNode.str()) return {key + " is another node's"};
      held[object["metadata"]["uid"]] = *there;
    }
    for (const char* pod : {"p0", "p1", "p2", "p3", "p4"}) {
      const json* there = api_.find("pods", "default", pod);
      if (there == nullptr || (*there)["spec"]["nodeName"] != kNode.str()) continue;
      if (!held.contains((*there)["metadata"]["uid"])) return {std::string("pod ") + pod + " is not at the edge"};
      for (const auto& volume : (*there)["spec"].value("volumes", json::array())) {
        const json* config = api_.find("configmaps", "default", volume["configMap"]["name"]);
        if (config != nullptr && !held.contains((*config)["metadata"]["uid"])) return {"a configmap of pod " + std::string(pod) + " is not at the edge"};
      }
    }
    return compare_records(held);
  }

  Difference compare_records(const std::map<std::string, json>& held) const {
    std::size_t records = 0;
    for (const auto& [uid, object] : held) {
      const bool cluster = object["kind"] == "Node";
      const json* record = api_.find(cluster ? "clusterobjectsyncs" : "objectsyncs", cluster ? "" : "default", kNode.str() + "." + uid);
      if (record == nullptr) return {"no sync record of " + object["metadata"].value("name", "") + " " + uid};
      const std::string version = record->value("/status/objectResourceVersion"_json_pointer, "");
      if (version != object["metadata"]["resourceVersion"]) return {"record of " + object["metadata"].value("name", "") + " has " + version + ", not " + object["metadata"]["resourceVersion"].dump()};
      ++records;
    }
    const std::size_t all = api_.size("objectsyncs") + api_.size("clusterobjectsyncs");
    if (all != records) return {std::to_string(all) + " sync records of " + std::to_string(records) + " objects"};
    return {};
  }

  std::mt19937_64 random_;
  VirtualLoop loop_;
  SimNetwork network_;
  cloud_test::ScriptedApi api_;
  std::unique_ptr<CloudMachine> cloud_;
  std::string file_ = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + ("/ke-model-" + base::random_hex(6) + ".db");
  std::unique_ptr<EdgeMachine> edge_;
  bool damaged_ = false;
  int changes_ = 0;
};

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

Milliseconds run(std::uint64_t seed) {
  CAPTURE(seed);   // KUBEEDGE_SEED=<it> runs this one alone
  World world(seed);
  world.run_wild();
  Milliseconds took{0};
  const Difference left = world.heal(took);
  CHECK_MESSAGE(left.what.empty(), left.what);
  return took;
}

}  // namespace

// 168, 206, 246: rows that a person deleted while edgecore ran. 255: a dial under an older store id. 392, 399, 471, 652: rows that a
// person changed. 4, 36, 86, 115, 159, 185 and others below kRuns: no record of what was sent, records cleared, messages swapped.
TEST_CASE("seeds that once failed") {
  for (const std::uint64_t seed : {168U, 206U, 246U, 255U, 261U, 392U, 399U, 471U, 652U}) run(seed);
}

TEST_CASE("whatever was lost, doubled, late, cut, restarted, wiped or damaged: with quiet the edge's copy and the sync records equal the cloud") {
  const std::uint64_t only = number("KUBEEDGE_SEED", 0), runs = kRuns * number("KUBEEDGE_ROUNDS", 1);
  if (only != 0) return static_cast<void>(run(only));
  Milliseconds longest{0}, sum{0};
  for (std::uint64_t seed = kFirstSeed; seed < kFirstSeed + runs; ++seed) {
    const Milliseconds took = run(seed);
    longest = std::max(longest, took);
    sum += took;
  }
  MESSAGE("seeds " << kFirstSeed << ".." << kFirstSeed + runs - 1 << ": equal after " << sum.count() / static_cast<std::int64_t>(runs) / 1000 << " s on average, "
                   << longest.count() / 1000 << " s at most");
}
