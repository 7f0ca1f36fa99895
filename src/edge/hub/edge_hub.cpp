#include "edge/hub/edge_hub.h"

#include <algorithm>

#include "base/text.h"
#include "net/addresses.h"
#include "net/route_watch.h"
#include "net/websocket.h"
#include "runtime/timer.h"

namespace kubeedge::edge {
namespace {

using base::log;
constexpr Milliseconds kRotationRetry{32'000};
constexpr Milliseconds kLongestTimer{3'600'000};   // rotation is looked at again at least this often

bool permanent(const Error& error) { return error.code == Errc::kUnauthenticated || error.code == Errc::kInvalidArgument; }

HubLinkOptions link_options(const HubOptions& options) { return {options.join.node, options.store_id, options.heartbeat, options.message_qps, options.message_burst}; }

}  // namespace

struct HubClient::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, HubOptions o) : runtime(r), options(std::move(o)), link(runtime, link_options(options)), rotation(runtime) {}

  Runtime runtime;
  HubOptions options;
  HubLink link;
  runtime::Timer rotation;
  std::unique_ptr<net::RouteWatch> routes;
  std::optional<Credentials> credentials;
  unique_function<void(Error)> failed;
  bool stopped = false;

  void watch_routes() {
    auto opened = net::RouteWatch::open(runtime, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->routes_changed();
    });
    if (!opened) return log(runtime.log(), LogLevel::kInfo, "hub", "changes of address are not seen, reconnects wait for their time: {}", opened.error().message);
    routes = std::move(*opened);
  }
  void routes_changed() {
    if (stopped) return;
    if (link.up() && !still_ours(link.local_ip())) return link.down(fmt::format("this host's address {} is gone", link.local_ip()));
    link.on_route_change();
  }
  static bool still_ours(const std::string& address) {
    if (address.starts_with("127.") || address == "::1" || address.starts_with("fe80:")) return true;   // not listed
    const auto all = net::host_addresses();
    return std::find(all.begin(), all.end(), address) != all.end();
  }

  // Never from inside start().
  void tell_failure(Error error) {
    runtime::post(runtime, [weak = weak_from_this(), error = std::move(error)]() mutable {
      if (auto self = weak.lock(); self && !self->stopped && self->failed) self->failed(std::move(error));
    });
  }

  void dial() {
    if (credentials && credentials->not_after > runtime.clock().unix_ms() / 1000) return dial_hub();
    auto loaded = load_credentials(options.join, runtime.clock().unix_ms() / 1000);
    if (loaded) {
      take(std::move(*loaded));
      return dial_hub();
    }
    if (loaded.error().code != Errc::kNotFound) log(runtime.log(), LogLevel::kWarning, "hub", "{}; joining anew", loaded.error().message);
    // A node that was joined once has pods and devices to go on with: it waits for a token, or for its clock to be put right.
    const bool was_joined = loaded.error().code == Errc::kUnauthenticated;
    join(runtime, options.join, [weak = weak_from_this(), was_joined](Result<Credentials> result) {
      auto self = weak.lock();
      if (!self || self->stopped) return;
      if (!result) {
        auto error = result.error();
        self->link.down(error.message);
        if (permanent(error) && !was_joined) self->tell_failure(std::move(error));
        return;
      }
      log(self->runtime.log(), LogLevel::kInfo, "hub", "joined, certificate until {}", base::rfc3339(result->not_after));
      self->take(std::move(*result));
      self->dial_hub();
    });
  }

  void take(Credentials fresh) {
    credentials = std::move(fresh);
    plan_rotation(Milliseconds{(credentials->rotate_at - runtime.clock().unix_ms() / 1000) * 1000});
  }
  void plan_rotation(Milliseconds wait) {
    rotation.start(std::clamp(wait, Milliseconds{1000}, kLongestTimer), [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->rotate_when_due();
    });
  }
  void rotate_when_due() {
    if (stopped || !credentials) return;
    auto left = credentials->rotate_at - runtime.clock().unix_ms() / 1000;
    if (left > 0) return plan_rotation(Milliseconds{left * 1000});
    rotate(runtime, options.join, *credentials, [weak = weak_from_this()](Result<Credentials> result) {
      auto self = weak.lock();
      if (!self || self->stopped) return;
      if (!result) {
        log(self->runtime.log(), LogLevel::kWarning, "hub", "rotation: {}", result.error().message);
        return self->plan_rotation(kRotationRetry);
      }
      self->take(std::move(*result));
      if (self->link.up()) self->link.down("new certificate, connecting again");
    });
  }

  void dial_hub() {
    net::DialOptions dial;
    dial.tls.emplace();
    dial.tls->ca_pem = credentials->ca_pem;
    dial.tls->certificate_pem = credentials->certificate_pem;
    dial.tls->private_key_pem = credentials->private_key_pem;
    const auto& node = options.join.node.str();
    net::Headers headers{{"node_id", node}, {"project_id", options.project_id}, {"ConnectionUse", "msg"},
                         {"Kubeedge-Store-Id", options.store_id}};
    net::websocket_dial(runtime, options.server, fmt::format("/{}/{}/events", options.project_id, node), std::move(headers), std::move(dial),
                        net::WebSocketOptions{}, [weak = weak_from_this()](Result<std::unique_ptr<net::WebSocket>> result) {
                          auto self = weak.lock();
                          if (!self || self->stopped) return;
                          if (!result) return self->link.down(result.error().message);
                          self->link.opened(std::move(*result));
                        });
  }
};

HubClient::HubClient(const Runtime& runtime, HubOptions options) : impl_(std::make_shared<Impl>(runtime, std::move(options))) {}
HubClient::~HubClient() { stop(); }

void HubClient::set_meta_sink(MessageSink* sink) { impl_->link.set_meta_sink(sink); }
void HubClient::set_twin_sink(MessageSink* sink) { impl_->link.set_twin_sink(sink); }
void HubClient::set_bus_sink(MessageSink* sink) { impl_->link.set_bus_sink(sink); }
void HubClient::add_observer(LinkObserver* observer) { impl_->link.add_observer(observer); }
void HubClient::on_failure(unique_function<void(Error)> handler) { impl_->failed = std::move(handler); }
void HubClient::start() {
  impl_->watch_routes();
  impl_->link.start([weak = std::weak_ptr(impl_)](const std::string& store_id) {
    auto self = weak.lock();
    if (!self || self->stopped) return;
    self->options.store_id = store_id;
    self->dial();
  });
}
void HubClient::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->rotation.cancel();
  impl_->routes.reset();
  impl_->link.stop();
}
void HubClient::set_store_id(std::string id) { impl_->link.set_store_id(std::move(id)); }
std::string HubClient::local_ip() const { return impl_->link.local_ip(); }
bool HubClient::up() const { return impl_->link.up(); }
std::size_t HubClient::unsent_bytes() const { return impl_->link.unsent_bytes(); }
void HubClient::send(Message message) { impl_->link.send(std::move(message)); }
void HubClient::request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) {
  impl_->link.request(std::move(message), timeout, std::move(done));
}
void HubClient::on_link(unique_function<void(LinkState)> handler) { impl_->link.on_link(std::move(handler)); }
LinkState HubClient::link() const { return up() ? LinkState::kUp : LinkState::kDown; }
void HubClient::collect(base::MetricsPage& page) const { impl_->link.collect(page); }

}  // namespace kubeedge::edge
