// A callback may destroy what calls it. The sanitizers are the judge: each callback owns a string that it looks at
// after it has destroyed its caller, so a callback that is freed while it runs is seen.
#include "net_test.h"
#include "pki/pki.h"
#include "wire/ws_frame.h"

using namespace kubeedge;
using namespace kubeedge::net_test;

namespace {

// Long enough not to lie inside the closure.
struct Canary {
  std::string song = std::string(64, 'c');
  bool alive() const { return song.size() == 64 && song.back() == 'c'; }
};

std::string text_frame(bool masked) { return wire::encode_frame(wire::Opcode::kText, "a", true, masked, masked ? 7 : 0); }

// A server whose one WebSocket gets these handlers.
std::unique_ptr<net::HttpServer> serve_websocket(Loop& loop, std::unique_ptr<net::WebSocket>& socket, net::WebSocket::Handlers handlers) {
  return serve(loop, [&loop, &socket, handlers = std::move(handlers)](net::HttpRequest request,
                                                                      std::shared_ptr<net::HttpResponder> responder) mutable {
    socket = net::websocket_accept(loop.runtime, request, responder, {});
    REQUIRE(socket);
    socket->start(std::move(handlers));
  });
}

}  // namespace

TEST_CASE("a stream may be destroyed inside its read handler") {
  Loop loop;
  bool alive = false;
  std::unique_ptr<net::Stream> stream;
  auto listener = net::listen(loop.runtime, {"127.0.0.1", 0}, {}, [&](std::unique_ptr<net::Stream> accepted) {
    stream = std::move(accepted);
    stream->read([&, canary = Canary()](Result<Bytes>) {
      stream.reset();
      alive = canary.alive();
    });
  });
  REQUIRE(listener);
  raw(loop, (*listener)->local().port, "x");
  CHECK(alive);
}

TEST_CASE("a listener may be destroyed inside on_stream") {
  Loop loop;
  bool alive = false;
  std::unique_ptr<net::Listener> listener;
  auto made = net::listen(loop.runtime, {"127.0.0.1", 0}, {}, [&, canary = Canary()](std::unique_ptr<net::Stream>) {
    listener.reset();
    alive = canary.alive();
  });
  REQUIRE(made);
  listener = std::move(*made);
  raw(loop, listener->local().port, "x");
  CHECK(alive);
}

TEST_CASE("a server may be destroyed inside its handler") {
  Loop loop;
  bool alive = false;
  std::unique_ptr<net::HttpServer> server;
  server = serve(loop, [&, canary = Canary()](net::HttpRequest, std::shared_ptr<net::HttpResponder>) {
    server.reset();
    alive = canary.alive();
  });
  raw(loop, server->local().port, "GET / HTTP/1.1\r\n\r\n");
  CHECK(alive);
}

TEST_CASE("a client pool may be destroyed inside an answer") {
  Loop loop;
  bool alive = false;
  auto server = serve(loop, reply_ok());
  auto client = net::HttpClient::create(loop.runtime, server->local(), {});
  client->fetch({"GET", "/", {}, {}}, [&, canary = Canary()](Result<net::HttpResponse>) {
    client.reset();
    alive = canary.alive();
  });
  loop.until([&] { return alive; });
}

TEST_CASE("a stream's call may be destroyed inside on_data") {
  Loop loop;
  bool alive = false;
  std::shared_ptr<net::HttpResponder> responder;
  auto server = serve(loop, [&](net::HttpRequest, std::shared_ptr<net::HttpResponder> given) {
    responder = std::move(given);
    responder->begin(200, {});
    responder->chunk("one");
  });
  auto client = net::HttpClient::create(loop.runtime, server->local(), {});
  std::unique_ptr<net::HttpCall> call;
  call = client->stream(
      {"GET", "/", {}, {}}, [](const net::HttpResponse&) {},
      [&, canary = Canary()](std::string_view) {
        call.reset();
        alive = canary.alive();
      },
      [](Result<void>) {});
  loop.until([&] { return alive; });
  responder.reset();
}

TEST_CASE("a WebSocket may be destroyed inside on_message") {
  Loop loop;
  bool alive = false;
  std::unique_ptr<net::WebSocket> socket;
  auto server = serve_websocket(loop, socket,
                                {[&, canary = Canary()](Bytes) {
                                   socket.reset();
                                   alive = canary.alive();
                                 },
                                 [](Error) {}});
  raw(loop, server->local().port, kUpgrade + text_frame(true));
  CHECK(alive);
}

TEST_CASE("a WebSocket may be closed inside on_message; on_closed follows") {
  Loop loop;
  bool alive = false, closed = false;
  std::unique_ptr<net::WebSocket> socket;
  auto server = serve_websocket(loop, socket,
                                {[&, canary = Canary()](Bytes) {
                                   socket->close(1008, "no");
                                   alive = canary.alive() && !closed;
                                 },
                                 [&](Error) { closed = true; }});
  CHECK(raw(loop, server->local().port, kUpgrade + text_frame(true)).find(close_code(1008) + "no") != std::string::npos);
  CHECK(alive);
  CHECK(closed);
}

TEST_CASE("a WebSocket may be destroyed inside on_closed") {
  Loop loop;
  bool alive = false;
  std::unique_ptr<net::WebSocket> socket;
  auto server = serve_websocket(loop, socket,
                                {[](Bytes) {},
                                 [&, canary = Canary()](Error) {
                                   socket.reset();
                                   alive = canary.alive();
                                 }});
  raw(loop, server->local().port, kUpgrade + text_frame(false));  // unmasked: a client may not
  loop.until([&] { return alive; });
}

// The leak check is the judge.
TEST_CASE("a loop may end while a TLS handshake with a silent server is under way") {
  Loop loop;
  const std::int64_t now = loop.runtime.clock().unix_ms() / 1000;
  const auto ca = pki::new_ca(now);
  REQUIRE(ca);
  std::unique_ptr<net::Stream> silent;
  auto listener = net::listen(loop.runtime, {"127.0.0.1", 0}, {}, [&](std::unique_ptr<net::Stream> stream) { silent = std::move(stream); });
  REQUIRE(listener);
  bool answered = false;
  net::DialOptions options;
  options.tls.emplace();
  options.tls->ca_pem = pki::pem("CERTIFICATE", ca->certificate_der);
  net::dial(loop.runtime, (*listener)->local(), options, [&](Result<std::unique_ptr<net::Stream>>) { answered = true; });
  loop.until([&] { return silent != nullptr; });
  CHECK_FALSE(answered);
}
