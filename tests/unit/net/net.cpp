#include "net/websocket.h"

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "base/text.h"
#include "runtime/timer.h"
#include "wire/ws_frame.h"

using namespace kubeedge;

namespace {

constexpr Milliseconds kPatience{10'000};

struct Loop {
  asio::io_context io;
  Runtime runtime{io.get_executor(), stderr_logger(LogLevel::kError)};
  // Runs until `done` holds; a test that hangs fails instead.
  void until(const std::function<bool()>& done) {
    const auto end = runtime.clock().steady() + kPatience;
    while (!done() && runtime.clock().steady() < end) io.run_one_for(Milliseconds{20});
    CHECK(done());
    io.restart();
  }
};

std::unique_ptr<net::HttpServer> serve(Loop& loop, net::HttpServer::Handler handler, net::HttpLimits limits = {}) {
  auto server = net::HttpServer::listen(loop.runtime, {"127.0.0.1", 0}, {}, limits, std::move(handler));
  REQUIRE(server);
  return std::move(*server);
}

// Sends raw bytes and gives back all that comes until the server closes.
std::string raw(Loop& loop, std::uint16_t port, const std::string& bytes) {
  std::string got;
  bool ended = false;
  std::unique_ptr<net::Stream> stream;
  std::function<void()> read = [&] {
    stream->read([&](Result<Bytes> data) {
      if (!data || data->empty()) { ended = true; return; }
      got += data->view();
      read();
    });
  };
  net::dial(loop.runtime, {"127.0.0.1", port}, {}, [&](Result<std::unique_ptr<net::Stream>> dialled) {
    REQUIRE(dialled);
    stream = std::move(*dialled);
    stream->write(bytes, nullptr);
    read();
  });
  loop.until([&] { return ended; });
  return got;
}

}  // namespace

TEST_CASE("endpoints") {
  CHECK(net::parse_endpoint("[::1]:80")->host == "::1");
  CHECK(net::parse_endpoint("unix:///run/x.sock")->host == "/run/x.sock");
  CHECK(net::parse_endpoint("example.com:10000")->port == 10000);
  for (const char* wrong : {"", "host", ":80", "::1:80", "h:99999", "unix://x", "h:"}) CHECK_FALSE(net::parse_endpoint(wrong));
}

TEST_CASE("a GET with a body, a chunked body and a kept-alive connection") {
  Loop loop;
  std::vector<std::string> bodies;
  auto server = serve(loop, [&](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    bodies.push_back(request.method + " " + request.path() + " " + request.query() + " " + request.body.str());
    responder->reply(200, {}, "ok");
  });
  const std::string got = raw(loop, server->local().port,
                              "GET /edge.crt HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                              "POST /p?x=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
  REQUIRE(bodies.size() == 2);
  CHECK(bodies[0] == "GET /edge.crt  abc");
  CHECK(bodies[1] == "POST /p x=1 hello");
  CHECK(got.find("HTTP/1.1 200 OK") != got.rfind("HTTP/1.1 200 OK"));
}

TEST_CASE("too much is refused with the right status, and malformed HTTP with 400") {
  Loop loop;
  net::HttpLimits limits;
  limits.max_header_bytes = 1000;
  limits.max_body_bytes = 10;
  auto server = serve(loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, "ok"); }, limits);
  const auto port = server->local().port;
  CHECK(raw(loop, port, "GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n").starts_with("HTTP/1.1 431 "));
  CHECK(raw(loop, port, "POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413 "));
  CHECK(raw(loop, port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + std::string(255, 'x')).starts_with("HTTP/1.1 413 "));
  CHECK(raw(loop, port, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

TEST_CASE("a slow client is cut off") {
  Loop loop;
  net::HttpLimits limits;
  limits.header_timeout = Milliseconds{50};
  auto server = serve(loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, "ok"); }, limits);
  CHECK(raw(loop, server->local().port, "GET / HTT").starts_with("HTTP/1.1 408 "));
}

TEST_CASE("the pooled client reuses its connection and survives its loss") {
  Loop loop;
  std::vector<std::string> peers;
  auto handler = [&](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) {
    peers.push_back(responder->peer_address());
    responder->reply(200, {}, "ok");
  };
  auto server = serve(loop, handler);
  const net::Endpoint where = server->local();
  auto client = net::HttpClient::create(loop.runtime, where, {}, 1);
  int answers = 0;
  const auto ask = [&] {
    const int before = answers;
    client->fetch({"GET", "/", {}, {}}, [&](Result<net::HttpResponse> response) {
      REQUIRE(response);
      CHECK(response->status == 200);
      CHECK(response->body.view() == "ok");
      ++answers;
    });
    loop.until([&] { return answers > before; });
  };
  ask();
  ask();
  CHECK(peers[0] == peers[1]);
  server.reset();
  auto again = net::HttpServer::listen(loop.runtime, where, {}, {}, handler);
  REQUIRE(again);
  ask();
  CHECK(peers.size() == 3);
}

TEST_CASE("a chunked stream arrives piece by piece, and the server hears when the client leaves") {
  Loop loop;
  std::shared_ptr<net::HttpResponder> held;
  bool gone = false;
  auto server = serve(loop, [&](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) {
    held = responder;
    held->on_closed([&] { gone = true; });
    held->begin(200, {});
    held->chunk("one\n");
  });
  auto client = net::HttpClient::create(loop.runtime, server->local(), {});
  std::string got;
  int status = 0;
  auto call = client->stream({"GET", "/watch", {}, {}}, [&](const net::HttpResponse& head) { status = head.status; },
                             [&](std::string_view data) { got += data; }, [](Result<void>) {});
  loop.until([&] { return got == "one\n"; });
  held->chunk("two\n");
  loop.until([&] { return got == "one\ntwo\n"; });
  CHECK(status == 200);
  call.reset();
  loop.until([&] { return gone; });
}

TEST_CASE("an address in use is named") {
  Loop loop;
  auto server = serve(loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder>) {});
  auto second = net::HttpServer::listen(loop.runtime, server->local(), {}, {}, [](net::HttpRequest, std::shared_ptr<net::HttpResponder>) {});
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find("127.0.0.1:" + std::to_string(server->local().port)) != std::string::npos);
  CHECK(second.error().message.find("in use") != std::string::npos);
}

TEST_CASE("WebSocket: messages both ways, fragments joined, a false frame closes with its code") {
  Loop loop;
  std::unique_ptr<net::WebSocket> server_side;
  std::string at_server, why;
  auto server = serve(loop, [&](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    server_side = net::websocket_accept(loop.runtime, request, responder, {});
    REQUIRE(server_side);
    server_side->start({[&](Bytes text) { at_server = text.str(); server_side->send("echo " + text.str()); }, [&](Error error) { why = error.message; }});
  });
  std::unique_ptr<net::WebSocket> client;
  std::string at_client;
  net::websocket_dial(loop.runtime, server->local(), "/p/edge-1/events", {{"node_id", "edge-1"}}, {}, {}, [&](Result<std::unique_ptr<net::WebSocket>> dialled) {
    REQUIRE(dialled);
    client = std::move(*dialled);
    client->start({[&](Bytes text) { at_client = text.str(); }, [](Error) {}});
    client->send(std::string(100'000, 'x'));
  });
  loop.until([&] { return at_client.size() == 100'005; });
  CHECK(at_server.size() == 100'000);
  client.reset();
  loop.until([&] { return !why.empty(); });

  // By hand: two fragments with an empty final one, then an unmasked frame.
  const std::string head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: okVcQoqm0GKgEKzoDd6jHw==\r\n\r\n";
  const std::string got = raw(loop, server->local().port,
                              head + wire::encode_frame(wire::Opcode::kText, "frag", false, true, 7) + wire::encode_frame(wire::Opcode::kContinuation, "", true, true, 8) +
                                  wire::encode_frame(wire::Opcode::kText, "bare", true, false, 0));
  CHECK(got.find("echo frag") != std::string::npos);
  CHECK(got.find("\x03\xea") != std::string::npos);  // 1002
}

TEST_CASE("WebSocket: a refusal carries the status and its reason") {
  Loop loop;
  auto server = serve(loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(403, {}, "node edge-2 is not edge-1\n"); });
  std::string why;
  net::websocket_dial(loop.runtime, server->local(), "/", {}, {}, {}, [&](Result<std::unique_ptr<net::WebSocket>> dialled) {
    REQUIRE_FALSE(dialled);
    why = dialled.error().message;
  });
  loop.until([&] { return !why.empty(); });
  CHECK(why.find("403 node edge-2 is not edge-1") != std::string::npos);
}
