// The stream tunnel, both ends over real TLS: what the node's side answers is what a user's HTTP client gets.
#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "../net/net_test.h"
#include "base/text.h"
#include "cloud/stream/tunnel_server.h"
#include "edge/stream/tunnel_client.h"
#include "net/websocket.h"
#include "pki/pki.h"
#include "wire/tunnel.h"
#include "wire/tunnel_streams.h"

using namespace kubeedge;
using net_test::Loop;
using net_test::RawPeer;

namespace {

std::int64_t now_s() { return system_clock().unix_ms() / 1000; }

// The pods' side: records what is asked, and answers when the test says so.
struct FakeNode final : edge::NodeStreams {
  struct Stream final : edge::NodeStream {
    explicit Stream(FakeNode& n) : node(n) { ++node.open_streams; }
    ~Stream() override { --node.open_streams; }
    void on_room() override {
      if (node.on_room) node.on_room();
    }
    void on_data(Bytes bytes) override {
      node.typed += bytes.view();
      node.answer->consumed(bytes.size());
    }
    FakeNode& node;
  };
  std::unique_ptr<edge::NodeStream> open(edge::NodeCall asked, std::shared_ptr<edge::NodeAnswer> to) override {
    call = std::move(asked);
    answer = std::move(to);
    ++opened;
    return std::make_unique<Stream>(*this);
  }
  edge::NodeCall call;
  std::shared_ptr<edge::NodeAnswer> answer;
  std::function<void()> on_room;
  std::string typed;
  int opened = 0, open_streams = 0;
};

struct World : Loop {
  std::string folder = (std::filesystem::temp_directory_path() / ("ke-stream." + std::to_string(::getpid()))).string();
  pki::KeyPair ca = *pki::new_ca(now_s());
  pki::KeyPair server_pair = *pki::new_server_certificate(ca, {{"localhost"}, {"127.0.0.1"}}, now_s());
  cloud::TunnelServer server{runtime, {ca, server_pair, {"127.0.0.1", 0}, 10, [this](const NodeId&, std::int64_t issued) { return issued < revoked_before; }, {}}};
  std::int64_t revoked_before = 0;
  FakeNode node;
  std::unique_ptr<edge::TunnelClient> client;
  std::unique_ptr<net::HttpServer> front;

  World() {
    std::filesystem::create_directory(folder);
    REQUIRE(server.start());
    client = std::make_unique<edge::TunnelClient>(runtime, node, options("edge1", "edge1"));
    client->on_link(true);
    front = net_test::serve(*this, [this](const net::HttpRequest& request, std::shared_ptr<net::HttpResponder> responder) {
      const bool exec = request.path().starts_with("/exec");
      cloud::NodeCall call{exec ? cloud::NodeCall::Kind::kExec : cloud::NodeCall::Kind::kLogs, request.method, request.path(), request.query(), request.headers};
      server.relay(NodeId("edge1"), std::move(call), std::move(responder), [](net::HttpResponder& http, int status, const std::string& text) {
        http.reply(status, {{"Connection", "close"}}, Bytes("refused: " + text));
      });
    });
  }
  ~World() {
    client.reset();
    front.reset();
    server.stop();
    run(Milliseconds{50});
    std::filesystem::remove_all(folder);
  }

  std::string put(const std::string& name, const std::string& text) const {
    std::ofstream(folder + "/" + name) << text;
    return folder + "/" + name;
  }
  edge::TunnelOptions options(const std::string& node_name, const std::string& certificate_name) const {
    const std::string key = pki::new_key_sec1_der();
    const std::string certificate = *pki::sign_csr(ca, *pki::new_csr_der(key, certificate_name), {2}, now_s(), 3600);
    edge::TunnelOptions out;
    out.node = NodeId(node_name);
    out.server = {"127.0.0.1", server.port()};
    out.ca_file = put("ca.crt", pki::pem("CERTIFICATE", ca.certificate_der));
    out.certificate_file = put(certificate_name + ".crt", pki::pem("CERTIFICATE", certificate));
    out.private_key_file = put(certificate_name + ".key", pki::pem("EC PRIVATE KEY", key));
    return out;
  }
  void connected() {
    until([&] { return server.connected(NodeId("edge1")); });
  }
  RawPeer ask(const std::string& target, bool deaf = false) { return RawPeer(*this, front->local().port, "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n", deaf); }
};

const std::string kLogs = "/containerLogs/default/web/c?follow=true";

}  // namespace

TEST_CASE("tunnel: a log comes through whole, and its end is the user's") {
  World world;
  world.connected();
  const auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 1; });
  CHECK(world.node.call.method == "GET");
  CHECK(world.node.call.path == "/containerLogs/default/web/c");
  CHECK(world.node.call.query == "follow=true");
  world.node.answer->head(200);
  world.node.answer->data("line 1\n");
  world.until([&] { return user.got().find("line 1\n") != std::string::npos; });
  CHECK(user.got().starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(user.got().find("Transfer-Encoding: chunked") != std::string::npos);
  world.node.answer->data("line 2\n");
  world.node.answer->end();
  world.until([&] { return user.got().ends_with("0\r\n\r\n"); });
  world.until([&] { return world.node.open_streams == 0; });
}

TEST_CASE("tunnel: the node's refusal has its status and its words") {
  World world;
  world.connected();
  const auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 1; });
  world.node.answer->refuse(400, "container \"c\" in pod \"web\" is waiting to start: ContainerCreating");
  world.until([&] { return user.ended(); });
  CHECK(user.got().starts_with("HTTP/1.1 400 Bad Request\r\n"));
  CHECK(user.got().ends_with("refused: container \"c\" in pod \"web\" is waiting to start: ContainerCreating"));
}

TEST_CASE("tunnel: a node without one, and one that leaves before it answers, are refusals") {
  World world;
  world.connected();
  const auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 1; });
  world.client->stop();
  world.until([&] { return user.ended(); });
  CHECK(user.got().starts_with("HTTP/1.1 503 "));
  const auto late = world.ask(kLogs);
  world.until([&] { return late.ended(); });
  CHECK(late.got().starts_with("HTTP/1.1 503 "));
  CHECK(late.got().find("refused: node \"edge1\" is not connected") != std::string::npos);
}

TEST_CASE("tunnel: a log that breaks off does not look whole") {
  World world;
  world.connected();
  const auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 1; });
  world.node.answer->head(200);
  world.node.answer->data("half");
  world.until([&] { return user.got().ends_with("half\r\n"); });
  SUBCASE("the edge goes") { world.client->stop(); }
  SUBCASE("the cloud lets go of the node") { world.server.disconnect(NodeId("edge1"), "the test"); }
  world.until([&] { return user.ended(); });
  CHECK(user.got().ends_with("half\r\n"));
  world.until([&] { return world.node.open_streams == 0; });
}

TEST_CASE("tunnel: the node hears that the user left") {
  World world;
  world.connected();
  auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 1; });
  world.node.answer->head(200);
  user.leave();
  world.until([&] { return world.node.open_streams == 0; });
  world.node.answer->data("nobody reads it");   // and to speak on does no harm
  world.node.answer->end();
  CHECK(world.node.answer->room() == 0);
}

TEST_CASE("tunnel: a user who does not read holds up nobody but himself") {
  World world;
  world.connected();
  const auto deaf = world.ask(kLogs, true);
  world.until([&] { return world.node.opened == 1; });
  const auto slow = world.node.answer;
  slow->head(200);
  std::size_t sent = 0;
  const auto fill = [&] {
    while (const std::size_t room = std::min<std::size_t>(slow->room(), 16 * 1024)) {
      slow->data(Bytes(std::string(room, 'x')));
      sent += room;
    }
  };
  world.node.on_room = fill;
  fill();
  CHECK(sent < wire::TunnelStreams::kWindow);   // its head took some of it
  world.run(Milliseconds{500});
  // What the kernel holds for him, and a window: it does not go on.
  const std::size_t stalled = sent;
  world.run(Milliseconds{200});
  CHECK(sent == stalled);
  CHECK(slow->room() == 0);

  const auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 2; });
  world.node.on_room = nullptr;
  world.node.answer->head(200);
  world.node.answer->data("quick\n");
  world.node.answer->end();
  world.until([&] { return user.got().ends_with("0\r\n\r\n"); });
  CHECK(user.got().find("quick\n") != std::string::npos);
}

TEST_CASE("tunnel: an exec is bytes both ways once the runtime has upgraded") {
  World world;
  world.connected();
  const RawPeer user(world, world.front->local().port,
                     "POST /exec/default/web/c?command=sh HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\ntyped");
  world.until([&] { return world.node.opened == 1; });
  CHECK(world.node.call.method == "POST");
  CHECK(world.node.call.query == "command=sh");
  world.node.answer->raw();
  world.node.answer->data("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4\r\n\r\n\x01""first");
  world.until([&] { return user.got().ends_with("\x01""first") && world.node.typed == "typed"; });
  CHECK(user.got().starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  CHECK(user.got().find("X-Stream-Protocol-Version: v4\r\n") != std::string::npos);
  world.node.answer->data("last words");
  world.node.answer->end();
  world.until([&] { return user.ended(); });
  CHECK(user.got().ends_with("last words"));
}

TEST_CASE("tunnel: the newest of a node wins; another node's certificate is refused") {
  World world;
  world.connected();
  const auto user = world.ask(kLogs);
  world.until([&] { return world.node.opened == 1; });
  FakeNode second_node;
  edge::TunnelClient second(world.runtime, second_node, world.options("edge1", "edge1"));
  second.on_link(true);
  world.until([&] { return user.ended(); });
  CHECK(user.got().starts_with("HTTP/1.1 503 "));
  world.client->stop();   // it would win again
  world.run(Milliseconds{100});
  const auto next = world.ask(kLogs);
  world.until([&] { return second_node.opened == 1; });
  second.stop();

  FakeNode thief_node;
  edge::TunnelClient thief(world.runtime, thief_node, world.options("edge1", "edge2"));
  thief.on_link(true);
  world.run(Milliseconds{300});
  CHECK(!world.server.connected(NodeId("edge1")));
}

TEST_CASE("tunnel: a revoked certificate has no tunnel, and loses the one it has") {
  World world;
  world.connected();
  world.revoked_before = now_s() + 100;
  world.server.drop_revoked(NodeId("edge1"));
  CHECK(!world.server.connected(NodeId("edge1")));
  world.client->on_link(true);
  world.run(Milliseconds{300});
  CHECK(!world.server.connected(NodeId("edge1")));
}

TEST_CASE("tunnel: an edge that knows no windows is cut when a user does not read, and what is no message is passed over") {
  World world;
  world.client->stop();
  const edge::TunnelOptions options = world.options("edge1", "edge1");
  net::DialOptions dial;
  dial.tls.emplace();
  const auto text = [](const std::string& file) { return std::string(std::istreambuf_iterator<char>(std::ifstream(file).rdbuf()), {}); };
  dial.tls->ca_pem = text(options.ca_file);
  dial.tls->certificate_pem = text(options.certificate_file);
  dial.tls->private_key_pem = text(options.private_key_file);
  std::unique_ptr<net::WebSocket> go;
  std::vector<wire::TunnelMessage> got;
  net::websocket_dial(world.runtime, options.server, wire::kTunnelPath, {{wire::kTunnelNodeHeader, "edge1"}}, dial, {.validate_utf8 = false}, [&](auto socket) {
    REQUIRE(socket);
    go = std::move(*socket);
    go->start({[&](Bytes message) { got.push_back(*wire::decode_tunnel(message)); }, [](const Error&) {}, nullptr});
  });
  world.connected();
  const auto user = world.ask(kLogs, true);
  world.until([&] { return got.size() == 1; });
  CHECK(got[0].type == wire::TunnelType::kExec);
  const auto connect = wire::decode_connect(got[0].data);
  REQUIRE(connect);
  CHECK(connect->window == 0);
  CHECK(connect->headers.size() == 1);

  go->send(Bytes(std::string("\xff\xff\xff")));
  go->send(Bytes(wire::encode_tunnel(999, wire::TunnelType::kData, "nobody's")));
  go->send(Bytes(wire::encode_tunnel(1, static_cast<wire::TunnelType>(77), "later")));
  go->send(Bytes(wire::encode_tunnel(1, wire::TunnelType::kData, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")));
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (int i = 0; i < 400 && got.size() == 1; ++i) {
    go->send(Bytes(wire::encode_tunnel(1, wire::TunnelType::kData, chunk)));
    world.until([&] { return go->queued_bytes() == 0; });
  }
  world.until([&] { return got.size() == 2; });
  CHECK(got[1].type == wire::TunnelType::kRemove);
  for (const wire::TunnelMessage& message : got) CHECK(message.type != wire::TunnelType::kWindow);   // a Go edge would end at it
  CHECK(world.server.connected(NodeId("edge1")));
}
