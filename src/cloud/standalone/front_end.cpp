#include "cloud/standalone/front_end.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "cloud/ports/server_tls.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

std::int64_t watch_seconds(std::string_view query) {
  for (const std::string& pair : base::split(query, '&')) {
    if (!pair.starts_with("timeoutSeconds=")) continue;
    if (const auto seconds = base::to_int(pair.substr(15)); seconds && *seconds > 0) return std::min(*seconds, FrontEnd::kMostWatchSeconds);
  }
  return FrontEnd::kDefaultWatchSeconds;
}

// The core's answers onto one HTTP exchange.
class HttpAnswer final : public kube::ApiResponder, public std::enable_shared_from_this<HttpAnswer> {
 public:
  HttpAnswer(const Runtime& runtime, std::shared_ptr<net::HttpResponder> http, std::int64_t seconds)
      : http_(std::move(http)), timer_(runtime), seconds_(seconds) {}

  void reply(int status, std::string content_type, Bytes body) override {
    http_->reply(status, {{"Content-Type", std::move(content_type)}, {"Cache-Control", "no-cache, private"}}, std::move(body));
  }
  void begin_stream(std::string content_type) override {
    http_->begin(200, {{"Content-Type", std::move(content_type)}, {"Cache-Control", "no-cache, private"}});
    timer_.start(std::chrono::seconds(seconds_), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->leave([&] { self->http_->end(); });
    });
  }
  void stream(Bytes line) override {
    if (left_) return;
    if (http_->queued_bytes() > FrontEnd::kMaxQueuedWatchBytes) {
      leave([this] { http_->abort(); });
      return;
    }
    http_->chunk(std::move(line));
  }
  void end_stream() override {
    if (left_) return;
    left_ = true;
    timer_.cancel();
    http_->end();
  }
  void on_closed(unique_function<void()> gone) override {
    gone_ = std::move(gone);
    http_->on_closed([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->leave([] {});
    });
  }

 private:
  // Ends our side of a watch: the core must not keep it.
  template <class How>
  void leave(How how) {
    if (left_) return;
    const auto keep = shared_from_this();
    left_ = true;
    timer_.cancel();
    how();
    if (unique_function<void()> gone = std::move(gone_)) gone();
  }

  std::shared_ptr<net::HttpResponder> http_;
  runtime::Timer timer_;
  std::int64_t seconds_;
  unique_function<void()> gone_;
  bool left_ = false;
};

// In whose place the client acts (`kubectl --as`); nothing when it says nothing of it.
Result<std::optional<kube::UserInfo>> wanted_identity(const net::Headers& headers) {
  kube::UserInfo as;
  bool more = false;   // something beside the name
  for (const auto& [key, value] : headers) {
    const std::string name = base::lower(key);
    if (!name.starts_with("impersonate-")) continue;
    if (name == "impersonate-user") as.name = value;
    else if (name == "impersonate-group") as.groups.push_back(value);
    else if (name == "impersonate-uid") as.uid = value;
    more = more || name != "impersonate-user";
  }
  if (as.name.empty() && more) return base::error(Errc::kInvalidArgument, "impersonation without a user");
  return as.name.empty() ? std::optional<kube::UserInfo>() : std::optional(std::move(as));
}

void refuse(net::HttpResponder& http, const std::string& why) {
  const nlohmann::json status = {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", nlohmann::json::object()}, {"status", "Failure"},
                                 {"message", "Unauthorized: " + why}, {"reason", "Unauthorized"}, {"code", 401}};
  http.reply(401, {{"Content-Type", "application/json"}}, Bytes(base::dump_json(status)));
}

// What a node says no with, as kube-apiserver tells it.
void refuse_stream(net::HttpResponder& http, int status, const std::string& text) {
  const char* reason = status == 400   ? "BadRequest"
                       : status == 404 ? "NotFound"
                       : status == 422 ? "Invalid"
                       : status == 429 ? "TooManyRequests"
                       : status == 501 ? "NotImplemented"
                       : status == 503 ? "ServiceUnavailable"
                       : status == 504 ? "Timeout"
                                       : "InternalError";
  if (status == 502) status = 500;
  std::string message = text;
  while (!message.empty() && message.back() == '\n') message.pop_back();
  if (status == 500) message = "Internal error occurred: " + message;
  const nlohmann::json body = {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", nlohmann::json::object()}, {"status", "Failure"},
                               {"message", message}, {"reason", reason}, {"code", status}};
  http.reply(status, {{"Content-Type", "application/json"}}, Bytes(base::dump_json(body)));
}

NodeCall::Kind kind_of(const std::string& subresource) {
  return subresource == "log" ? NodeCall::Kind::kLogs : subresource == "attach" ? NodeCall::Kind::kAttach : NodeCall::Kind::kExec;
}

}  // namespace

struct FrontEnd::Impl : std::enable_shared_from_this<FrontEnd::Impl> {
  Impl(const Runtime& r, kube::ApiServer& s, const ServiceAccountTokens& t, Options o) : runtime(r), server(s), tokens(t), options(std::move(o)) {}

  Runtime runtime;
  kube::ApiServer& server;
  const ServiceAccountTokens& tokens;
  Options options;
  std::unique_ptr<net::HttpServer> http;
  NodeStreams* streams = nullptr;

  Result<kube::UserInfo> identify(const net::HttpRequest& request, const net::HttpResponder& responder) const {
    if (const std::string_view value = net::header(request.headers, "Authorization"); !value.empty()) {
      if (!base::lower(value.substr(0, 7)).starts_with("bearer ")) return base::error(Errc::kUnauthenticated, "only bearer tokens are taken");
      Result<kube::TokenOwner> owner = tokens.check(value.substr(7));
      if (!owner) return std::move(owner).error();
      owner->user.uid = std::move(owner->uid);
      return std::move(owner->user);
    }
    const std::optional<net::PeerCertificate> peer = responder.peer_certificate();
    if (!peer) return base::error(Errc::kUnauthenticated, "no client certificate and no token");
    if (Result<void> valid = pki::verify_client_certificate(options.ca_der, peer->der, runtime.clock().unix_ms() / 1000); !valid)
      return std::move(valid).error();
    kube::UserInfo user{peer->common_name, peer->organizations};
    user.groups.emplace_back("system:authenticated");
    return user;
  }

  void handle(net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
    const std::string path = request.path();
    if (path == "/healthz" || path == "/livez" || path == "/readyz") return responder->reply(200, {{"Content-Type", "text/plain"}}, Bytes("ok"));
    Result<kube::UserInfo> user = identify(request, *responder);
    if (!user) {
      base::log(runtime.log(), LogLevel::kInfo, "api", "{} {} from {}: {}", request.method, path, responder->peer_address(), user.error().message);
      return refuse(*responder, user.error().message);
    }
    Result<std::optional<kube::UserInfo>> as = wanted_identity(request.headers);
    if (!as) return responder->reply(400, {{"Content-Type", "application/json"}}, Bytes(base::dump_json(kube::rest::bad_request(as.error().message).status())));
    kube::ApiRequest call;
    call.as = std::move(*as);
    call.method = request.method;
    call.path = path;
    call.query = request.query();
    call.accept = std::string(net::header(request.headers, "Accept"));
    call.content_type = std::string(net::header(request.headers, "Content-Type"));
    call.user_agent = std::string(net::header(request.headers, "User-Agent"));
    call.body = std::move(request.body);
    call.user = std::move(*user);
    const std::int64_t seconds = watch_seconds(call.query);
    if (streams != nullptr && kube::ApiServer::is_pod_stream(path)) return stream(std::move(call), request.headers, std::move(responder));
    server.handle(std::move(call), std::make_shared<HttpAnswer>(runtime, std::move(responder), seconds));
  }

  void stream(kube::ApiRequest request, const net::Headers& headers, std::shared_ptr<net::HttpResponder> responder) {
    const std::string method = request.method;
    auto target = server.pod_stream(std::move(request), std::make_shared<HttpAnswer>(runtime, responder, FrontEnd::kDefaultWatchSeconds));
    if (!target) return;
    if (target->subresource != "log" && net::header(headers, "Upgrade").empty())
      return refuse_stream(*responder, 400, "Upgrade request required");
    NodeCall call{kind_of(target->subresource), method, std::move(target->path), std::move(target->query), headers};
    streams->relay(NodeId(target->node), std::move(call), std::move(responder), refuse_stream);
  }
};

FrontEnd::FrontEnd(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
FrontEnd::~FrontEnd() { impl_->http.reset(); }

Result<std::unique_ptr<FrontEnd>> FrontEnd::listen(const Runtime& runtime, kube::ApiServer& server, const ServiceAccountTokens& tokens, Options options) {
  net::ListenOptions listening;
  // Judged per request: a foreign certificate gets a readable 401, not a broken handshake.
  listening.tls = server_tls(options.server, options.ca_der, net::TlsConfig::Peer::kRequestUnverified);
  const net::Endpoint endpoint{options.address, options.port};
  auto impl = std::make_shared<Impl>(runtime, server, tokens, std::move(options));
  auto http = net::HttpServer::listen(runtime, endpoint, std::move(listening), {},
                                      [weak = std::weak_ptr<Impl>(impl)](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
                                        if (const auto self = weak.lock()) self->handle(std::move(request), std::move(responder));
                                      });
  if (!http) return http.error().in("API");
  impl->http = std::move(*http);
  return std::unique_ptr<FrontEnd>(new FrontEnd(std::move(impl)));
}

std::uint16_t FrontEnd::port() const { return impl_->http->local().port; }
void FrontEnd::set_streams(NodeStreams* streams) { impl_->streams = streams; }

}  // namespace kubeedge::cloud
