#include "kube/patch/patch.h"

#include <doctest/doctest.h>

using namespace kubeedge::kube;
using Json = nlohmann::json;

namespace {

// A small type of our own: tests of the algorithm do not hang on the table.
const schema::Field kContainerFields[] = {{.name = "name", .type = schema::Type::kString}, {.name = "image", .type = schema::Type::kString}};
const schema::Object kContainer{"Container", kContainerFields};
const schema::Field kSpecFields[] = {
    {.name = "containers", .type = schema::Type::kObject, .shape = schema::Shape::kArray, .object = &kContainer, .merge = true, .merge_key = "name"},
    {.name = "finalizers", .type = schema::Type::kString, .shape = schema::Shape::kArray, .merge = true},
    {.name = "args", .type = schema::Type::kString, .shape = schema::Shape::kArray},
    {.name = "strategy", .type = schema::Type::kObject, .object = &kContainer}};
const schema::Object kSpec{"Spec", kSpecFields};

Json merged(const char* document, const char* patch) {
  auto out = patch::strategic_merge(Json::parse(document), Json::parse(patch), &kSpec);
  REQUIRE(out);
  return *out;
}

}  // namespace

TEST_CASE("strategic merge: lists by merge key, others replaced, nulls delete") {
  CHECK(merged(R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}],"args":["x","y"],"z":1})",
               R"({"containers":[{"name":"b","image":"2"},{"name":"c"}],"args":["q"],"z":null,"y":null})") ==
        Json::parse(R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"},{"name":"c"}],"args":["q"]})"));
}

TEST_CASE("strategic merge: directives") {
  CHECK(merged(R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"containers":[{"name":"a","$patch":"delete"}]})") == Json::parse(R"({"containers":[{"name":"b"}]})"));
  CHECK(merged(R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"containers":[{"$patch":"replace"},{"name":"c"}]})") == Json::parse(R"({"containers":[{"name":"c"}]})"));
  CHECK(merged(R"({"strategy":{"name":"x","image":"y"}})", R"({"strategy":{"$patch":"replace","name":"z"}})") == Json::parse(R"({"strategy":{"name":"z"}})"));
  CHECK(merged(R"({"strategy":{"name":"x","image":"y"}})", R"({"strategy":{"$retainKeys":["name"],"name":"z"}})") == Json::parse(R"({"strategy":{"name":"z"}})"));
  CHECK(merged(R"({"finalizers":["a","b"]})", R"({"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["c"]})") == Json::parse(R"({"finalizers":["b","c"]})"));
  CHECK(merged(R"({})", R"({"containers":[{"name":"a","$patch":"delete"},{"name":"b","image":null}],"$setElementOrder/containers":[{"name":"b"}]})") ==
        Json::parse(R"({"containers":[{"name":"b"}]})"));
}

TEST_CASE("strategic merge: $setElementOrder orders what the patch names, the server's own items keep their place") {
  CHECK(merged(R"({"containers":[{"name":"a"},{"name":"own"},{"name":"b"}]})",
               R"({"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"2"}]})") ==
        Json::parse(R"({"containers":[{"name":"own"},{"name":"b"},{"name":"a","image":"2"}]})"));
  CHECK(merged(R"({"containers":[{"name":"a"},{"name":"b"}]})", R"({"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]})") ==
        Json::parse(R"({"containers":[{"name":"b"},{"name":"a"}]})"));
}

TEST_CASE("strategic merge: what cannot be merged is refused with its reason") {
  const auto missing = patch::strategic_merge(Json::parse(R"({"containers":[{"name":"a"}]})"), Json::parse(R"({"containers":[{"image":"x"}]})"), &kSpec);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message == R"(map: {"image":"x"} does not contain declared merge key: name)");
  CHECK_FALSE(patch::strategic_merge(Json::object(), Json::parse("[]"), &kSpec));
  CHECK_FALSE(patch::strategic_merge(Json::parse(R"({"strategy":{}})"), Json::parse(R"({"strategy":{"$patch":"dance"}})"), &kSpec));
}

TEST_CASE("JSON patch: operations in turn, a failing one is named") {
  const auto out = patch::json_patch(Json::parse(R"({"a":[1]})"), Json::parse(R"([{"op":"add","path":"/a/-","value":2},{"op":"test","path":"/a/1","value":2}])"));
  REQUIRE(out);
  CHECK(*out == Json::parse(R"({"a":[1,2]})"));
  const auto failed = patch::json_patch(Json::parse(R"({"a":1})"), Json::parse(R"([{"op":"test","path":"/a","value":1},{"op":"remove","path":"/b"}])"));
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message.find("operation 1") != std::string::npos);
  CHECK_FALSE(patch::json_patch(Json::object(), Json::object()));
  CHECK_FALSE(patch::json_patch(Json::object(), Json::parse(R"([{"op":"fly"}])")));
}

TEST_CASE("merge patch") { CHECK(patch::merge_patch(Json::parse(R"({"a":{"b":1,"c":2}})"), Json::parse(R"({"a":{"b":null,"d":3}})")) == Json::parse(R"({"a":{"c":2,"d":3}})")); }

TEST_CASE("JSON patch: the six operations, escapes, and all or nothing") {
  const Json document = Json::parse(R"({"a":{"b/c":[1,2,3]},"d":1})");
  const auto out = patch::json_patch(document, Json::parse(R"([{"op":"test","path":"/d","value":1},{"op":"add","path":"/a/b~1c/1","value":9},
    {"op":"remove","path":"/a/b~1c/0"},{"op":"replace","path":"/d","value":"x"},{"op":"copy","from":"/d","path":"/e"},
    {"op":"move","from":"/a","path":"/f"},{"op":"add","path":"/f/b~1c/-","value":4}])"));
  REQUIRE(out);
  CHECK(*out == Json::parse(R"({"d":"x","e":"x","f":{"b/c":[9,2,3,4]}})"));
  for (const char* missed : {R"({"op":"test","path":"/d","value":2})", R"({"op":"remove","path":"/nope"})", R"({"op":"remove","path":""})",
                             R"({"op":"add","path":"/a/b~1c/01","value":2})", R"({"op":"add","path":"/a/b~1c/4","value":2})", R"({"op":"replace","path":"/x","value":1})"})
    CHECK_MESSAGE(patch::json_patch(document, Json::array({Json::parse(missed)})).error().code == kubeedge::Errc::kConflict, missed);
  for (const char* wrong : {R"({"op":"add","path":"/a/b~2c","value":2})", R"({"op":"add","path":"d","value":2})", R"({"op":"add","path":"/d"})", R"({"op":"copy","path":"/d"})",
                            R"({"op":"move","from":"/a","path":"/a/x"})", R"(7)"})
    CHECK_MESSAGE(patch::json_patch(document, Json::array({Json::parse(wrong)})).error().code == kubeedge::Errc::kInvalidArgument, wrong);
}

TEST_CASE("JSON patch: copies that would fill the memory are refused") {
  Json bomb = Json::array();
  for (int i = 0; i < 40; ++i) bomb.push_back({{"op", "copy"}, {"from", ""}, {"path", "/x" + std::to_string(i)}});
  CHECK(patch::json_patch(Json::parse(R"({"a":"0123456789"})"), bomb).error().code == kubeedge::Errc::kLimitExceeded);
}
