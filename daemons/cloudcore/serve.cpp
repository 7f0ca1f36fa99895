#include "serve.h"

#include <cstdio>
#include <iostream>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <kubeedge/cloud.h>

#include "base/peer_log.h"
#include "base/text.h"
#include "cloud/cloud.h"
#include "cloud/cluster/cluster.h"
#include "cloud/standalone/standalone.h"
#include "kube/client/remote_client.h"
#include "kubeconfig.h"
#include "runtime/files.h"

namespace cloudcore {
namespace {

namespace cloud = kubeedge::cloud;
using kubeedge::Result;
using kubeedge::Runtime;

int fail(const kubeedge::Error& error) {
  std::cerr << "cloudcore: " << error.message << "\n";
  return 1;
}

// The address to put into the join line: an advertised one, else the first that is not the loopback.
std::string join_address(const std::vector<std::string>& addresses) {
  for (const std::string& one : addresses)
    if (!one.starts_with("127.") && one != "::1") return one;
  return "127.0.0.1";
}

// What the hub takes from cloudcore.yaml, on either back end.
template <class Options>
void set_hub(Options& options, const Config& config) {
  options.hub_address = config.hub_address;
  options.join_address = config.join_address;
  options.hub_port = config.hub_port;
  options.join_port = config.join_port;
  options.stream_port = config.stream_port;
  options.stream_enabled = config.stream_enabled;
  options.node_limit = static_cast<std::size_t>(config.node_limit);
  options.keepalive_s = static_cast<int>(config.keepalive_s);
  options.monitor = config.monitor;
  options.edge_certificate_days = static_cast<int>(config.edge_certificate_days);
  options.router = config.router;
}

cloud::CloudOptions cloud_options(const Config& config, kubeedge::pki::KeyPair ca, kubeedge::pki::KeyPair server) {
  cloud::CloudOptions options;
  options.ca = std::move(ca);
  options.server = std::move(server);
  set_hub(options, config);
  return options;
}

// All three files or none: without them a kube-apiserver cannot ask for logs.
Result<void> set_kubelet_api(cloud::CloudOptions::KubeletApi& api, const Config& config) {
  api.port = config.kubelet_api_port;
  for (const auto& [file, into] : {std::pair{&config.stream_ca_file, &api.ca_pem}, {&config.stream_key_file, &api.private_key_pem},
                                   {&config.stream_cert_file, &api.certificate_pem}}) {
    auto text = kubeedge::runtime::read_text_file(*file);
    if (text) {
      *into = std::move(*text);
      continue;
    }
    if (text.error().code != kubeedge::Errc::kNotFound) return std::move(text).error();
    api.certificate_pem.clear();
    return {};
  }
  return {};
}

void print_token_line(const std::string& address, const std::string& token) {
  std::cerr << "join:     edgecore --cloud " << address << " --token <the line below>\n";
  std::cout << token << "\n";
}

// The parts of a cloudcore on a real API, in the order in which they go.
class OnCluster {
 public:
  OnCluster(const Config& config, kubeedge::kube::RemoteOptions api, cloud::ClusterOptions cluster)
      : config_(config), runtime_(loop_.get_executor(), logger_), api_ca_(api.tls ? api.tls->ca_pem : ""), api_(api.endpoint),
        client_(runtime_, std::move(api)), cluster_(runtime_, client_, std::move(cluster)) {}

  int run() {
    asio::signal_set signals{loop_, SIGTERM, SIGINT};
    signals.async_wait([this](std::error_code failed, int) {
      if (!failed) stop();
    });
    cluster_.start([this](Result<cloud::ClusterCredentials> ready) {
      if (auto started = ready ? start(*ready) : Result<void>(ready.error()); !started) {
        exit_code_ = fail(started.error());
        loop_.stop();
      }
    });
    loop_.run();
    return exit_code_;
  }

  int print_token() {
    cluster_.new_token([this](Result<cloud::ClusterCredentials> made) {
      if (made) {
        print_token_line(join_address(made->addresses), made->token);
      } else {
        exit_code_ = fail(made.error());
      }
      loop_.stop();
    });
    loop_.run();
    return exit_code_;
  }

 private:
  Result<void> start(const cloud::ClusterCredentials& credentials) {
    cloud::CloudOptions options = cloud_options(config_, credentials.ca, credentials.server);
    options.api_ca_pem = api_ca_;
    options.kubelet_api.cloud_ip = join_address(credentials.addresses);
    if (auto read = set_kubelet_api(options.kubelet_api, config_); !read) return read;
    auto made = cloud::Cloud::create(runtime_, client_, options);
    if (!made) return made.error();
    cloud_ = std::move(*made);
    if (auto started = cloud_->start(); !started) return started;
    std::printf("cloudcore %s on kube-apiserver %s:%u: edges wss://%s:%u, join https://%s:%u, streams wss://0.0.0.0:%u\n", kVersion, api_.host.c_str(), api_.port,
                options.hub_address.c_str(), cloud_->hub_port(), options.join_address.c_str(), cloud_->join_port(), cloud_->stream_port());
    std::printf("  join:     edgecore --cloud %s --token $(kubectl get secret -n kubeedge tokensecret -o jsonpath='{.data.tokendata}' | base64 -d)\n",
                join_address(credentials.addresses).c_str());
    std::fflush(stdout);
    return {};
  }

  void stop() {
    if (!cloud_) return loop_.stop();
    cloud_->stop([this] {
      cloud_.reset();
      loop_.stop();
    });
  }

  const Config& config_;
  kubeedge::base::BoundedLogger logger_{kubeedge::stderr_logger(), kubeedge::system_clock()};
  asio::io_context loop_{1};
  Runtime runtime_;
  std::string api_ca_;
  kubeedge::net::Endpoint api_;
  kubeedge::kube::RemoteKubeClient client_;
  cloud::Cluster cluster_;
  std::unique_ptr<cloud::Cloud> cloud_;
  int exit_code_ = 0;
};

}  // namespace

int serve_cluster(const Config& config) {
  auto api = daemons::api_options(config.kubeconfig, config.master);
  if (!api) return fail(api.error());
  cloud::ClusterOptions options;
  options.advertise = config.advertise_addresses;
  options.dns_names = config.dns_names;
  options.token_refresh_s = config.token_refresh_h * 3600;
  auto ca = cloud::pair_of_files(config.ca_file, config.ca_key_file);
  if (!ca) return fail(ca.error());
  options.ca = std::move(*ca);
  auto server = cloud::pair_of_files(config.server_file, config.server_key_file);
  if (!server) return fail(server.error());
  options.server = std::move(*server);
  return OnCluster(config, std::move(*api), std::move(options)).run();
}

int print_cluster_token(const Config& config) {
  auto api = daemons::api_options(config.kubeconfig, config.master);
  if (!api) return fail(api.error());
  cloud::ClusterOptions options;
  options.advertise = config.advertise_addresses;
  options.token_refresh_s = config.token_refresh_h * 3600;
  return OnCluster(config, std::move(*api), std::move(options)).print_token();
}

int print_standalone_token(const std::string& data_dir) {
  const auto ca = cloud::load_ca(data_dir);
  if (!ca) return fail(ca.error().in("data_dir " + data_dir + " has no CA (was cloudcore --standalone started with it?)"));
  const auto token = cloud::write_join_token(data_dir, *ca, kubeedge::system_clock().unix_ms() / 1000);
  if (!token) return fail(token.error());
  std::string address = "<this host>";
  const auto text = kubeedge::runtime::read_text_file(data_dir + "/pki/server.crt");
  const auto der = text ? kubeedge::pki::der_from_pem(*text, "CERTIFICATE") : text;
  if (der)
    if (const auto info = kubeedge::pki::parse_certificate(*der)) address = join_address(info->sans.ips);
  print_token_line(address, *token);
  return 0;
}

int serve_standalone(const StandaloneFlags& flags, const Config& config) {
  asio::io_context loop{1};
  kubeedge::base::BoundedLogger logger{kubeedge::stderr_logger(), kubeedge::system_clock()};
  const Runtime runtime{loop.get_executor(), logger};

  kubeedge::StandaloneCloudOptions options;
  options.data_dir = flags.data_dir;
  options.advertise = config.advertise_addresses;
  options.dns_names = config.dns_names;
  options.api_address = flags.api_address;
  options.api_port = static_cast<std::uint16_t>(flags.api_port);
  set_hub(options, config);
  auto made = kubeedge::StandaloneCloud::create(runtime, options);
  if (!made) return fail(made.error());
  auto standalone = std::make_unique<kubeedge::StandaloneCloud>(std::move(*made));
  if (auto started = standalone->start(); !started) return fail(started.error());

  std::printf("cloudcore %s standalone: API https://%s:%u, edges wss://%s:%u, join https://%s:%u, streams wss://0.0.0.0:%u\n", kVersion, options.api_address.c_str(),
              standalone->api_port(), options.hub_address.c_str(), standalone->hub_port(), options.join_address.c_str(), standalone->join_port(), standalone->stream_port());
  std::printf("  kubectl:  export KUBECONFIG=%s/admin.kubeconfig\n", options.data_dir.c_str());
  std::printf("  join:     edgecore --cloud %s --token $(cat %s/join.token)\n", join_address(standalone->addresses()).c_str(), options.data_dir.c_str());
  std::fflush(stdout);

  asio::signal_set signals{loop, SIGTERM, SIGINT};
  signals.async_wait([&](std::error_code failed, int) {
    if (failed) return;
    standalone->stop([&] {
      standalone.reset();
      loop.stop();
    });
  });
  loop.run();
  return 0;
}

}  // namespace cloudcore
