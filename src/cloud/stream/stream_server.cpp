#include "cloud/stream/stream_server.h"

#include <map>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "cloud/stream/tunnel_port.h"
#include "net/http.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

const kube::Resource kPods{"", "v1", "pods"};
const kube::Resource kNodes{"", "v1", "nodes"};
const kube::Resource kConfigMaps{"", "v1", "configmaps"};

// Of a kubelet's answer a kube-apiserver shows its user the text of a 400 and of a 500; of others it makes words of its own.
void refuse(net::HttpResponder& responder, int status, const std::string& text) {
  if (status != 400 && status != 404) status = 500;
  responder.reply(status, {{"Content-Type", "text/plain; charset=utf-8"}}, Bytes(text));
}

std::string node_of(const Bytes& pod) {
  const nlohmann::json object = base::parse_json(pod);
  if (!object.is_object()) return "";
  const auto spec = object.find("spec");
  if (spec == object.end() || !spec->is_object()) return "";
  const auto node = spec->find("nodeName");
  return node != spec->end() && node->is_string() ? node->get<std::string>() : "";
}

}  // namespace

struct StreamServer::Impl : std::enable_shared_from_this<StreamServer::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c, NodeStreams& s, StreamServerOptions o) : runtime(r), client(c), streams(s), options(std::move(o)), timer(r) {}

  Runtime runtime;
  kube::KubeClient& client;
  NodeStreams& streams;
  StreamServerOptions options;
  std::unique_ptr<net::HttpServer> server;
  runtime::Timer timer;                          // until we have a tunnel port
  int tunnel_port = 0;
  std::set<NodeId> connected;                    // whose Node does not name it yet
  std::map<NodeId, std::unique_ptr<runtime::Timer>> retries;

  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "cloudstream", format, std::forward<A>(args)...);
  }

  // ---- requests

  void on_request(const net::HttpRequest& request, const std::shared_ptr<net::HttpResponder>& responder) {
    const auto path = base::percent_decode(request.path());
    const auto parts = path ? base::split(*path, '/') : std::vector<std::string>{};
    const std::string kind = parts.size() > 1 ? parts[1] : "";
    const bool logs = kind == "containerLogs" && parts.size() == 5 && request.method == "GET";
    const bool exec = (kind == "exec" || kind == "attach") && (parts.size() == 5 || parts.size() == 6);
    const bool forward = kind == "portForward" && (parts.size() == 4 || parts.size() == 5);
    if (!logs && !exec && !forward) return refuse(*responder, 404, "404 page not found");
    NodeCall call{logs ? NodeCall::Kind::kLogs : kind == "attach" ? NodeCall::Kind::kAttach : NodeCall::Kind::kExec, request.method, *path, request.query(), request.headers};
    if (!logs && net::header(request.headers, "Upgrade").empty()) return refuse(*responder, 400, "Upgrade request required");
    const std::string pod = parts[2] + "/" + parts[3];
    client.get(kPods, parts[2], parts[3], [weak = weak_from_this(), call = std::move(call), responder, pod](kube::ApiResult<Bytes> found) mutable {
      const auto self = weak.lock();
      if (!self) return;
      if (!found) return refuse(*responder, found.error().code == 404 ? 404 : 500, fmt::format("get pod {}: {}", pod, found.error().message));
      const std::string node = node_of(*found);
      if (node.empty()) return refuse(*responder, 400, fmt::format("pod {} does not have a host assigned", pod));
      self->streams.relay(NodeId(node), std::move(call), std::move(responder), refuse);
    });
  }

  // ---- the tunnel port

  void claim() {
    client.get(kConfigMaps, "kubeedge", "tunnelport", [weak = weak_from_this()](kube::ApiResult<Bytes> found) {
      const auto self = weak.lock();
      if (!self) return;
      if (!found && found.error().code != 404) return self->claim_later(found.error().message);
      const bool there = static_cast<bool>(found);
      const TunnelPortRecord record = claim_tunnel_port(there ? *found : Bytes(), self->options.cloud_ip, kFirstTunnelPort);
      if (!record.object) return self->have_port(record.port);
      auto written = [weak, port = record.port](kube::ApiResult<Bytes> done) {
        const auto again = weak.lock();
        if (again) done ? again->have_port(port) : again->claim_later(done.error().message);   // another cloudcore was first: look again
      };
      there ? self->client.update(kConfigMaps, "kubeedge", "tunnelport", "", Bytes(*record.object), std::move(written))
            : self->client.create(kConfigMaps, "kubeedge", "", "", Bytes(*record.object), std::move(written));
    });
  }

  void claim_later(const std::string& why) {
    say(LogLevel::kWarning, "ConfigMap kubeedge/tunnelport: {}", why);
    timer.start(kRetry, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->claim();
    });
  }

  void have_port(int port) {
    tunnel_port = port;
    say(LogLevel::kInfo, "kube-apiserver reaches the pods' logs at port {} of their nodes: its host must turn it to {} of this cloudcore", port, server->local().port);
    for (const NodeId& node : std::exchange(connected, {})) tell(node, 0);
  }

  void tell(const NodeId& node, int tries) {
    const nlohmann::json patch = {{"status", {{"daemonEndpoints", {{"kubeletEndpoint", {{"Port", tunnel_port}}}}}}}};
    client.patch(kNodes, "", node.str(), "status", kube::PatchType::kMerge, Bytes(base::dump_json(patch)), [weak = weak_from_this(), node, tries](kube::ApiResult<Bytes> done) {
      const auto self = weak.lock();
      if (!self) return;
      self->retries.erase(node);
      if (done) return;
      if (tries == kNodeTries) return self->say(LogLevel::kWarning, "node {}: its tunnel port was not set: {}", node.str(), done.error().message);
      auto& retry = self->retries[node] = std::make_unique<runtime::Timer>(self->runtime);
      retry->start(kNodeRetry, [weak, node, tries] {
        if (const auto again = weak.lock()) again->tell(node, tries + 1);
      });
    });
  }
};

StreamServer::StreamServer(const Runtime& runtime, kube::KubeClient& client, NodeStreams& streams, StreamServerOptions options)
    : impl_(std::make_shared<Impl>(runtime, client, streams, std::move(options))) {}
StreamServer::~StreamServer() { stop(); }

Result<void> StreamServer::start() {
  net::ListenOptions listen;
  listen.tls = impl_->options.tls;
  auto server = net::HttpServer::listen(impl_->runtime, impl_->options.listen, std::move(listen), {},
                                        [weak = std::weak_ptr<Impl>(impl_)](const net::HttpRequest& request, const std::shared_ptr<net::HttpResponder>& responder) {
                                          if (const auto self = weak.lock()) self->on_request(request, responder);
                                        });
  if (!server) return server.error().in("CloudStream");
  impl_->server = std::move(*server);
  impl_->claim();
  return {};
}

void StreamServer::stop() {
  impl_->timer.cancel();
  impl_->retries.clear();
  impl_->server.reset();
}

std::uint16_t StreamServer::port() const { return impl_->server ? impl_->server->local().port : std::uint16_t{0}; }

void StreamServer::node_connected(const NodeId& node) {
  if (!impl_->server) return;
  if (impl_->tunnel_port == 0) {
    impl_->connected.insert(node);
  } else {
    impl_->tell(node, 0);
  }
}

}  // namespace kubeedge::cloud
