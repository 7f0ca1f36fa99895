// The wiring of a cloud that needs no Kubernetes: its own API first, then what serves edges, on the API's in-process client.
#include <kubeedge/cloud.h>

#include "cloud/cloud.h"
#include "cloud/standalone/standalone.h"

namespace kubeedge {
inline namespace v0 {

struct StandaloneCloud::Impl {
  ~Impl() {
    if (api) api->set_streams(nullptr);
  }
  std::unique_ptr<cloud::Standalone> api;
  std::unique_ptr<cloud::Cloud> edges;   // points to the API's client: goes first
};

StandaloneCloud::StandaloneCloud(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StandaloneCloud::StandaloneCloud(StandaloneCloud&&) noexcept = default;
StandaloneCloud& StandaloneCloud::operator=(StandaloneCloud&&) noexcept = default;
StandaloneCloud::~StandaloneCloud() = default;

Result<StandaloneCloud> StandaloneCloud::create(const Runtime& runtime, StandaloneCloudOptions options) {
  if (Result<void> usable = runtime.usable(); !usable) return std::move(usable).error();
  auto impl = std::make_unique<Impl>();
  cloud::StandaloneOptions own;
  own.data_dir = std::move(options.data_dir);
  own.advertise = std::move(options.advertise);
  own.dns_names = std::move(options.dns_names);
  own.api_address = std::move(options.api_address);
  own.api_port = options.api_port;
  auto api = cloud::Standalone::create(runtime, std::move(own));
  if (!api) return std::move(api).error();
  impl->api = std::move(*api);

  cloud::CloudOptions edges;
  edges.ca = impl->api->credentials().ca;
  edges.server = impl->api->credentials().server;
  edges.hub_address = std::move(options.hub_address);
  edges.hub_port = options.hub_port;
  edges.join_address = std::move(options.join_address);
  edges.join_port = options.join_port;
  edges.stream_enabled = options.stream_enabled;
  edges.stream_address = std::move(options.stream_address);
  edges.stream_port = options.stream_port;
  edges.node_limit = options.node_limit;
  edges.keepalive_s = options.keepalive_s;
  edges.edge_certificate_days = options.edge_certificate_days;
  edges.router = std::move(options.router);
  edges.monitor = std::move(options.monitor);
  auto made = cloud::Cloud::create(runtime, impl->api->client(), std::move(edges));
  if (!made) return std::move(made).error();
  impl->edges = std::move(*made);
  impl->api->set_streams(&impl->edges->streams());
  impl->edges->also_show([api = impl->api.get()](base::MetricsPage& page) { api->collect(page); },
                         [api = impl->api.get()] { return net::HealthCheck{"storage", api->storage_failure()}; });
  return StandaloneCloud(std::move(impl));
}

Result<void> StandaloneCloud::start() {
  if (Result<void> started = impl_->edges->start(); !started) return started;
  impl_->api->start();
  return {};
}

void StandaloneCloud::stop(unique_function<void()> done) {
  impl_->edges->stop([impl = impl_.get(), done = std::move(done)]() mutable {
    impl->api->set_streams(nullptr);
    impl->edges.reset();
    impl->api.reset();
    done();
  });
}

std::uint16_t StandaloneCloud::api_port() const { return impl_->api->api_port(); }
std::uint16_t StandaloneCloud::hub_port() const { return impl_->edges->hub_port(); }
std::uint16_t StandaloneCloud::join_port() const { return impl_->edges->join_port(); }
std::uint16_t StandaloneCloud::router_port() const { return impl_->edges->router_port(); }
std::uint16_t StandaloneCloud::stream_port() const { return impl_->edges->stream_port(); }
std::size_t StandaloneCloud::connected_nodes() const { return impl_->edges->connected_nodes(); }
const std::vector<std::string>& StandaloneCloud::addresses() const { return impl_->api->credentials().addresses; }

}  // namespace v0
}  // namespace kubeedge
