#include <kubeedge/bus.h>

#include <deque>
#include <optional>

#include <asio/executor_work_guard.hpp>

#include "base/text.h"
#include "mqtt/paho_transport.h"
#include "mqtt/topic.h"

namespace kubeedge {
inline namespace v0 {

struct Bus::Impl : std::enable_shared_from_this<Bus::Impl> {
  struct Subscription {
    std::string filter;
    Handler handler;
  };

  void message(const std::string& topic, const Bytes& payload) {
    if (payload.size() > mqtt::kMaxPayloadBytes) return;   // cut
    for (std::size_t i = 0; i < subscriptions.size(); ++i)   // a handler may add one
      if (mqtt::matches(subscriptions[i].filter, topic)) subscriptions[i].handler(topic, payload);
  }

  explicit Impl(const Runtime& runtime_in) : runtime(runtime_in) {}

  Runtime runtime;
  std::optional<asio::executor_work_guard<asio::any_io_executor>> busy;   // Paho waits on threads of its own: the loop must not run out
  std::unique_ptr<mqtt::Transport> transport;
  std::deque<Subscription> subscriptions;   // deque: adding moves none
  unique_function<void(bool, const std::string&)> on_state;
};

Result<Bus> Bus::create(const Runtime& runtime, MqttOptions options, std::string client_id) {
  if (Result<void> usable = runtime.usable(); !usable) return usable.error();
  if (Result<void> good = mqtt::check_server(options.server); !good) return good.error();
  auto impl = std::make_shared<Impl>(runtime);
  impl->transport = mqtt::paho_transport(runtime, std::move(options), std::move(client_id));
  return Bus(std::move(impl));
}

Bus::Bus(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Bus::Bus(Bus&&) noexcept = default;
Bus& Bus::operator=(Bus&&) noexcept = default;
Bus::~Bus() = default;

void Bus::on_state(unique_function<void(bool, const std::string&)> handler) { impl_->on_state = std::move(handler); }

Result<void> Bus::subscribe(const std::string& filter, Handler handler) {
  if (!mqtt::is_topic_filter(filter)) return base::error(Errc::kInvalidArgument, "\"{}\" is no MQTT topic filter", filter.substr(0, 80));
  if (impl_->subscriptions.size() >= kMaxSubscriptions) return base::error(Errc::kLimitExceeded, "{}: more than {} subscriptions", filter, kMaxSubscriptions);
  impl_->subscriptions.push_back({filter, std::move(handler)});
  impl_->transport->subscribe(filter, 1);
  return {};
}

Result<void> Bus::publish(const std::string& topic, Bytes payload, int qos) {
  if (!mqtt::is_topic(topic) || qos < 0 || qos > 1) return base::error(Errc::kInvalidArgument, "\"{}\" is no MQTT topic, or {} no QoS of 0 or 1", topic.substr(0, 80), qos);
  if (payload.size() > mqtt::kMaxPayloadBytes) return base::error(Errc::kInvalidArgument, "{}: more than {} bytes", topic, mqtt::kMaxPayloadBytes);
  impl_->transport->publish(topic, std::move(payload), qos);
  return {};
}

void Bus::start() {
  mqtt::Transport::Handlers handlers;
  handlers.on_message = [weak = std::weak_ptr(impl_)](const std::string& topic, const Bytes& payload, int, const std::function<void()>& acknowledge) {
    if (const auto self = weak.lock()) self->message(topic, payload);
    if (acknowledge) acknowledge();
  };
  handlers.on_state = [weak = std::weak_ptr(impl_)](bool connected, const std::string& why) {
    const auto self = weak.lock();
    if (self && self->on_state) self->on_state(connected, why);
  };
  impl_->busy.emplace(impl_->runtime.executor());
  impl_->transport->start(std::move(handlers));
}

void Bus::stop() {
  impl_->transport->stop();
  impl_->busy.reset();
}

}  // namespace v0
}  // namespace kubeedge
