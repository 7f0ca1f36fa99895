// WebSocket frames: the layouts that Go peers send, both roles, limits, and nonsense.
#include <doctest/doctest.h>

#include <random>

#include "wire/ws_frame.h"

using namespace kubeedge;
using namespace kubeedge::wire;
using Events = std::vector<FrameReader::Event>;

namespace {

constexpr std::uint32_t kMask = 0x01f2e3d4;

std::string frame(Opcode opcode, std::string_view payload, bool fin = true, bool masked = true) { return encode_frame(opcode, payload, fin, masked, kMask); }

std::string sample(std::size_t size) {
  std::string text(size, ' ');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

struct Read {
  Events events;
  std::uint16_t code = 0;
  bool open = false;
  std::string error;
};

Read read(std::string_view bytes, FrameOptions options = {.server = true}, std::size_t step = std::string_view::npos) {
  FrameReader reader(options);
  Read out;
  while (!bytes.empty()) {
    const auto part = bytes.substr(0, step);
    bytes.remove_prefix(part.size());
    if (auto fed = reader.feed(part, out.events); !fed) {
      out.error = fed.error().message;
      break;
    }
  }
  out.code = reader.close_code();
  out.open = reader.in_message();
  return out;
}

std::string text_of(const FrameReader::Event& event) { return std::get<FrameReader::Text>(event).payload.str(); }

}  // namespace

TEST_CASE("the recorded fragmentations, in one piece and byte by byte") {
  struct Layout { bool from_edge; std::vector<std::size_t> frames; };
  const std::vector<Layout> layouts = {{true, {275}}, {false, {275}}, {true, {4096, 1079}}, {false, {4082, 1093}}, {true, {4096, 4096, 4096, 4096, 3791}}, {false, {20175, 0}}};
  for (const auto& layout : layouts) {
    std::string bytes;
    std::string whole;
    for (std::size_t i = 0; i < layout.frames.size(); ++i) {
      const std::string part = sample(layout.frames[i]);
      whole += part;
      bytes += frame(i == 0 ? Opcode::kText : Opcode::kContinuation, part, i + 1 == layout.frames.size(), layout.from_edge);
    }
    for (const std::size_t step : {std::string_view::npos, std::size_t{1}, std::size_t{3}, std::size_t{4099}}) {
      const auto got = read(bytes + bytes, {.server = layout.from_edge}, step);
      REQUIRE(got.events.size() == 2);
      CHECK(text_of(got.events[0]) == whole);
      CHECK(text_of(got.events[1]) == whole);
      CHECK_FALSE(got.open);
    }
  }
}

TEST_CASE("control frames between fragments") {
  const auto got = read(frame(Opcode::kText, "ab", false) + frame(Opcode::kPing, "hi") + frame(Opcode::kContinuation, "c", false) + frame(Opcode::kPong, "") +
                        frame(Opcode::kContinuation, "", true) + frame(Opcode::kBinary, std::string("\0\xff", 2)));
  REQUIRE(got.events.size() == 4);
  CHECK(std::get<FrameReader::Ping>(got.events[0]).payload.view() == "hi");
  CHECK(std::get<FrameReader::Pong>(got.events[1]).payload.empty());
  CHECK(text_of(got.events[2]) == "abc");
  CHECK(std::get<FrameReader::Binary>(got.events[3]).payload.size() == 2);
}

TEST_CASE("lengths of each form") {
  for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 65535U, 65536U, 70000U}) {
    const auto got = read(frame(Opcode::kText, sample(size)));
    REQUIRE(got.events.size() == 1);
    CHECK(text_of(got.events[0]) == sample(size));
  }
}

TEST_CASE("a message that is too big is refused at its header") {
  FrameOptions options{.server = true, .max_message_bytes = 100};
  CHECK(read(frame(Opcode::kText, sample(100)), options).events.size() == 1);
  auto got = read(frame(Opcode::kText, sample(101)).substr(0, 8), options);
  CHECK(got.code == 1009);
  CHECK(got.error == "WebSocket: a message of more than 100 bytes");
  got = read(frame(Opcode::kText, sample(60), false) + frame(Opcode::kContinuation, sample(41)), options);
  CHECK(got.code == 1009);
  // 2^62 bytes announced: nothing is reserved, nothing overflows.
  CHECK(read(std::string("\x82\xff\x40\0\0\0\0\0\0\0mask", 14)).code == 1009);
}

TEST_CASE("UTF-8 is checked where it is wanted") {
  const std::string bad = frame(Opcode::kText, "\xac\x02\x03hello");
  CHECK(read(bad).code == 1007);
  const auto tunnel = read(bad, {.server = true, .validate_utf8 = false});
  REQUIRE(tunnel.events.size() == 1);
  CHECK(text_of(tunnel.events[0]) == "\xac\x02\x03hello");
  // A character cut by a fragment is whole again at the end.
  CHECK(read(frame(Opcode::kText, "\xc3", false) + frame(Opcode::kContinuation, "\xa9")).events.size() == 1);
  CHECK(read(frame(Opcode::kText, "\xc3")).code == 1007);
}

TEST_CASE("close") {
  auto got = read(frame(Opcode::kClose, close_payload(1000, "bye")) + frame(Opcode::kText, "late"));
  REQUIRE(got.events.size() == 1);
  CHECK(std::get<FrameReader::Close>(got.events[0]).code == 1000);
  CHECK(std::get<FrameReader::Close>(got.events[0]).reason == "bye");
  CHECK(std::get<FrameReader::Close>(read(frame(Opcode::kClose, "")).events.at(0)).code == 1005);
  CHECK(read(frame(Opcode::kClose, "x")).code == 1002);
  for (const std::uint16_t code : std::initializer_list<std::uint16_t>{0, 999, 1004, 1005, 1006, 1015, 2999, 5000})
    CHECK(read(frame(Opcode::kClose, close_payload(code, ""))).code == 1002);
  CHECK(read(frame(Opcode::kClose, close_payload(1001, "\xff") + "\xff")).code == 1007);
  CHECK(close_payload(1001, std::string(124, 'x') + "\xc3\xa9").size() == 125);
  CHECK(close_payload(1001, std::string(122, 'x') + "\xc3\xa9").size() == 124);
}

TEST_CASE("violations of the protocol") {
  const auto code = [](std::string bytes, bool server = true) { return read(bytes, {.server = server}).code; };
  CHECK(code(frame(Opcode::kText, "x", true, false)) == 1002);            // a client must mask
  CHECK(code(frame(Opcode::kText, "x", true, true), false) == 1002);      // a server must not
  CHECK(code(frame(Opcode::kContinuation, "x")) == 1002);
  CHECK(code(frame(Opcode::kText, "x", false) + frame(Opcode::kText, "y")) == 1002);
  CHECK(code(frame(Opcode::kPing, "x", false)) == 1002);
  CHECK(code(frame(Opcode::kPing, sample(126))) == 1002);
  CHECK(code(std::string("\xc1\x80", 2)) == 1002);                        // a reserved bit: permessage-deflate was not agreed
  CHECK(code(std::string("\x83\x80", 2)) == 1002);
  CHECK(code(std::string("\x8b\x80", 2)) == 1002);
  CHECK(code(std::string("\x81\x7e\x00\x05hello", 9), false) == 1002);    // over-long lengths
  CHECK(code(std::string("\x81\x7f\0\0\0\0\0\0\xff\xff", 10), false) == 1002);
  CHECK(code(std::string("\x81\x7f\xff\0\0\0\0\0\0\0", 10), false) == 1002);
  CHECK(code("GET / HTTP/1.1\r\n\r\n") == 1002);
}

TEST_CASE("an error stays") {
  FrameReader reader({.server = true});
  Events events;
  CHECK_FALSE(reader.feed("\xff\xff", events).ok());
  CHECK_FALSE(reader.feed(frame(Opcode::kText, "x"), events).ok());
  CHECK(events.empty());
}

TEST_CASE("random bytes and random changes never do harm") {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = frame(Opcode::kText, sample(random() % 300), random() % 2 == 0) + frame(Opcode::kPing, "abc") + frame(Opcode::kContinuation, "tail");
    if (round % 2 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
    else for (char& c : bytes) c = static_cast<char>(random());
    const FrameOptions options{.server = round % 3 != 0, .max_message_bytes = 1000};
    const auto whole = read(bytes, options);
    const auto slow = read(bytes, options, 1);
    CHECK(whole.code == slow.code);
    CHECK(whole.events.size() == slow.events.size());
  }
}

TEST_CASE("the handshake's accept value") { CHECK(accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); }
