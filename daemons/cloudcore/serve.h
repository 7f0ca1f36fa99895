// cloudcore's two ways to run, and its join tokens. Each returns the process's exit code.
#pragma once

#include <string>
#include <vector>

#include "config.h"

namespace cloudcore {

inline constexpr const char* kVersion = "v0.1.0";

struct StandaloneFlags {
  std::string data_dir = "/var/lib/kubeedge", api_address = "127.0.0.1";
  int api_port = 6443;
};

// On a Kubernetes API of its own, kept in data_dir.
int serve_standalone(const StandaloneFlags& flags, const Config& config);
int print_standalone_token(const std::string& data_dir);

// On a real kube-apiserver, as config's kubeAPIConfig says.
int serve_cluster(const Config& config);
int print_cluster_token(const Config& config);

}  // namespace cloudcore
