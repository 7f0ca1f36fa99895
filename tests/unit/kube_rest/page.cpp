#include "kube/rest/page.h"

#include <doctest/doctest.h>

#include "harness.h"

using namespace rest_test;
namespace rest = kubeedge::kube::rest;

namespace {

void maps(Harness& lab, int first, int last) {
  for (int i = first; i < last; ++i) lab.send("POST", kMaps, {{"metadata", {{"name", "m" + std::to_string(100 + i)}, {"labels", {{"odd", i % 2 ? "yes" : "no"}}}}}});
}

std::vector<std::string> names(const json& list) {
  std::vector<std::string> out;
  for (const json& item : list["items"]) out.push_back(item["metadata"]["name"]);
  return out;
}

}  // namespace

TEST_CASE("pages: all objects once, one revision, how many remain") {
  Harness lab;
  maps(lab, 0, 7);
  const std::string revision = std::to_string(lab.storage.revision());
  std::vector<std::string> seen;
  std::string more;
  std::vector<std::int64_t> remaining;
  do {
    const json page = lab.get(std::string(kMaps) + "?limit=3" + (more.empty() ? "" : "&continue=" + more))->parsed();
    CHECK(page["metadata"]["resourceVersion"] == revision);
    for (const std::string& name : names(page)) seen.push_back(name);
    more = page["metadata"].value("continue", "");
    remaining.push_back(page["metadata"].value("remainingItemCount", std::int64_t{0}));
    if (remaining.size() == 1) {
      // A deletion and a creation in between: what was seen is not seen again, and a watch from the pages' revision tells of both.
      lab.raw("DELETE", std::string(kMaps) + "/m103");
      maps(lab, 8, 9);
    }
  } while (!more.empty());
  CHECK(seen == std::vector<std::string>{"m100", "m101", "m102", "m104", "m105", "m106", "m108"});
  CHECK(remaining == std::vector<std::int64_t>{4, 1, 0});
  const auto watch = lab.get(std::string(kMaps) + "?watch=1&resourceVersion=" + revision);
  REQUIRE(watch->events.size() == 2);
  CHECK(watch->events[0]["type"] == "DELETED");
}

TEST_CASE("pages: with a selector, as a table, across namespaces, with a limit that fits exactly") {
  Harness lab;
  maps(lab, 0, 6);
  lab.send("POST", "/api/v1/namespaces/kube-system/configmaps", {{"metadata", {{"name", "m100"}}}});
  json page = lab.get(std::string(kMaps) + "?limit=2&labelSelector=odd%3Dyes")->parsed();
  CHECK(names(page) == std::vector<std::string>{"m101", "m103"});
  CHECK_FALSE(page["metadata"].contains("remainingItemCount"));
  page = lab.get(std::string(kMaps) + "?limit=2&labelSelector=odd%3Dyes&continue=" + page["metadata"]["continue"].get<std::string>())->parsed();
  CHECK(names(page) == std::vector<std::string>{"m105"});
  CHECK_FALSE(page["metadata"].contains("continue"));
  page = lab.raw("GET", std::string(kMaps) + "?limit=4", "", "", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")->parsed();
  CHECK(page["rows"].size() == 4);
  CHECK(page["metadata"]["remainingItemCount"] == 2);
  CHECK_FALSE(lab.get(std::string(kMaps) + "?limit=6")->parsed()["metadata"].contains("continue"));
  page = lab.get("/api/v1/configmaps?limit=6")->parsed();
  page = lab.get("/api/v1/configmaps?limit=6&continue=" + page["metadata"]["continue"].get<std::string>())->parsed();
  REQUIRE(page["items"].size() == 1);
  CHECK(page["items"][0]["metadata"]["namespace"] == "kube-system");
}

TEST_CASE("pages: tokens that are none, and what a list's resourceVersion may be") {
  Harness lab;
  maps(lab, 0, 3);
  const auto ask = [&](const std::string& query) { return lab.get(kMaps + query); };
  for (const char* token : {"x", "e30", "bm8", "!!"}) CHECK(ask(std::string("?continue=") + token)->status == 400);
  CHECK(ask("?continue=" + std::string(3000, 'a'))->status == 400);
  const std::string token = rest::PageToken{3, "", "m"}.text();
  CHECK(std::get<rest::PageToken>(rest::PageToken::parse(token)).name == "m");
  CHECK(ask("?resourceVersion=3&continue=" + token)->status == 400);
  CHECK(ask("?limit=-1")->status == 422);
  CHECK(ask("?resourceVersionMatch=Exact")->status == 422);
  CHECK(ask("?resourceVersionMatch=Best&resourceVersion=1")->status == 422);
  CHECK(ask("?resourceVersionMatch=Exact&resourceVersion=0")->status == 422);
  CHECK(ask("?sendInitialEvents=true")->status == 422);
  CHECK(ask("?resourceVersionMatch=NotOlderThan&resourceVersion=1")->status == 200);
  CHECK(ask("?resourceVersionMatch=Exact&resourceVersion=1")->status == 410);
  CHECK(ask("?resourceVersionMatch=Exact&resourceVersion=" + std::to_string(lab.storage.revision()))->status == 200);
  const json late = ask("?resourceVersion=999999")->parsed();
  CHECK(late["code"] == 504);
  CHECK(late["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge");
}
