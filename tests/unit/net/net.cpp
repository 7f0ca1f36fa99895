// Streams, HTTP/1.1 and WebSocket: the wire as it should be. What a peer cannot do: limits.cpp; TLS: tls.cpp.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "net_test.h"
#include "wire/ws_frame.h"

using namespace kubeedge;
using namespace kubeedge::net_test;

namespace {

// A folder of its own for socket files, removed at the end.
struct Folder {
  Folder() {
    char name[] = "/tmp/ke-net-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

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
  const std::string got =
      raw(loop, server->local().port,
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
  auto server = serve(
      loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, "ok"); }, limits);
  const auto port = server->local().port;
  CHECK(raw(loop, port, "GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n").starts_with("HTTP/1.1 431 "));
  CHECK(raw(loop, port, "POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n").starts_with("HTTP/1.1 413 "));
  CHECK(
      raw(loop, port, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + std::string(255, 'x')).starts_with("HTTP/1.1 413 "));
  CHECK(raw(loop, port, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

TEST_CASE("a slow client is cut off") {
  Loop loop;
  net::HttpLimits limits;
  limits.header_timeout = Milliseconds{50};
  auto server = serve(
      loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, "ok"); }, limits);
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
  auto call = client->stream(
      {"GET", "/watch", {}, {}}, [&](const net::HttpResponse& head) { status = head.status; }, [&](std::string_view data) { got += data; },
      [](Result<void>) {});
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
  auto second =
      net::HttpServer::listen(loop.runtime, server->local(), {}, {}, [](net::HttpRequest, std::shared_ptr<net::HttpResponder>) {});
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
    server_side->start({[&](Bytes text) {
                          at_server = text.str();
                          server_side->send("echo " + text.str());
                        },
                        [&](Error error) { why = error.message; }});
  });
  std::unique_ptr<net::WebSocket> client;
  std::string at_client;
  net::websocket_dial(loop.runtime, server->local(), "/p/edge-1/events", {{"node_id", "edge-1"}}, {}, {},
                      [&](Result<std::unique_ptr<net::WebSocket>> dialled) {
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
  const std::string got = raw(loop, server->local().port,
                              kUpgrade + wire::encode_frame(wire::Opcode::kText, "frag", false, true, 7) +
                                  wire::encode_frame(wire::Opcode::kContinuation, "", true, true, 8) +
                                  wire::encode_frame(wire::Opcode::kText, "bare", true, false, 0));
  CHECK(got.find("echo frag") != std::string::npos);
  CHECK(got.find(close_code(1002)) != std::string::npos);
}

TEST_CASE("WebSocket: a refusal carries the status and its reason") {
  Loop loop;
  auto server = serve(loop, [](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) {
    responder->reply(403, {}, "node edge-2 is not edge-1\n");
  });
  std::string why;
  net::websocket_dial(loop.runtime, server->local(), "/", {}, {}, {}, [&](Result<std::unique_ptr<net::WebSocket>> dialled) {
    REQUIRE_FALSE(dialled);
    why = dialled.error().message;
  });
  loop.until([&] { return !why.empty(); });
  CHECK(why.find("403 node edge-2 is not edge-1") != std::string::npos);
}

TEST_CASE("WebSocket: fragments of a server are joined, also with an empty last one") {
  Loop loop;
  std::unique_ptr<net::Stream> stream;
  auto server = serve(loop, [&](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    const std::string accept = wire::accept_key(net::header(request.headers, "Sec-WebSocket-Key"));
    stream = responder->upgrade({{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Accept", accept}}).first;
    stream->write(wire::encode_frame(wire::Opcode::kText, "ab", false, false, 0) +
                      wire::encode_frame(wire::Opcode::kContinuation, "cd", false, false, 0) +
                      wire::encode_frame(wire::Opcode::kContinuation, "", true, false, 0),
                  nullptr);
  });
  std::unique_ptr<net::WebSocket> client;
  std::string got;
  net::websocket_dial(loop.runtime, server->local(), "/", {}, {}, {}, [&](Result<std::unique_ptr<net::WebSocket>> dialled) {
    REQUIRE(dialled);
    client = std::move(*dialled);
    client->start({[&](Bytes text) { got = text.str(); }, [](Error) {}});
  });
  loop.until([&] { return got == "abcd"; });
}

TEST_CASE("an upgrade hands over the bytes that came with the request") {
  Loop loop;
  std::string early;
  std::unique_ptr<net::Stream> stream;
  auto server = serve(loop, [&](net::HttpRequest, std::shared_ptr<net::HttpResponder> responder) {
    auto [raw_stream, bytes] = responder->upgrade({{"Upgrade", "x"}, {"Connection", "Upgrade"}});
    early = bytes.str();
    stream = std::move(raw_stream);
    stream->write("late", [&](Result<void>) { stream.reset(); });
  });
  const std::string got = raw(loop, server->local().port, "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nEARLY");
  CHECK(early == "EARLY");
  CHECK(got.starts_with("HTTP/1.1 101 "));
  CHECK(got.ends_with("\r\n\r\nlate"));
}

TEST_CASE("the answer to a HEAD has no body, whole or chunked") {
  Loop loop;
  auto server = serve(loop, [](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    if (request.path() == "/whole") return responder->reply(200, {}, "BODY");
    responder->begin(200, {});
    responder->chunk("BODY");
    responder->end();
  });
  const auto head = [&](const std::string& path) {
    return raw(loop, server->local().port, "HEAD " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  };
  const std::string whole = head("/whole");
  CHECK(whole.find("Content-Length: 4\r\n") != std::string::npos);
  CHECK(whole.ends_with("\r\n\r\n"));
  CHECK(head("/chunked").ends_with("\r\n\r\n"));
}

TEST_CASE("Expect: 100-continue is answered before the body is read") {
  Loop loop;
  auto server =
      serve(loop, [](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) { responder->reply(200, {}, request.body); });
  const std::string got = raw(loop, server->local().port,
                              "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
  CHECK(got.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
  CHECK(got.ends_with("\r\n\r\nabc"));
}

TEST_CASE("HTTP over a Unix socket, also over the file that a killed process left") {
  const Folder folder;
  const net::Endpoint where{folder.path / "s.sock", 0};
  for (int round = 0; round < 2; ++round) {
    Loop loop;
    auto server = net::HttpServer::listen(loop.runtime, where, {}, {}, reply_ok());
    REQUIRE(server);
    std::string got;
    auto call = net::http_fetch(loop.runtime, where, {"GET", "/", {}, {}}, {}, [&](Result<net::HttpResponse> response) {
      got = response ? response->body.str() : response.error().message;
    });
    loop.until([&] { return !got.empty(); });
    CHECK(got == "ok");
  }
}

TEST_CASE("a Unix listener takes neither a live socket's place nor a plain file's") {
  Loop loop;
  const Folder folder;
  const net::Endpoint live{folder.path / "live.sock", 0}, plain{folder.path / "plain.txt", 0};
  auto first = net::listen(loop.runtime, live, {}, [](std::unique_ptr<net::Stream>) {});
  REQUIRE(first);
  auto second = net::listen(loop.runtime, live, {}, [](std::unique_ptr<net::Stream>) {});
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find(live.host) != std::string::npos);

  std::ofstream(plain.host) << "precious";
  auto third = net::listen(loop.runtime, plain, {}, [](std::unique_ptr<net::Stream>) {});
  REQUIRE_FALSE(third);
  CHECK(third.error().message.find(plain.host) != std::string::npos);
  CHECK(std::filesystem::is_regular_file(plain.host));
}
