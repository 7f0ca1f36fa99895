#include "mqtt/receiver.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/text.h"
#include "mqtt/receive_session.h"
#include "mqtt/server.h"
#include "net/stream.h"
#include "net/url.h"
#include "runtime/files.h"
#include "runtime/timer.h"

namespace kubeedge::mqtt {
namespace {

constexpr Milliseconds kConnectTimeout{10'000};
constexpr Milliseconds kTick{5'000};
constexpr Milliseconds kPingAfter{15'000};   // half of the keepalive: the broker waits for one and a half of it
constexpr Milliseconds kDeadAfter{45'000};   // without a word of the broker, which answers pings
constexpr int kQos = 1;

Result<std::string> pem(const std::string& path) { return path.empty() ? Result<std::string>(std::string()) : runtime::read_text_file(path); }

// The same trust as Paho's client has: the CA file, or the system's.
Result<net::TlsConfig> tls_config(const MqttOptions& options) {
  net::TlsConfig tls;
  auto ca = options.ca_file.empty() ? net::system_roots() : pem(options.ca_file);
  if (!ca) return ca.error();
  auto certificate = pem(options.certificate_file);
  if (!certificate) return certificate.error();
  auto key = pem(options.private_key_file);
  if (!key) return key.error();
  tls.ca_pem = std::move(*ca);
  tls.certificate_pem = std::move(*certificate);
  tls.private_key_pem = std::move(*key);
  return tls;
}

class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(const Runtime& runtime, MqttOptions options, std::string client_id)
      : runtime_(runtime), options_(std::move(options)), client_id_(std::move(client_id)), retry_timer_(runtime), tick_(runtime) {}

  void start(Subscriber::Handlers handlers) {
    handlers_ = std::move(handlers);
    stopped_ = false;
    connect();
  }

  void stop() {
    stopped_ = true;
    handlers_ = {};
    close();
    retry_timer_.cancel();
  }

  void subscribe(const std::string& filter) {
    gone_.erase(filter);
    if (!filters_.insert(filter).second || !opened_) return;
    session_->subscribe({filter}, kQos);
    flush_soon();
  }

  // Also one that we know nothing of: the broker's session may still have it.
  void unsubscribe(const std::string& filter) {
    filters_.erase(filter);
    if (!opened_) return void(gone_.insert(filter));
    session_->unsubscribe(filter);
    flush_soon();
  }

  void refuse(const std::string& why) {
    retry_ = kMaxRetry;
    if (session_) lost(why);
  }

 private:
  Milliseconds now() const { return runtime_.clock().steady(); }

  // A callback of this connection; nothing once it is over.
  template <class F>
  auto safe(F f) {
    return [weak = weak_from_this(), connection = connection_, f = std::move(f)](auto&&... args) mutable {
      const auto self = weak.lock();
      if (self && self->connection_ == connection) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  void connect() {
    if (stopped_) return;
    auto server = parse_server(options_.server);
    if (!server) return tell(false, server.error().message);
    net::DialOptions dial;
    dial.timeout = kConnectTimeout;
    if (server->tls) {
      auto tls = tls_config(options_);
      if (!tls) return lost(tls.error().message);
      dial.tls = std::move(*tls);
    }
    net::dial(runtime_, server->endpoint, std::move(dial), safe([](Client& self, Result<std::unique_ptr<net::Stream>> stream) {
      if (!stream) return self.lost(stream.error().message);
      self.stream_ = std::move(*stream);
      self.session_.emplace(ReceiveSession::Login{self.client_id_, self.options_.username, self.options_.password});
      self.began_ = self.sent_ = self.heard_ = self.now();
      self.flush();
      self.read();
      self.watch();
    }));
  }

  void close() {
    ++connection_;   // nothing of this connection is heard any more
    opened_ = reading_ = false;
    session_.reset();
    tick_.cancel();
    if (stream_) runtime::post(runtime_, [dead = std::move(stream_)] {});   // we may be inside its callback
  }

  void lost(const std::string& why) {
    const bool was_open = opened_;
    close();
    if (stopped_) return;
    if (was_open || why != told_) tell(false, fmt::format("broker {}: {}: {}; trying on", options_.server, was_open ? "connection lost" : "not connected", why));
    told_ = why;
    retry_timer_.start(retry_, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->connect();
    });
    retry_ = std::min(retry_ * 2, kMaxRetry);
  }

  void tell(bool up, const std::string& why) {
    if (handlers_.on_state) handlers_.on_state(up, why);
  }

  void watch() {
    tick_.start(kTick, safe([](Client& self) {
      const Milliseconds at = self.now();
      if (!self.opened_ && at - self.began_ > kConnectTimeout) return self.lost("no CONNACK");
      // While we do not read ourselves the answer to a ping waits behind messages.
      if (self.reading_ && at - self.heard_ > kDeadAfter) return self.lost("the broker is silent");
      if (self.opened_ && at - self.sent_ > kPingAfter) {
        self.session_->ping();
        self.flush();
      }
      self.watch();
    }));
  }

  void read() {
    if (reading_ || !session_ || session_->unacknowledged() > kMaxUnacknowledged || session_->unacknowledged_bytes() > kMaxUnacknowledgedBytes) return;
    reading_ = true;
    heard_ = now();   // it may have waited for us
    stream_->read(safe([](Client& self, Result<Bytes> data) {
      self.reading_ = false;
      if (!data) return self.lost(data.error().message);
      if (data->empty()) return self.lost("the broker closed the connection");
      self.heard_ = self.now();
      self.take(data->view());
    }));
  }

  void take(std::string_view bytes) {
    const std::uint64_t connection = connection_;
    std::vector<ReceiveSession::Event> events;
    const Result<void> fine = session_->feed(bytes, events);
    for (auto& event : events) {
      std::visit([this](auto& one) { happened(one); }, event);
      if (connection_ != connection) return;   // a handler ended it
    }
    if (!fine) return lost(fine.error().message);
    flush_soon();
    read();
  }

  void happened(const ReceiveSession::Opened&) {
    opened_ = true;
    told_.clear();
    retry_ = kFirstRetry;
    for (const auto& filter : std::exchange(gone_, {})) session_->unsubscribe(filter);
    session_->subscribe({filters_.begin(), filters_.end()}, kQos);
    tell(true, fmt::format("broker {}: connected as {}", options_.server, client_id_));
  }

  void happened(const ReceiveSession::Refused& refused) {
    base::log(runtime_.log(), LogLevel::kWarning, "mqtt", "broker {}: the subscription to {} was refused: its ACL must allow it to {}", options_.server, refused.filter, client_id_);
  }

  void happened(ReceiveSession::Publication& message) {
    auto acknowledge = safe([number = message.number](Client& self) {
      self.session_->acknowledge(number);
      self.flush_soon();
      self.read();
    });
    if (handlers_.on_message) handlers_.on_message(std::move(message.topic), std::move(message.payload), message.qos, std::move(acknowledge));
  }

  // What one turn of the loop acknowledges leaves in one write.
  void flush_soon() {
    if (std::exchange(flush_posted_, true)) return;
    runtime::post(runtime_, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->flush_posted_ = false;
      self->flush();
    });
  }

  void flush() {
    if (!session_) return;
    std::string output = session_->take_output();
    if (output.empty()) return;
    sent_ = now();
    stream_->write(Bytes(std::move(output)), safe([](Client& self, Result<void> written) {
      if (!written) self.lost(written.error().message);
    }));
  }

  Runtime runtime_;
  MqttOptions options_;
  std::string client_id_;
  runtime::Timer retry_timer_, tick_;
  Subscriber::Handlers handlers_;
  std::set<std::string> filters_;
  std::set<std::string> gone_;   // which the broker has not been told yet
  std::unique_ptr<net::Stream> stream_;
  std::optional<ReceiveSession> session_;
  std::uint64_t connection_ = 0;
  Milliseconds began_{}, sent_{}, heard_{};
  Milliseconds retry_ = kFirstRetry;
  std::string told_;   // why it is down
  bool opened_ = false, reading_ = false, flush_posted_ = false, stopped_ = true;
};

class ClientReceiver final : public Receiver {
 public:
  explicit ClientReceiver(std::shared_ptr<Client> client) : client_(std::move(client)) {}
  ~ClientReceiver() override { client_->stop(); }
  void start(Handlers handlers) override { client_->start(std::move(handlers)); }
  void stop() override { client_->stop(); }
  void subscribe(const std::string& filter, int) override { client_->subscribe(filter); }
  void unsubscribe(const std::string& filter) override { client_->unsubscribe(filter); }
  void refuse(const std::string& why) override { client_->refuse(why); }

 private:
  std::shared_ptr<Client> client_;
};

}  // namespace

std::unique_ptr<Receiver> receiver(const Runtime& runtime, MqttOptions options, std::string client_id) {
  return std::make_unique<ClientReceiver>(std::make_shared<Client>(runtime, std::move(options), std::move(client_id)));
}

}  // namespace kubeedge::mqtt
