#include "edge/bus/event_bus.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "mqtt/topic.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"

namespace kubeedge::edge {
namespace {

using Json = nlohmann::json;

constexpr int kQos = 1;   // upstream's external mode
constexpr std::size_t kMaxSubscriptions = 1'000;
constexpr Milliseconds kUploadsPatience{5'000};

// devices.md 5.2
constexpr std::array kTwinTopics{"$hw/events/device/+/+/state/update", "$hw/events/device/+/+/twin/+", "$hw/events/node/+/membership/get"};
constexpr std::array kUploadTopics{"$hw/events/upload/#", "SYS/dis/upload_records", "+/user/#"};

bool is_twin_topic(std::string_view topic) { return topic.starts_with("$hw/events/device/") || topic.starts_with("$hw/events/node/"); }

bool has_wildcard(std::string_view filter) { return filter.find_first_of("+#") != std::string_view::npos; }

// A string content unescaped; anything else as its JSON text.
std::string content_text(const Message& message) {
  const std::string_view raw = message.content.view();
  if (raw.empty() || raw.front() != '"') return std::string(raw);
  const Json json = base::parse_json(raw);
  return json.is_string() ? json.get<std::string>() : std::string(raw);
}

}  // namespace

std::string event_bus_schema() {
  return "CREATE TABLE IF NOT EXISTS `sub_topics` (`topic` text,PRIMARY KEY (`topic`));\n" + std::string(uploads_schema());
}

struct EventBus::Impl : std::enable_shared_from_this<EventBus::Impl> {
  Impl(const Runtime& runtime_in, store::Store& store_in, mqtt::Transport& transport_in, mqtt::Receiver& receiver_in, CloudLink& link_in, TwinInput& twin_in,
       NodeId node_in, UploadLimits limits)
      : runtime(runtime_in), store(store_in), transport(transport_in), receiver(receiver_in), link(link_in), twin(twin_in), node(std::move(node_in)),
        uploads(runtime_in, store_in, link_in, limits), uploads_timer(runtime_in) {}

  // devices.md 5.3. `acknowledge` is called when the message is stored, or can never be.
  void on_upload(const std::string& topic, const Bytes& payload, int qos, const std::function<void()>& acknowledge) {
    if (is_twin_topic(topic)) return acknowledge();   // a rule's wide filter: the other client has it
    if (payload.size() > mqtt::kMaxPayloadBytes || !base::is_utf8(payload.view()) || !mqtt::is_topic(topic)) {
      ++counters.refused;
      base::log(runtime.log(), LogLevel::kWarning, "bus", "upload on {} refused: only UTF-8 text up to {} bytes travels", topic.substr(0, mqtt::kMaxTopicBytes),
                mqtt::kMaxPayloadBytes);
      return acknowledge();
    }
    uploads.put(topic, payload, [weak = weak_from_this(), qos, acknowledge](const Result<void>& stored) {
      if (stored) return acknowledge();
      if (const auto self = weak.lock()) self->not_stored(qos, stored.error(), acknowledge);
    });
  }

  void not_stored(int qos, const Error& why, const std::function<void()>& acknowledge) {
    ++counters.not_stored;
    if (qos > 0) return receiver.refuse(why.message);
    ++counters.lost_qos0;
    acknowledge();
  }

  // Two filters of one client that match the same message may bring it twice (a broker's choice): one that lies within another is
  // left out.
  bool covered(const std::string& filter) const {
    const auto covers = [&](const std::string& wide) { return wide != filter && mqtt::matches(wide, filter); };
    return std::any_of(kUploadTopics.begin(), kUploadTopics.end(), [&](const char* wide) { return wide == filter || covers(wide); }) ||
           std::any_of(wildcards.begin(), wildcards.end(), covers);
  }

  void add(const std::string& filter) {
    topics.insert(filter);
    if (has_wildcard(filter)) {
      wildcards.insert(filter);
      for (const auto& narrow : topics)
        if (narrow != filter && mqtt::matches(filter, narrow)) receiver.unsubscribe(narrow);
    }
    if (!covered(filter)) receiver.subscribe(filter, kQos);
  }

  void subscribe(const std::string& topic) {
    if (!mqtt::is_topic_filter(topic)) return base::log(runtime.log(), LogLevel::kWarning, "bus", "subscribe: not an MQTT topic filter of at most {} bytes", mqtt::kMaxTopicBytes);
    if (!topics.contains(topic) && topics.size() >= kMaxSubscriptions)
      return base::log(runtime.log(), LogLevel::kWarning, "bus", "subscribe {}: more than {} topics", topic, kMaxSubscriptions);
    persist({"INSERT OR REPLACE INTO sub_topics(topic) VALUES (?1)", {topic}}, topic);
    add(topic);
  }

  void unsubscribe(const std::string& topic) {
    if (!mqtt::is_topic_filter(topic)) return base::log(runtime.log(), LogLevel::kWarning, "bus", "unsubscribe: not an MQTT topic filter of at most {} bytes", mqtt::kMaxTopicBytes);
    topics.erase(topic);
    persist({"DELETE FROM sub_topics WHERE topic = ?1", {topic}}, topic);
    if (std::find(kUploadTopics.begin(), kUploadTopics.end(), topic) != kUploadTopics.end()) return;
    receiver.unsubscribe(topic);
    if (wildcards.erase(topic) == 0) return;
    for (const auto& narrow : topics)
      if (mqtt::matches(topic, narrow) && !covered(narrow)) receiver.subscribe(narrow, kQos);
  }

  void listen() {
    mqtt::Transport::Handlers handlers;
    handlers.on_message = [weak = weak_from_this()](const std::string& topic, const Bytes& payload, int, const std::function<void()>& acknowledge) {
      if (const auto self = weak.lock(); self && is_twin_topic(topic)) self->twin.on_mqtt(topic, payload);
      if (acknowledge) acknowledge();
    };
    handlers.on_state = [weak = weak_from_this()](bool connected, const std::string& why) {
      const auto self = weak.lock();
      if (!self) return;
      base::log(self->runtime.log(), connected ? LogLevel::kInfo : LogLevel::kWarning, "bus", "{}", why);
      self->broker_up = connected;
      self->tell_uploads();
      if (connected) self->twin.on_broker_up();
    };
    transport.start(std::move(handlers));
    mqtt::Receiver::Handlers uploading;
    uploading.on_message = [weak = weak_from_this()](const std::string& topic, const Bytes& payload, int qos, const std::function<void()>& acknowledge) {
      if (const auto self = weak.lock()) self->on_upload(topic, payload, qos, acknowledge);
    };
    uploading.on_state = [weak = weak_from_this()](bool connected, const std::string& why) {
      const auto self = weak.lock();
      if (!self) return;
      self->uploads_up = connected;
      self->uploads_down = connected ? "" : why;
      if (connected) base::log(self->runtime.log(), LogLevel::kInfo, "bus", "uploads: {}", why);
      self->tell_uploads();
    };
    receiver.start(std::move(uploading));
  }

  // Both clients lose one broker: the first has said why. That uploads alone do not get through is said once they had the time.
  void tell_uploads() {
    if (uploads_down.empty() || !broker_up) return uploads_timer.cancel();
    uploads_timer.start(kUploadsPatience, [weak = weak_from_this()] {
      if (const auto self = weak.lock(); self && self->broker_up && !self->uploads_down.empty()) base::log(self->runtime.log(), LogLevel::kWarning, "bus", "uploads: {}", self->uploads_down);
    });
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
  mqtt::Receiver& receiver;
  CloudLink& link;
  TwinInput& twin;
  NodeId node;
  Uploads uploads;
  runtime::Timer uploads_timer;
  std::string uploads_down;          // why; "" = they get through
  bool uploads_up = false;
  bool broker_up = false;            // for the other client
  Counters counters;
  std::set<std::string> topics;      // of sub_topics
  std::set<std::string> wildcards;   // those of them that have any
};

EventBus::EventBus(const Runtime& runtime, store::Store& store, mqtt::Transport& transport, mqtt::Receiver& receiver, CloudLink& link, TwinInput& twin, NodeId node,
                   UploadLimits limits)
    : impl_(std::make_shared<Impl>(runtime, store, transport, receiver, link, twin, std::move(node), limits)) {}

EventBus::~EventBus() = default;

Result<void> EventBus::start() {
  auto rows = impl_->store.query({"SELECT topic FROM sub_topics", {}});
  if (!rows) return rows.error().in("sub_topics");
  if (Result<void> started = impl_->uploads.start(); !started) return started;
  for (const char* filter : kTwinTopics) impl_->transport.subscribe(filter, kQos);
  for (const char* filter : kUploadTopics) impl_->receiver.subscribe(filter, kQos);
  for (const auto& row : *rows)
    if (!row.empty() && mqtt::is_topic_filter(store::text(row[0]))) impl_->add(store::text(row[0]));
  impl_->listen();
  return {};
}

void EventBus::stop() {
  impl_->receiver.stop();
  impl_->transport.stop();
  impl_->uploads_timer.cancel();
  impl_->uploads.stop();
}

void EventBus::on_link(bool up) { impl_->uploads.on_link(up); }

void EventBus::publish(std::string topic, Bytes payload) { impl_->publish(topic, std::move(payload)); }

void EventBus::on_message(Message message) {
  const std::string& operation = message.operation;
  if (!message.parent_id.empty()) return impl_->uploads.on_answer(message);
  if (operation == "confirms") return impl_->uploads.on_confirms();
  if (operation == "subscribe") return impl_->subscribe(message.resource);
  if (operation == "unsubscribe") return impl_->unsubscribe(message.resource);
  if (operation == "message") return impl_->publish_inner(message);
  if (operation == "get_result" && message.resource == "auth_info")
    return impl_->publish(fmt::format("$hw/events/node/{}/authInfo/get/result", impl_->node.str()), content_text(message));
  if (operation == "publish") return impl_->publish_for(std::move(message));
  base::log(impl_->runtime.log(), LogLevel::kDebug, "bus", "operation {} from {} is not the bus's: ignored", operation, message.source);
}

std::string EventBus::connection() const {
  if (impl_->broker_up && impl_->uploads_up) return "connected";
  return impl_->broker_up ? "uploads not connected" : impl_->uploads_up ? "only uploads connected" : "not connected";
}

EventBus::Counters EventBus::counters() const {
  Counters out = impl_->counters;
  out.uploads = impl_->uploads.counters();
  return out;
}

void EventBus::collect(base::MetricsPage& page) const {
  const Counters& c = impl_->counters;
  impl_->uploads.collect(page);
  page.gauge("kubeedge_eventbus_connected", "1: both clients are connected to the broker", impl_->broker_up && impl_->uploads_up ? 1 : 0);
  page.counter("kubeedge_eventbus_refused_messages_total", "Messages of MQTT apps refused: too large, or not UTF-8", c.refused);
  page.counter("kubeedge_eventbus_unstored_uploads_total", "Uploads that the store did not take; those of QoS 1 come again from the broker", c.not_stored);
  page.counter("kubeedge_eventbus_lost_qos0_uploads_total", "Those of them that nobody sends again", c.lost_qos0);
}

}  // namespace kubeedge::edge
