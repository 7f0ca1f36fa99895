#include "cloud/cloud.h"

#include "base/text.h"
#include "cloud/devicecontroller/device_controller.h"
#include "cloud/edgecontroller/edge_controller.h"
#include "cloud/hub/hub_server.h"
#include "cloud/hub/join_server.h"
#include "cloud/hub/revocations.h"
#include "cloud/ports/server_tls.h"
#include "cloud/router/router.h"
#include "cloud/stream/stream_server.h"
#include "cloud/stream/tunnel_server.h"
#include "cloud/synccontroller/sync_controller.h"
#include "runtime/files.h"
#include "runtime/process_metrics.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {

namespace {

HubOptions hub_options(const CloudOptions& options) {
  HubOptions hub;
  hub.ca = options.ca;
  hub.server = options.server;
  hub.listen = net::Endpoint{options.hub_address, options.hub_port};
  hub.node_limit = options.node_limit;
  hub.session.keepalive = Milliseconds{std::int64_t{options.keepalive_s} * 1000};
  hub.cloud_ip = options.cloud_ip;
  hub.api_ca_pem = options.api_ca_pem.empty() ? pki::pem("CERTIFICATE", options.ca.certificate_der) : options.api_ca_pem;
  return hub;
}

TunnelServerOptions tunnel_options(const CloudOptions& options) {
  return {options.ca, options.server, net::Endpoint{options.stream_address, options.stream_port}, options.node_limit, {}, {}};
}

StreamServerOptions stream_options(const CloudOptions& options) {
  StreamServerOptions stream;
  stream.listen = net::Endpoint{options.kubelet_api.address, options.kubelet_api.port};
  stream.tls.certificate_pem = options.kubelet_api.certificate_pem;
  stream.tls.private_key_pem = options.kubelet_api.private_key_pem;
  stream.tls.ca_pem = options.kubelet_api.ca_pem;
  stream.cloud_ip = options.kubelet_api.cloud_ip;
  return stream;
}

JoinOptions join_options(const CloudOptions& options) {
  JoinOptions join;
  join.ca = options.ca;
  join.server = options.server;
  join.listen = net::Endpoint{options.join_address, options.join_port};
  join.edge_certificate_days = options.edge_certificate_days;
  return join;
}

// With the files that it names read.
Result<RouterConfig> router_config(const CloudOptions& options) {
  const RouterOptions& from = options.router;
  RouterConfig config;
  config.listen = net::Endpoint{from.address, from.port};
  config.rest_timeout = Milliseconds{std::int64_t{from.rest_timeout_s} * 1000};
  config.cloud_ip = options.cloud_ip;
  if (from.certificate_file.empty() != from.private_key_file.empty())
    return Error{Errc::kInvalidArgument, "certificate and private key go together"};
  // Callers show a token, if anything.
  if (from.tls || !from.certificate_file.empty())
    config.tls = server_tls(options.server, options.ca.certificate_der, net::TlsConfig::Peer::kNone);
  const std::pair<const std::string*, std::string*> files[] = {{&from.certificate_file, config.tls ? &config.tls->certificate_pem : nullptr},
                                                               {&from.private_key_file, config.tls ? &config.tls->private_key_pem : nullptr},
                                                               {&from.token_file, &config.token},
                                                               {&from.target_ca_file, &config.target_ca_pem}};
  for (const auto& [path, into] : files) {
    if (path->empty()) continue;
    auto text = runtime::read_text_file(*path);
    if (!text) return std::move(text).error();
    *into = std::move(*text);
  }
  while (!config.token.empty() && (config.token.back() == '\n' || config.token.back() == '\r' || config.token.back() == ' ')) config.token.pop_back();
  if (!from.token_file.empty() && config.token.empty()) return Error{Errc::kInvalidArgument, from.token_file + ": the file is empty"};
  return config;
}

class CloudImpl final : public Cloud {
 public:
  CloudImpl(const Runtime& runtime, kube::KubeClient& client, const CloudOptions& options, std::optional<RouterConfig> router)
      : runtime_(runtime),
        sync_(runtime, client),
        revocations_(runtime, client, [this](const NodeId& node) {
          hub_.drop_revoked(node);
          streams_.drop_revoked(node);
        }),
        hub_(runtime, client, sync_, revocations_, hub_options(options)),
        edge_(runtime, client, hub_, sync_),
        device_(runtime, client, hub_, DeviceOptions{Milliseconds{options.status_interval_ms}}),
        streams_(runtime, with_news(tunnel_options(options))),
        kubelet_api_(runtime, client, streams_, stream_options(options)),
        streams_wanted_(options.stream_enabled),
        kubelet_api_wanted_(options.stream_enabled && !options.kubelet_api.certificate_pem.empty()),
        monitor_address_(options.monitor),
        join_(runtime, client, hub_, sync_, revocations_, join_options(options), [this](const NodeId& node, const std::string& why) {
          hub_.disconnect(node, why);
          streams_.disconnect(node, why);
        }) {
    HubSinks sinks{&edge_, &device_, nullptr, {&edge_, &device_}};
    if (router) {
      router_.emplace(runtime, client, hub_, std::move(*router));
      sinks.router = &*router_;
      sinks.snapshots.push_back(&*router_);
    }
    hub_.attach(std::move(sinks));
    metrics_.add(runtime::collect_process);
    metrics_.add([this](base::MetricsPage& page) {
      hub_.collect(page);
      join_.collect(page);
      edge_.collect(page);
      device_.collect(page);
    });
  }
  ~CloudImpl() override { shut_down(); }

  Result<void> start() override {
    auto bound = hub_.start();
    if (bound) bound = join_.start();
    if (bound && streams_wanted_) bound = streams_.start();
    if (bound && kubelet_api_wanted_) bound = kubelet_api_.start();
    if (bound && router_) bound = router_->start();
    if (!bound) {
      shut_down();
      return bound;
    }
    sync_.start();
    revocations_.start();
    edge_.start();
    device_.start();
    open_monitor();
    return {};
  }

  void stop(unique_function<void()> done) override {
    shut_down();
    runtime::post(runtime_, std::move(done));
  }

  std::uint16_t hub_port() const override { return hub_.port(); }
  std::uint16_t join_port() const override { return join_.port(); }
  std::uint16_t router_port() const override { return router_ ? router_->port() : std::uint16_t{0}; }
  std::uint16_t stream_port() const override { return streams_.port(); }
  NodeStreams& streams() override { return streams_; }
  std::size_t connected_nodes() const override { return hub_.connected_nodes().size(); }

  void also_show(base::Metrics::Collector figures, std::function<net::HealthCheck()> health) override {
    metrics_.add(std::move(figures));
    more_health_.push_back(std::move(health));
  }

 private:
  std::vector<net::HealthCheck> checks() const {
    const bool told = sync_.synced() && edge_.synced() && device_.synced();
    std::vector<net::HealthCheck> all{{"informers", told ? "" : "the API has not told all its lists yet"}};
    for (const auto& more : more_health_) all.push_back(more());
    return all;
  }

  // A page that cannot be served is no reason to leave edges alone (upstream's cloudcore exits).
  void open_monitor() {
    if (monitor_address_.empty()) return;
    auto opened = net::StatusServer::listen(runtime_, monitor_address_, {[this] { return metrics_.text(); }, [this] { return checks(); }});
    if (!opened) return base::log(runtime_.log(), LogLevel::kWarning, "cloud", "{}: nothing is shown there", opened.error().message);
    monitor_ = std::move(*opened);
  }

  TunnelServerOptions with_news(TunnelServerOptions options) {
    options.revoked = [this](const NodeId& node, std::int64_t issued_unix_s) { return revocations_.revoked(node, issued_unix_s); };
    options.on_connected = [this](const NodeId& node) { kubelet_api_.node_connected(node); };
    return options;
  }

  void shut_down() {
    monitor_.reset();
    join_.stop();
    kubelet_api_.stop();
    streams_.stop();
    hub_.stop();
    if (router_) router_->stop();
    device_.stop();
    edge_.stop();
    revocations_.stop();
    sync_.stop();
  }

  Runtime runtime_;
  SyncController sync_;
  Revocations revocations_;
  HubServer hub_;
  EdgeController edge_;
  DeviceController device_;
  std::optional<Router> router_;
  TunnelServer streams_;
  StreamServer kubelet_api_;
  bool streams_wanted_, kubelet_api_wanted_;
  std::string monitor_address_;
  JoinServer join_;
  base::Metrics metrics_;
  std::vector<std::function<net::HealthCheck()>> more_health_;
  std::unique_ptr<net::StatusServer> monitor_;
};

}  // namespace

Result<std::unique_ptr<Cloud>> Cloud::create(const Runtime& runtime, kube::KubeClient& client, CloudOptions options) {
  for (const auto* pair : {&options.ca, &options.server})
    if (!pki::key_matches(pair->certificate_der, pair->key_sec1_der))
      return Error{Errc::kInvalidArgument, pair == &options.ca ? "the CA's key does not fit its certificate" : "the server's key does not fit its certificate"};
  if (options.keepalive_s <= 0 || options.edge_certificate_days <= 0 || options.status_interval_ms < 0 || options.router.rest_timeout_s <= 0 || options.node_limit == 0)
    return Error{Errc::kInvalidArgument, "keepalive, certificate days and node limit must be positive"};
  std::optional<RouterConfig> router;
  if (options.router.enabled) {
    auto config = router_config(options);
    if (!config) return config.error().in("router");
    router = std::move(*config);
  }
  return std::unique_ptr<Cloud>(std::make_unique<CloudImpl>(runtime, client, options, std::move(router)));
}

}  // namespace kubeedge::cloud
