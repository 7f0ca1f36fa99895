// The edge assembly: hub + meta store + node + twin + bus, and pods where a runtime is given.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/edge_hub.h>
#include <kubeedge/mqtt.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>
#include <kubeedge/secret.h>
#include <kubeedge/service_bus.h>
#include <kubeedge/twin.h>

namespace kubeedge {
inline namespace v0 {

class PodRuntimeFactory;

struct EdgeOptions {
  std::string node_name;                  // "" = the host name, lower-cased
  std::string cloud;                      // host; ports below
  std::uint16_t hub_port = 10000;
  std::uint16_t join_port = 10002;
  std::uint16_t stream_port = 10004;
  std::string hub_server, join_server, stream_server;   // "host:port" where they differ from `cloud`
  Secret token;                           // needed until the first certificate is there
  std::string data_dir = "/var/lib/kubeedge";   // edgecore.db; certificates unless named below
  std::string ca_file, certificate_file, private_key_file;  // "" = data_dir/pki/...
  MqttOptions mqtt;
  bool mqtt_enabled = true;
  // A mosquitto of this edge's own listens on mqtt.server, with its files in data_dir/broker; it is started, watched, and ended by stop().
  bool mqtt_internal = false;
  std::string mosquitto;                  // the program; "" = the one of PATH or /usr/sbin
  // Uploads of MQTT apps that wait in edgecore.db for the cloud; past any of these limits the oldest are dropped and counted.
  std::size_t upload_max_messages = 100'000;
  std::size_t upload_max_bytes = 64 * 1024 * 1024;
  int upload_max_age_hours = 7 * 24;
  ServiceBusOptions service_bus;
  std::string project_id = "e632aba927ea4ac2b575ec1603d56f10";
  int heartbeat_s = 15;
  int message_qps = 30;                   // 30 with burst 60 (upstream's default) means no limit
  int message_burst = 60;
  int node_status_update_s = 10;
  int node_status_report_s = 300;
  int lease_duration_s = 40;
  std::string node_ip;                    // "" = the address used towards the cloud
  std::string node_labels_json;           // extra labels, JSON object or ""
  std::string monitor;                    // "host:port" of /metrics, /healthz, /readyz on plain HTTP; "" = none

  bool stream_enabled = true;             // kubectl logs and exec reach this node's pods

  // The pod runtime, made by kubeedge-edged's cri_pod_runtime(); absent = the node says pods: 0 and is tainted.
  std::shared_ptr<PodRuntimeFactory> pods;
};

// Lives on the runtime's executor. create() reads the store and binds nothing; start() connects.
class Edge {
 public:
  static Result<Edge> create(const Runtime& runtime, EdgeOptions options);
  Edge(Edge&&) noexcept;
  Edge& operator=(Edge&&) noexcept;
  ~Edge();

  EdgeHub& hub();
  Twin& twin();

  // `failed`: a permanent error (token, certificate) that no retry mends; the edge goes on with what it has.
  void on_failure(unique_function<void(Error)> handler);
  // Once, when the cloud knows the node and has taken its first status.
  void on_ready(unique_function<void()> handler);
  // The name in use: EdgeOptions::node_name, or the host's.
  const std::string& node_name() const;
  // What the monitor's /metrics shows, for a process that has pages of its own: Prometheus' text format.
  std::string metrics() const;
  void start();
  // Ends connections and timers; after `done` it may be destroyed. Running containers stay.
  void stop(unique_function<void()> done);

 private:
  struct Impl;
  explicit Edge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
