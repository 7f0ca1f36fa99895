#include "cloud/router/router.h"

#include <algorithm>
#include <map>

#include "base/peer_log.h"
#include "base/text.h"
#include "cloud/router/router_core.h"
#include "cloud/router/rule_status.h"
#include "kube/client/informer.h"
#include "net/addresses.h"
#include "net/url.h"
#include "pki/pki.h"
#include "runtime/timer.h"
#include "wire/validated_json.h"

namespace kubeedge::cloud {

namespace {

const kube::Resource kRules{"rules.kubeedge.io", "v1", "rules"};
const kube::Resource kEndpoints{"rules.kubeedge.io", "v1", "ruleendpoints"};
const kube::Resource kNodes{"", "v1", "nodes"};
const char* const kHopHeader = "Kubeedge-Router-Hop";   // one cloudcore asks another at most once
constexpr std::size_t kMaxOrigins = 1'000;              // kept-alive clients of REST targets
constexpr std::size_t kConnectionsPerOrigin = 16;
constexpr Milliseconds kForwardSlack{5'000};            // the other cloudcore's time-out comes first

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

}  // namespace

struct Router::Impl : std::enable_shared_from_this<Router::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c, EdgeLink& l, RouterConfig o)
      : runtime(r), client(c), link(l), options(std::move(o)), core(options.rest_timeout), peers(r.log(), r.clock(), "router"), timer(r) {}

  struct Waiting {
    net::HttpRequest request;
    std::shared_ptr<net::HttpResponder> responder;
  };

  Runtime runtime;
  kube::KubeClient& client;
  EdgeLink& link;
  RouterConfig options;
  RouterCore core;
  RuleStatus status;
  base::PeerLog peers;
  runtime::Timer timer;
  std::unique_ptr<net::HttpServer> server;
  std::vector<std::unique_ptr<kube::Informer>> informers;
  int unsynced = 2;
  std::uint64_t next_request = 1;
  std::map<std::uint64_t, Waiting> requests;
  struct Target {
    std::unique_ptr<net::HttpClient> client;
    std::size_t busy = 0;
  };
  std::map<std::string, Target> targets;   // by origin
  std::map<std::uint64_t, std::unique_ptr<net::HttpCall>> forwards;  // to other cloudcores
  bool run_posted = false, stopped = false;

  Milliseconds now() const { return runtime.clock().steady(); }
  std::int64_t unix_ms() const { return runtime.clock().unix_ms(); }
  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "router", format, std::forward<A>(args)...);
  }
  // A callback that does nothing once we are gone.
  template <class F>
  auto safe(F f) {
    return [weak = weak_from_this(), f = std::move(f)](auto&&... args) mutable {
      if (auto self = weak.lock(); self && !self->stopped) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  // ---- the core's loop: events are handed over as they come, what they lead to is done once in a turn.
  void soon() {
    if (std::exchange(run_posted, true)) return;
    runtime::post(runtime, safe([](Impl& self) {
      self.run_posted = false;
      self.run();
    }));
  }

  void run() {
    core.on_time(now());
    for (auto& action : core.take(unix_ms())) std::visit([this](auto& one) { act(one); }, action);
    for (auto& patch : status.due(core.table(), now())) store(std::move(patch));
    auto next = core.next_deadline();
    if (const auto due = status.next_deadline(); due && (!next || *due < *next)) next = due;
    if (!next) return timer.cancel();
    timer.start(std::max(Milliseconds{1}, *next - now()), safe([](Impl& self) { self.run(); }));
  }

  void act(RouterCore::Reply& reply) { answer(reply.request, reply.status, std::move(reply.headers), Bytes(std::move(reply.body))); }
  void act(RouterCore::Send& send) { link.send(send.node, std::move(send.message)); }
  void act(RouterCore::Count& count) { status.count(count.rule, count.error); }
  void act(RouterCore::Lost& lost) {
    peers.warn({lost.node.str(), lost.topic}, "rule {}: an upload is lost: {}", lost.rule.str(), lost.why);
  }
  void act(RouterCore::Problem& problem) {
    if (!problem.text.empty()) say(LogLevel::kWarning, "rule {}: {}", problem.rule.str(), problem.text);
    status.problem(problem.rule, problem.text);
  }
  void act(RouterCore::Locate& locate) { find_node(locate.request, locate.node); }
  void act(RouterCore::Post& post) {
    const auto url = net::parse_url(post.url);
    auto target = url ? target_of(*url) : Result<Target*>(url.error());
    if (!target) return done(post.id, std::move(target).error());
    net::HttpRequest request{"POST", url->target, {{"NodeName", post.node.str()}}, post.body};
    ++(*target)->busy;
    (*target)->client->fetch(std::move(request), safe([id = post.id, for_app = post.for_app, origin = url->origin()](Impl& self, Result<net::HttpResponse> result) {
      --self.targets.at(origin).busy;
      if (!result) return self.done(id, std::move(result).error());
      if (result->cut && for_app) return self.done(id, base::error(Errc::kLimitExceeded, "the target's answer is over {} bytes", kMaxTargetAnswer));
      self.done(id, wire::HttpAnswer{std::move(result->headers), result->status, result->body.str()});
    }));
  }
  void done(std::uint64_t id, Result<wire::HttpAnswer> result) {
    core.on_posted(id, result, now());
    soon();
  }

  Result<Target*> target_of(const net::Url& url) {
    if (const auto known = targets.find(url.origin()); known != targets.end()) return &known->second;
    if (targets.size() >= kMaxOrigins) std::erase_if(targets, [](const auto& entry) { return entry.second.busy == 0; });
    if (targets.size() >= kMaxOrigins) return base::error(Errc::kLimitExceeded, "more than {} servers are called at once", kMaxOrigins);
    net::HttpClientOptions http;
    http.limits.max_body_bytes = kMaxTargetAnswer;
    http.cut_body = true;   // whatever it says more, it has the upload
    http.timeout = kTargetTimeout;
    if (url.https) {
      http.dial.tls.emplace();
      http.dial.tls->ca_pem = options.target_ca_pem;
      if (http.dial.tls->ca_pem.empty()) {
        auto roots = net::system_roots();
        if (!roots) return std::move(roots).error();
        http.dial.tls->ca_pem = std::move(*roots);
      }
    }
    Target& target = targets[url.origin()];
    target.client = net::HttpClient::create(runtime, url.server, std::move(http), kConnectionsPerOrigin);
    return &target;
  }

  // ---- REST
  void on_request(net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    if (!options.token.empty() && !allowed(net::header(request.headers, "Authorization"))) {
      say(LogLevel::kWarning, "request from {} refused: no or another token", responder->peer_address());
      return responder->reply(401, {{"Content-Type", "text/plain; charset=utf-8"}, {"WWW-Authenticate", "Bearer"}}, Bytes("a token is asked for: Authorization: Bearer TOKEN\n"));
    }
    const std::uint64_t id = next_request++;
    RestRequest rest{request.method, request.target, request.headers, request.body};
    // What opens this door is no business of the node's.
    if (!options.token.empty()) std::erase_if(rest.headers, [](const auto& header) { return base::lower(header.first) == "authorization"; });
    responder->on_closed(safe([id](Impl& self) {
      self.requests.erase(id);
      self.forwards.erase(id);
      self.core.on_client_gone(id);
      self.soon();
    }));
    requests[id] = Waiting{std::move(request), std::move(responder)};
    core.on_request(id, std::move(rest), unix_ms(), now());
    soon();
  }

  bool allowed(std::string_view authorization) const { return pki::same_secret(authorization, "Bearer " + options.token); }

  void answer(std::uint64_t id, int code, net::Headers headers, Bytes body) {
    const auto found = requests.find(id);
    if (found == requests.end()) return;
    const auto responder = std::move(found->second.responder);
    requests.erase(found);
    responder->reply(code, std::move(headers), std::move(body));
  }
  void refuse(std::uint64_t id, int code, const std::string& why) {
    answer(id, code, {{"Content-Type", "text/plain; charset=utf-8"}}, Bytes(why + "\n"));
  }

  // The node has no session here. Its annotation names the cloudcore that had it last (hub-protocol 7.1).
  void find_node(std::uint64_t id, const NodeId& node) {
    client.get(kNodes, "", node.str(), safe([id, node](Impl& self, kube::ApiResult<Bytes> got) {
      if (!got && got.error().code == 404) return self.refuse(id, 404, "there is no node " + node.str());
      if (!got) return self.refuse(id, 503, "node " + node.str() + " is not connected, and the API did not answer: " + got.error().message);
      std::string other;
      if (auto json = wire::ValidatedJson::parse(*got)) other = json->string_at({"metadata", "annotations", "cloudcore"}).value_or("");
      const auto found = self.requests.find(id);
      if (found == self.requests.end()) return;
      const bool came_from_another = !net::header(found->second.request.headers, kHopHeader).empty();
      if (other.empty() || came_from_another || self.is_own(other)) return self.refuse(id, 503, "node " + node.str() + " is not connected");
      self.forward(id, other);
    }));
  }

  bool is_own(const std::string& address) const {
    const auto own = net::host_addresses();
    return is_loopback(address) || address == options.cloud_ip || std::find(own.begin(), own.end(), address) != own.end();
  }

  void forward(std::uint64_t id, const std::string& address) {
    const net::HttpRequest& original = requests.at(id).request;
    net::HttpRequest request{original.method, original.target, wire::end_to_end(original.headers), original.body};
    request.headers.emplace_back(kHopHeader, "1");
    net::HttpClientOptions http;
    http.timeout = options.rest_timeout + kForwardSlack;
    http.limits.max_body_bytes = kMaxRestBodyBytes;
    if (options.tls) {
      http.dial.tls.emplace();
      http.dial.tls->ca_pem = options.tls->ca_pem;
      http.dial.tls->server_name = address;
    }
    const net::Endpoint there{address, server->local().port};
    forwards[id] = net::http_fetch(runtime, there, std::move(request), std::move(http), safe([id, address](Impl& self, Result<net::HttpResponse> result) {
      runtime::post(self.runtime, [call = std::move(self.forwards[id])] {});   // we are inside its callback
      self.forwards.erase(id);
      if (!result) return self.refuse(id, 502, "cloudcore " + address + " has the node and did not answer: " + result.error().message);
      self.answer(id, result->status, wire::end_to_end(result->headers), result->body);
    }));
  }

  // ---- the API
  void store(RuleStatus::Patch patch) {
    client.patch(kRules, patch.rule.ns, patch.rule.name, "", kube::PatchType::kMerge, patch.merge_patch,
                 safe([rule = patch.rule](Impl& self, kube::ApiResult<Bytes> result) {
                   if (result) {
                     (void)self.core.on_rule(*result);   // the counts as they are now, before the watch tells them
                     self.status.stored(rule);
                   } else if (result.error().code == 404) {
                     self.status.forget(rule);
                   } else {
                     if (result.error().code != 409) self.say(LogLevel::kWarning, "rule {}: status not stored: {}", rule.str(), result.error().message);
                     self.status.failed(rule);
                   }
                   self.soon();
                 }));
  }

  void watch(const kube::Resource& resource, Result<void> (RouterCore::*upsert)(const Bytes&), void (RouterCore::*gone)(const Bytes&)) {
    kube::Informer::Handlers handlers;
    handlers.on_upsert = safe([upsert](Impl& self, const Bytes& object) {
      if (auto put = (self.core.*upsert)(object); !put) self.say(LogLevel::kWarning, "{}", put.error().message);
      self.soon();
    });
    handlers.on_delete = safe([gone](Impl& self, const Bytes& object) {
      (self.core.*gone)(object);
      self.soon();
    });
    handlers.on_synced = safe([first = true](Impl& self) mutable {
      if (!std::exchange(first, false) || --self.unsynced > 0) return;
      self.core.on_synced();
      self.soon();
    });
    informers.push_back(std::make_unique<kube::Informer>(runtime, client, resource, kube::ListOptions{}, std::move(handlers)));
    informers.back()->start();
  }
};

Router::Router(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, RouterConfig config)
    : impl_(std::make_shared<Impl>(runtime, client, link, std::move(config))) {}

Router::~Router() { stop(); }

Result<void> Router::start() {
  net::ListenOptions listen;
  listen.tls = impl_->options.tls;
  listen.max_connections = kMaxRestConnections;
  net::HttpLimits limits;
  limits.max_body_bytes = kMaxRestBodyBytes;
  limits.max_buffered_bytes = kMaxRestBuffers;
  auto server = net::HttpServer::listen(impl_->runtime, impl_->options.listen, std::move(listen), limits,
                                        impl_->safe([](Impl& self, net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
                                          self.on_request(std::move(request), std::move(responder));
                                        }));
  if (!server) return server.error().in("Router");
  impl_->server = std::move(*server);
  const net::Endpoint at = impl_->server->local();
  impl_->say(LogLevel::kInfo, "REST endpoint {}://{}:{}{}", impl_->options.tls ? "https" : "http", at.host, at.port, impl_->options.token.empty() ? "" : ", callers need the token");
  if (impl_->options.token.empty() && !is_loopback(at.host))
    impl_->say(LogLevel::kWarning, "whoever reaches {}:{} can call services on the nodes: set modules.router.tokenFile, or listen on 127.0.0.1", at.host, at.port);
  impl_->watch(kEndpoints, &RouterCore::on_endpoint, &RouterCore::on_endpoint_gone);
  impl_->watch(kRules, &RouterCore::on_rule, &RouterCore::on_rule_gone);
  return {};
}

void Router::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->timer.cancel();
  impl_->informers.clear();
  impl_->forwards.clear();
  impl_->targets.clear();
  impl_->requests.clear();
  impl_->server.reset();
}

std::uint16_t Router::port() const { return impl_->server ? impl_->server->local().port : std::uint16_t{0}; }

void Router::on_message(const NodeId& node, Message message) {
  impl_->core.on_message(node, message, impl_->unix_ms(), impl_->now());
  impl_->soon();
}

void Router::on_connected(const NodeId& node) {
  impl_->core.on_connected(node, impl_->link.confirms(node));
  impl_->soon();
}

void Router::on_disconnected(const NodeId& node) {
  impl_->core.on_disconnected(node);
  impl_->soon();
}

}  // namespace kubeedge::cloud
