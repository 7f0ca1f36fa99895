#include "cloud/stream/tunnel_server.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cloud/ports/server_tls.h"
#include "cloud/stream/relay.h"
#include "net/websocket.h"
#include "wire/tunnel.h"
#include "wire/tunnel_streams.h"

namespace kubeedge::cloud {
namespace {

using wire::TunnelStreams;
using wire::TunnelType;

// Of a user's request the node gets what an upgrade needs; who the user is concerns the cloud alone.
net::Headers upgrade_headers(const net::Headers& from) {
  net::Headers out;
  for (const auto& [name, value] : from) {
    const std::string key = base::lower(name);
    if (key == "connection" || key == "upgrade" || key == "x-stream-protocol-version" || key.starts_with("sec-websocket-")) out.emplace_back(name, value);
  }
  return out;
}

}  // namespace

struct TunnelServer::Impl : std::enable_shared_from_this<TunnelServer::Impl> {
  // One node's tunnel.
  struct Tunnel {
    NodeId node;
    std::int64_t certified_s = 0;
    std::unique_ptr<net::WebSocket> socket;
    std::uint64_t window = 0;        // what the edge takes of each stream at first; 0 = it knows no windows
    TunnelStreams table;
    std::map<std::uint64_t, std::shared_ptr<Relay>> relays;

    void send(std::uint64_t id, TunnelType type, std::string_view data) {
      if (socket) socket->send(Bytes(wire::encode_tunnel(id, type, data)));
    }
  };

  class RelayEnd final : public RelayTunnel {
   public:
    RelayEnd(std::weak_ptr<Tunnel> tunnel, std::uint64_t id) : tunnel_(std::move(tunnel)), id_(id) {}
    std::size_t room() const override {
      const auto tunnel = tunnel_.lock();
      return !tunnel || !tunnel->socket || tunnel->socket->queued_bytes() > kMaxQueued ? 0 : tunnel->table.room(id_);
    }
    void to_node(std::string_view data) override {
      const auto tunnel = tunnel_.lock();
      if (!tunnel) return;
      tunnel->table.sent(id_, data.size());
      tunnel->send(id_, TunnelType::kData, data);
    }
    void consumed(std::size_t bytes) override {
      const auto tunnel = tunnel_.lock();
      if (!tunnel) return;
      if (const std::uint64_t credit = tunnel->table.consumed(id_, bytes); credit > 0) tunnel->send(id_, TunnelType::kWindow, wire::encode_credit(credit));
    }
    void over(bool tell_node) override {
      const auto tunnel = tunnel_.lock();
      if (!tunnel) return;
      if (tell_node) tunnel->send(id_, TunnelType::kRemove, "");
      tunnel->table.remove(id_);
      tunnel->relays.erase(id_);
    }

   private:
    std::weak_ptr<Tunnel> tunnel_;
    std::uint64_t id_;
  };
  using TunnelPtr = std::shared_ptr<Tunnel>;

  Impl(const Runtime& r, TunnelServerOptions o) : runtime(r), options(std::move(o)) {}

  Runtime runtime;
  TunnelServerOptions options;
  std::unique_ptr<net::HttpServer> server;
  std::map<NodeId, TunnelPtr> tunnels;
  std::uint64_t last_id = 0;
  bool stopped = false;

  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "cloudstream", format, std::forward<A>(args)...);
  }

  // ---- tunnels

  void refuse_tunnel(net::HttpResponder& responder, int status, const std::string& why) {
    say(LogLevel::kWarning, "tunnel from {} refused: {}", responder.peer_address(), why);
    responder.reply(status, {{"Content-Type", "text/plain; charset=utf-8"}, {"Connection", "close"}}, Bytes(why + "\n"));
  }

  void on_request(const net::HttpRequest& request, const std::shared_ptr<net::HttpResponder>& responder) {
    if (request.path() != wire::kTunnelPath) return refuse_tunnel(*responder, 404, "this port takes stream tunnels only");
    const std::string node{net::header(request.headers, wire::kTunnelNodeHeader)};
    const auto certificate = responder->peer_certificate();
    if (node.empty() || !certificate || certificate->common_name != "system:node:" + node)
      return refuse_tunnel(*responder, 403, fmt::format("{} is not the certificate's {}", wire::kTunnelNodeHeader, certificate ? certificate->common_name : "node"));
    const auto facts = pki::parse_certificate(certificate->der);
    if (!facts) return refuse_tunnel(*responder, 403, facts.error().message);
    if (options.revoked && options.revoked(NodeId(node), facts->not_before)) return refuse_tunnel(*responder, 403, "this certificate of node " + node + " was revoked");
    if (!tunnels.contains(NodeId(node)) && tunnels.size() >= options.node_limit)
      return refuse_tunnel(*responder, 503, fmt::format("node limit of {} tunnels reached", options.node_limit));
    net::WebSocketOptions socket_options;
    socket_options.max_message_bytes = wire::kMaxTunnelMessage;
    socket_options.validate_utf8 = false;   // upstream sends binary in TEXT
    auto socket = net::websocket_accept(runtime, request, responder, socket_options);
    if (!socket) return;
    auto tunnel = std::make_shared<Tunnel>();
    tunnel->node = NodeId(node);
    tunnel->certified_s = facts->not_before;
    tunnel->socket = std::move(socket);
    if (const auto window = base::to_int(net::header(request.headers, wire::kTunnelWindowHeader)); window && *window > 0)
      tunnel->window = static_cast<std::uint64_t>(*window);
    open(tunnel);
  }

  void open(const TunnelPtr& tunnel) {
    if (const auto old = tunnels.find(tunnel->node); old != tunnels.end()) drop(old->second, "replaced by a newer tunnel");
    tunnels[tunnel->node] = tunnel;
    const std::weak_ptr<Impl> weak = weak_from_this();
    const std::weak_ptr<Tunnel> weak_tunnel = tunnel;
    net::WebSocket::Handlers events;
    events.on_message = [weak, weak_tunnel](const Bytes& text) {
      const auto self = weak.lock();
      const auto here = weak_tunnel.lock();
      if (self && here && here->socket) self->received(here, text);
    };
    events.on_closed = [weak, weak_tunnel](const Error& error) {
      const auto self = weak.lock();
      const auto here = weak_tunnel.lock();
      if (self && here) self->drop(here, error.message);
    };
    events.on_drained = [weak_tunnel] {
      const auto here = weak_tunnel.lock();
      if (!here) return;
      for (const std::uint64_t id : here->table.ids()) give_room(here, id);
    };
    tunnel->socket->start(std::move(events));
    say(LogLevel::kInfo, "node {}: stream tunnel from {}", tunnel->node.str(), tunnel->socket->peer_address());
    if (options.on_connected) options.on_connected(tunnel->node);
  }

  void drop(const TunnelPtr& tunnel, const std::string& why) {
    const auto held = tunnel;   // the map may have the last one
    if (!held->socket) return;
    if (const auto found = tunnels.find(held->node); found != tunnels.end() && found->second == held) tunnels.erase(found);
    held->socket->close(1000, why.substr(0, 100));
    // We may be inside one of its handlers.
    runtime::post(runtime, [socket = std::shared_ptr<net::WebSocket>(std::move(held->socket))] {});
    const auto relays = std::exchange(held->relays, {});
    for (const auto& [id, relay] : relays) relay->on_lost(why);
    say(LogLevel::kInfo, "node {}: stream tunnel ended: {}", held->node.str(), why);
  }

  // ---- messages

  static std::shared_ptr<Relay> relay_of(const TunnelPtr& tunnel, std::uint64_t id) {
    const auto found = tunnel->relays.find(id);
    return found == tunnel->relays.end() ? nullptr : found->second;
  }

  static void give_room(const TunnelPtr& tunnel, std::uint64_t id) {
    if (const auto relay = relay_of(tunnel, id)) relay->on_room();
  }

  void received(const TunnelPtr& tunnel, const Bytes& text) {
    const auto message = wire::decode_tunnel(text);
    if (!message) return say(LogLevel::kWarning, "node {}: {}", tunnel->node.str(), message.error().message);
    const auto relay = relay_of(tunnel, message->id);
    if (!relay) return;   // crossed our kRemove
    switch (message->type) {
      case TunnelType::kData:
        if (tunnel->table.received(message->id, message->data.size()) == TunnelStreams::Taken::kTooMuch) {
          say(LogLevel::kWarning, "node {}: a stream is cut: its user does not read", tunnel->node.str());
          return relay->on_lost("the user does not read");
        }
        return relay->on_data(message->data);
      case TunnelType::kRemove: return relay->on_removed();
      case TunnelType::kWindow: {
        const auto bytes = wire::decode_credit(message->data);
        if (!bytes || !tunnel->table.credited(message->id, *bytes)) return relay->on_lost("the node sent a window that does not fit");
        return give_room(tunnel, message->id);
      }
      default: say(LogLevel::kWarning, "node {}: tunnel message of type {} from an edge", tunnel->node.str(), static_cast<std::uint64_t>(message->type));
    }
  }

  // ---- streams

  void relay(const NodeId& node, NodeCall call, std::shared_ptr<net::HttpResponder> responder, const Refuse& refuse) {
    const auto found = tunnels.find(node);
    if (found == tunnels.end()) return refuse(*responder, 503, fmt::format("node \"{}\" is not connected: it has no stream tunnel to this cloud", node.str()));
    const TunnelPtr tunnel = found->second;
    const std::uint64_t id = ++last_id;
    if (!tunnel->table.add(id, tunnel->window))
      return refuse(*responder, 429, fmt::format("node \"{}\" has {} streams already", node.str(), TunnelStreams::kMaxStreams));
    wire::TunnelConnect connect;
    connect.id = id;
    connect.method = std::move(call.method);
    connect.path = std::move(call.path);
    connect.query = std::move(call.query);
    connect.window = tunnel->window > 0 ? TunnelStreams::kWindow : 0;
    const TunnelType type = call.kind == NodeCall::Kind::kAttach ? TunnelType::kAttach : TunnelType::kExec;
    // A kubelet ends the connection after a log, so that the edge ends the stream.
    connect.headers = call.kind == NodeCall::Kind::kLogs ? net::Headers{{"Connection", "close"}} : upgrade_headers(call.headers);
    auto made = std::make_shared<Relay>(runtime, node.str(), std::move(responder), refuse, std::make_unique<RelayEnd>(tunnel, id));
    tunnel->relays[id] = made;
    tunnel->send(id, type, wire::encode_connect(type, connect));
    made->start();
  }
};

TunnelServer::TunnelServer(const Runtime& runtime, TunnelServerOptions options) : impl_(std::make_shared<Impl>(runtime, std::move(options))) {}
TunnelServer::~TunnelServer() { stop(); }

Result<void> TunnelServer::start() {
  net::ListenOptions listen;
  listen.tls = server_tls(impl_->options.server, impl_->options.ca.certificate_der, net::TlsConfig::Peer::kRequire);
  auto server = net::HttpServer::listen(impl_->runtime, impl_->options.listen, std::move(listen), {},
                                        [weak = std::weak_ptr<Impl>(impl_)](const net::HttpRequest& request, const std::shared_ptr<net::HttpResponder>& responder) {
                                          if (const auto self = weak.lock()) self->on_request(request, responder);
                                        });
  if (!server) return server.error().in("CloudStream");
  impl_->server = std::move(*server);
  return {};
}

void TunnelServer::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->server.reset();
  while (!impl_->tunnels.empty()) impl_->drop(impl_->tunnels.begin()->second, "the cloud stops");
}

std::uint16_t TunnelServer::port() const { return impl_->server ? impl_->server->local().port : std::uint16_t{0}; }
bool TunnelServer::connected(const NodeId& node) const { return impl_->tunnels.contains(node); }

void TunnelServer::disconnect(const NodeId& node, const std::string& why) {
  if (const auto found = impl_->tunnels.find(node); found != impl_->tunnels.end()) impl_->drop(found->second, why);
}

void TunnelServer::drop_revoked(const NodeId& node) {
  const auto found = impl_->tunnels.find(node);
  if (found != impl_->tunnels.end() && impl_->options.revoked && impl_->options.revoked(node, found->second->certified_s))
    disconnect(node, "its certificate was revoked");
}

void TunnelServer::relay(const NodeId& node, NodeCall call, std::shared_ptr<net::HttpResponder> responder, Refuse refuse) {
  impl_->relay(node, std::move(call), std::move(responder), refuse);
}

}  // namespace kubeedge::cloud
