// HTTP messages: the first byte chooses side and step; pieces must give what the whole gives, within the limits.
#include <cstdlib>

#include "net/http_message.h"

namespace {

using kubeedge::net::HttpLimits;
using kubeedge::net::HttpParser;

constexpr int kMaxMessages = 64;

// Every message as read, and how it ended.
std::string read(HttpParser::Kind kind, std::string_view bytes, std::size_t step) {
  HttpLimits limits;
  limits.max_header_bytes = 1024;
  limits.max_body_bytes = 2048;
  HttpParser parser(kind, limits);
  std::string out;
  int messages = 0;
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    while (!piece.empty()) {
      const auto state = parser.feed(piece);
      if (state == HttpParser::State::kMore) break;
      // Which of two faults is seen first may depend on the pieces: a name too long that is no name either.
      if (state != HttpParser::State::kDone) {
        out += "refused";
        return out;
      }
      if (parser.body.size() > limits.max_body_bytes) std::abort();
      out += (kind == HttpParser::Kind::kRequest ? parser.method() : std::to_string(parser.status())) + "|" + parser.target + "|";
      std::size_t head = parser.target.size();
      for (const auto& [name, value] : parser.headers) {
        head += name.size() + value.size();
        out += name + ":" + value + "|";
      }
      if (head > limits.max_header_bytes) std::abort();
      out += parser.body + (parser.keep_alive() ? "|keep\n" : "|close\n");
      // What follows an upgrade, or a message that closes, is not this parser's.
      if (parser.upgrade() || !parser.keep_alive() || ++messages == kMaxMessages) return out;
      piece = parser.rest();
      parser.next();
    }
  }
  out += std::to_string(static_cast<int>(parser.finish()));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto kind = (data[0] & 1U) != 0 ? HttpParser::Kind::kResponse : HttpParser::Kind::kRequest;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (read(kind, bytes, bytes.size()) != read(kind, bytes, 1 + (data[0] >> 1U))) std::abort();
  return 0;
}
