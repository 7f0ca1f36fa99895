#include "config.h"

#include "yaml_config.h"

namespace cloudcore {
namespace {

using daemons::Key;
using daemons::Keys;
using daemons::Kind;

// Every key of upstream's file that is more than a buffer or load figure; those are taken whole (kAny).
Keys keys(Config& c) {
  Keys all = {
    {"apiVersion", {Kind::kText, {}}},
    {"kind", {Kind::kText, {}}},
    {"commonConfig.tunnelPort", {Kind::kNumber, {}}},
    {"commonConfig.monitorServer.bindAddress", {Kind::kText, [&c](const YAML::Node& n) { c.monitor = n.as<std::string>(""); }}},
    {"commonConfig.monitorServer.enableProfiling", {Kind::kFlag, {}}},
    {"featureGates", {Kind::kAny, {}}},
    {"modules.cloudHub.advertiseAddress", {Kind::kTexts, [&c](const YAML::Node& n) { c.advertise_addresses = n.as<std::vector<std::string>>(std::vector<std::string>()); }}},
    {"modules.cloudHub.dnsNames", {Kind::kTexts, [&c](const YAML::Node& n) { c.dns_names = n.as<std::vector<std::string>>(std::vector<std::string>()); }}},
    {"modules.cloudHub.nodeLimit", {Kind::kNumber, [&c](const YAML::Node& n) { c.node_limit = n.as<std::int64_t>(c.node_limit); }, 1}},
    {"modules.cloudHub.keepaliveInterval", {Kind::kNumber, [&c](const YAML::Node& n) { c.keepalive_s = n.as<std::int64_t>(c.keepalive_s); }, 1}},
    {"modules.cloudHub.edgeCertSigningDuration", {Kind::kNumber, [&c](const YAML::Node& n) { c.edge_certificate_days = n.as<std::int64_t>(c.edge_certificate_days); }, 1}},
    {"modules.cloudHub.tokenRefreshDuration", {Kind::kNumber, [&c](const YAML::Node& n) { c.token_refresh_h = n.as<std::int64_t>(c.token_refresh_h); }, 1}},
    {"modules.cloudHub.websocket.address", {Kind::kText, [&c](const YAML::Node& n) { c.hub_address = n.as<std::string>(""); }}},
    {"modules.cloudHub.websocket.port", {Kind::kNumber, [&c](const YAML::Node& n) { c.hub_port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }}},
    {"modules.cloudStream.enable", {Kind::kFlag, [&c](const YAML::Node& n) { c.stream_enabled = n.as<bool>(c.stream_enabled); }}},
    {"modules.cloudStream.streamPort", {Kind::kNumber, [&c](const YAML::Node& n) { c.kubelet_api_port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }}},
    {"modules.cloudStream.tunnelPort", {Kind::kNumber, [&c](const YAML::Node& n) { c.stream_port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }}},
    {"modules.cloudHub.https.address", {Kind::kText, [&c](const YAML::Node& n) { c.join_address = n.as<std::string>(""); }}},
    {"modules.cloudHub.https.port", {Kind::kNumber, [&c](const YAML::Node& n) { c.join_port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }}}};
  const std::pair<const char*, std::string*> texts[] = {{"kubeAPIConfig.kubeConfig", &c.kubeconfig},          {"kubeAPIConfig.master", &c.master},
                                                        {"modules.cloudHub.tlsCAFile", &c.ca_file},           {"modules.cloudHub.tlsCAKeyFile", &c.ca_key_file},
                                                        {"modules.cloudHub.tlsCertFile", &c.server_file},     {"modules.cloudHub.tlsPrivateKeyFile", &c.server_key_file},
                                                        {"modules.cloudStream.tlsStreamCAFile", &c.stream_ca_file}, {"modules.cloudStream.tlsStreamCertFile", &c.stream_cert_file},
                                                        {"modules.cloudStream.tlsStreamPrivateKeyFile", &c.stream_key_file}};
  for (const auto& [key, value] : texts)
    all[key] = {Kind::kText, [into = value](const YAML::Node& n) { *into = n.as<std::string>(""); }};
  kubeedge::RouterOptions& r = c.router;
  all["modules.router.enable"] = {Kind::kFlag, [&r](const YAML::Node& n) { r.enabled = n.as<bool>(false); }};
  all["modules.router.port"] = {Kind::kNumber, [&r](const YAML::Node& n) { r.port = static_cast<std::uint16_t>(n.as<std::int64_t>(0)); }};
  all["modules.router.restTimeout"] = {Kind::kNumber, [&r](const YAML::Node& n) { r.rest_timeout_s = static_cast<int>(n.as<std::int64_t>(0)); }, 1};
  all["modules.router.enableTLS"] = {Kind::kFlag, [&r](const YAML::Node& n) { r.tls = n.as<bool>(false); }};   // this and those below: beyond upstream
  const std::pair<const char*, std::string*> router_texts[] = {{"address", &r.address},           {"tlsCertFile", &r.certificate_file}, {"tlsPrivateKeyFile", &r.private_key_file},
                                                               {"tokenFile", &r.token_file}, {"targetCAFile", &r.target_ca_file}};
  for (const auto& [key, value] : router_texts)
    all[std::string("modules.router.") + key] = {Kind::kText, [into = value](const YAML::Node& n) { *into = n.as<std::string>(""); }};
  // JSON is spoken and the API server's own flow control honoured (429), whatever these say.
  all["kubeAPIConfig.contentType"] = {Kind::kText, {}};
  for (const char* text : {"tlsTunnelCAFile", "tlsTunnelCertFile", "tlsTunnelPrivateKeyFile"})
    all[std::string("modules.cloudStream.") + text] = {Kind::kText, {}};
  for (const char* number : {"kubeAPIConfig.qps", "kubeAPIConfig.burst", "modules.cloudHub.writeTimeout",
                           "modules.edgeController.nodeUpdateFrequency"})
    all[number] = {Kind::kNumber, {}};
  for (const char* flag : {"modules.cloudHub.enable", "modules.cloudHub.websocket.enable", "modules.cloudHub.https.enable", "modules.edgeController.enable",
                         "modules.deviceController.enable", "modules.syncController.enable"})
    all[flag] = {Kind::kFlag, {}};
  for (const char* any : {"modules.cloudHub.quic", "modules.cloudHub.unixsocket", "modules.cloudHub.authorization", "modules.edgeController.buffer",
                        "modules.edgeController.load", "modules.deviceController.buffer", "modules.deviceController.load", "modules.taskManager",
                        "modules.dynamicController", "modules.iptablesManager"})
    all[any] = {Kind::kAny, {}};
  return all;
}

}  // namespace

kubeedge::Result<void> load_config(const std::string& path, bool strict, Config& config, std::vector<std::string>& warnings) {
  return daemons::load_yaml(path, strict, keys(config), warnings);
}

std::string sample_config(bool full) {
  std::string text =
      "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\nkubeAPIConfig:\n  kubeConfig: /root/.kube/config\nmodules:\n  cloudHub:\n"
      "    advertiseAddress: []\n    nodeLimit: 1000\n    https:\n      enable: true\n      address: 0.0.0.0\n      port: 10002\n"
      "    websocket:\n      enable: true\n      address: 0.0.0.0\n      port: 10000\n";
  if (full)
    text += "    dnsNames: []\n    keepaliveInterval: 30\n    edgeCertSigningDuration: 365\n  deviceController:\n    enable: true\n"
            "  edgeController:\n    enable: true\n    nodeUpdateFrequency: 10\n  router:\n    enable: false\n    address: 0.0.0.0\n    port: 9443\n    restTimeout: 60\n"
            "  syncController:\n    enable: true\n"
            "commonConfig:\n  monitorServer:\n    bindAddress: 127.0.0.1:9091\n";
  return text;
}

}  // namespace cloudcore
