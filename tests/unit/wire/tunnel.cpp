// The stream tunnel: upstream's recorded messages, what is refused, and the windows of its streams.
#include <doctest/doctest.h>

#include <limits>

#include "golden.h"
#include "wire/tunnel.h"
#include "wire/tunnel_streams.h"

using namespace kubeedge;
using namespace kubeedge::wire;

namespace {

TunnelMessage decoded(const std::string& bytes) {
  auto message = decode_tunnel(Bytes(bytes));
  REQUIRE(message);
  return *message;
}

std::string refused(const std::string& json) {
  const auto connect = decode_connect(json);
  return connect ? "" : connect.error().message;
}

}  // namespace

TEST_CASE("tunnel: each recorded message is read, and written again byte for byte") {
  const auto names = golden_names("tunnel-", ".bin");
  CHECK(names.size() == 7);
  for (const std::string& name : names) {
    CAPTURE(name);
    const TunnelMessage message = decoded(golden(name));
    CHECK(encode_tunnel(message.id, message.type, message.data) == golden(name));
  }
  CHECK(decoded(golden("tunnel-data.bin")).id == 300);
  CHECK(decoded(golden("tunnel-data.bin")).data.view() == "hello\n");
  CHECK(decoded(golden("tunnel-remove.bin")).type == TunnelType::kRemove);
  CHECK(decoded(golden("tunnel-close.bin")).data.view() == "failed to Update KubeletEndpoint Port");
}

TEST_CASE("tunnel: a recorded connect message is the request that the edge makes of its kubelet") {
  const TunnelMessage exec = decoded(golden("tunnel-exec-connect.bin"));
  CHECK(exec.type == TunnelType::kExec);
  const auto connect = decode_connect(exec.data);
  REQUIRE(connect);
  CHECK(connect->id == 300);
  CHECK(connect->method == "POST");
  CHECK(connect->path == "/exec/default/web/c");
  CHECK(connect->query == "command=ls&output=1&error=1");
  CHECK(connect->headers.size() == 3);
  CHECK(connect->window == 0);

  const auto logs = decode_connect(decoded(golden("tunnel-logs-connect.bin")).data);
  REQUIRE(logs);
  CHECK(logs->method == "GET");
  CHECK(logs->query == "follow=true&tailLines=10");
}

TEST_CASE("tunnel: what we write is what a Go edge reads, and comes back the same") {
  TunnelConnect ours;
  ours.id = 7;
  ours.method = "POST";
  ours.path = "/exec/default/web/c";
  ours.query = "command=a%20b&tty=1";
  ours.headers = {{"Connection", "Upgrade"}, {"X-Stream-Protocol-Version", "v4"}, {"X-Stream-Protocol-Version", "v3"}};
  ours.window = 1000;
  const std::string json = encode_connect(TunnelType::kExec, ours);
  // Upstream's keys, in upstream's order.
  CHECK(json.starts_with(R"({"MessID":7,"url":{"Scheme":"http","Opaque":"","User":null,"Host":"127.0.0.1:10350","Path":"/exec/default/web/c","Fragment":"","RawQuery":)"));
  const auto back = decode_connect(json);
  REQUIRE(back);
  CHECK(back->headers == ours.headers);
  CHECK(back->query == ours.query);
  CHECK(back->window == 1000);
  CHECK(encode_connect(TunnelType::kLogs, ours).find("\"method\"") == std::string::npos);
}

TEST_CASE("tunnel: bytes that are no message are refused") {
  CHECK(!decode_tunnel(Bytes()));
  CHECK(!decode_tunnel("\x01"));
  CHECK(!decode_tunnel("\xff\xff"));
  CHECK(!decode_tunnel(Bytes(std::string(11, '\xff') + "x")));
  CHECK(!decode_tunnel(Bytes(std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x03"))));   // 65 bits
  const TunnelMessage most = decoded(encode_tunnel(std::numeric_limits<std::uint64_t>::max(), TunnelType::kData, "x"));
  CHECK(most.id == std::numeric_limits<std::uint64_t>::max());
  CHECK(decode_tunnel(Bytes(encode_tunnel(1, TunnelType::kData, std::string(kMaxTunnelData, 'x')))));
  CHECK(decode_tunnel(Bytes(encode_tunnel(1, TunnelType::kData, std::string(kMaxTunnelData + 1, 'x')))).error().code == Errc::kLimitExceeded);
}

TEST_CASE("tunnel: a connect message that cannot be one request is refused") {
  CHECK(refused("") != "");
  CHECK(refused("[]") != "");
  CHECK(refused(R"({"MessID":-1,"url":{"Path":"/a"}})") != "");
  CHECK(refused(R"({"MessID":1})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"a"}})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"/a\r\nX: y"}})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"/a","RawQuery":"b\nc"}})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"/a"},"header":{"A":["b\r\nC: d"]}})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"/a"},"header":{"A":"b"}})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"/a"},"method":"DELETE"})") != "");
  CHECK(refused(R"({"MessID":1,"url":{"Path":"/a"},"header":null})") == "");
}

TEST_CASE("tunnel: credit is one number and nothing else") {
  CHECK(*decode_credit(encode_credit(300)) == 300);
  CHECK(!decode_credit(""));
  CHECK(!decode_credit(encode_credit(1) + "x"));
}

TEST_CASE("tunnel streams: with windows each side sends what the other has room for") {
  TunnelStreams streams;
  REQUIRE(streams.add(1, 1000));
  CHECK(streams.room(1) == 1000);
  streams.sent(1, 600);
  CHECK(streams.room(1) == 400);
  CHECK(streams.credited(1, 500));
  CHECK(streams.room(1) == 900);
  CHECK(!streams.credited(1, 101));   // more than is out
  CHECK(streams.credited(2, 5));      // a stream that is over here: crossed on the way

  // Ours: credit leaves when half a window was worked off, not for each byte.
  CHECK(streams.received(1, TunnelStreams::kWindow) == TunnelStreams::Taken::kYes);
  CHECK(streams.consumed(1, 10) == 0);
  CHECK(streams.consumed(1, TunnelStreams::kWindow / 2) == TunnelStreams::kWindow / 2 + 10);
  CHECK(streams.received(1, TunnelStreams::kWindow / 2 + 10) == TunnelStreams::Taken::kYes);
  CHECK(streams.received(1, 1) == TunnelStreams::Taken::kTooMuch);   // a peer that does not keep to it
}

TEST_CASE("tunnel streams: without windows a stream that nobody reads is cut, the others go on") {
  TunnelStreams streams;
  REQUIRE(streams.add(1, 0));
  REQUIRE(streams.add(2, 0));
  CHECK(streams.room(1) == std::numeric_limits<std::size_t>::max());
  CHECK(streams.received(1, TunnelStreams::kMaxUnread) == TunnelStreams::Taken::kYes);
  CHECK(streams.received(1, 1) == TunnelStreams::Taken::kTooMuch);
  streams.remove(1);
  CHECK(streams.received(1, 1) == TunnelStreams::Taken::kUnknown);
  CHECK(streams.received(2, 1) == TunnelStreams::Taken::kYes);
  CHECK(streams.consumed(2, 1) == 0);
  CHECK(!streams.credited(2, 1));
}

TEST_CASE("tunnel streams: all streams of a tunnel together have a limit, and so has their number") {
  TunnelStreams streams;
  std::uint64_t id = 0;
  std::uint64_t held = 0;
  for (; held + TunnelStreams::kMaxUnread <= TunnelStreams::kMaxUnreadTotal; held += TunnelStreams::kMaxUnread) {
    REQUIRE(streams.add(++id, 0));
    CHECK(streams.received(id, TunnelStreams::kMaxUnread) == TunnelStreams::Taken::kYes);
  }
  REQUIRE(streams.add(++id, 0));
  CHECK(streams.received(id, 1) == TunnelStreams::Taken::kTooMuch);
  streams.remove(1);
  CHECK(streams.received(id, 1) == TunnelStreams::Taken::kYes);
  CHECK(!streams.add(id, 0));   // taken
  while (streams.size() < TunnelStreams::kMaxStreams) REQUIRE(streams.add(++id, 0));
  CHECK(!streams.add(++id, 0));
}
