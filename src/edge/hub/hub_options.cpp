#include "edge/hub/hub_options.h"

#include <unistd.h>

#include "base/text.h"
#include "runtime/files.h"

namespace kubeedge::edge {
namespace {

constexpr std::size_t kMaxNodeName = 253;

// Kubernetes' rule for node names: a DNS-1123 subdomain.
bool is_node_name(const std::string& name) {
  if (name.empty() || name.size() > kMaxNodeName) return false;
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool edge_of_label = i == 0 || i + 1 == name.size() || name[i - 1] == '.' || name[i + 1] == '.';
    if (!alnum(name[i]) && (edge_of_label || (name[i] != '-' && name[i] != '.'))) return false;
  }
  return true;
}

Result<std::string> usable_node_name(const std::string& wanted) {
  std::string name = wanted;
  if (name.empty()) {
    char host[256] = {};
    if (gethostname(host, sizeof host - 1) != 0) return base::error(Errc::kInvalidArgument, "no node name was given and the host has none");
    name = host;
  }
  const std::string lowered = base::lower(name);
  if (!is_node_name(lowered)) {
    return base::error(Errc::kInvalidArgument,
                       "node name \"{}\": a name has at most {} characters, lower-case letters, digits, '-' and '.', and starts and ends with a letter or digit (set --node-name)",
                       name.substr(0, 80), kMaxNodeName);
  }
  return lowered;
}

}  // namespace

Result<HubOptions> hub_options(const EdgeHubOptions& options) {
  auto name = usable_node_name(options.node_name);
  if (!name) return std::move(name).error();
  if (Result<void> made = runtime::make_folder(options.data_dir); !made) return std::move(made).error().in("data_dir");

  HubOptions out;
  out.join.node = NodeId(*name);
  out.join.token = options.token.reveal();
  const auto file = [&](const std::string& given, const char* otherwise) { return given.empty() ? options.data_dir + "/pki/" + otherwise : given; };
  out.join.ca_file = file(options.ca_file, "rootCA.crt");
  out.join.certificate_file = file(options.certificate_file, "server.crt");
  out.join.private_key_file = file(options.private_key_file, "server.key");
  const auto endpoint = [&](const std::string& server, std::uint16_t port) -> Result<net::Endpoint> {
    if (!server.empty()) return net::parse_endpoint(server);
    if (options.cloud.empty()) return base::error(Errc::kInvalidArgument, "no cloud address was given");
    return net::Endpoint{options.cloud, port};
  };
  auto join_server = endpoint(options.join_server, options.join_port);
  if (!join_server) return std::move(join_server).error();
  out.join.server = *join_server;
  auto hub_server = endpoint(options.hub_server, options.hub_port);
  if (!hub_server) return std::move(hub_server).error();
  out.server = *hub_server;
  out.project_id = options.project_id;
  out.store_id = options.store_id;
  out.heartbeat = Milliseconds{options.heartbeat_s * 1000};
  out.message_qps = options.message_qps;
  out.message_burst = options.message_burst;
  return out;
}

}  // namespace kubeedge::edge
