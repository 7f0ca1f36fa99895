// The wiring of one edge: who knows whom, in which order it starts and ends.
#include <kubeedge/edge.h>

#include <filesystem>

#include "base/json.h"
#include "base/metrics.h"
#include "base/text.h"
#include "edge/bus/event_bus.h"
#include "edge/bus/internal_broker.h"
#include "edge/hub/edge_hub.h"
#include "edge/hub/hub_options.h"
#include "edge/meta/meta_manager.h"
#include "edge/node/node_agent.h"
#include "edge/ports/pod_runtime.h"
#include "edge/servicebus/service_bus.h"
#include "edge/stream/tunnel_client.h"
#include "edge/twin/device_twin.h"
#include "mqtt/paho_transport.h"
#include "mqtt/receiver.h"
#include "net/status_server.h"
#include "runtime/process_metrics.h"
#include "runtime/timer.h"
#include "store/store.h"
#include "wire/message_codec.h"

namespace kubeedge {
inline namespace v0 {
namespace {

constexpr Milliseconds kStoreCheckInterval{60'000};   // a table a time; there are a dozen

// What the cloud's Router sends (wire group "user"), by who it is for.
class UserMessages final : public edge::MessageSink {
 public:
  edge::MessageSink *bus = nullptr, *services = nullptr;
  edge::CloudLink* link = nullptr;
  void on_message(Message message) override {
    edge::MessageSink* sink = message.source == "router_servicebus" ? services : bus;
    if (sink) return sink->on_message(std::move(message));
    if (message.operation != "publish" || !link) return;
    Message refusal = wire::ack(message, message.timestamp_ms);
    refusal.operation = "error";
    refusal.content = "\"this node has no MQTT broker (modules.eventBus.enable)\"";
    link->send(std::move(refusal));
  }
};

}  // namespace

struct Edge::Impl {
  Impl(const Runtime& r, EdgeOptions o) : runtime(r), options(std::move(o)) {}

  // Ends from the top down; each part is gone before those that it points to.
  ~Impl() {
    if (stream) stream->stop();
    if (hub) hub->stop();
    if (bus) bus->stop();
    if (services) services->stop();
    if (twin) twin->set_output(nullptr);
    if (meta) {
      meta->set_pod_sink(nullptr);
      meta->set_device_sink(nullptr);
      meta->set_link(nullptr);
    }
  }

  Runtime runtime;
  EdgeOptions options;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<edge::MetaManager> meta;
  std::unique_ptr<edge::HubClient> hub;
  std::unique_ptr<edge::DeviceTwin> twin;
  std::unique_ptr<mqtt::Transport> mqtt;
  std::unique_ptr<mqtt::Receiver> uploads;
  std::unique_ptr<edge::InternalBroker> broker;
  std::unique_ptr<edge::EventBus> bus;
  std::unique_ptr<edge::ServiceBus> services;
  UserMessages user_messages;
  std::unique_ptr<PodRuntime> pods;
  std::unique_ptr<edge::TunnelClient> stream;
  std::unique_ptr<edge::NodeAgent> node;
  runtime::Timer store_check{runtime};
  base::Metrics metrics;
  std::unique_ptr<net::StatusServer> monitor;   // points to all of them: ends first

  edge::RuntimeState runtime_state() const {
    edge::RuntimeState state;
    if (!pods) return state;
    state.present = true;
    state.ready = pods->ready(state.why);
    state.version = pods->runtime_version();
    state.max_pods = pods->max_pods();
    return state;
  }

  // What a supervisor wants to know before it sends work here. Pods and twins go on without any of it.
  std::vector<net::HealthCheck> checks() const {
    std::vector<net::HealthCheck> all{{"link", hub->up() ? "" : "the cloud is not connected", ""}};
    all.push_back({"store", store->failure(), ""});
    if (bus) all.push_back({"broker", broker ? broker->failure() : "", fmt::format("{} {}, {}", options.mqtt_internal ? "internal" : "external", options.mqtt.server, bus->connection())});
    if (pods) {
      std::string why;
      if (pods->ready(why)) why.clear();
      else if (why.empty()) why = "the container runtime is not ready";
      all.push_back({"pods", why, ""});
    }
    return all;
  }
  void collect_all();
  void open_monitor();
  void check_store();

  Result<void> create();
};

void Edge::Impl::collect_all() {
  metrics.add(runtime::collect_process);
  metrics.add([this](base::MetricsPage& page) { hub->collect(page); });
  metrics.add([this](base::MetricsPage& page) { meta->collect(page); });
  metrics.add([this](base::MetricsPage& page) { store->collect(page); });
  if (bus) metrics.add([this](base::MetricsPage& page) { bus->collect(page); });
  if (broker) metrics.add([this](base::MetricsPage& page) { broker->collect(page); });
}

// A page that cannot be served is no reason to leave pods and devices alone.
void Edge::Impl::open_monitor() {
  if (options.monitor.empty() || monitor) return;
  auto opened = net::StatusServer::listen(runtime, options.monitor, {[this] { return metrics.text(); }, [this] { return checks(); }});
  if (!opened) return base::log(runtime.log(), LogLevel::kWarning, "edge", "{}: nothing is shown there", opened.error().message);
  monitor = std::move(*opened);
}

void Edge::Impl::check_store() {
  store_check.start(kStoreCheckInterval, [this] {
    store->check_next();
    check_store();
  });
}

Result<void> Edge::Impl::create() {
  if (Result<void> usable = runtime.usable(); !usable) return usable;
  EdgeHubOptions given;
  given.node_name = options.node_name;
  given.cloud = options.cloud;
  given.hub_port = options.hub_port;
  given.join_port = options.join_port;
  given.hub_server = options.hub_server;
  given.join_server = options.join_server;
  given.token = options.token;
  given.data_dir = options.data_dir;
  given.ca_file = options.ca_file;
  given.certificate_file = options.certificate_file;
  given.private_key_file = options.private_key_file;
  given.project_id = options.project_id;
  given.heartbeat_s = options.heartbeat_s;
  given.message_qps = options.message_qps;
  given.message_burst = options.message_burst;
  auto hub_options = edge::hub_options(given);
  if (!hub_options) return std::move(hub_options).error();
  options.node_name = hub_options->join.node.str();
  auto stream_server = options.stream_server.empty() ? net::Endpoint{hub_options->server.host, options.stream_port} : net::parse_endpoint(options.stream_server);
  if (!stream_server) return std::move(stream_server).error();
  edge::TunnelOptions tunnel{hub_options->join.node, *stream_server, hub_options->join.ca_file, hub_options->join.certificate_file,
                             hub_options->join.private_key_file, options.node_ip};

  const std::string schema = std::string(edge::meta_schema()) + std::string(edge::device_twin_schema()) + edge::event_bus_schema() +
                             std::string(edge::service_bus_schema());
  auto opened = store::Store::open(runtime, options.data_dir + "/edgecore.db", schema);
  if (!opened) return std::move(opened).error();
  store = std::move(*opened);

  meta = edge::MetaManager::create(runtime, *store, hub_options->join.node);
  hub_options->store_id = store->id();
  hub = std::make_unique<edge::HubClient>(runtime, std::move(*hub_options));
  store->on_loss([this] { hub->set_store_id(store->id()); });

  auto engine = edge::DeviceTwin::create(runtime, *store, *hub, {NodeId(options.node_name), false});
  if (!engine) return std::move(engine).error();
  twin = std::move(*engine);
  if (options.mqtt_enabled) {
    if (options.mqtt_internal) {
      auto own = edge::InternalBroker::create(runtime, {options.mqtt, std::filesystem::absolute(options.data_dir).string() + "/broker", options.mosquitto});
      if (!own) return std::move(own).error();
      broker = std::move(*own);
    }
    mqtt = mqtt::paho_transport(runtime, options.mqtt, "kubeedge-" + options.node_name);
    uploads = mqtt::receiver(runtime, options.mqtt, "kubeedge-" + options.node_name + "-uploads");
    bus = std::make_unique<edge::EventBus>(runtime, *store, *mqtt, *uploads, *hub, *twin, NodeId(options.node_name),
                                           edge::UploadLimits{options.upload_max_messages, options.upload_max_bytes, std::chrono::hours(options.upload_max_age_hours)});
    hub->add_observer(bus.get());
    twin->set_output(bus.get());
    user_messages.bus = bus.get();
  }
  auto service_bus = edge::ServiceBus::create(runtime, *store, *hub, options.service_bus);
  if (!service_bus) return std::move(service_bus).error().in("service bus");
  services = std::move(*service_bus);
  user_messages.services = services.get();
  user_messages.link = hub.get();
  hub->set_bus_sink(&user_messages);
  if (options.pods) pods = options.pods->create(runtime, *meta, options.node_name, options.node_ip);

  edge::NodeOptions node_options;
  node_options.identity.name = options.node_name;
  node_options.identity.address = options.node_ip;
  if (!options.node_labels_json.empty()) {
    node_options.identity.labels = base::parse_json(options.node_labels_json);
    if (!node_options.identity.labels.is_object()) return base::error(Errc::kInvalidArgument, "node_labels_json is not a JSON object");
  }
  node_options.data_dir = options.data_dir;
  node_options.status_update = Milliseconds{options.node_status_update_s * 1000};
  node_options.status_report = Milliseconds{options.node_status_report_s * 1000};
  node_options.lease_duration_s = options.lease_duration_s;
  node = std::make_unique<edge::NodeAgent>(runtime, *meta, std::move(node_options), [this] { return runtime_state(); }, [this] { return hub->local_ip(); });

  meta->set_link(hub.get());
  hub->add_observer(meta.get());
  meta->set_device_sink(twin.get());
  if (pods) {
    meta->set_pod_sink(pods.get());
    pods->on_state([this] { node->status_changed(); });
    if (options.node_ip.empty()) hub->on_link([this](LinkState state) { if (state == LinkState::kUp) pods->set_node_ip(hub->local_ip()); });
    hub->add_observer(pods.get());
    if (options.stream_enabled && pods->streams() != nullptr) {
      stream = std::make_unique<edge::TunnelClient>(runtime, *pods->streams(), std::move(tunnel));
      hub->add_observer(stream.get());
    }
  }
  hub->set_meta_sink(meta.get());
  hub->set_twin_sink(twin.get());
  hub->add_observer(twin.get());
  hub->add_observer(node.get());
  collect_all();
  return {};
}

Result<Edge> Edge::create(const Runtime& runtime, EdgeOptions options) {
  auto impl = std::make_unique<Impl>(runtime, std::move(options));
  if (Result<void> created = impl->create(); !created) return std::move(created).error();
  return Edge(std::move(impl));
}

Edge::Edge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Edge::Edge(Edge&&) noexcept = default;
Edge& Edge::operator=(Edge&&) noexcept = default;
Edge::~Edge() = default;

EdgeHub& Edge::hub() { return *impl_->hub; }
Twin& Edge::twin() { return *impl_->twin; }
void Edge::on_failure(unique_function<void(Error)> handler) { impl_->hub->on_failure(std::move(handler)); }
void Edge::on_ready(unique_function<void()> handler) { impl_->node->on_ready(std::move(handler)); }
std::string Edge::metrics() const { return impl_->metrics.text(); }
const std::string& Edge::node_name() const { return impl_->options.node_name; }

void Edge::start() {
  // What is stored first: pods and twins come back before, and without, the cloud.
  if (impl_->pods) impl_->pods->start();
  impl_->meta->start();
  if (impl_->broker) impl_->broker->start();
  if (impl_->bus) {
    base::log(impl_->runtime.log(), LogLevel::kInfo, "bus", "{} broker {}", impl_->options.mqtt_internal ? "internal" : "external", impl_->options.mqtt.server);
    if (Result<void> started = impl_->bus->start(); !started) base::log(impl_->runtime.log(), LogLevel::kError, "edge", "{}", started.error().message);
  }
  if (Result<void> started = impl_->services->start(); !started) base::log(impl_->runtime.log(), LogLevel::kError, "edge", "{}", started.error().message);
  impl_->twin->start();
  impl_->hub->start();
  impl_->check_store();
  impl_->open_monitor();
}

void Edge::stop(unique_function<void()> done) {
  impl_->monitor.reset();
  impl_->store_check.cancel();
  if (impl_->stream) impl_->stream->stop();
  impl_->hub->stop();
  impl_->node->on_link(false);
  if (impl_->bus) impl_->bus->stop();
  impl_->services->stop();
  auto rest = [impl = impl_.get(), done = std::move(done)]() mutable {
    if (impl->pods) impl->pods->stop(std::move(done));
    else runtime::post(impl->runtime, std::move(done));
  };
  if (impl_->broker) impl_->broker->stop(std::move(rest));
  else rest();
}

}  // namespace v0
}  // namespace kubeedge
