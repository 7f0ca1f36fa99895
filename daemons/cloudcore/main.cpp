// cloudcore: flags and cloudcore.yaml to options, signals, run. The work is in src/cloud.
#include <csignal>
#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include "base/text.h"
#include "cloud/cloud.h"
#include "cloud/standalone/standalone.h"
#include "config.h"

namespace {

constexpr const char* kVersion = "v0.1.0";

int fail(const kubeedge::Error& error) {
  std::cerr << "cloudcore: " << error.message << "\n";
  return 1;
}

struct Flags {
  bool standalone = false, strict = false, minconfig = false, defaultconfig = false, version = false;
  std::string config, data_dir = "/var/lib/kubeedge", kubeconfig, api_address = "127.0.0.1";
  std::vector<std::string> advertise;
  int api_port = 6443, hub_port = -1, join_port = -1;
};

// The address to put into the join line: an advertised one, else the first that is not the loopback.
std::string join_address(const std::vector<std::string>& addresses) {
  for (const std::string& one : addresses)
    if (!one.starts_with("127.") && one != "::1") return one;
  return "127.0.0.1";
}

int print_token(const std::string& data_dir) {
  const auto ca = kubeedge::cloud::load_ca(data_dir);
  if (!ca) return fail(ca.error().in("data_dir " + data_dir + " has no CA (was cloudcore --standalone started with it?)"));
  const auto token = kubeedge::cloud::write_join_token(data_dir, *ca, kubeedge::system_clock().unix_ms() / 1000);
  if (!token) return fail(token.error());
  std::string address = "<this host>";
  const auto text = kubeedge::cloud::read_text_file(data_dir + "/pki/server.crt");
  const auto der = text ? kubeedge::pki::der_from_pem(*text, "CERTIFICATE") : text;
  if (der)
    if (const auto info = kubeedge::pki::parse_certificate(*der)) address = join_address(info->sans.ips);
  std::cerr << "join:     edgecore --cloud " << address << " --token <the line below>\n";
  std::cout << *token << "\n";
  return 0;
}

int run(const Flags& flags, const cloudcore::Config& config) {
  asio::io_context loop{1};
  const kubeedge::Runtime runtime{loop.get_executor()};

  kubeedge::cloud::StandaloneOptions own;
  own.data_dir = flags.data_dir;
  own.advertise = flags.advertise.empty() ? config.advertise_addresses : flags.advertise;
  own.dns_names = config.dns_names;
  own.api_address = flags.api_address;
  own.api_port = static_cast<std::uint16_t>(flags.api_port);
  auto standalone = kubeedge::cloud::Standalone::create(runtime, own);
  if (!standalone) return fail(standalone.error());

  kubeedge::cloud::CloudOptions options;
  options.ca = (*standalone)->credentials().ca;
  options.server = (*standalone)->credentials().server;
  options.hub_address = config.hub_address;
  options.join_address = config.join_address;
  options.hub_port = flags.hub_port >= 0 ? static_cast<std::uint16_t>(flags.hub_port) : config.hub_port;
  options.join_port = flags.join_port >= 0 ? static_cast<std::uint16_t>(flags.join_port) : config.join_port;
  options.node_limit = static_cast<std::size_t>(config.node_limit);
  options.keepalive_s = static_cast<int>(config.keepalive_s);
  options.edge_certificate_days = static_cast<int>(config.edge_certificate_days);
  auto cloud = kubeedge::cloud::Cloud::create(runtime, (*standalone)->client(), options);
  if (!cloud) return fail(cloud.error());
  if (auto started = (*cloud)->start(); !started) return fail(started.error());
  (*standalone)->start();

  std::printf("cloudcore %s standalone: API https://%s:%u, edges wss://%s:%u, join https://%s:%u\n", kVersion, own.api_address.c_str(),
              (*standalone)->api_port(), options.hub_address.c_str(), (*cloud)->hub_port(), options.join_address.c_str(), (*cloud)->join_port());
  std::printf("  kubectl:  export KUBECONFIG=%s/admin.kubeconfig\n", own.data_dir.c_str());
  std::printf("  join:     edgecore --cloud %s --token $(cat %s/join.token)\n", join_address((*standalone)->credentials().addresses).c_str(), own.data_dir.c_str());
  std::fflush(stdout);

  asio::signal_set signals{loop, SIGTERM, SIGINT};
  signals.async_wait([&](std::error_code failed, int) {
    if (failed) return;
    (*cloud)->stop([&] {
      (*cloud).reset();
      (*standalone).reset();
      loop.stop();
    });
  });
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  Flags flags;
  CLI::App app{"cloudcore: the cloud side of KubeEdge"};
  app.add_flag("--standalone", flags.standalone, "serve a small Kubernetes API of its own; no Kubernetes needed");
  app.add_option("--data-dir", flags.data_dir, "where standalone keeps everything");
  app.add_option("--config", flags.config, "cloudcore.yaml");
  app.add_option("--kube-config", flags.kubeconfig, "kubeconfig of a real kube-apiserver");
  app.add_option("--advertise-address", flags.advertise, "addresses for the server certificate and the join line");
  app.add_option("--api-address", flags.api_address, "where the standalone API listens");
  app.add_option("--api-port", flags.api_port, "port of the standalone API")->check(CLI::Range(0, 65535));
  app.add_option("--hub-port", flags.hub_port, "port for edges")->check(CLI::Range(0, 65535));
  app.add_option("--join-port", flags.join_port, "port where edges join")->check(CLI::Range(0, 65535));
  app.add_flag("--strict-config", flags.strict, "an unknown key in the file is an error");
  app.add_flag("--minconfig", flags.minconfig, "print a minimal cloudcore.yaml");
  app.add_flag("--defaultconfig", flags.defaultconfig, "print a cloudcore.yaml with the defaults");
  app.add_flag("--version", flags.version, "print the version");
  CLI::App* token = app.add_subcommand("token", "make a new join token and print it");
  token->add_option("--data-dir", flags.data_dir, "where standalone keeps everything");
  CLI11_PARSE(app, argc, argv);

  if (flags.version) return std::printf("cloudcore %s\n", kVersion) < 0;
  if (flags.minconfig || flags.defaultconfig) {
    std::cout << cloudcore::sample_config(flags.defaultconfig);
    return 0;
  }
  if (token->parsed()) return print_token(flags.data_dir);
  cloudcore::Config config;
  if (!flags.config.empty()) {
    std::vector<std::string> warnings;
    const auto loaded = cloudcore::load_config(flags.config, flags.strict, config, warnings);
    for (const std::string& warning : warnings) std::cerr << "cloudcore: warning: " << warning << "\n";
    if (!loaded) return fail(loaded.error());
  }
  if (!flags.kubeconfig.empty() || (!flags.standalone && !config.kubeconfig.empty()))
    return fail({kubeedge::Errc::kUnimplemented, "a real kube-apiserver (--kube-config) is not supported yet: run with --standalone"});
  if (!flags.standalone) return fail({kubeedge::Errc::kInvalidArgument, "run with --standalone (see --help)"});
  return run(flags, config);
}
