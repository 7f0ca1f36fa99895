// Objects spoilt at random places: nothing may fall over, and what is accepted is stable.
#include <fstream>
#include <random>

#include <doctest/doctest.h>

#include "kube/schema/schema.h"

using namespace kubeedge::kube::schema;

namespace {

void collect(Json& value, std::vector<Json*>& places) {
  places.push_back(&value);
  if (value.is_structured())
    for (auto& item : value) collect(item, places);
}

}  // namespace

TEST_CASE("spoilt objects") {
  std::ifstream file(KE_GOLDEN_DIR "/kube/apiserver-1.32.2.jsonl");
  REQUIRE(file.is_open());
  std::mt19937 random(20250101);  // the same every time
  const std::vector<Json> spoils{nullptr, "", "x", 0, -1, 3000000000, 1.5, true, Json::array(), Json::object(), Json::array({nullptr}),
                                 Json::array({Json::object()}), Json{{"name", "x"}}, "\xff\xfe", "2025-01-01T00:00:00Z"};
  constexpr int kRounds = 20;
  std::size_t accepted = 0;
  std::string line;
  while (std::getline(file, line)) {
    const Json record = Json::parse(line);
    if (!record.contains("send")) continue;
    const Json& sent = record["send"];
    const auto version = sent["apiVersion"].get<std::string>();
    const auto slash = version.find('/');
    const auto name = sent["kind"].get<std::string>();
    const Kind* kind = slash == std::string::npos ? find_kind("", version, name)
                                                  : find_kind(version.substr(0, slash), version.substr(slash + 1), name);
    REQUIRE(kind != nullptr);
    for (int round = 0; round < kRounds; ++round) {
      Json object = sent;
      std::vector<Json*> places;
      collect(object, places);
      *places[random() % places.size()] = spoils[random() % spoils.size()];
      prune_unknown(*kind, object);
      if (!type_error(*kind, object).empty()) continue;
      apply_defaults(*kind, object, "abcde");
      const auto causes = validate(*kind, object);
      validate_update(*kind, record.value("answer", Json::object()), object);
      for (const auto& cause : causes) CHECK_FALSE(cause.reason.empty());
      if (!causes.empty()) continue;
      ++accepted;
      Json again = object;
      apply_defaults(*kind, again, "other");
      CHECK_MESSAGE(again == object, Json::diff(object, again).dump(-1, ' ', false, Json::error_handler_t::replace));
      CHECK(validate_update(*kind, object, again).empty());
    }
  }
  CHECK(accepted > 100);
}
