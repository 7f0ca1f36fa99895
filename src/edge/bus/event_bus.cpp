#include "edge/bus/event_bus.h"

#include <array>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "mqtt/topic.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {
namespace {

using Json = nlohmann::json;

constexpr int kQos = 1;   // upstream's external mode
constexpr std::size_t kMaxSubscriptions = 1'000;

constexpr std::array kFixed{"$hw/events/upload/#", "$hw/events/device/+/+/state/update", "$hw/events/device/+/+/twin/+",
                            "$hw/events/node/+/membership/get", "SYS/dis/upload_records", "+/user/#"};

// A string content unescaped; anything else as its JSON text.
std::string content_text(const Message& message) {
  const std::string_view raw = message.content.view();
  if (raw.empty() || raw.front() != '"') return std::string(raw);
  const Json json = base::parse_json(raw);
  return json.is_string() ? json.get<std::string>() : std::string(raw);
}

}  // namespace

std::string_view event_bus_schema() { return "CREATE TABLE IF NOT EXISTS `sub_topics` (`topic` text,PRIMARY KEY (`topic`));\n"; }

struct EventBus::Impl : std::enable_shared_from_this<EventBus::Impl> {
  Impl(const Runtime& runtime_in, store::Store& store_in, mqtt::Transport& transport_in, CloudLink& link_in, TwinInput& twin_in, NodeId node_in)
      : runtime(runtime_in), store(store_in), transport(transport_in), link(link_in), twin(twin_in), node(std::move(node_in)) {}

  // devices.md 5.3. Twin topics answer with a result of their own, so their PUBACK need not wait.
  void on_message(const std::string& topic, const Bytes& payload) {
    if (topic.starts_with("$hw/events/device/") || topic.starts_with("$hw/events/node/")) return twin.on_mqtt(topic, payload);
    if (payload.size() > mqtt::kMaxPayloadBytes || !base::is_utf8(payload.view()) || !mqtt::is_topic(topic)) {
      ++counters.refused;
      return base::log(runtime.log(), LogLevel::kWarning, "bus", "upload on {} refused: only UTF-8 text up to {} bytes travels",
                       topic.substr(0, mqtt::kMaxTopicBytes), mqtt::kMaxPayloadBytes);
    }
    if (!link.up()) {
      if (counters.dropped_offline++ % 1000 == 0)
        base::log(runtime.log(), LogLevel::kWarning, "bus", "the cloud is away: uploads are dropped ({} so far)", counters.dropped_offline);
      return;
    }
    Message message;
    message.id = MessageId(base::uuid4());
    message.timestamp_ms = runtime.clock().unix_ms();
    message.source = "bus";
    message.group = "user";
    message.operation = "upload";
    message.resource = topic;
    message.content = base::dump_json(Json(payload.str()));
    ++counters.uploads;
    link.send(std::move(message));
  }

  void subscribe(const std::string& topic) {
    if (!mqtt::is_topic_filter(topic)) return base::log(runtime.log(), LogLevel::kWarning, "bus", "subscribe: not an MQTT topic filter of at most {} bytes", mqtt::kMaxTopicBytes);
    if (!topics.contains(topic) && topics.size() >= kMaxSubscriptions)
      return base::log(runtime.log(), LogLevel::kWarning, "bus", "subscribe {}: more than {} topics", topic, kMaxSubscriptions);
    topics.insert(topic);
    persist({"INSERT OR REPLACE INTO sub_topics(topic) VALUES (?1)", {topic}}, topic);
    transport.subscribe(topic, kQos);
  }

  void unsubscribe(const std::string& topic) {
    topics.erase(topic);
    persist({"DELETE FROM sub_topics WHERE topic = ?1", {topic}}, topic);
    for (const char* fixed : kFixed)
      if (topic == fixed) return;
    transport.unsubscribe(topic);
  }

  void persist(store::Statement statement, const std::string& topic) {
    store.write({std::move(statement)}, [weak = weak_from_this(), topic](Result<void> result) {
      const auto self = weak.lock();
      if (self && !result.ok())
        base::log(self->runtime.log(), LogLevel::kError, "bus", "subscription {} will not survive a restart: {}", topic, result.error().message);
    });
  }

  // The legacy {"message":{"topic":..}}: the inner object is published to its own topic.
  void publish_inner(const Message& message) {
    const Json json = base::parse_json(content_text(message));
    const auto inner = json.is_object() ? json.find("message") : json.end();
    if (!json.is_object() || inner == json.end() || !inner->is_object() || !inner->contains("topic") || !(*inner)["topic"].is_string())
      return base::log(runtime.log(), LogLevel::kWarning, "bus", "message without message.topic: dropped");
    const auto topic = (*inner)["topic"].get<std::string>();
    publish(topic, base::dump_json(*inner));
  }

  void publish(const std::string& topic, Bytes payload) {
    if (mqtt::is_topic(topic)) return transport.publish(topic, std::move(payload), kQos);
    base::log(runtime.log(), LogLevel::kWarning, "bus", "publish: not an MQTT topic of at most {} bytes", mqtt::kMaxTopicBytes);
  }

  // A rule's message, answered when the broker has it (a Go cloud ignores the answer).
  void publish_for(Message message) {
    auto answer = [weak = weak_from_this(), request = message](const Result<void>& result) {
      const auto self = weak.lock();
      if (!self) return;
      Message out = wire::ack(request, self->runtime.clock().unix_ms());
      if (!result) {
        out.operation = "error";
        out.content = wire::json_string(result.error().message);
      }
      self->link.send(std::move(out));
    };
    if (!mqtt::is_topic(message.resource)) return answer(base::error(Errc::kInvalidArgument, "not an MQTT topic of at most {} bytes", mqtt::kMaxTopicBytes));
    transport.deliver(message.resource, content_text(message), std::move(answer));
  }

  Runtime runtime;
  store::Store& store;
  mqtt::Transport& transport;
  CloudLink& link;
  TwinInput& twin;
  NodeId node;
  Counters counters;
  std::set<std::string> topics;   // of sub_topics
};

EventBus::EventBus(const Runtime& runtime, store::Store& store, mqtt::Transport& transport, CloudLink& link, TwinInput& twin, NodeId node)
    : impl_(std::make_shared<Impl>(runtime, store, transport, link, twin, std::move(node))) {}

EventBus::~EventBus() = default;

Result<void> EventBus::start() {
  auto rows = impl_->store.query({"SELECT topic FROM sub_topics", {}});
  if (!rows) return rows.error().in("sub_topics");
  for (const char* filter : kFixed) impl_->transport.subscribe(filter, kQos);
  for (const auto& row : *rows) {
    if (row.empty() || !mqtt::is_topic_filter(store::text(row[0]))) continue;
    impl_->topics.insert(store::text(row[0]));
    impl_->transport.subscribe(store::text(row[0]), kQos);
  }
  mqtt::Transport::Handlers handlers;
  handlers.on_message = [weak = std::weak_ptr(impl_)](const std::string& topic, const Bytes& payload, int, const std::function<void()>& acknowledge) {
    if (const auto self = weak.lock()) self->on_message(topic, payload);
    if (acknowledge) acknowledge();
  };
  handlers.on_state = [weak = std::weak_ptr(impl_)](bool connected, const std::string& why) {
    const auto self = weak.lock();
    if (!self) return;
    base::log(self->runtime.log(), connected ? LogLevel::kInfo : LogLevel::kWarning, "bus", "{}", why);
    if (connected) self->twin.on_broker_up();
  };
  impl_->transport.start(std::move(handlers));
  return {};
}

void EventBus::stop() { impl_->transport.stop(); }

void EventBus::publish(std::string topic, Bytes payload) { impl_->publish(topic, std::move(payload)); }

void EventBus::on_message(Message message) {
  const std::string& operation = message.operation;
  if (operation == "subscribe") return impl_->subscribe(message.resource);
  if (operation == "unsubscribe") return impl_->unsubscribe(message.resource);
  if (operation == "message") return impl_->publish_inner(message);
  if (operation == "get_result" && message.resource == "auth_info")
    return impl_->publish(fmt::format("$hw/events/node/{}/authInfo/get/result", impl_->node.str()), content_text(message));
  if (operation == "publish") return impl_->publish_for(std::move(message));
  base::log(impl_->runtime.log(), LogLevel::kDebug, "bus", "operation {} from {} is not the bus's: ignored", operation, message.source);
}

EventBus::Counters EventBus::counters() const { return impl_->counters; }

void EventBus::collect(base::MetricsPage& page) const {
  const Counters& c = impl_->counters;
  page.counter("kubeedge_eventbus_uploads_total", "Uploads of MQTT apps handed to the link", c.uploads);
  page.counter("kubeedge_eventbus_queue_drops_total", "Uploads let go of, by policy: they came while the cloud was away", c.dropped_offline, {{"policy", "offline"}});
  page.counter("kubeedge_eventbus_refused_messages_total", "Messages of MQTT apps refused: too large, or not UTF-8", c.refused);
}

}  // namespace kubeedge::edge
