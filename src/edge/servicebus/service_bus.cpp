#include "edge/servicebus/service_bus.h"

#include <map>
#include <set>

#include "base/text.h"
#include "edge/servicebus/service_call.h"
#include "net/addresses.h"
#include "net/http.h"
#include "runtime/files.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {
namespace {

constexpr Milliseconds kListenRetry{5'000};   // the port is somebody else's
constexpr std::size_t kMaxTargetUrlBytes = 2 * 1024;

}  // namespace

std::string_view service_bus_schema() { return "CREATE TABLE IF NOT EXISTS `target_urls` (`url` text,PRIMARY KEY (`url`));\n"; }

struct ServiceBus::Impl : std::enable_shared_from_this<ServiceBus::Impl> {
  Impl(const Runtime& runtime_in, store::Store& store_in, CloudLink& link_in, ServiceBusOptions options_in)
      : runtime(runtime_in), store(store_in), link(link_in), options(std::move(options_in)), listen_timer(runtime_in) {}

  Runtime runtime;
  store::Store& store;
  CloudLink& link;
  ServiceBusOptions options;
  AllowedTargets allowed;
  std::string ca_pem;
  std::set<std::string> urls;
  std::unique_ptr<net::HttpServer> server;
  runtime::Timer listen_timer;
  std::uint64_t next_call = 1;
  std::map<std::uint64_t, std::unique_ptr<net::HttpCall>> calls;
  bool listen_failed = false, stopped = false;

  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "servicebus", format, std::forward<A>(args)...);
  }

  Message upload(const MessageId& parent, std::string resource, Bytes content) const {
    Message out;
    out.id = wire::new_message_id();
    out.parent_id = parent;
    out.timestamp_ms = runtime.clock().unix_ms();
    out.source = "servicebus";
    out.group = "user";
    out.operation = "upload";   // on errors, too: a Go cloud drops an answer without it, and its caller waits a minute
    out.resource = std::move(resource);
    out.content = std::move(content);
    return out;
  }

  // ---- the cloud calls a server
  void answer(const MessageId& call, const wire::HttpAnswer& with) { link.send(upload(call, "", wire::http_content(with))); }
  void refuse(const MessageId& call, const Error& why) { answer(call, edge_error(status_of(why), why.message + " (edge)")); }

  void call(const Message& message) {
    if (!options.enabled) return answer(message.id, edge_error(503, "the service bus of this node is not enabled (modules.serviceBus.enable)"));
    if (calls.size() >= kMaxServiceCalls) return answer(message.id, edge_error(503, fmt::format("{} calls are under way on this node already", kMaxServiceCalls)));
    auto wanted = wire::http_call(message);
    if (!wanted) return refuse(message.id, wanted.error());
    const auto url = service_target(message, *wanted, allowed, net::host_addresses());
    if (!url) return refuse(message.id, url.error());
    net::HttpClientOptions http;
    http.timeout = Milliseconds{std::int64_t{options.call_timeout_s} * 1000};
    http.dial.timeout = http.timeout;
    http.limits.max_body_bytes = kMaxServiceBodyBytes;
    if (url->https) {
      http.dial.tls.emplace();
      auto roots = ca_pem.empty() ? net::system_roots() : Result<std::string>(ca_pem);
      if (!roots) return refuse(message.id, roots.error());
      http.dial.tls->ca_pem = std::move(*roots);
    }
    net::HttpRequest request{wanted->method, url->target, wire::end_to_end(wanted->headers), Bytes(std::move(wanted->body))};
    if (net::header(request.headers, "Accept").empty()) request.headers.emplace_back("Accept", "*/*");
    const std::uint64_t number = next_call++;
    calls[number] = net::http_fetch(runtime, url->server, std::move(request), std::move(http),
                                    [weak = weak_from_this(), number, id = message.id, origin = url->origin()](Result<net::HttpResponse> result) {
                                      if (const auto self = weak.lock()) self->called(number, id, origin, std::move(result));
                                    });
  }

  void called(std::uint64_t number, const MessageId& id, const std::string& origin, Result<net::HttpResponse> result) {
    runtime::post(runtime, [call = std::move(calls[number])] {});   // we are inside its callback
    calls.erase(number);
    if (stopped) return;
    if (result) return answer(id, {wire::end_to_end(result->headers), result->status, result->body.str()});
    // An answer that is malformed or too large is the server's doing.
    const int status = result.error().code == Errc::kTimeout ? 504 : 502;
    answer(id, edge_error(status, fmt::format("{}: {} (edge)", origin, result.error().message)));
  }

  // ---- an app calls the cloud
  void allow(const std::string& url) {
    if (url.empty() || url.size() > kMaxTargetUrlBytes || !base::is_utf8(url) || (!urls.contains(url) && urls.size() >= kMaxTargetUrls))
      return say(LogLevel::kWarning, "start: a target of {} bytes is refused (at most {} targets of {} bytes)", url.size(), kMaxTargetUrls, kMaxTargetUrlBytes);
    if (urls.insert(url).second) persist({"INSERT OR REPLACE INTO target_urls(url) VALUES (?1)", {url}});
    listen();
  }
  void forbid(const std::string& url) {
    if (urls.erase(url) == 0) return;
    persist({"DELETE FROM target_urls WHERE url = ?1", {url}});
    listen();
  }
  void persist(store::Statement statement) {
    store.write({std::move(statement)}, [weak = weak_from_this()](Result<void> result) {
      if (const auto self = weak.lock(); self && !result) self->say(LogLevel::kError, "target_urls: {}", result.error().message);
    });
  }

  // The server is open while there is something to post to.
  void listen() {
    if (!options.enabled || stopped || urls.empty()) {
      listen_timer.cancel();
      return server.reset();
    }
    if (server) return;
    net::ListenOptions how;
    how.max_connections = kMaxAppConnections;
    net::HttpLimits limits;
    limits.max_body_bytes = kMaxServiceBodyBytes;
    limits.max_buffered_bytes = kMaxAppBuffers;
    auto opened = net::HttpServer::listen(runtime, net::Endpoint{options.address, options.port}, std::move(how), limits,
                                          [weak = weak_from_this()](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
                                            if (const auto self = weak.lock()) self->on_app(std::move(request), std::move(responder));
                                          });
    if (opened) {
      server = std::move(*opened);
      listen_failed = false;
      return say(LogLevel::kInfo, "apps may post to http://{}:{}", options.address, server->local().port);
    }
    if (!std::exchange(listen_failed, true)) say(LogLevel::kError, "{}; trying on every {} s", opened.error().message, kListenRetry.count() / 1000);
    listen_timer.start(kListenRetry, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->listen();
    });
  }

  static void tell(const std::shared_ptr<net::HttpResponder>& app, int code, std::string_view text, std::string_view body = {}) {
    app->reply(200, {{"Content-Type", "application/json"}}, app_answer(code, text, body));
  }

  void on_app(net::HttpRequest request, std::shared_ptr<net::HttpResponder> app) {
    const auto wanted = app_request(request.body);
    if (!wanted) return tell(app, 400, "invalid params");
    if (!urls.contains(wanted->target_url))
      return tell(app, 400, fmt::format("url {} is not allowed and please make a rule for this url in the cloud", wanted->target_url.substr(0, kMaxTargetUrlBytes)));
    Message message = upload({}, wanted->target_url, wire::json_string(base::base64(request.body.view())));
    message.sync = true;
    link.request(std::move(message), Milliseconds{std::int64_t{options.timeout_s} * 1000}, [app](Result<Message> result) {
      if (result) return tell(app, 200, "receive response from cloud successfully", wire::content_text(*result));
      const Errc why = result.error().code;
      // What the cloud says of its target comes as a JSON string.
      const std::string& text = result.error().message;
      tell(app, why == Errc::kTimeout ? 504 : why == Errc::kUnavailable ? 503 : 502, text.starts_with('"') && text.size() > 1 ? text.substr(1, text.size() - 2) : text);
    });
  }
};

Result<std::unique_ptr<ServiceBus>> ServiceBus::create(const Runtime& runtime, store::Store& store, CloudLink& link, ServiceBusOptions options) {
  auto allowed = AllowedTargets::parse(options.allowed_targets);
  if (!allowed) return std::move(allowed).error();
  std::string ca_pem;
  if (options.enabled && !options.ca_file.empty()) {
    auto text = runtime::read_text_file(options.ca_file);
    if (!text) return std::move(text).error();
    ca_pem = std::move(*text);
  }
  if (options.timeout_s <= 0 || options.call_timeout_s <= 0) return base::error(Errc::kInvalidArgument, "service bus: a time-out must be positive");
  auto impl = std::make_shared<Impl>(runtime, store, link, std::move(options));
  impl->allowed = std::move(*allowed);
  impl->ca_pem = std::move(ca_pem);
  return std::unique_ptr<ServiceBus>(new ServiceBus(std::move(impl)));
}

ServiceBus::~ServiceBus() { stop(); }

Result<void> ServiceBus::start() {
  auto rows = impl_->store.query({"SELECT url FROM target_urls", {}});
  if (!rows) return rows.error().in("target_urls");
  for (const auto& row : *rows)
    if (!row.empty() && impl_->urls.size() < kMaxTargetUrls) impl_->urls.insert(store::text(row[0]));
  impl_->listen();
  return {};
}

void ServiceBus::stop() {
  impl_->stopped = true;
  impl_->listen_timer.cancel();
  impl_->calls.clear();
  impl_->server.reset();
}

void ServiceBus::on_message(Message message) {
  if (message.operation == "start") return impl_->allow(message.resource);
  if (message.operation == "stop") return impl_->forbid(message.resource);
  impl_->call(message);
}

std::uint16_t ServiceBus::port() const { return impl_->server ? impl_->server->local().port : std::uint16_t{0}; }

}  // namespace kubeedge::edge
