// What the tests of net share: a loop that is run until something holds, a server, a peer that speaks raw bytes.
#pragma once

#include <doctest/doctest.h>

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "net/websocket.h"

namespace kubeedge::net_test {

struct Loop {
  static constexpr Milliseconds kPatience{10'000};

  asio::io_context io;
  Runtime runtime{io.get_executor(), stderr_logger(LogLevel::kError)};

  // Runs until `done` holds; a test that hangs fails instead.
  void until(const std::function<bool()>& done) {
    run(kPatience, done);
    CHECK(done());
  }
  // Runs until `done` holds, at most this long: to see that something does not happen.
  void run(
      Milliseconds longest, const std::function<bool()>& done = [] { return false; }) {
    const auto end = runtime.clock().steady() + longest;
    while (!done() && runtime.clock().steady() < end) {
      io.run_one_for(Milliseconds{20});
      io.restart();
    }
  }
};

inline std::unique_ptr<net::HttpServer> serve(Loop& loop, net::HttpServer::Handler handler, net::HttpLimits limits = {}) {
  auto server = net::HttpServer::listen(loop.runtime, {"127.0.0.1", 0}, {}, limits, std::move(handler));
  REQUIRE(server);
  return std::move(*server);
}

inline net::HttpServer::Handler reply_ok() {
  return [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, "ok"); };
}

// A client that speaks raw bytes. It reads all the time unless it is made deaf.
class RawPeer {
 public:
  RawPeer(Loop& loop, std::uint16_t port, std::string bytes, bool deaf = false) : bytes_(std::move(bytes)), deaf_(deaf) {
    net::dial(loop.runtime, {"127.0.0.1", port}, {}, [this](Result<std::unique_ptr<net::Stream>> dialled) {
      REQUIRE(dialled);
      stream_ = std::move(*dialled);
      if (!bytes_.empty()) stream_->write(Bytes(bytes_), nullptr);
      if (!deaf_) read();
    });
  }

  bool dialled() const { return stream_ != nullptr; }
  bool ended() const { return ended_; }
  const std::string& got() const { return got_; }
  void leave() { stream_.reset(); }

 private:
  void read() {
    stream_->read([this](Result<Bytes> data) {
      if (!data || data->empty()) {
        ended_ = true;
        return;
      }
      got_ += data->view();
      read();
    });
  }

  std::unique_ptr<net::Stream> stream_;
  std::string bytes_, got_;
  bool deaf_, ended_ = false;
};

// Sends raw bytes and gives back all that comes until the server closes.
inline std::string raw(Loop& loop, std::uint16_t port, const std::string& bytes) {
  const RawPeer peer(loop, port, bytes);
  loop.until([&] { return peer.ended(); });
  return peer.got();
}

// A WebSocket upgrade by hand; frames may follow it at once.
inline const std::string kUpgrade =
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: okVcQoqm0GKgEKzoDd6jHw==\r\n\r\n";

// How the two bytes of a close code look in a Close frame of a server.
inline std::string close_code(int code) { return {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)}; }

}  // namespace kubeedge::net_test
