// What a peer cannot do to us: hold, flood or outgrow a connection. And what we must not do to a peer.
#include "net_test.h"
#include "wire/ws_frame.h"

using namespace kubeedge;
using namespace kubeedge::net_test;

namespace {

// A server with one WebSocket, whose end it remembers.
struct WebSocketServer {
  WebSocketServer(Loop& loop, const net::WebSocketOptions& options)
      : server(serve(loop, [this, &loop, options](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
          socket = net::websocket_accept(loop.runtime, request, responder, options);
          REQUIRE(socket);
          socket->start({[this](Bytes text) { messages.push_back(text.str()); }, [this](Error error) { end = std::move(error); }});
        })) {}
  std::uint16_t port() const { return server->local().port; }

  std::unique_ptr<net::WebSocket> socket;
  std::vector<std::string> messages;
  std::optional<Error> end;
  std::unique_ptr<net::HttpServer> server;
};

std::string frame(wire::Opcode opcode, std::string_view payload, bool final) { return wire::encode_frame(opcode, payload, final, true, 7); }

}  // namespace

TEST_CASE("connections past max_connections are closed at once; a slot that comes free is given again") {
  Loop loop;
  std::vector<std::unique_ptr<net::Stream>> accepted;
  net::ListenOptions options;
  options.max_connections = 2;
  auto listener = net::listen(loop.runtime, {"127.0.0.1", 0}, options,
                              [&](std::unique_ptr<net::Stream> stream) { accepted.push_back(std::move(stream)); });
  REQUIRE(listener);
  const auto port = (*listener)->local().port;
  const RawPeer first(loop, port, ""), second(loop, port, "");
  loop.until([&] { return accepted.size() == 2; });
  const RawPeer third(loop, port, "");
  loop.until([&] { return third.ended(); });
  CHECK(accepted.size() == 2);
  CHECK_FALSE(first.ended());
  CHECK_FALSE(second.ended());
  accepted.erase(accepted.begin());
  const RawPeer fourth(loop, port, "");
  loop.until([&] { return accepted.size() == 2; });
  CHECK_FALSE(fourth.ended());
}

TEST_CASE("3500 pipelined requests are answered in turn") {
  constexpr int kRequests = 3500;
  Loop loop;
  int count = 0;
  auto server = serve(
      loop, [&](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, std::to_string(count++)); });
  std::string requests;
  for (int i = 1; i < kRequests; ++i) requests += "GET / HTTP/1.1\r\n\r\n";
  const std::string got = raw(loop, server->local().port, requests + "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(count == kRequests);
  CHECK(got.ends_with("\r\n\r\n" + std::to_string(kRequests - 1)));
}

TEST_CASE("a refusal reaches a client that is still sending") {
  constexpr std::size_t kSize = 8u << 20;
  Loop loop;
  net::HttpLimits limits;
  limits.max_body_bytes = 1000;
  auto server = serve(loop, reply_ok(), limits);
  const std::string request =
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(kSize) + "\r\n\r\n" + std::string(kSize, 'x');
  CHECK(raw(loop, server->local().port, request).starts_with("HTTP/1.1 413 "));
}

TEST_CASE("an answer over the client's limit is an error, or cut with its status, whether its length is told or not") {
  Loop loop;
  bool told = false;
  SUBCASE("told") { told = true; }
  SUBCASE("not told") {}
  const std::string answer = std::string("HTTP/1.1 201 Created\r\n") + (told ? "Content-Length: 5000" : "Connection: close") + "\r\n\r\n" + std::string(5000, 'x');
  std::vector<std::unique_ptr<net::Stream>> accepted;
  auto listener = net::listen(loop.runtime, {"127.0.0.1", 0}, {}, [&](std::unique_ptr<net::Stream> stream) {
    stream->write(Bytes(answer), [](const Result<void>&) {});
    accepted.push_back(std::move(stream));
  });
  REQUIRE(listener);
  for (const bool cut : {false, true}) {
    net::HttpClientOptions options;
    options.limits.max_body_bytes = 1000;
    options.cut_body = cut;
    std::optional<Result<net::HttpResponse>> got;
    const auto call = net::http_fetch(loop.runtime, (*listener)->local(), {"POST", "/", {}, Bytes("x")}, options, [&](Result<net::HttpResponse> response) { got = std::move(response); });
    loop.until([&] { return got.has_value(); });
    REQUIRE(got->ok() == cut);
    if (!cut) CHECK(got->error().code == Errc::kLimitExceeded);
    if (!cut) continue;
    CHECK((*got)->status == 201);
    CHECK((*got)->cut);
    CHECK((*got)->body.size() <= 1000);
  }
}

TEST_CASE("a POST that the server may have taken is not sent again by the pool; a GET is") {
  Loop loop;
  int posts = 0, gets = 0;
  auto server = serve(loop, [&](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    const bool post = request.method == "POST";
    (post ? posts : gets) += 1;
    if (post || gets == 2) return responder->abort();
    responder->reply(200, {}, "ok");
  });
  auto client = net::HttpClient::create(loop.runtime, server->local(), {}, 1);
  const auto ask = [&](const char* method) {
    std::optional<bool> ok;
    client->fetch({method, "/", {}, Bytes("x")}, [&](Result<net::HttpResponse> response) { ok = response.ok(); });
    loop.until([&] { return ok.has_value(); });
    return ok.value_or(false);
  };
  CHECK(ask("GET"));  // opens the connection that the next one finds in the pool
  CHECK(ask("GET"));  // cut, asked again on a fresh one
  CHECK(gets == 3);
  CHECK_FALSE(ask("POST"));
  CHECK(posts == 1);
}

TEST_CASE("a WebSocket message over the limit closes with 1009, whole or in fragments") {
  Loop loop;
  net::WebSocketOptions options;
  options.max_message_bytes = 100;
  WebSocketServer server(loop, options);
  std::string frames;
  SUBCASE("whole") { frames = frame(wire::Opcode::kText, std::string(101, 'x'), true); }
  SUBCASE("in fragments that never finish") {
    frames = frame(wire::Opcode::kText, std::string(60, 'x'), false) + frame(wire::Opcode::kContinuation, std::string(60, 'x'), false);
  }
  CHECK(raw(loop, server.port(), kUpgrade + frames).find(close_code(1009)) != std::string::npos);
  REQUIRE(server.end);
  CHECK(server.messages.empty());
}

TEST_CASE("a WebSocket message of just the limit is taken") {
  Loop loop;
  net::WebSocketOptions options;
  options.max_message_bytes = 100;
  WebSocketServer server(loop, options);
  const RawPeer peer(loop, server.port(), kUpgrade + frame(wire::Opcode::kText, std::string(100, 'x'), true));
  loop.until([&] { return server.messages.size() == 1; });
  CHECK_FALSE(server.end);
}

TEST_CASE("a WebSocket message that is never finished closes with 1008 after message_timeout") {
  Loop loop;
  net::WebSocketOptions options;
  options.message_timeout = Milliseconds{50};
  WebSocketServer server(loop, options);
  const std::string got = raw(loop, server.port(), kUpgrade + frame(wire::Opcode::kText, "begun", false));
  CHECK(got.find(close_code(1008)) != std::string::npos);
  REQUIRE(server.end);
  CHECK(server.end->code == Errc::kTimeout);
}

TEST_CASE("between messages a WebSocket may be silent for longer than message_timeout") {
  Loop loop;
  net::WebSocketOptions options;
  options.message_timeout = Milliseconds{50};
  WebSocketServer server(loop, options);
  const RawPeer peer(loop, server.port(),
                     kUpgrade + frame(wire::Opcode::kText, "one", false) + frame(wire::Opcode::kContinuation, " whole", true));
  loop.until([&] { return server.messages.size() == 1; });
  loop.run(Milliseconds{200});
  CHECK(server.messages == std::vector<std::string>{"one whole"});
  CHECK_FALSE(server.end);
}

TEST_CASE("a WebSocket peer that takes too slowly is cut off past max_queued_bytes") {
  Loop loop;
  net::WebSocketOptions options;
  options.max_queued_bytes = 1u << 20;
  WebSocketServer server(loop, options);
  const RawPeer peer(loop, server.port(), kUpgrade, true);
  loop.until([&] { return server.socket != nullptr; });
  std::size_t most = 0;
  // The kernel's buffers take the first few MiB.
  for (int i = 0; i < 64 && !server.end; ++i) {
    server.socket->send(std::string(1u << 18, 'x'));
    most = std::max(most, server.socket->queued_bytes());
    loop.run(Milliseconds{5}, [&] { return server.end.has_value(); });
  }
  REQUIRE(server.end);
  CHECK(server.end->code == Errc::kLimitExceeded);
  CHECK(server.end->message.find("127.0.0.1") != std::string::npos);
  CHECK(most <= options.max_queued_bytes);
  CHECK(server.socket->queued_bytes() == 0);
  server.socket->send("after the end");  // does nothing
}
