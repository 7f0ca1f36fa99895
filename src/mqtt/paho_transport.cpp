#include "mqtt/paho_transport.h"

#include <MQTTAsync.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include <asio/post.hpp>

#include "base/text.h"
#include "mqtt/connack.h"
#include "mqtt/nodelay.h"
#include "runtime/timer.h"

namespace kubeedge::mqtt {
namespace {

constexpr std::size_t kMaxServerBytes = 1024;
constexpr int kKeepAliveSeconds = 30;
constexpr int kConnectTimeoutSeconds = 10;
constexpr std::size_t kMaxQueuedPublishes = 10'000;   // past it the oldest is dropped and counted
constexpr std::size_t kWindow = 500;                  // publishes under way at Paho
constexpr int kMaxInbound = 10'000;                   // messages between Paho's thread and the executor
constexpr std::uint16_t kPort = 1883, kTlsPort = 8883;   // where the address names none
constexpr std::size_t kMaxInboundBytes = 16 * 1024 * 1024;   // of all of them

class PahoClient;

std::uint16_t port_of(std::string_view server) {
  const char* const end = server.data() + server.size();
  std::uint16_t port = 0;
  if (std::from_chars(server.data() + server.rfind(':') + 1, end, port).ptr == end) return port;
  return server.starts_with("ssl:") ? kTlsPort : kPort;
}

// Paho calls back from its own threads, also while a client is being destroyed. Contexts are therefore numbers
// looked up here, never pointers. (Paho keeps process-wide state of its own; this adds one small table to it.)
struct Registry {
  std::mutex mutex;
  struct Inbound {
    std::atomic<int> messages = 0;
    std::atomic<std::size_t> bytes = 0;
  };
  struct Entry {
    std::weak_ptr<PahoClient> client;
    std::shared_ptr<Inbound> inbound = std::make_shared<Inbound>();
  };
  std::map<std::uintptr_t, Entry> clients;
  std::uintptr_t next = 1;
};
Registry& registry() {
  static Registry instance;
  return instance;
}

class PahoClient : public std::enable_shared_from_this<PahoClient> {
 public:
  PahoClient(const Runtime& runtime, MqttOptions options, std::string client_id)
      : runtime_(runtime), options_(std::move(options)), client_id_(std::move(client_id)), timer_(runtime) {}

  ~PahoClient() {
    if (handle_) MQTTAsync_destroy(&handle_);
  }

  void start(Transport::Handlers handlers) {
    handlers_ = std::move(handlers);
    stopped_ = false;
    if (!handle_ && !create()) return;
    connect();
  }

  void stop() {
    stopped_ = true;
    timer_.cancel();
    handlers_ = {};
    if (connected_) {
      MQTTAsync_disconnectOptions disconnect = MQTTAsync_disconnectOptions_initializer;
      disconnect.timeout = 100;
      MQTTAsync_disconnect(handle_, &disconnect);
    }
    connected_ = connecting_ = false;
  }

  void forget() {
    const std::scoped_lock lock(registry().mutex);
    registry().clients.erase(key_);
  }

  void subscribe(const std::string& filter, int qos) {
    filters_[filter] = qos;
    if (connected_) send_subscribe({filter}, {qos});
  }

  void unsubscribe(const std::string& filter) {
    if (filters_.erase(filter) == 0 || !connected_) return;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    MQTTAsync_unsubscribe(handle_, filter.c_str(), &response);
  }

  void publish(const std::string& topic, Bytes payload, int qos) {
    if (qos == 0) {
      if (connected_) (void)send({topic, std::move(payload), nullptr}, 0);
      return;
    }
    deliver(topic, std::move(payload), nullptr);
  }

  void deliver(const std::string& topic, Bytes payload, unique_function<void(Result<void>)> done) {
    if (queue_.size() >= kMaxQueuedPublishes) {
      Item oldest = std::move(queue_.front());
      queue_.pop_front();
      if (oldest.done) oldest.done(base::error(Errc::kLimitExceeded, "broker {}: more than {} publications wait for it", options_.server, kMaxQueuedPublishes));
      if (dropped_++ % 1000 == 0)
        base::log(runtime_.log(), LogLevel::kWarning, "mqtt", "broker {}: {} publications dropped, the oldest first", options_.server, dropped_);
    }
    queue_.push_back({topic, std::move(payload), std::move(done)});
    pump();
  }

 private:
  struct Item {
    std::string topic;
    Bytes payload;
    unique_function<void(Result<void>)> done;
  };

  bool create() {
    {
      const std::scoped_lock lock(registry().mutex);
      key_ = registry().next++;
      registry().clients[key_].client = weak_from_this();
    }
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
    create.MQTTVersion = MQTTVERSION_3_1_1;
    create.maxBufferedMessages = 2 * static_cast<int>(kWindow);   // Paho's own default is 100
    int rc = MQTTAsync_createWithOptions(&handle_, options_.server.c_str(), client_id_.c_str(), MQTTCLIENT_PERSISTENCE_NONE, nullptr, &create);
    if (rc == MQTTASYNC_SUCCESS) rc = MQTTAsync_setCallbacks(handle_, context(), &on_lost, &on_message, nullptr);
    if (rc == MQTTASYNC_SUCCESS) return true;
    tell(false, fmt::format("broker {}: {} (is it tcp://host:port or ssl://host:port?)", options_.server, reason(rc, nullptr)));
    return false;
  }

  void connect() {
    if (stopped_ || connected_ || connecting_) return;
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer;
    connect.keepAliveInterval = kKeepAliveSeconds;
    connect.cleansession = 1;
    connect.connectTimeout = kConnectTimeoutSeconds;
    connect.MQTTVersion = MQTTVERSION_3_1_1;
    connect.onSuccess = &on_connected;
    connect.onFailure = &on_connect_failed;
    connect.context = context();
    if (!options_.username.empty()) {
      connect.username = options_.username.c_str();
      connect.password = options_.password.c_str();
    }
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    if (options_.server.starts_with("ssl://")) {
      tls.enableServerCertAuth = 1;
      tls.verify = 1;
      tls.sslVersion = MQTT_SSL_VERSION_TLS_1_2;
      if (!options_.ca_file.empty()) tls.trustStore = options_.ca_file.c_str();
      if (!options_.certificate_file.empty()) tls.keyStore = options_.certificate_file.c_str();
      if (!options_.private_key_file.empty()) tls.privateKey = options_.private_key_file.c_str();
      connect.ssl = &tls;
    }
    connecting_ = true;
    const int rc = MQTTAsync_connect(handle_, &connect);
    if (rc != MQTTASYNC_SUCCESS) failed(reason(rc, nullptr));
  }

  void failed(const std::string& why) {
    connecting_ = false;
    if (stopped_) return;
    if (!told_down_) tell(false, fmt::format("broker {}: not connected: {}; trying on, at most {} s apart", options_.server, why, kMaxRetry.count() / 1000));
    told_down_ = true;
    const Milliseconds wait = retry_;
    retry_ = std::min(retry_ * 2, kMaxRetry);
    timer_.start(wait, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->connect();
    });
  }

  void connected() {
    connecting_ = false;
    if (stopped_) return;
    connected_ = true;
    told_down_ = false;
    retry_ = kFirstRetry;
    set_nodelay(port_of(options_.server));
    // What the broker had not acknowledged goes again, first and in its order.
    for (auto it = under_way_.rbegin(); it != under_way_.rend(); ++it) queue_.push_front(std::move(it->second));
    under_way_.clear();
    std::vector<std::string> filters;
    std::vector<int> qos;
    for (const auto& [filter, level] : filters_) {
      filters.push_back(filter);
      qos.push_back(level);
    }
    if (!filters.empty()) send_subscribe(filters, qos);
    tell(true, fmt::format("broker {}: connected", options_.server));
    pump();
  }

  void lost(const std::string& cause) {
    if (!connected_) return;
    connected_ = false;
    if (stopped_) return;
    tell(false, fmt::format("broker {}: connection lost{}{}", options_.server, cause.empty() ? "" : ": ", cause));
    told_down_ = true;
    connect();
  }

  void send_subscribe(const std::vector<std::string>& filters, std::vector<int> qos) {
    std::vector<char*> names;
    for (const auto& filter : filters) names.push_back(const_cast<char*>(filter.c_str()));   // Paho's signature; it copies
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.context = context();
    response.onFailure = &on_subscribe_failed;
    MQTTAsync_subscribeMany(handle_, static_cast<int>(names.size()), names.data(), qos.data(), &response);
  }

  // What Paho said, and its token.
  std::pair<int, int> send(const Item& item, int qos) {
    MQTTAsync_message message = MQTTAsync_message_initializer;
    message.payload = const_cast<char*>(item.payload.view().data());   // Paho's signature; it copies
    message.payloadlen = static_cast<int>(item.payload.size());
    message.qos = qos;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.context = context();
    if (qos > 0) response.onSuccess = &on_sent;
    response.onFailure = &on_not_sent;
    const int rc = MQTTAsync_sendMessage(handle_, item.topic.c_str(), &message, &response);
    return {rc, response.token};
  }

  void pump() {
    while (connected_ && !queue_.empty() && under_way_.size() < kWindow) {
      Item item = std::move(queue_.front());
      queue_.pop_front();
      const auto [rc, token] = send(item, 1);
      if (rc == MQTTASYNC_SUCCESS) {
        under_way_[token] = std::move(item);
      } else if (rc == MQTTASYNC_DISCONNECTED || (rc == MQTTASYNC_MAX_BUFFERED_MESSAGES && !under_way_.empty())) {
        queue_.push_front(std::move(item));
        return;   // the loss, or the next acknowledgement, is on its way to us
      } else {
        const Error refused = base::error(Errc::kInvalidArgument, "broker {}: a publication was refused: {}", options_.server, reason(rc, nullptr));
        base::log(runtime_.log(), LogLevel::kWarning, "mqtt", "{}", refused.message);
        if (item.done) item.done(refused);
      }
    }
  }

  void sent(int token) {
    if (auto found = under_way_.extract(token); !found.empty() && found.mapped().done) found.mapped().done({});
    pump();
  }

  void tell(bool up, const std::string& why) {
    if (handlers_.on_state) handlers_.on_state(up, why);
  }

  void* context() const { return reinterpret_cast<void*>(key_); }

  static std::string reason(int code, const char* text) {
    if (text && std::string_view(text) == "CONNACK return code") return connack_text(code);   // Paho's own text says no more
    if (text) return text;
    const char* known = MQTTAsync_strerror(code);
    return known ? fmt::format("{} ({})", known, code) : fmt::format("Paho error {}", code);
  }

  // ---- On Paho's threads: look up, copy, hop.
  template <class F>
  static bool hop(void* context, F f) {
    std::shared_ptr<PahoClient> self;
    {
      const std::scoped_lock lock(registry().mutex);
      const auto it = registry().clients.find(reinterpret_cast<std::uintptr_t>(context));
      if (it != registry().clients.end()) self = it->second.client.lock();
    }
    if (!self) return false;
    const auto executor = self->runtime_.executor();
    // The client must be released on the executor's thread: its end waits for Paho's threads.
    asio::post(executor, [self = std::move(self), f = std::move(f)]() mutable { f(*self); });
    return true;
  }

  static int on_message(void* context, char* topic, int topic_size, MQTTAsync_message* message) {
    std::shared_ptr<Registry::Inbound> waiting;
    {
      const std::scoped_lock lock(registry().mutex);
      const auto it = registry().clients.find(reinterpret_cast<std::uintptr_t>(context));
      if (it != registry().clients.end()) waiting = it->second.inbound;
    }
    // Not taken: Paho offers it again.
    if (waiting && (waiting->messages.load() >= kMaxInbound || waiting->bytes.load() >= kMaxInboundBytes)) return 0;
    const auto size = std::min(static_cast<std::size_t>(std::max(message->payloadlen, 0)), kMaxPayloadBytes + 1);
    if (waiting) {
      std::string name = topic_size > 0 ? std::string(topic, static_cast<std::size_t>(topic_size)) : std::string(topic);
      Bytes payload(std::string(static_cast<const char*>(message->payload), size));
      waiting->messages.fetch_add(1);
      waiting->bytes.fetch_add(size);
      hop(context, [waiting, name = std::move(name), payload = std::move(payload), qos = message->qos](PahoClient& self) {
        waiting->messages.fetch_sub(1);
        waiting->bytes.fetch_sub(payload.size());
        // Paho's PUBACK leaves when on_message returns: there is nothing to hold back.
        if (self.handlers_.on_message) self.handlers_.on_message(name, payload, qos, [] {});
      });
    }
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
  }

  static void on_lost(void* context, char* cause) {
    hop(context, [why = std::string(cause ? cause : "")](PahoClient& self) { self.lost(why); });
  }
  static void on_connected(void* context, MQTTAsync_successData*) {
    hop(context, [](PahoClient& self) { self.connected(); });
  }
  static void on_connect_failed(void* context, MQTTAsync_failureData* data) {
    hop(context, [why = data ? reason(data->code, data->message) : std::string("no answer")](PahoClient& self) { self.failed(why); });
  }
  static void on_subscribe_failed(void* context, MQTTAsync_failureData* data) {
    hop(context, [why = data ? reason(data->code, data->message) : std::string("no answer")](PahoClient& self) {
      base::log(self.runtime_.log(), LogLevel::kWarning, "mqtt", "broker {}: a subscription was refused: {}; its ACL must allow $hw/#",
                self.options_.server, why);
    });
  }
  static void on_sent(void* context, MQTTAsync_successData* data) {
    hop(context, [token = data ? data->token : 0](PahoClient& self) { self.sent(token); });
  }
  // Only a broken connection ends here: the item stays under way and goes again at the next connect.
  static void on_not_sent(void*, MQTTAsync_failureData*) {}

  Runtime runtime_;
  MqttOptions options_;
  std::string client_id_;
  runtime::Timer timer_;
  Transport::Handlers handlers_;
  MQTTAsync handle_ = nullptr;
  std::uintptr_t key_ = 0;
  std::map<std::string, int> filters_;
  std::deque<Item> queue_;
  std::map<int, Item> under_way_;      // by Paho's token
  std::uint64_t dropped_ = 0;
  Milliseconds retry_ = kFirstRetry;
  bool connected_ = false, connecting_ = false, stopped_ = true, told_down_ = false;
};

class PahoTransport final : public Transport {
 public:
  explicit PahoTransport(std::shared_ptr<PahoClient> client) : client_(std::move(client)) {}
  ~PahoTransport() override {
    client_->stop();
    client_->forget();
  }
  void start(Handlers handlers) override { client_->start(std::move(handlers)); }
  void stop() override { client_->stop(); }
  void subscribe(const std::string& filter, int qos) override { client_->subscribe(filter, qos); }
  void unsubscribe(const std::string& filter) override { client_->unsubscribe(filter); }
  void publish(const std::string& topic, Bytes payload, int qos) override { client_->publish(topic, std::move(payload), qos); }
  void deliver(const std::string& topic, Bytes payload, unique_function<void(Result<void>)> done) override {
    client_->deliver(topic, std::move(payload), std::move(done));
  }

 private:
  std::shared_ptr<PahoClient> client_;
};

}  // namespace

Result<void> check_server(const std::string& server) {
  if ((server.starts_with("tcp://") || server.starts_with("ssl://")) && server.size() > 6 && server.size() < kMaxServerBytes) return {};
  return base::error(Errc::kInvalidArgument, "broker \"{}\": an address like tcp://host:1883 or ssl://host:8883 is wanted", server.substr(0, 80));
}

std::unique_ptr<Transport> paho_transport(const Runtime& runtime, MqttOptions options, std::string client_id) {
  return std::make_unique<PahoTransport>(std::make_shared<PahoClient>(runtime, std::move(options), std::move(client_id)));
}

}  // namespace kubeedge::mqtt
