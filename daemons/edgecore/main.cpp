// edgecore: flags and edgecore.yaml to options, signals, run. The work is in src/edge.
#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <kubeedge/edged.h>

#include "base/peer_log.h"
#include "base/text.h"
#include "config.h"
#include "process.h"

namespace {

constexpr const char* kVersion = "v0.1.0";

int fail(const kubeedge::Error& error) {
  std::cerr << "edgecore: " << error.message << std::endl;
  return 1;
}

struct Flags {
  std::string config, cloud, token, token_file, node_name, node_ip, data_dir, mqtt, containerd, root_dir, pod_logs, monitor;
  int hub_port = -1, join_port = -1, stream_port = -1;
  bool no_pods = false, no_mqtt = false, strict = false, minconfig = false, defaultconfig = false, version = false;
};

// Flags win over the file.
kubeedge::Result<edgecore::Config> options_of(const Flags& flags) {
  edgecore::Config config;
  if (!flags.config.empty()) {
    std::vector<std::string> warnings;
    if (auto loaded = edgecore::load_config(flags.config, flags.strict, config, warnings); !loaded) return std::move(loaded).error();
    for (const std::string& line : warnings) std::cerr << "edgecore: warning: " << line << "\n";
  }
  const auto set = [](std::string& into, const std::string& flag) {
    if (!flag.empty()) into = flag;
  };
  set(config.edge.cloud, flags.cloud);
  set(config.edge.node_name, flags.node_name);
  set(config.edge.node_ip, flags.node_ip);
  set(config.edge.data_dir, flags.data_dir);
  set(config.edge.mqtt.server, flags.mqtt);
  if (!flags.mqtt.empty()) config.edge.mqtt_internal = false;
  set(config.root_dir, flags.root_dir);
  set(config.pod_logs_dir, flags.pod_logs);
  if (!flags.containerd.empty()) config.runtime_endpoint = flags.containerd.starts_with("unix://") ? flags.containerd : "unix://" + flags.containerd;
  if (!flags.cloud.empty()) config.edge.hub_server = config.edge.join_server = config.edge.stream_server = "";
  if (flags.hub_port >= 0) config.edge.hub_port = static_cast<std::uint16_t>(flags.hub_port);
  if (flags.join_port >= 0) config.edge.join_port = static_cast<std::uint16_t>(flags.join_port);
  if (flags.stream_port >= 0) config.edge.stream_port = static_cast<std::uint16_t>(flags.stream_port);
  if (!flags.token.empty()) config.edge.token = kubeedge::Secret(flags.token);
  if (!flags.token_file.empty()) {
    auto token = kubeedge::Secret::from_file(flags.token_file);
    if (!token) return std::move(token).error();
    config.edge.token = std::move(*token);
  }
  if (!flags.monitor.empty()) config.edge.monitor = flags.monitor == "none" ? "" : flags.monitor;
  if (flags.no_pods) config.pods = false;
  if (flags.no_mqtt) config.edge.mqtt_enabled = false;
  return config;
}

int run(edgecore::Config config) {
  asio::io_context loop{1};
  kubeedge::base::BoundedLogger logger{kubeedge::stderr_logger(), kubeedge::system_clock()};
  const kubeedge::Runtime runtime{loop.get_executor(), logger};
  if (config.pods) {
    kubeedge::CriOptions cri;
    cri.endpoint = config.runtime_endpoint;
    cri.root_dir = config.root_dir;
    cri.pod_logs_dir = config.pod_logs_dir;
    cri.max_pods = config.max_pods;
    cri.report_events = config.report_events;
    config.edge.pods = kubeedge::cri_pod_runtime(std::move(cri));
  }
  const auto started = runtime.clock().steady();
  const std::string broker = !config.edge.mqtt_enabled ? "none" : (config.edge.mqtt_internal ? "internal " : "") + config.edge.mqtt.server;
  auto edge = kubeedge::Edge::create(runtime, std::move(config.edge));
  if (!edge) return fail(edge.error());

  int exit_code = 0;
  const auto stop = [&] {
    edge->stop([&] { loop.stop(); });
  };
  // A token that will never do ends the daemon with its one line; with a certificate the edge goes on by itself.
  edge->on_failure([&](const kubeedge::Error& error) {
    exit_code = fail(error);
    stop();
  });
  edge->on_ready([&] {
    std::printf("edgecore %s %s: joined, ready after %lld ms, broker %s\n", kVersion, edge->node_name().c_str(),
                static_cast<long long>((runtime.clock().steady() - started).count()), broker.c_str());
    std::fflush(stdout);
  });
  edge->start();

  asio::signal_set signals{loop, SIGTERM, SIGINT};
  signals.async_wait([&](std::error_code failed, int) {
    if (!failed) stop();
  });
  loop.run();
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  daemons::prepare_process();
  Flags flags;
  CLI::App app{"edgecore: the edge side of KubeEdge"};
  app.add_option("--config", flags.config, "edgecore.yaml");
  app.add_option("--cloud", flags.cloud, "host name or address of the cloud");
  app.add_option("--token", flags.token, "join token, needed once");
  app.add_option("--token-file", flags.token_file, "file that holds the join token");
  app.add_option("--node-name", flags.node_name, "name of this node (default: the host name)");
  app.add_option("--node-ip", flags.node_ip, "address of this node (default: the one used towards the cloud)");
  app.add_option("--data-dir", flags.data_dir, "where the edge keeps its store and certificates");
  app.add_option("--monitor", flags.monitor, "HOST:PORT of /metrics, /healthz and /readyz, or none (default 127.0.0.1:9092)");
  app.add_option("--mqtt", flags.mqtt, "MQTT broker, tcp://HOST:PORT (modules.eventBus.mqttMode 0: edgecore runs its own)");
  app.add_option("--containerd", flags.containerd, "socket of the container runtime");
  app.add_option("--root-dir", flags.root_dir, "where pods' volumes are made");
  app.add_option("--pod-logs", flags.pod_logs, "where pods' logs are written");
  app.add_option("--hub-port", flags.hub_port, "the cloud's port for edges")->check(CLI::Range(1, 65535));
  app.add_option("--join-port", flags.join_port, "the cloud's port for joining")->check(CLI::Range(1, 65535));
  app.add_option("--stream-port", flags.stream_port, "the cloud's port for kubectl logs and exec")->check(CLI::Range(1, 65535));
  app.add_flag("--no-pods", flags.no_pods, "no container runtime: devices only");
  app.add_flag("--no-mqtt", flags.no_mqtt, "no MQTT broker");
  app.add_flag("--strict-config", flags.strict, "an unknown key in the file is an error");
  app.add_flag("--minconfig", flags.minconfig, "print a minimal edgecore.yaml");
  app.add_flag("--defaultconfig", flags.defaultconfig, "print an edgecore.yaml with the defaults");
  app.add_flag("--version", flags.version, "print the version");
  CLI11_PARSE(app, argc, argv);
  if (flags.version) {
    std::cout << "edgecore " << kVersion << "\n";
    return 0;
  }
  if (flags.minconfig || flags.defaultconfig) {
    std::cout << edgecore::sample_config(flags.defaultconfig);
    return 0;
  }
  auto config = options_of(flags);
  if (!config) return fail(config.error());
  return run(std::move(*config));
}
