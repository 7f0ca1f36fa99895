#include "edge/hub/edge_hub.h"

#include <algorithm>
#include <deque>

#include "base/peer_log.h"
#include "base/text.h"
#include "edge/hub/link.h"
#include "edge/hub/message_rate.h"
#include "net/addresses.h"
#include "net/route_watch.h"
#include "net/websocket.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {
namespace {

using base::log;
constexpr Milliseconds kRotationRetry{32'000};
constexpr Milliseconds kLongestTimer{3'600'000};   // rotation is looked at again at least this often

bool permanent(const Error& error) { return error.code == Errc::kUnauthenticated || error.code == Errc::kInvalidArgument; }

}  // namespace

struct HubClient::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, HubOptions o)
      : runtime(r), options(std::move(o)), link(options.heartbeat), rate(options.message_qps, options.message_burst), timer(runtime),
        rotation(runtime), pace(runtime), cloud(r.log(), r.clock(), "hub") {}

  Runtime runtime;
  HubOptions options;
  Link link;
  MessageRate rate;
  runtime::Timer timer, rotation, pace;
  std::unique_ptr<net::WebSocket> socket;
  std::unique_ptr<net::RouteWatch> routes;
  std::optional<Credentials> credentials;
  MessageSink *meta = nullptr, *twin = nullptr, *bus = nullptr;
  std::vector<LinkObserver*> observers;
  std::deque<unique_function<void(LinkState)>> handlers;   // deque: a handler may add one, which moves none
  unique_function<void(Error)> failed;
  std::string ip, last_error;
  base::PeerLog cloud;
  bool stopped = false;
  struct {
    std::uint64_t links = 0, failures = 0, received = 0, received_bytes = 0, sent = 0, sent_bytes = 0, dropped = 0, rejected = 0;
  } counted;

  Milliseconds now() const { return runtime.clock().steady(); }

  static void finish(std::vector<Link::Finished> finished) {
    for (auto& one : finished) one.done(std::move(one.result));
  }

  void pump() {
    if (stopped) return;
    const auto self = shared_from_this();   // what is told below may let go of us
    auto actions = link.poll(now());
    finish(std::move(actions.finished));
    if (stopped) return;
    if (actions.dial) dial();
    if (actions.keepalive) keepalive();
    if (actions.close) down("the cloud answers no lease any more");
    arm();
  }
  void arm() {
    if (stopped) return;
    auto wait = link.next(now()) - now();
    timer.start(std::max(wait, Milliseconds{0}), [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->pump();
    });
  }

  void watch_routes() {
    auto opened = net::RouteWatch::open(runtime, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->routes_changed();
    });
    if (!opened) return log(runtime.log(), LogLevel::kInfo, "hub", "changes of address are not seen, reconnects wait for their time: {}", opened.error().message);
    routes = std::move(*opened);
  }
  void routes_changed() {
    if (stopped) return;
    if (link.up() && !still_ours(ip)) return down(fmt::format("this host's address {} is gone", ip));
    link.on_route_change(now());
    arm();
  }
  static bool still_ours(const std::string& address) {
    if (address.starts_with("127.") || address == "::1" || address.starts_with("fe80:")) return true;   // not listed
    const auto all = net::host_addresses();
    return std::find(all.begin(), all.end(), address) != all.end();
  }

  // A reason is logged when it changes: an outage of a night is one line, not ten thousand.
  void down(const std::string& why) {
    bool was_up = link.up();
    if (!was_up) ++counted.failures;
    auto dead = std::move(socket);   // lives until the end of this call: we may be inside its handler
    runtime::post(runtime, [dead = std::move(dead)] {});
    if (was_up || why != last_error) log(runtime.log(), LogLevel::kWarning, "hub", "{}", why);
    last_error = why;
    auto finished = link.on_down(now());
    rate.clear();
    if (was_up) tell(false);
    finish(std::move(finished));
    arm();
  }

  // Any of them may stop() us: then the rest hears nothing.
  void tell(bool is_up) {
    for (std::size_t i = 0; i < observers.size() && !stopped; ++i) observers[i]->on_link(is_up);
    for (std::size_t i = 0; i < handlers.size() && !stopped; ++i) handlers[i](is_up ? LinkState::kUp : LinkState::kDown);
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
        self->down(error.message);
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
      if (self->link.up()) self->down("new certificate, connecting again");
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
                          if (!result) return self->down(result.error().message);
                          self->opened(std::move(*result));
                        });
  }

  void opened(std::unique_ptr<net::WebSocket> fresh) {
    socket = std::move(fresh);
    last_error.clear();
    auto address = socket->local_address();
    ip = address.substr(0, address.rfind(':'));
    if (ip.size() > 1 && ip.front() == '[') ip = ip.substr(1, ip.size() - 2);
    net::WebSocket::Handlers events;
    events.on_message = [weak = weak_from_this()](Bytes text) {
      if (auto self = weak.lock(); self && !self->stopped) self->received(std::move(text));
    };
    events.on_closed = [weak = weak_from_this()](Error error) {
      if (auto self = weak.lock(); self && !self->stopped) self->down("the hub's connection ended: " + error.message);
    };
    socket->start(std::move(events));
    link.on_up(now());
    ++counted.links;
    log(runtime.log(), LogLevel::kInfo, "hub", "link up to {}", socket->peer_address());
    pump();       // the first keepalive leaves before anything else
    if (link.up()) tell(true);
  }

  void received(Bytes text) {
    ++counted.received;
    counted.received_bytes += text.size();
    auto message = wire::decode(std::move(text));
    if (!message) return reject({}, message.error().message);
    std::vector<Link::Finished> finished;
    auto target = link.route(*message, finished);
    MessageSink* sink = nullptr;
    switch (target) {
      case Link::Target::kWaiter: return finish(std::move(finished));
      case Link::Target::kMeta: sink = meta; break;
      case Link::Target::kTwin: sink = twin; break;
      case Link::Target::kBus: sink = bus; break;
      case Link::Target::kTask: return reject(message->resource, "node tasks are not supported yet");
      case Link::Target::kNone: break;
    }
    if (!sink) return reject(message->resource, fmt::format("nobody takes group \"{}\"", message->group));
    sink->on_message(std::move(*message));
  }

  void reject(const std::string& resource, const std::string& why) {
    ++counted.rejected;
    cloud.warn({options.join.node.str(), resource}, "message of the cloud refused: {}", why);
  }

  void transmit(const Message& message) {
    Bytes text(wire::encode(message));
    ++counted.sent;
    counted.sent_bytes += text.size();
    socket->send(std::move(text));
  }
  void send_in_turn(Message message) {
    if (!rate.limits() || !MessageRate::counts(message)) return transmit(message);
    rate.push(std::move(message));
    send_due();
  }
  void send_due() {
    if (stopped || !link.up()) return;
    for (const auto& message : rate.take(now())) transmit(message);
    if (const auto next = rate.next(now()))
      pace.start(*next - now(), [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->send_due();
      });
  }

  void keepalive() {
    Message message;
    message.id = wire::new_message_id();
    message.timestamp_ms = runtime.clock().unix_ms();
    message.source = "websocket";
    message.group = "resource";
    message.operation = "keepalive";
    message.resource = "node";
    message.content = "\"ping\"";
    transmit(message);
  }
};

HubClient::HubClient(const Runtime& runtime, HubOptions options) : impl_(std::make_shared<Impl>(runtime, std::move(options))) {}
HubClient::~HubClient() { stop(); }

void HubClient::set_meta_sink(MessageSink* sink) { impl_->meta = sink; }
void HubClient::set_twin_sink(MessageSink* sink) { impl_->twin = sink; }
void HubClient::set_bus_sink(MessageSink* sink) { impl_->bus = sink; }
void HubClient::add_observer(LinkObserver* observer) { impl_->observers.push_back(observer); }
void HubClient::on_failure(unique_function<void(Error)> handler) { impl_->failed = std::move(handler); }
void HubClient::start() {
  impl_->watch_routes();
  impl_->link.start(impl_->now());
  impl_->pump();
}
void HubClient::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->timer.cancel();
  impl_->rotation.cancel();
  impl_->pace.cancel();
  impl_->routes.reset();
  (void)impl_->link.on_down(impl_->now());
  impl_->socket.reset();
}
void HubClient::set_store_id(std::string id) {
  impl_->options.store_id = std::move(id);
  if (up()) impl_->down("the store lost rows, connecting again to have them sent anew");
}
std::string HubClient::local_ip() const { return impl_->ip; }
bool HubClient::up() const { return !impl_->stopped && impl_->link.up(); }
void HubClient::send(Message message) {
  if (up())
    impl_->send_in_turn(std::move(message));
  else
    ++impl_->counted.dropped;
}
std::size_t HubClient::unsent_bytes() const { return impl_->rate.waiting_bytes() + (impl_->socket ? impl_->socket->queued_bytes() : 0); }
void HubClient::request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) {
  if (impl_->stopped) return done(Error{Errc::kUnavailable, "not connected"});
  if (auto added = impl_->link.add_request(message, timeout, impl_->now(), done); !added) return done(std::move(added).error());
  impl_->send_in_turn(std::move(message));
  impl_->arm();
}
void HubClient::on_link(unique_function<void(LinkState)> handler) { impl_->handlers.push_back(std::move(handler)); }
void HubClient::collect(base::MetricsPage& page) const {
  const auto& c = impl_->counted;
  page.gauge("kubeedge_edgehub_connected", "1 while the link to the cloud is up", up() ? 1 : 0);
  page.counter("kubeedge_edgehub_connections_total", "Links that came up: one more than the reconnects", c.links);
  page.counter("kubeedge_edgehub_failed_dials_total", "Attempts to join or to connect that failed", c.failures);
  page.counter("kubeedge_edgehub_received_messages_total", "Messages from the cloud", c.received);
  page.counter("kubeedge_edgehub_received_bytes_total", "Bytes of messages from the cloud, before TLS and framing", c.received_bytes);
  page.counter("kubeedge_edgehub_sent_messages_total", "Messages to the cloud", c.sent);
  page.counter("kubeedge_edgehub_sent_bytes_total", "Bytes of messages to the cloud, before TLS and framing", c.sent_bytes);
  page.counter("kubeedge_edgehub_queue_drops_total", "Messages let go of, by policy: those that another part sends again when the link is back", c.dropped, {{"policy", "offline"}});
  page.counter("kubeedge_edgehub_rejected_messages_total", "Messages of the cloud that were not understood", c.rejected);
  page.gauge("kubeedge_edgehub_pending_requests", "Requests that wait for the cloud's answer", static_cast<std::int64_t>(impl_->link.pending()));
  page.gauge("kubeedge_edgehub_unsent_bytes", "Bytes queued to the connection", static_cast<std::int64_t>(impl_->socket ? impl_->socket->queued_bytes() : 0));
}

LinkState HubClient::link() const { return up() ? LinkState::kUp : LinkState::kDown; }

}  // namespace kubeedge::edge
