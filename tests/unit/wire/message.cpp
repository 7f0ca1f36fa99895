// Messages: every recorded one, the encodings of content, and what is refused.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "golden.h"
#include "wire/message_codec.h"
#include "wire/resource_path.h"

using namespace kubeedge;
using nlohmann::json;

namespace {

json meaning(std::string_view text) { return json::parse(text, nullptr, false); }

std::string refusal(const std::string& text) {
  const auto decoded = wire::decode(text);
  return decoded ? "" : decoded.error().message;
}

}  // namespace

TEST_CASE("every recorded message is decoded and encoded to the same meaning") {
  const auto names = golden_names("ws-", ".json");
  CHECK(names.size() >= 40);
  for (const auto& name : names) {
    CAPTURE(name);
    const std::string text = golden(name);
    const auto message = wire::decode(text);
    REQUIRE(message.ok());
    CHECK_FALSE(message->id.empty());
    CHECK(message->timestamp_ms == 1700000000123);
    const std::string again = wire::encode(*message);
    CHECK(again.back() == '\n');
    CHECK(meaning(again) == meaning(text));
    CHECK(meaning(message->content) == meaning(text)["content"]);
  }
}

TEST_CASE("every message of the recorded life, too") {
  std::ifstream trace(KE_GOLDEN_DIR "/hub/trace-full.jsonl");
  int seen = 0;
  for (std::string line; std::getline(trace, line);) {
    const json row = meaning(line);
    if (!row.is_object() || row.value("kind", "") != "ws" || row.value("listener", "") != "20000" || !row.contains("raw")) continue;
    const std::string text = row["raw"].get<std::string>();
    const auto message = wire::decode(text);
    REQUIRE_MESSAGE(message.ok(), text.substr(0, 200));
    CHECK(meaning(wire::encode(*message)) == meaning(text));
    ++seen;
  }
  CHECK(seen > 100);
}

TEST_CASE("content: object, string and base64 string stay as they stand") {
  const auto keepalive = *wire::decode(golden("ws-up-01-keepalive.json"));
  CHECK(keepalive.content.view() == "\"ping\"");
  CHECK(wire::content_text(keepalive) == "ping");
  CHECK(wire::encode(keepalive) == golden("ws-up-01-keepalive.json"));
  const auto patch = *wire::decode(golden("ws-up-13-podpatch.json"));
  CHECK(patch.content.view().front() == '"');
  CHECK(meaning(wire::content_text(patch)).is_object());
  const auto bytes = *wire::decode(golden("ws-bytes-content-is-base64.json"));
  CHECK(bytes.content.view().front() == '"');
  const auto pod = *wire::decode(golden("ws-down-10-pod-insert.json"));
  CHECK(wire::content_text(pod) == pod.content.view());
  // Go's escapes of <, > and & are understood.
  CHECK(wire::content_text(*wire::decode(R"({"header":{"msg_id":"a","timestamp":1},"route":{},"content":"\u003ca\u0026b\u003e"})")) == "<a&b>");
}

TEST_CASE("what may be absent or null") {
  const auto least = *wire::decode(R"({"header":{}})");
  CHECK(least.content.view() == "null");
  CHECK(least.id.empty());
  CHECK(wire::decode(R"({"header":{"msg_id":null,"timestamp":null,"sync":null},"route":null,"content":null,"more":[1]})").ok());
  Message empty;
  empty.content = Bytes();
  CHECK(wire::encode(empty) == "{\"header\":{\"msg_id\":\"\",\"timestamp\":0},\"route\":{},\"content\":null}\n");
}

TEST_CASE("broken messages are refused with one line") {
  CHECK(refusal("[]") == "message: no JSON object");
  CHECK(refusal("") == "message: JSON: the text ends where a value should stand at byte 0");
  CHECK(refusal("{}") == "message: it has no header");
  CHECK(refusal(R"({"header":[]})") == "message: header is no object");
  CHECK(refusal(R"({"header":{"msg_id":7}})") == "message: header.msg_id is no string");
  CHECK(refusal(R"({"header":{"timestamp":"1"}})") == "message: header.timestamp is no 64-bit integer");
  CHECK(refusal(R"({"header":{"timestamp":99999999999999999999}})") == "message: header.timestamp is no 64-bit integer");
  CHECK(refusal(R"({"header":{"sync":1}})") == "message: header.sync is no boolean");
  CHECK(refusal(R"({"header":{},"route":"x"})") == "message: route is no object");
  CHECK(refusal(R"({"header":{},"route":{"group":{}}})") == "message: route.group is no string");
  CHECK_FALSE(refusal(R"({"header":{},"header":{}})").empty());
  CHECK_FALSE(refusal(R"({"header":{},"content":{"metadata":1,"metadata":2}})").empty());
  const std::string whole = golden("ws-down-10-pod-insert.json");
  for (std::size_t cut = 0; cut + 2 < whole.size(); cut += 7) CHECK_FALSE(refusal(whole.substr(0, cut)).empty());
}

TEST_CASE("strings are escaped so that any text survives") {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "\xc3\xa9\xf0\x9f\x98\x80";
  Message message;
  message.id = wire::new_message_id();
  message.resource = all;
  message.content = wire::json_string(all);
  const auto again = *wire::decode(wire::encode(message));
  CHECK(again.resource == all);
  CHECK(wire::content_text(again) == all);
  CHECK(wire::json_string("a\xff" "b\xe2\x82").view() == "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST_CASE("answers and acknowledgements") {
  const auto pod = *wire::decode(golden("ws-down-10-pod-insert.json"));
  const auto recorded = *wire::decode(golden("ws-up-10-pod-insert-ack.json"));
  const auto ack = wire::ack(pod, 5);
  CHECK(ack.parent_id == pod.id);
  CHECK(ack.id != pod.id);
  CHECK(ack.id.str().size() == 36);
  CHECK(ack.timestamp_ms == 5);
  CHECK(ack.source == recorded.source);
  CHECK(ack.group == recorded.group);
  CHECK(ack.operation == recorded.operation);
  CHECK(ack.resource == recorded.resource);
  CHECK(ack.content.view() == recorded.content.view());
  CHECK(ack.resource_version.empty());
}

TEST_CASE("resource paths") {
  using wire::ResourcePath;
  const auto pod = *ResourcePath::parse("default/pod/web");
  CHECK(pod.ns == "default");
  CHECK(pod.type == "pod");
  CHECK(pod.name == "web");
  CHECK(pod.str() == "default/pod/web");
  CHECK((*ResourcePath::parse("k8s/ca.crt")).str() == "k8s/ca.crt");
  CHECK((*ResourcePath::parse("null/node/edge-1.a")).name == "edge-1.a");
  for (const char* bad : {"", "/", "a", "a/", "/a", "a//b", "a/b/", "a/b/c/d", "a/../b", "../a/b", "a/b/.", "a/b\nc/d", "a/b\x7f", "a/\xff/b"})
    CHECK_MESSAGE(!ResourcePath::parse(bad).ok(), bad);
  CHECK_FALSE(ResourcePath::parse("a/b/" + std::string(wire::kMaxResourceBytes, 'x')).ok());
}
