#include "edge/stream/tunnel_client.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "net/http_message.h"
#include "net/websocket.h"
#include "runtime/files.h"
#include "runtime/timer.h"
#include "wire/tunnel.h"
#include "wire/tunnel_streams.h"

namespace kubeedge::edge {
namespace {

using wire::TunnelStreams;
using wire::TunnelType;

}  // namespace

struct TunnelClient::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, NodeStreams& s, TunnelOptions o) : runtime(r), served(s), options(std::move(o)), retry(r), ping(r) {}

  // One stream's way back. The tunnel that it belongs to may be gone, and a newer one there.
  class Answer final : public NodeAnswer {
   public:
    Answer(std::weak_ptr<Impl> owner, std::uint64_t tunnel, std::uint64_t id, TunnelType type)
        : owner_(std::move(owner)), tunnel_(tunnel), id_(id), bare_(type == TunnelType::kLogs || type == TunnelType::kMetrics) {}

    // Of the types that a kubelet's body answers, upstream's tunnel carries the body alone; the others have the whole HTTP answer.
    void head(int status) override {
      if (bare_ || raw_) return;
      data(Bytes(fmt::format("HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n", status, net::http_reason(status))));
    }
    void raw() override { raw_ = true; }
    void data(Bytes bytes) override {
      if (const auto owner = live()) owner->send_data(id_, bytes.view());
    }
    void end() override {
      const auto owner = live();
      if (!owner) return;
      owner->send(id_, TunnelType::kRemove, "");
      owner->forget(id_);
    }
    std::size_t room() const override {
      const auto owner = live();
      if (!owner || owner->socket->queued_bytes() > kMaxQueued) return 0;
      return owner->table.room(id_);
    }
    void consumed(std::size_t bytes) override {
      if (const auto owner = live()) owner->consumed(id_, bytes);
    }

   private:
    std::shared_ptr<Impl> live() const {
      auto owner = owner_.lock();
      return owner && owner->socket && owner->number == tunnel_ && owner->table.has(id_) ? owner : nullptr;
    }

    std::weak_ptr<Impl> owner_;
    std::uint64_t tunnel_, id_;
    bool bare_, raw_ = false;
  };

  Runtime runtime;
  NodeStreams& served;
  TunnelOptions options;
  runtime::Timer retry, ping;
  std::unique_ptr<net::WebSocket> socket;
  TunnelStreams table;
  std::map<std::uint64_t, std::unique_ptr<NodeStream>> streams;   // of `table`; null: not opened yet, or answered from inside open()
  std::uint64_t number = 0;                                       // of the tunnel, counted up at each connection
  Milliseconds wait = kFirstRetry;
  std::string last_error;
  bool wanted = false, dialling = false, stopped = false;

  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "edgestream", format, std::forward<A>(args)...);
  }

  // ---- the connection

  void dial() {
    if (stopped || !wanted || socket || dialling) return;
    net::DialOptions dial;
    dial.timeout = options.handshake_timeout;
    dial.tls.emplace();
    for (const auto& [file, into] : {std::pair{&options.ca_file, &dial.tls->ca_pem}, {&options.certificate_file, &dial.tls->certificate_pem},
                                     {&options.private_key_file, &dial.tls->private_key_pem}}) {
      auto text = runtime::read_text_file(*file);
      if (!text) return again(text.error().message);
      *into = std::move(*text);
    }
    net::Headers headers{{wire::kTunnelNodeHeader, options.node.str()}, {wire::kTunnelWindowHeader, std::to_string(TunnelStreams::kWindow)}};
    if (!options.address.empty()) headers.emplace_back(wire::kTunnelAddressHeader, options.address);
    net::WebSocketOptions socket_options;
    socket_options.max_message_bytes = wire::kMaxTunnelMessage;
    socket_options.validate_utf8 = false;   // upstream sends binary in TEXT
    dialling = true;
    net::websocket_dial(runtime, options.server, wire::kTunnelPath, std::move(headers), std::move(dial), socket_options,
                        [weak = weak_from_this()](Result<std::unique_ptr<net::WebSocket>> result) {
                          const auto self = weak.lock();
                          if (!self || self->stopped) return;
                          self->dialling = false;
                          if (!result) return self->again(result.error().message);
                          self->opened(std::move(*result));
                        });
  }

  // A cloud without this port is no fault: it is said once, and asked seldom.
  void again(const std::string& why) {
    if (why != last_error) say(LogLevel::kInfo, "no stream tunnel (kubectl logs and exec do not reach this node): {}", why);
    last_error = why;
    const Milliseconds jitter{wait.count() / 4 * (std::stol(base::random_hex(1), nullptr, 16) % 5) / 4};
    retry.start(wait + jitter, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->dial();
    });
    wait = std::min(wait * 2, kLongestRetry);
  }

  void opened(std::unique_ptr<net::WebSocket> fresh) {
    socket = std::move(fresh);
    ++number;
    wait = kFirstRetry;
    last_error.clear();
    const auto weak = weak_from_this();
    net::WebSocket::Handlers events;
    events.on_message = [weak](Bytes message) {
      if (const auto self = weak.lock()) self->received(message);
    };
    events.on_closed = [weak](const Error& error) {
      if (const auto self = weak.lock()) self->lost(error.message);
    };
    events.on_drained = [weak] {
      if (const auto self = weak.lock()) self->drained();
    };
    socket->start(std::move(events));
    say(LogLevel::kInfo, "stream tunnel up to {}", socket->peer_address());
    plan_ping();
  }

  void plan_ping() {
    ping.start(kPingInterval, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || !self->socket) return;
      self->socket->ping("ping you");
      self->plan_ping();
    });
  }

  void lost(const std::string& why) {
    drop();
    if (!stopped && wanted) again("the tunnel ended: " + why);
  }

  void drop() {
    ping.cancel();
    // Both live until this call is over: we may be inside a handler of either.
    runtime::post(runtime, [dead = std::move(socket), ended = std::move(streams)] {});
    socket.reset();
    streams.clear();
    table = TunnelStreams();
  }

  // ---- messages

  void send(std::uint64_t id, TunnelType type, std::string_view data) {
    if (socket) socket->send(Bytes(wire::encode_tunnel(id, type, data)));
  }

  void send_data(std::uint64_t id, std::string_view data) {
    table.sent(id, data.size());
    for (; !data.empty(); data.remove_prefix(std::min(data.size(), net::Stream::kReadChunk))) send(id, TunnelType::kData, data.substr(0, net::Stream::kReadChunk));
  }

  void consumed(std::uint64_t id, std::size_t bytes) {
    if (const std::uint64_t credit = table.consumed(id, bytes); credit > 0) send(id, TunnelType::kWindow, wire::encode_credit(credit));
  }

  void forget(std::uint64_t id) {
    table.remove(id);
    const auto found = streams.find(id);
    if (found == streams.end()) return;
    runtime::post(runtime, [ended = std::move(found->second)] {});   // it may be the caller
    streams.erase(found);
  }

  void received(const Bytes& text) {
    auto message = wire::decode_tunnel(text);
    if (!message) return say(LogLevel::kWarning, "{}", message.error().message);
    switch (message->type) {
      case TunnelType::kLogs:
      case TunnelType::kExec:
      case TunnelType::kMetrics:
      case TunnelType::kAttach: return begin(*message);
      case TunnelType::kData: return feed(*message);
      case TunnelType::kRemove: return forget(message->id);
      case TunnelType::kClose: return socket->close(1000, "told to close: " + base::percent_encode(message->data.str().substr(0, 80)));
      case TunnelType::kWindow: return credited(*message);
    }
    say(LogLevel::kWarning, "tunnel message of unknown type {}", static_cast<std::uint64_t>(message->type));
  }

  void begin(const wire::TunnelMessage& message) {
    auto connect = wire::decode_connect(message.data);
    if (!connect) return reject(message.id, connect.error().message);
    if (!table.add(message.id, connect->window)) return reject(message.id, "the id is in use, or there are too many streams");
    streams[message.id] = nullptr;
    auto answer = std::make_shared<Answer>(weak_from_this(), number, message.id, message.type);
    NodeCall call{std::move(connect->method), std::move(connect->path), std::move(connect->query), std::move(connect->headers)};
    auto stream = served.open(std::move(call), std::move(answer));
    if (const auto found = streams.find(message.id); found != streams.end()) found->second = std::move(stream);
  }

  void reject(std::uint64_t id, const std::string& why) {
    say(LogLevel::kWarning, "stream {} refused: {}", id, why);
    send(id, TunnelType::kRemove, "");
  }

  void feed(const wire::TunnelMessage& message) {
    switch (table.received(message.id, message.data.size())) {
      case TunnelStreams::Taken::kUnknown: return;   // crossed our kRemove
      case TunnelStreams::Taken::kTooMuch:
        reject(message.id, "more data than there is room for");
        return forget(message.id);
      case TunnelStreams::Taken::kYes: break;
    }
    if (const auto found = streams.find(message.id); found != streams.end() && found->second) found->second->on_data(message.data);
  }

  void credited(const wire::TunnelMessage& message) {
    const auto bytes = wire::decode_credit(message.data);
    if (!bytes || !table.credited(message.id, *bytes)) {
      reject(message.id, "a window message that does not fit");
      return forget(message.id);
    }
    give_room(message.id);
  }

  void give_room(std::uint64_t id) {
    if (const auto found = streams.find(id); found != streams.end() && found->second) found->second->on_room();
  }

  void drained() {
    for (const std::uint64_t id : table.ids())
      if (table.room(id) > 0) give_room(id);
  }
};

TunnelClient::TunnelClient(const Runtime& runtime, NodeStreams& streams, TunnelOptions options)
    : impl_(std::make_shared<Impl>(runtime, streams, std::move(options))) {}
TunnelClient::~TunnelClient() { stop(); }

void TunnelClient::on_link(bool up) {
  impl_->wanted = up;
  if (!up) return impl_->retry.cancel();   // a tunnel that still lives is left alone
  impl_->wait = kFirstRetry;
  impl_->dial();
}

void TunnelClient::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->retry.cancel();
  impl_->ping.cancel();
  impl_->streams.clear();
  impl_->socket.reset();
}

}  // namespace kubeedge::edge
