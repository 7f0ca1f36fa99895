// The edge's link over whatever socket it is given: the driver of Link. HubClient joins, dials and gives it sockets; it
// takes time only from the runtime's clock and timers.
#pragma once

#include <memory>
#include <random>
#include <string>

#include <kubeedge/edge_hub.h>

#include "base/metrics.h"
#include "edge/ports/cloud_link.h"
#include "net/websocket.h"

namespace kubeedge::edge {

struct HubLinkOptions {
  NodeId node;
  std::string store_id;
  Milliseconds heartbeat{15'000};
  int message_qps = 30, message_burst = 60;   // see message_rate.h
  std::uint64_t seed = std::random_device{}();   // of the waits' jitter
};

// Lives on the runtime's executor. Sinks and observers must outlive it or be removed by stop().
class HubLink final : public CloudLink {
 public:
  HubLink(const Runtime& runtime, HubLinkOptions options);
  ~HubLink() override;

  void set_meta_sink(MessageSink* sink);
  void set_twin_sink(MessageSink* sink);
  void set_bus_sink(MessageSink* sink);
  void add_observer(LinkObserver* observer);
  void on_link(unique_function<void(LinkState)> handler);
  // `dial` is called whenever a connection under this store id is wanted; opened() or down() answers it.
  void start(unique_function<void(const std::string& store_id)> dial);
  void stop();
  void opened(std::unique_ptr<net::WebSocket> socket);
  // The dial failed, or the link has to end.
  void down(const std::string& why);
  void on_route_change();
  // The store lost something: connects again under the new id, so that the cloud sends everything anew.
  void set_store_id(std::string id);
  // Our own address on the link, "" when it was never up.
  const std::string& local_ip() const;

  // CloudLink
  bool up() const override;
  std::size_t unsent_bytes() const override;
  void send(Message message) override;
  void request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) override;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
