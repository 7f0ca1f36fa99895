#include <doctest/doctest.h>

#include <set>

#include "cloud/hub/revocations.h"

using kubeedge::cloud::RevocationTable;

TEST_CASE("of several times for a node the latest counts, and a ConfigMap that goes takes its lines along") {
  RevocationTable table;
  CHECK(table.set("a", {{"edge1", "2026-11-25T14:00:00Z"}, {"edge2", "2026-11-25T14:00:00Z"}}).bad.empty());
  CHECK(table.set("b", {{"edge1", "2026-11-25T14:00:05Z"}}).bad.empty());
  CHECK(*table.before("edge1") == *table.before("edge2") + 5);
  CHECK_FALSE(table.before("edge3").has_value());
  (void)table.set("b", {});
  CHECK(table.before("edge1") == table.before("edge2"));
  (void)table.set("a", {{"edge2", "2026-11-25T14:00:00Z"}});
  CHECK_FALSE(table.before("edge1").has_value());
}

TEST_CASE("a line that is no time is named and revokes nothing") {
  RevocationTable table;
  const auto bad = table.set("a", {{"edge1", "soon"}, {"edge2", ""}, {"edge3", "2026-11-25T14:00:00Z"}}).bad;
  CHECK(bad == std::vector<std::string>{"edge1", "edge2"});
  CHECK_FALSE(table.before("edge1").has_value());
  CHECK(table.before("edge3").has_value());
}

TEST_CASE("one node's line is one node's matter, however many stand in the ConfigMap") {
  RevocationTable table;
  std::map<std::string, std::string> data{{"edge1", "2026-11-25T14:00:00Z"}, {"edge2", "2026-11-25T14:00:00Z"}};
  CHECK(table.set("a", data).nodes == std::vector<std::string>{"edge1", "edge2"});
  CHECK(table.set("a", data).nodes.empty());
  data["edge2"] = "2026-11-25T14:00:01Z";
  data["edge3"] = "2026-11-25T14:00:00Z";
  CHECK(table.set("a", data).nodes == std::vector<std::string>{"edge2", "edge3"});
}

TEST_CASE("joins of ten thousand nodes spread over the ConfigMaps") {
  std::map<std::string, int> sizes;
  for (int i = 0; i < 10'000; ++i) ++sizes[RevocationTable::shard("edge-" + std::to_string(i))];
  CHECK(sizes.size() == kubeedge::cloud::kRevocationShards);
  for (const auto& [name, size] : sizes) CHECK(size < 400);
}
