// The door: what validate() takes and refuses, and the walk over what it took.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <random>

#include "golden.h"
#include "wire/message_codec.h"
#include "wire/validated_json.h"

using namespace kubeedge;
using wire::ValidatedJson;

namespace {

std::string refusal(const std::string& text) {
  const auto parsed = ValidatedJson::parse(text);
  return parsed ? "" : parsed.error().message;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("JSON of every kind is taken") {
  for (const char* text : {"{}", "[]", "null", " true ", "false\n", "0", "-0", "-12.5e+10", "1E-3", "\"\"", "\"\\u00e9\\ud83d\\ude00\\/\\b\"", "[1,[2,{\"a\":{}}]]",
                           "{\"a\":1,\"b\":2}", "{\"a\":{\"a\":1}}", "[{\"a\":1},{\"a\":1}]", "\"\xc3\xa9\""})
    CHECK_MESSAGE(refusal(text).empty(), text);
}

TEST_CASE("broken JSON is refused, with the byte") {
  for (const char* text : {"", " ", "{", "}", "[", "[1", "[1,", "[1,]", "[,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "01", "-", "1.", ".5", "+1", "1e", "0x1",
                           "tru", "nul", "NaN", "Infinity", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"", "\"\t\"", "{} {}", "1 2", "[1 2]", "// x\n1",
                           "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\xff", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\xef\xbb\xbf{}"})
    CHECK_MESSAGE(!refusal(text).empty(), text);
  CHECK(refusal("{\"a\":1,}") == "JSON: a key is missing at byte 7");
  CHECK(refusal("[1,2") == "JSON: ',' or ']' is missing at byte 4");
}

TEST_CASE("duplicate keys are refused at every level, escaped ones too") {
  CHECK(refusal("{\"a\":1,\"a\":2}") == "JSON: a duplicate key at byte 7");
  CHECK_FALSE(refusal("{\"x\":[{\"metadata\":1,\"b\":2,\"metadata\":3}]}").empty());
  CHECK_FALSE(refusal("{\"a\":1,\"\\u0061\":2}").empty());
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += "\"k" + std::to_string(i) + "\":{\"v\":1,\"w\":2},";
  CHECK(refusal(many + "\"z\":0}").empty());
  const std::string error = refusal(many + "\"k7\":0}");
  CHECK(error == "JSON: a duplicate key at byte " + std::to_string(many.size()));
}

TEST_CASE("depth is bounded") {
  CHECK(refusal(nested(wire::kMaxJsonDepth)).empty());
  CHECK(refusal(nested(wire::kMaxJsonDepth + 1)) == "JSON: nested too deeply at byte 128");
  CHECK_FALSE(refusal(std::string(1000000, '[')).empty());
  std::string objects;
  for (std::size_t i = 0; i <= wire::kMaxJsonDepth; ++i) objects += "{\"a\":";
  CHECK_FALSE(refusal(objects).empty());
}

TEST_CASE("peeking") {
  const auto json = *ValidatedJson::parse(
      R"( {"kind":"Pod", "metadata" : {"uid":"u\n1","generation":7,"na\u006de":"web","n":1.5}, "list":[{"uid":"no"}], "nothing":null} )");
  CHECK(json.is_object());
  CHECK(json.string_at({"metadata", "uid"}) == "u\n1");
  CHECK(json.string_at({"metadata", "name"}) == "web");
  CHECK(json.int_at({"metadata", "generation"}) == 7);
  CHECK_FALSE(json.int_at({"metadata", "n"}));
  CHECK_FALSE(json.int_at({"kind"}));
  CHECK_FALSE(json.string_at({"metadata", "generation"}));
  CHECK_FALSE(json.string_at({"kind", "uid"}));
  CHECK_FALSE(json.string_at({"list", "uid"}));
  CHECK_FALSE(json.raw_at({"absent"}));
  CHECK(json.raw_at({"list"})->view() == R"([{"uid":"no"}])");
  CHECK(json.raw_at({"nothing"})->view() == "null");
  CHECK_FALSE((*ValidatedJson::parse("[1]")).is_object());
  CHECK_FALSE((*ValidatedJson::parse("3")).raw_at({"a"}));
}

TEST_CASE("managedFields are cut, wherever they stand") {
  const auto cut = [](const char* text) { return (*ValidatedJson::parse(text)).without_managed_fields().str(); };
  CHECK(cut(R"({"metadata":{"managedFields":[{"a":"}"}],"name":"x"}})") == R"({"metadata":{"name":"x"}})");
  CHECK(cut(R"({"metadata":{"name":"x", "managedFields" : [1] , "uid":"u"}})") == R"({"metadata":{"name":"x" , "uid":"u"}})");
  CHECK(cut(R"({"metadata":{"name":"x","managedFields":[]},"spec":{"managedFields":1}})") == R"({"metadata":{"name":"x"},"spec":{"managedFields":1}})");
  CHECK(cut(R"({"metadata":{"managedFields":[]}})") == R"({"metadata":{}})");
  CHECK(cut(R"({"metadata":{"name":"x"}})") == R"({"metadata":{"name":"x"}})");
  CHECK(cut(R"({"metadata":null})") == R"({"metadata":null})");
  CHECK(cut("[1]") == "[1]");
}

TEST_CASE("random changes of recorded messages: taken means that another parser takes it too") {
  std::mt19937 random(20261125);
  const std::string original = golden("ws-down-10-pod-insert.json");
  REQUIRE(!original.empty());
  int taken = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = original.substr(0, 600);
    if (round % 3 == 0) text = original;
    const auto changes = 1 + random() % 3;
    for (std::size_t i = 0; i < changes; ++i) text[random() % text.size()] = static_cast<char>(random());
    if (round % 5 == 0) text.resize(random() % text.size());
    const auto parsed = ValidatedJson::parse(text);
    if (!parsed) continue;
    ++taken;
    CHECK_FALSE(nlohmann::json::parse(text, nullptr, false).is_discarded());
    parsed->string_at({"content", "metadata", "uid"});
    parsed->without_managed_fields();
  }
  CHECK(taken > 0);
}
