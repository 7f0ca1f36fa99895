#include "config.h"

#include "base/json.h"
#include "base/text.h"
#include "yaml_config.h"

namespace edgecore {
namespace {

using daemons::Key;
using daemons::Keys;
using daemons::Kind;
using kubeedge::Errc;

std::string text_of(const YAML::Node& node) { return node.as<std::string>(""); }
int number_of(const YAML::Node& node) { return static_cast<int>(node.as<std::int64_t>(0)); }

// Every key of upstream's file; blocks of modules that are not there yet are taken whole (kAny).
Keys keys(Config& c) {
  kubeedge::EdgeOptions& e = c.edge;
  const auto text = [](std::string& into) { return Key{Kind::kText, [&into](const YAML::Node& n) { into = text_of(n); }}; };
  const auto number = [](int& into, int least) { return Key{Kind::kNumber, [&into](const YAML::Node& n) { into = number_of(n); }, least}; };
  const auto flag = [](bool& into) { return Key{Kind::kFlag, [&into](const YAML::Node& n) { into = n.as<bool>(into); }}; };
  const auto seconds = [](int& into) { return Key{Kind::kDuration, [&into](const YAML::Node& n) { into = static_cast<int>(daemons::duration_s(n.Scalar())); }, 1}; };

  Keys all = {
      {"apiVersion", {Kind::kText, {}}},
      {"kind", {Kind::kText, {}}},
      {"edgecoreVersion", {Kind::kText, {}}},
      {"featureGates", {Kind::kAny, {}}},
      {"commonConfig.monitorServer.bindAddress", text(e.monitor)},   // ours: upstream's edgecore has no such page
      {"database.driverName", {Kind::kText, {}}},
      {"database.aliasName", {Kind::kText, {}}},
      {"database.dataSource", text(c.database)},
      {"modules.edgeHub.enable", {Kind::kFlag, {}}},
      {"modules.edgeHub.heartbeat", number(e.heartbeat_s, 1)},
      {"modules.edgeHub.messageQPS", number(e.message_qps, 0)},
      {"modules.edgeHub.messageBurst", number(e.message_burst, 0)},
      {"modules.edgeHub.projectID", text(e.project_id)},
      {"modules.edgeHub.tlsCaFile", text(e.ca_file)},
      {"modules.edgeHub.tlsCertFile", text(e.certificate_file)},
      {"modules.edgeHub.tlsPrivateKeyFile", text(e.private_key_file)},
      {"modules.edgeHub.token", {Kind::kText, [&e](const YAML::Node& n) { e.token = kubeedge::Secret(text_of(n)); }}},
      {"modules.edgeHub.httpServer",
       {Kind::kText, [&e](const YAML::Node& n) {
          std::string server = text_of(n);
          if (server.starts_with("https://")) server = server.substr(8);
          while (server.ends_with("/")) server.pop_back();
          e.join_server = server;
        }}},
      {"modules.edgeHub.rotateCertificates", {Kind::kFlag, {}}},
      {"modules.edgeHub.websocket.enable", {Kind::kFlag, {}}},
      {"modules.edgeHub.websocket.server", text(e.hub_server)},
      {"modules.edgeHub.quic.enable", flag(c.quic)},
      {"modules.edgeHub.quic.server", {Kind::kText, {}}},
      {"modules.edged.enable", flag(c.pods)},
      {"modules.edged.reportEvent", flag(c.report_events)},
      {"modules.edged.hostnameOverride", text(e.node_name)},
      {"modules.edged.nodeIP", text(e.node_ip)},
      {"modules.edged.rootDirectory", text(c.root_dir)},
      {"modules.edged.nodeLabels",
       {Kind::kTextMap, [&e](const YAML::Node& n) {
          nlohmann::json labels = nlohmann::json::object();
          for (const auto& item : n) labels[item.first.as<std::string>("")] = item.second.as<std::string>("");
          e.node_labels_json = kubeedge::base::dump_json(labels);
        }}},
      {"modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint", text(c.runtime_endpoint)},
      {"modules.edged.tailoredKubeletConfig.podLogsDir", text(c.pod_logs_dir)},
      {"modules.edged.tailoredKubeletConfig.maxPods", number(c.max_pods, 0)},
      {"modules.edged.tailoredKubeletConfig.nodeLeaseDurationSeconds", number(e.lease_duration_s, 1)},
      {"modules.edged.tailoredKubeletConfig.nodeStatusUpdateFrequency", seconds(e.node_status_update_s)},
      {"modules.edged.tailoredKubeletConfig.nodeStatusReportFrequency", seconds(e.node_status_report_s)},
      {"modules.edgeStream.enable", flag(e.stream_enabled)},
      {"modules.edgeStream.server", text(e.stream_server)},
      {"modules.eventBus.enable", flag(e.mqtt_enabled)},
      {"modules.eventBus.mqttMode", number(c.mqtt_mode, 0)},
      {"modules.eventBus.mqttServerInternal", text(c.internal_broker)},
      {"modules.eventBus.mqttServerExternal", text(e.mqtt.server)},
      {"modules.eventBus.mqttUsername", text(e.mqtt.username)},
      {"modules.eventBus.mqttPassword", text(e.mqtt.password)},
      {"modules.eventBus.eventBusTLS.enable", {Kind::kFlag, {}}},
      {"modules.eventBus.eventBusTLS.tlsMqttCAFile", text(e.mqtt.ca_file)},
      {"modules.eventBus.eventBusTLS.tlsMqttCertFile", text(e.mqtt.certificate_file)},
      {"modules.eventBus.eventBusTLS.tlsMqttPrivateKeyFile", text(e.mqtt.private_key_file)}};
  kubeedge::ServiceBusOptions& s = e.service_bus;
  all["modules.serviceBus.enable"] = flag(s.enabled);
  all["modules.serviceBus.server"] = text(s.address);
  all["modules.serviceBus.port"] = {Kind::kNumber, [&s](const YAML::Node& n) { s.port = static_cast<std::uint16_t>(number_of(n)); }, 0};
  all["modules.serviceBus.timeout"] = number(s.timeout_s, 1);
  // Beyond upstream.
  all["modules.serviceBus.callTimeout"] = number(s.call_timeout_s, 1);
  all["modules.serviceBus.allowedTargets"] = {Kind::kTexts, [&s](const YAML::Node& n) { s.allowed_targets = n.as<std::vector<std::string>>(std::vector<std::string>()); }};
  all["modules.serviceBus.tlsCAFile"] = text(s.ca_file);
  for (const char* known : {"modules.edged.registerNodeNamespace", "modules.edged.customInterfaceName", "modules.edged.podSandboxImage", "modules.edged.minimumGCAge",
                            "modules.edged.runtimeCgroups", "modules.edged.experimentalMounterPath", "modules.metaManager.contextSendGroup",
                            "modules.metaManager.contextSendModule", "modules.eventBus.mqttSubClientID",
                            "modules.eventBus.mqttPubClientID",
                            "modules.edgeStream.tlsTunnelCAFile", "modules.edgeStream.tlsTunnelCertFile", "modules.edgeStream.tlsTunnelPrivateKeyFile"})
    all[known] = {Kind::kText, {}};
  for (const char* known : {"modules.edgeHub.websocket.handshakeTimeout", "modules.edgeHub.websocket.readDeadline", "modules.edgeHub.websocket.writeDeadline",
                            "modules.edgeHub.quic.handshakeTimeout", "modules.edgeHub.quic.readDeadline", "modules.edgeHub.quic.writeDeadline",
                            "modules.edged.maxContainerCount", "modules.edged.maxPerPodContainerCount", "modules.metaManager.remoteQueryTimeout",
                            "modules.eventBus.mqttQOS", "modules.eventBus.mqttSessionQueueSize", "modules.edgeStream.handshakeTimeout", "modules.edgeStream.readDeadline",
                            "modules.edgeStream.writeDeadline"})
    all[known] = {Kind::kNumber, {}};
  for (const char* known : {"modules.edged.registerSchedulable", "modules.edged.seccompDefault", "modules.metaManager.enable", "modules.eventBus.mqttRetain"})
    all[known] = {Kind::kFlag, {}};
  for (const char* known : {"address", "readOnlyPort", "staticPodPath", "imageServiceEndpoint", "cgroupDriver", "cgroupsPerQOS", "syncFrequency", "registerNode",
                            "registerWithTaints", "nodeStatusMaxImages", "enableControllerAttachDetach", "configMapAndSecretChangeDetectionStrategy", "failSwapOn",
                            "clusterDomain", "clusterDNS", "contentType", "eventRecordQPS", "eventBurst", "evictionHard", "evictionPressureTransitionPeriod",
                            "imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "podPidsLimit", "failCgroupV1", "volumePluginDir", "authentication", "authorization",
                            "resolvConf", "containerLogMaxSize", "containerLogMaxFiles", "runtimeRequestTimeout", "memorySwap", "featureGates", "logging",
                            "volumeStatsAggPeriod", "streamingConnectionIdleTimeout", "fileCheckFrequency", "httpCheckFrequency", "cpuManagerReconcilePeriod",
                            "shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "imageMinimumGCAge", "imageMaximumGCAge", "localStorageCapacityIsolation",
                            "containerLogMaxWorkers", "containerLogMonitorInterval", "cpuCFSQuota", "cpuCFSQuotaPeriod", "cpuManagerPolicy", "crashLoopBackOff",
                            "enableDebugFlagsHandler", "enableDebuggingHandlers", "enableProfilingHandler", "enableSystemLogHandler", "enforceNodeAllocatable",
                            "hairpinMode", "iptablesDropBit", "iptablesMasqueradeBit", "makeIPTablesUtilChains", "maxOpenFiles", "memoryManagerPolicy",
                            "memoryThrottlingFactor", "oomScoreAdj", "registryBurst", "registryPullQPS", "seccompDefault", "serializeImagePulls",
                            "topologyManagerPolicy", "topologyManagerScope"})
    all[std::string("modules.edged.tailoredKubeletConfig.") + known] = {Kind::kAny, {}};
  for (const char* block : {"modules.metaManager.metaServer", "modules.deviceTwin", "modules.taskManager", "modules.dbTest"})
    all[block] = {Kind::kAny, {}};
  return all;
}

}  // namespace

kubeedge::Result<void> load_config(const std::string& path, bool strict, Config& config, std::vector<std::string>& warnings) {
  if (auto loaded = daemons::load_yaml(path, strict, keys(config), warnings); !loaded) return loaded;
  if (config.quic) {
    return kubeedge::base::error(Errc::kUnimplemented, "{}: modules.edgeHub.quic: QUIC (of 2018) is not spoken here; enable modules.edgeHub.websocket instead", path);
  }
  if (config.mqtt_mode != 0 && config.mqtt_mode != 2)
    return kubeedge::base::error(Errc::kUnimplemented, "{}: modules.eventBus.mqttMode {}: two brokers at once are not served; use 0 (internal) or 2 (external)", path, config.mqtt_mode);
  config.edge.mqtt_internal = config.mqtt_mode == 0;
  if (config.edge.mqtt_internal) config.edge.mqtt.server = config.internal_broker;
  if (!config.database.empty()) config.edge.data_dir = config.database.substr(0, config.database.rfind('/'));
  return {};
}

std::string sample_config(bool full) {
  std::string text =
      "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\ndatabase:\n  dataSource: /var/lib/kubeedge/edgecore.db\nmodules:\n"
      "  edgeHub:\n    heartbeat: 15\n    httpServer: https://192.0.2.10:10002\n    token: \"\"\n    websocket:\n      enable: true\n      server: 192.0.2.10:10000\n"
      "  edged:\n    hostnameOverride: edge1\n    tailoredKubeletConfig:\n      containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n"
      "  eventBus:\n    mqttServerExternal: tcp://127.0.0.1:1883\n";
  if (full)
    text = "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\ndatabase:\n  aliasName: default\n  driverName: sqlite3\n"
           "  dataSource: /var/lib/kubeedge/edgecore.db\nmodules:\n  edgeHub:\n    enable: true\n    heartbeat: 15\n    messageQPS: 30\n    messageBurst: 60\n"
           "    projectID: e632aba927ea4ac2b575ec1603d56f10\n    tlsCaFile: /etc/kubeedge/ca/rootCA.crt\n    tlsCertFile: /etc/kubeedge/certs/server.crt\n"
           "    tlsPrivateKeyFile: /etc/kubeedge/certs/server.key\n    token: \"\"\n    httpServer: https://192.0.2.10:10002\n    rotateCertificates: true\n"
           "    websocket:\n      enable: true\n      server: 192.0.2.10:10000\n  edged:\n    enable: true\n    reportEvent: false\n    hostnameOverride: edge1\n"
           "    rootDirectory: /var/lib/kubelet\n    tailoredKubeletConfig:\n      containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n      maxPods: 110\n"
           "      nodeLeaseDurationSeconds: 40\n      nodeStatusUpdateFrequency: 10s\n      nodeStatusReportFrequency: 5m\n"
           "  eventBus:\n    enable: true\n    mqttMode: 2\n    mqttServerExternal: tcp://127.0.0.1:1883\n    mqttServerInternal: tcp://127.0.0.1:1884\n"
           "  serviceBus:\n    enable: false\n    server: 127.0.0.1\n    port: 9060\n    timeout: 60\n"
           "  edgeStream:\n    enable: true\n    server: 192.0.2.10:10004\n";
  return text;
}

}  // namespace edgecore
