// WebSocket frames (RFC 6455) as a state machine: bytes in, events out. Pure.
// Our own reader (websocketpp's processor wants its message pools and always checks UTF-8 of TEXT frames, which
// upstream's tunnel breaks); no socket, no endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>

namespace kubeedge::wire {

struct FrameOptions {
  bool server = false;                      // server: incoming must be masked, outgoing are not
  std::size_t max_message_bytes = 16 * 1024 * 1024;
  bool validate_utf8 = true;
};

// Reads frames. A message in fragments (an empty final continuation is normal, hub-protocol 1.4) comes out whole.
class FrameReader {
 public:
  explicit FrameReader(FrameOptions options);
  ~FrameReader();
  FrameReader(FrameReader&&) noexcept;
  FrameReader& operator=(FrameReader&&) noexcept;

  struct Text { Bytes payload; };
  struct Binary { Bytes payload; };
  struct Ping { Bytes payload; };
  struct Pong { Bytes payload; };
  struct Close { std::uint16_t code; std::string reason; };
  using Event = std::variant<Text, Binary, Ping, Pong, Close>;

  // Appends what `data` completes to `out`. Bytes after a Close are dropped. A Close without payload has code 1005. An error ends the session: `close_code()` says with which code.
  Result<void> feed(std::string_view data, std::vector<Event>& out);
  std::uint16_t close_code() const;         // 1002 protocol, 1007 UTF-8, 1009 too big
  bool in_message() const;                  // fragments of an unfinished message are held

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

enum class Opcode : std::uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// One frame's bytes. Clients mask with `mask_key` (random per frame); servers pass masked = false.
std::string encode_frame(Opcode opcode, std::string_view payload, bool fin, bool masked, std::uint32_t mask_key);
std::string close_payload(std::uint16_t code, std::string_view reason);

// Handshake values.
std::string accept_key(std::string_view sec_websocket_key);   // SHA-1 + base64

}  // namespace kubeedge::wire
