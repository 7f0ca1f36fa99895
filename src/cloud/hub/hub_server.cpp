#include "cloud/hub/hub_server.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cloud/ports/server_tls.h"
#include "net/websocket.h"

namespace kubeedge::cloud {

namespace {

constexpr std::size_t kMaxStoreIdBytes = 64;

bool safe_node_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; });
}

}  // namespace

struct HubServer::Impl : std::enable_shared_from_this<HubServer::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c, SyncRecords& s, const Revocations& v, HubOptions o)
      : runtime(r), revocations(v), options(std::move(o)), sessions(r, c, s, options) {}

  Runtime runtime;
  const Revocations& revocations;
  HubOptions options;
  HubSessions sessions;
  std::unique_ptr<net::HttpServer> server;
  std::map<int, std::uint64_t> refused;      // by HTTP status

  // Limited by the name that the peer gives: one node in a loop does not hide what another one says.
  void refuse(const std::shared_ptr<net::HttpResponder>& responder, int status, const std::string& node, const std::string& why) {
    ++refused[status];
    sessions.peers().warn({node, {}}, "connection from {} refused: {}", responder->peer_address(), why);
    responder->reply(status, {{"Content-Type", "text/plain; charset=utf-8"}, {"Connection", "close"}}, Bytes(why + "\n"));
  }

  void on_request(net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    const std::string node{net::header(request.headers, "node_id")};
    const std::string use{net::header(request.headers, "ConnectionUse")};
    if (base::lower(net::header(request.headers, "Upgrade")) != "websocket") return refuse(responder, 400, node, "this port takes WebSocket upgrades only");
    if (use != "msg") return refuse(responder, 400, node, "header ConnectionUse must be msg");
    if (!safe_node_name(node)) return refuse(responder, 400, node, "header node_id is missing or no node name");
    const auto certificate = responder->peer_certificate();
    if (!certificate) return refuse(responder, 403, node, "no client certificate");
    if (certificate->common_name != "system:node:" + node)
      return refuse(responder, 403, node, "node_id " + node + " is not the certificate's " + certificate->common_name);
    const auto facts = pki::parse_certificate(certificate->der);
    if (!facts) return refuse(responder, 403, node, facts.error().message);
    if (revocations.revoked(NodeId(node), facts->not_before))
      return refuse(responder, 403, node, "this certificate of node " + node + " was revoked: join again with a token");
    const bool known = sessions.connected(NodeId(node));
    if (!known && sessions.size() >= options.node_limit)
      return refuse(responder, 503, node, fmt::format("node limit of {} sessions reached", options.node_limit));
    std::string store_id{net::header(request.headers, kStoreIdHeader)};
    if (store_id.size() > kMaxStoreIdBytes) return refuse(responder, 400, node, "header Kubeedge-Store-Id is too long");

    auto socket = net::websocket_accept(runtime, request, responder, {});
    if (!socket) return;
    sessions.open(NodeId(node), facts->not_before, std::move(store_id), std::move(socket));
  }
};

HubServer::HubServer(const Runtime& runtime, kube::KubeClient& client, SyncRecords& records, const Revocations& revocations, HubOptions options)
    : impl_(std::make_shared<Impl>(runtime, client, records, revocations, std::move(options))) {}

HubServer::~HubServer() { stop(); }

void HubServer::attach(HubSinks sinks) { impl_->sessions.attach(std::move(sinks)); }

Result<void> HubServer::start() {
  net::ListenOptions listen;
  listen.tls = server_tls(impl_->options.server, impl_->options.ca.certificate_der, net::TlsConfig::Peer::kRequire);
  // Room beyond the node limit: for newer connections of nodes that are here, and to tell the others why not.
  listen.max_connections = std::max(listen.max_connections, impl_->options.node_limit + impl_->options.node_limit / 4);
  std::weak_ptr<Impl> weak = impl_;
  auto server = net::HttpServer::listen(impl_->runtime, impl_->options.listen, std::move(listen), {},
                                        [weak](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
                                          if (auto self = weak.lock()) self->on_request(std::move(request), std::move(responder));
                                        });
  if (!server) return server.error().in("CloudHub");
  impl_->server = std::move(*server);
  impl_->sessions.start();
  return {};
}

void HubServer::stop() {
  impl_->server.reset();
  impl_->sessions.stop();
}

std::uint16_t HubServer::port() const { return impl_->server ? impl_->server->local().port : std::uint16_t{0}; }

bool HubServer::connected(const NodeId& node) const { return impl_->sessions.connected(node); }
std::vector<NodeId> HubServer::connected_nodes() const { return impl_->sessions.connected_nodes(); }
void HubServer::send(const NodeId& node, Message message) { impl_->sessions.send(node, std::move(message)); }
bool HubServer::confirms(const NodeId& node) const { return impl_->sessions.confirms(node); }
void HubServer::node_deleted(const NodeId& node) { impl_->sessions.node_deleted(node); }
void HubServer::disconnect(const NodeId& node, const std::string& why) { impl_->sessions.disconnect(node, why); }

void HubServer::drop_revoked(const NodeId& node) {
  if (const auto since = impl_->sessions.certified(node); since && impl_->revocations.revoked(node, *since)) disconnect(node, "its certificate was revoked");
}

void HubServer::collect(base::MetricsPage& page) const {
  impl_->sessions.collect(page);
  for (const auto& [status, count] : impl_->refused)
    page.counter("kubeedge_cloudhub_refused_connections_total", "Upgrades refused, by HTTP status", count, {{"code", std::to_string(status)}});
}

}  // namespace kubeedge::cloud
