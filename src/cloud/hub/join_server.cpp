#include "cloud/hub/join_server.h"

#include <map>

#include "base/json.h"
#include "base/peer_log.h"
#include "base/text.h"
#include "cloud/ports/server_tls.h"

namespace kubeedge::cloud {

namespace {
constexpr std::size_t kMaxUsages = 10;
const kube::Resource kNodes{"", "v1", "nodes"};
}  // namespace

struct JoinServer::Impl : std::enable_shared_from_this<JoinServer::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c, EdgeLink& l, SyncRecords& s, Revocations& v, JoinOptions o,
       unique_function<void(const NodeId&, const std::string&)> d)
      : runtime(r), client(c), link(l), records(s), revocations(v), options(std::move(o)), disconnect(std::move(d)), peers(r.log(), r.clock(), "join") {}
  Runtime runtime;
  kube::KubeClient& client;
  EdgeLink& link;
  SyncRecords& records;
  Revocations& revocations;
  JoinOptions options;
  unique_function<void(const NodeId&, const std::string&)> disconnect;
  std::unique_ptr<net::HttpServer> server;
  base::PeerLog peers;
  std::uint64_t signed_by_token = 0, signed_by_certificate = 0;
  std::map<int, std::uint64_t> refused;   // by HTTP status

  using Responder = std::shared_ptr<net::HttpResponder>;

  static void text(const Responder& responder, int status, const std::string& body) {
    responder->reply(status, {{"Content-Type", "text/plain; charset=utf-8"}}, Bytes(body));
  }
  void refuse(const Responder& responder, int status, const std::string& node, const std::string& why) {
    ++refused[status];
    peers.warn({node, {}}, "join from {} refused: {}", responder->peer_address(), why);
    text(responder, status, why + "\n");
  }

  void on_request(net::HttpRequest request, Responder responder) {
    peers.flush();
    const std::string path = request.path();
    if (path == "/ca.crt" || path == "/edge.crt" || path.starts_with("/node/")) {
      if (request.method != "GET") return text(responder, 405, "only GET is served here\n");
      if (path == "/ca.crt")
        return responder->reply(200, {{"Content-Type", "application/octet-stream"}}, Bytes(options.ca.certificate_der));
      if (path == "/edge.crt") return edge_certificate(std::move(request), std::move(responder));
      return node_known(path.substr(6), std::move(responder));
    }
    if (path == "/nodeupgrade" || path.starts_with("/task/")) return text(responder, 501, "node tasks are not served by this cloud\n");
    text(responder, 404, "404 page not found\n");
  }

  void node_known(const std::string& encoded, Responder responder) {
    const auto name = base::percent_decode(encoded);
    if (!name || name->empty() || name->find('/') != std::string::npos) return text(responder, 404, "Node not found");
    client.get(kNodes, "", *name, [responder](kube::ApiResult<Bytes> got) {
      if (got) return text(responder, 200, "Node founded");   // upstream's spelling, keadm compares nothing but the status
      if (got.error().code == 404) return text(responder, 404, "Node not found");
      text(responder, 500, got.error().message);
    });
  }

  Result<std::vector<int>> usages(const net::HttpRequest& request) const {
    const std::string text{net::header(request.headers, "ExtKeyUsages")};
    if (text.empty()) return std::vector<int>{2};
    const auto json = base::parse_json(text);
    if (!json.is_array() || json.empty() || json.size() > kMaxUsages) return base::error(Errc::kInvalidArgument, "header ExtKeyUsages is no list of numbers");
    std::vector<int> list;
    for (const auto& one : json) {
      // An edge may authenticate itself and serve; it may not sign code or mail in the CA's name.
      if (!one.is_number_integer() || (one.get<int>() != 1 && one.get<int>() != 2))
        return base::error(Errc::kInvalidArgument, "header ExtKeyUsages: only 1 (server) and 2 (client) are signed");
      list.push_back(one.get<int>());
    }
    return list;
  }

  void edge_certificate(net::HttpRequest request, Responder responder) {
    const std::string node{net::header(request.headers, "NodeName")};
    const std::int64_t now_s = runtime.clock().unix_ms() / 1000;
    if (node.empty()) return refuse(responder, 400, "?", "header NodeName is missing");
    if (request.body.size() > kMaxCsrBytes) return refuse(responder, 413, node, "the request is larger than 1 MiB");
    const std::string identity = "system:node:" + node;
    const auto certificate = responder->peer_certificate();
    const bool by_token = !certificate.has_value();
    if (certificate) {
      if (auto verified = pki::verify_client_certificate(options.ca.certificate_der, certificate->der, now_s); !verified)
        return refuse(responder, 401, node, "client certificate: " + verified.error().message);
      const std::string organization = certificate->organizations.empty() ? std::string() : certificate->organizations.front();
      const bool is_node = organization == "system:nodes" && certificate->common_name == identity;
      const bool is_upstream_tool = organization == "KubeEdge" && certificate->common_name == "kubeedge.io";
      if (!is_node && !is_upstream_tool) return refuse(responder, 401, node, "the client certificate belongs to " + certificate->common_name);
      const auto facts = pki::parse_certificate(certificate->der);
      if (!facts) return refuse(responder, 401, node, "client certificate: " + facts.error().message);
      if (is_node && revocations.revoked(NodeId(node), facts->not_before))
        return refuse(responder, 401, node, "this certificate was revoked: join again with a token");
    } else {
      const auto parts = base::split(net::header(request.headers, "Authorization"), ' ');
      if (parts.size() != 2) return refuse(responder, 401, node, "neither a client certificate nor a token was given");
      if (auto verified = pki::verify_jwt(parts[1], options.ca.key_sec1_der, now_s); !verified) return refuse(responder, 401, node, verified.error().message);
    }
    auto csr = pki::parse_csr(request.body);
    if (!csr) return refuse(responder, 400, node, "certificate request: " + csr.error().message);
    if (csr->common_name != identity) return refuse(responder, 403, node, "the certificate request is for " + csr->common_name + ", not for " + identity);
    if (csr->organizations.size() != 1 || csr->organizations.front() != "system:nodes")
      return refuse(responder, 403, node, "the certificate request's organization must be system:nodes");
    auto usage = usages(request);
    if (!usage) return refuse(responder, 400, node, usage.error().message);
    const NodeId id(node);
    if (by_token && link.connected(id)) {
      if (net::header(request.headers, "X-Takeover").empty())
        return refuse(responder, 409, node, "node " + node + " is connected; join under another name, or take it over explicitly");
      if (disconnect) disconnect(id, "taken over by a join with a token");
    }
    auto signed_der = pki::sign_csr(options.ca, request.body, *usage, now_s, std::int64_t{options.edge_certificate_days} * 86'400);
    if (!signed_der) return refuse(responder, 500, node, signed_der.error().message);
    ++(by_token ? signed_by_token : signed_by_certificate);
    base::log(runtime.log(), LogLevel::kInfo, "join", "node {} from {}: certificate signed ({})", node, responder->peer_address(), by_token ? "token" : "rotation");
    auto reply = [responder, der = std::move(*signed_der)] {
      responder->reply(200, {{"Content-Type", "application/octet-stream"}}, Bytes(der));
    };
    if (!by_token) return reply();
    revocations.revoke(id, now_s, [weak = weak_from_this(), id, responder, reply = std::move(reply)](Result<void> revoked) mutable {
      auto self = weak.lock();
      if (!self) return;
      if (!revoked) return self->refuse(responder, 503, id.str(), revoked.error().message);
      // A joining machine may have an empty store: what the records say of the name's last owner does not hold.
      self->records.reset(id, std::move(reply));
    });
  }
};

JoinServer::JoinServer(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, SyncRecords& records, Revocations& revocations, JoinOptions options,
                       unique_function<void(const NodeId&, const std::string&)> disconnect)
    : impl_(std::make_shared<Impl>(runtime, client, link, records, revocations, std::move(options), std::move(disconnect))) {}

JoinServer::~JoinServer() = default;

Result<void> JoinServer::start() {
  net::ListenOptions listen;
  // Judged per request, with a reason in the answer.
  listen.tls = server_tls(impl_->options.server, impl_->options.ca.certificate_der, net::TlsConfig::Peer::kRequestUnverified);
  net::HttpLimits limits;
  limits.max_body_bytes = kMaxCsrBytes;
  std::weak_ptr<Impl> weak = impl_;
  auto server = net::HttpServer::listen(impl_->runtime, impl_->options.listen, std::move(listen), limits,
                                        [weak](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
                                          if (auto self = weak.lock()) self->on_request(std::move(request), std::move(responder));
                                        });
  if (!server) return server.error().in("join server");
  impl_->server = std::move(*server);
  return {};
}

void JoinServer::stop() { impl_->server.reset(); }

void JoinServer::collect(base::MetricsPage& page) const {
  const char* help = "Edge certificates signed, by what the edge showed";
  page.counter("kubeedge_join_certificates_signed_total", help, impl_->signed_by_token, {{"by", "token"}});
  page.counter("kubeedge_join_certificates_signed_total", help, impl_->signed_by_certificate, {{"by", "certificate"}});
  for (const auto& [status, count] : impl_->refused)
    page.counter("kubeedge_join_refused_total", "Joins refused, by HTTP status", count, {{"code", std::to_string(status)}});
}

std::uint16_t JoinServer::port() const { return impl_->server ? impl_->server->local().port : std::uint16_t{0}; }

}  // namespace kubeedge::cloud
