// WebSocket sessions over net::Stream: client dial, server upgrade. Frame codec: wire/ws_frame.h.
#pragma once

#include "net/http.h"

namespace kubeedge::net {

struct WebSocketOptions {
  std::size_t max_message_bytes = 16 * 1024 * 1024;   // a larger message closes the session with 1009
  bool validate_utf8 = true;                          // off for upstream's tunnel (binary payload in TEXT frames)
  Milliseconds message_timeout{60'000};               // first to last fragment of one message
  std::size_t max_queued_bytes = 32 * 1024 * 1024;    // unsent bytes; past it the session is closed
};

// Lives on one executor. Destroying it closes the socket; no handler runs after that.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  struct Handlers {
    unique_function<void(Bytes)> on_message;          // whole text message, fragments joined
    unique_function<void(Error)> on_closed;           // once; the reason, peer's or ours
    unique_function<void()> on_drained;               // may be absent: all that was sent is with the kernel
  };
  virtual void start(Handlers handlers) = 0;          // begins to read
  virtual void send(Bytes text) = 0;                  // one TEXT message, unfragmented, in order
  virtual void ping(Bytes payload) = 0;
  virtual std::size_t queued_bytes() const = 0;
  virtual void close(std::uint16_t code, std::string_view reason) = 0;  // sends Close, then closes; on_closed follows
  virtual std::string peer_address() const = 0;
  virtual std::string local_address() const = 0;
};

// Client: dials, upgrades with `headers`, checks Sec-WebSocket-Accept. Errors carry the HTTP status and body's first line.
void websocket_dial(const Runtime& runtime, Endpoint endpoint, std::string target, Headers headers, DialOptions dial,
                    WebSocketOptions options, unique_function<void(Result<std::unique_ptr<WebSocket>>)> done);

// Server: answers a valid upgrade request with 101 (plus `headers`), an invalid one with 400 and a nullptr.
std::unique_ptr<WebSocket> websocket_accept(const Runtime& runtime, const HttpRequest& request,
                                            const std::shared_ptr<HttpResponder>& responder, WebSocketOptions options,
                                            Headers headers = {});

}  // namespace kubeedge::net
