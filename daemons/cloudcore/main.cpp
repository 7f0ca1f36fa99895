// cloudcore: flags and cloudcore.yaml to options. The work is in serve.cpp and src/cloud.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>

#include "config.h"
#include "process.h"
#include "serve.h"

namespace {

struct Flags {
  bool standalone = false, strict = false, minconfig = false, defaultconfig = false, version = false;
  std::string config, kubeconfig, master, monitor;
  std::vector<std::string> advertise;
  int hub_port = -1, join_port = -1, stream_port = -1;
  cloudcore::StandaloneFlags own;
};

// Flags win over the file.
kubeedge::Result<cloudcore::Config> config_of(const Flags& flags) {
  cloudcore::Config config;
  if (!flags.config.empty()) {
    std::vector<std::string> warnings;
    const auto loaded = cloudcore::load_config(flags.config, flags.strict, config, warnings);
    for (const std::string& warning : warnings) std::cerr << "cloudcore: warning: " << warning << "\n";
    if (!loaded) return loaded.error();
  }
  if (!flags.kubeconfig.empty()) config.kubeconfig = flags.kubeconfig;
  if (!flags.master.empty()) config.master = flags.master;
  if (!flags.advertise.empty()) config.advertise_addresses = flags.advertise;
  if (flags.hub_port >= 0) config.hub_port = static_cast<std::uint16_t>(flags.hub_port);
  if (flags.join_port >= 0) config.join_port = static_cast<std::uint16_t>(flags.join_port);
  if (flags.stream_port >= 0) config.stream_port = static_cast<std::uint16_t>(flags.stream_port);
  if (!flags.monitor.empty()) config.monitor = flags.monitor == "none" ? "" : flags.monitor;
  return config;
}

}  // namespace

int main(int argc, char** argv) {
  daemons::prepare_process();
  Flags flags;
  CLI::App app{"cloudcore: the cloud side of KubeEdge, on a kube-apiserver or, with --standalone, on its own"};
  app.add_flag("--standalone", flags.standalone, "serve a small Kubernetes API of its own; no Kubernetes needed");
  app.add_option("--data-dir", flags.own.data_dir, "where standalone keeps everything");
  app.add_option("--config", flags.config, "cloudcore.yaml");
  app.add_option("--kube-config", flags.kubeconfig, "kubeconfig of a real kube-apiserver (default: the pod's service account)");
  app.add_option("--master", flags.master, "URL of the kube-apiserver, in place of the kubeconfig's");
  app.add_option("--advertise-address", flags.advertise, "addresses for the server certificate and the join line");
  app.add_option("--api-address", flags.own.api_address, "where the standalone API listens");
  app.add_option("--api-port", flags.own.api_port, "port of the standalone API")->check(CLI::Range(0, 65535));
  app.add_option("--hub-port", flags.hub_port, "port for edges")->check(CLI::Range(0, 65535));
  app.add_option("--join-port", flags.join_port, "port where edges join")->check(CLI::Range(0, 65535));
  app.add_option("--stream-port", flags.stream_port, "port for the edges' stream tunnels (kubectl logs, exec, attach)")->check(CLI::Range(0, 65535));
  app.add_option("--monitor", flags.monitor, "HOST:PORT of /metrics, /healthz and /readyz, or none (default 127.0.0.1:9091)");
  app.add_flag("--strict-config", flags.strict, "an unknown key in the file is an error");
  app.add_flag("--minconfig", flags.minconfig, "print a minimal cloudcore.yaml");
  app.add_flag("--defaultconfig", flags.defaultconfig, "print a cloudcore.yaml with the defaults");
  app.add_flag("--version", flags.version, "print the version");
  CLI::App* token = app.add_subcommand("token", "make a new join token and print it");
  const CLI::Option* own_dir = token->add_option("--data-dir", flags.own.data_dir, "where standalone keeps everything");
  token->add_option("--config", flags.config, "cloudcore.yaml of a cloudcore on a kube-apiserver");
  token->add_option("--kube-config", flags.kubeconfig, "kubeconfig of a real kube-apiserver");
  token->add_option("--master", flags.master, "URL of the kube-apiserver, in place of the kubeconfig's");
  CLI11_PARSE(app, argc, argv);

  if (flags.version) return std::printf("cloudcore %s\n", cloudcore::kVersion) < 0;
  if (flags.minconfig || flags.defaultconfig) {
    std::cout << cloudcore::sample_config(flags.defaultconfig);
    return 0;
  }
  const auto config = config_of(flags);
  if (!config) {
    std::cerr << "cloudcore: " << config.error().message << "\n";
    return 1;
  }
  // In a pod, and with no standalone folder named, it is the cluster's token that is asked for.
  const bool in_pod = std::getenv("KUBERNETES_SERVICE_HOST") != nullptr && own_dir->count() == 0;
  const bool cluster_named = !config->kubeconfig.empty() || !config->master.empty() || in_pod;
  if (token->parsed()) return cluster_named ? cloudcore::print_cluster_token(*config) : cloudcore::print_standalone_token(flags.own.data_dir);
  if (flags.standalone) {
    if (!flags.kubeconfig.empty() || !flags.master.empty()) {
      std::cerr << "cloudcore: --standalone is its own API: it goes with neither --kube-config nor --master\n";
      return 1;
    }
    return cloudcore::serve_standalone(flags.own, *config);
  }
  return cloudcore::serve_cluster(*config);
}
