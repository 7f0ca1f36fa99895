#include "edge/hub/hub_link.h"

#include <algorithm>
#include <deque>

#include "base/peer_log.h"
#include "base/text.h"
#include "edge/hub/link.h"
#include "edge/hub/message_rate.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {

using base::log;

namespace {
constexpr const char* kNewStore = "the store lost rows, connecting again to have them sent anew";
}  // namespace

struct HubLink::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, HubLinkOptions o)
      : runtime(r), options(std::move(o)), link(options.heartbeat, options.seed), rate(options.message_qps, options.message_burst), timer(runtime), pace(runtime),
        cloud(r.log(), r.clock(), "hub") {}

  Runtime runtime;
  HubLinkOptions options;
  Link link;
  MessageRate rate;
  runtime::Timer timer, pace;
  unique_function<void(const std::string&)> dial;
  std::string dialled_as;                // the store id that the cloud was told
  std::unique_ptr<net::WebSocket> socket;
  MessageSink *meta = nullptr, *twin = nullptr, *bus = nullptr;
  std::vector<LinkObserver*> observers;
  std::deque<unique_function<void(LinkState)>> handlers;   // deque: a handler may add one, which moves none
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
    if (actions.dial) {
      dialled_as = options.store_id;
      dial(dialled_as);
    }
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

  void opened(std::unique_ptr<net::WebSocket> fresh) {
    if (dialled_as != options.store_id) return down(kNewStore);   // it lost rows since
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
    cloud.warn({options.node.str(), resource}, "message of the cloud refused: {}", why);
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

HubLink::HubLink(const Runtime& runtime, HubLinkOptions options) : impl_(std::make_shared<Impl>(runtime, std::move(options))) {}
HubLink::~HubLink() { stop(); }

void HubLink::set_meta_sink(MessageSink* sink) { impl_->meta = sink; }
void HubLink::set_twin_sink(MessageSink* sink) { impl_->twin = sink; }
void HubLink::set_bus_sink(MessageSink* sink) { impl_->bus = sink; }
void HubLink::add_observer(LinkObserver* observer) { impl_->observers.push_back(observer); }
void HubLink::on_link(unique_function<void(LinkState)> handler) { impl_->handlers.push_back(std::move(handler)); }
void HubLink::start(unique_function<void(const std::string&)> dial) {
  impl_->dial = std::move(dial);
  impl_->link.start(impl_->now());
  impl_->pump();
}
void HubLink::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->timer.cancel();
  impl_->pace.cancel();
  (void)impl_->link.on_down(impl_->now());
  impl_->socket.reset();
}
void HubLink::opened(std::unique_ptr<net::WebSocket> socket) { impl_->opened(std::move(socket)); }
void HubLink::down(const std::string& why) {
  if (!impl_->stopped) impl_->down(why);
}
void HubLink::on_route_change() {
  impl_->link.on_route_change(impl_->now());
  impl_->arm();
}
void HubLink::set_store_id(std::string id) {
  impl_->options.store_id = std::move(id);
  if (up()) impl_->down(kNewStore);
}
const std::string& HubLink::local_ip() const { return impl_->ip; }
bool HubLink::up() const { return !impl_->stopped && impl_->link.up(); }
void HubLink::send(Message message) {
  if (up())
    impl_->send_in_turn(std::move(message));
  else
    ++impl_->counted.dropped;
}
std::size_t HubLink::unsent_bytes() const { return impl_->rate.waiting_bytes() + (impl_->socket ? impl_->socket->queued_bytes() : 0); }
void HubLink::request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) {
  if (impl_->stopped) return done(Error{Errc::kUnavailable, "not connected"});
  if (auto added = impl_->link.add_request(message, timeout, impl_->now(), done); !added) return done(std::move(added).error());
  impl_->send_in_turn(std::move(message));
  impl_->arm();
}
void HubLink::collect(base::MetricsPage& page) const {
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

}  // namespace kubeedge::edge
