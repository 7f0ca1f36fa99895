// EdgeHub: joins, dials the hub, moves messages. The driver of join(); HubLink runs the link.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <kubeedge/edge_hub.h>

#include "base/metrics.h"
#include "edge/hub/hub_link.h"
#include "edge/hub/join.h"
#include "edge/ports/cloud_link.h"

namespace kubeedge::edge {

struct HubOptions {
  JoinOptions join;
  net::Endpoint server;   // the hub's WSS port, 10000
  std::string project_id;
  std::string store_id;   // header Kubeedge-Store-Id
  Milliseconds heartbeat{15'000};
  int message_qps = 30, message_burst = 60;   // see message_rate.h
};

// Lives on the runtime's executor. Sinks and observers must outlive it or be removed by stop().
class HubClient final : public CloudLink, public kubeedge::EdgeHub {
 public:
  HubClient(const Runtime& runtime, HubOptions options);
  ~HubClient() override;

  void set_meta_sink(MessageSink* sink);
  void set_twin_sink(MessageSink* sink);
  void set_bus_sink(MessageSink* sink);
  void add_observer(LinkObserver* observer);
  // A permanent error of join or rotation.
  void on_failure(unique_function<void(Error)> handler);
  void start();
  void stop();
  // The store lost something: connects again under the new id, so that the cloud sends everything anew.
  void set_store_id(std::string id);
  // Our own address on the link, "" when it was never up.
  std::string local_ip() const;

  // CloudLink
  bool up() const override;
  void send(Message message) override;
  std::size_t unsent_bytes() const override;
  void request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) override;
  // EdgeHub
  void on_link(unique_function<void(LinkState)> handler) override;
  LinkState link() const override;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
