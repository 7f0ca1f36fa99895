#include "cloud/cloud.h"

#include "cloud/devicecontroller/device_controller.h"
#include "cloud/edgecontroller/edge_controller.h"
#include "cloud/hub/hub_server.h"
#include "cloud/hub/join_server.h"
#include "cloud/hub/revocations.h"
#include "cloud/synccontroller/sync_controller.h"
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

JoinOptions join_options(const CloudOptions& options) {
  JoinOptions join;
  join.ca = options.ca;
  join.server = options.server;
  join.listen = net::Endpoint{options.join_address, options.join_port};
  join.edge_certificate_days = options.edge_certificate_days;
  return join;
}

class CloudImpl final : public Cloud {
 public:
  CloudImpl(const Runtime& runtime, kube::KubeClient& client, const CloudOptions& options)
      : runtime_(runtime),
        sync_(runtime, client),
        revocations_(runtime, client, [this] { hub_.drop_revoked(); }),
        hub_(runtime, client, sync_, revocations_, hub_options(options)),
        edge_(runtime, client, hub_, sync_),
        device_(runtime, client, hub_, DeviceOptions{Milliseconds{options.status_interval_ms}}),
        join_(runtime, client, hub_, sync_, revocations_, join_options(options),
              [this](const NodeId& node, const std::string& why) { hub_.disconnect(node, why); }) {
    hub_.attach(HubSinks{&edge_, &device_, {&edge_, &device_}});
  }
  ~CloudImpl() override { shut_down(); }

  Result<void> start() override {
    if (auto bound = hub_.start(); !bound) return bound;
    if (auto bound = join_.start(); !bound) {
      hub_.stop();
      return bound;
    }
    sync_.start();
    revocations_.start();
    edge_.start();
    device_.start();
    return {};
  }

  void stop(unique_function<void()> done) override {
    shut_down();
    runtime::post(runtime_, std::move(done));
  }

  std::uint16_t hub_port() const override { return hub_.port(); }
  std::uint16_t join_port() const override { return join_.port(); }
  std::size_t connected_nodes() const override { return hub_.connected_nodes().size(); }

 private:
  void shut_down() {
    join_.stop();
    hub_.stop();
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
  JoinServer join_;
};

}  // namespace

Result<std::unique_ptr<Cloud>> Cloud::create(const Runtime& runtime, kube::KubeClient& client, CloudOptions options) {
  for (const auto* pair : {&options.ca, &options.server})
    if (!pki::key_matches(pair->certificate_der, pair->key_sec1_der))
      return Error{Errc::kInvalidArgument, pair == &options.ca ? "the CA's key does not fit its certificate" : "the server's key does not fit its certificate"};
  if (options.keepalive_s <= 0 || options.edge_certificate_days <= 0 || options.status_interval_ms < 0 || options.node_limit == 0)
    return Error{Errc::kInvalidArgument, "keepalive, certificate days and node limit must be positive"};
  return std::unique_ptr<Cloud>(std::make_unique<CloudImpl>(runtime, client, options));
}

}  // namespace kubeedge::cloud
