// EventBus: routes between the MQTT broker, DeviceTwin and the cloud (devices.md 5).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "edge/ports/cloud_link.h"
#include "edge/ports/mqtt.h"
#include "mqtt/transport.h"
#include "store/store.h"

namespace kubeedge::edge {

// The table of this module, for Store::open (upstream's DDL).
std::string_view event_bus_schema();

// Gets the cloud's messages for source "router_eventbus" (operations subscribe, unsubscribe, publish) and the
// legacy ones of devices.md 5.4: wire group "user" (and "bus") of EdgeHub to on_message.
// Uploads go to the link as it stands: a message is acknowledged to the broker once it was handed to the link,
// so what arrives while the cloud is away is dropped and counted (a spill queue is a later issue).
// Lives on the runtime's executor; `store`, `transport`, `link`, `twin` must outlive it.
class EventBus final : public TwinOutput, public MessageSink {
 public:
  EventBus(const Runtime& runtime, store::Store& store, mqtt::Transport& transport, CloudLink& link, TwinInput& twin, NodeId node);
  ~EventBus() override;

  // Reads sub_topics, subscribes and connects. Never blocks on a missing broker.
  Result<void> start();
  void stop();

  void publish(std::string topic, Bytes payload) override;
  void on_message(Message message) override;

  struct Counters {
    std::uint64_t uploads = 0;          // handed to the link
    std::uint64_t dropped_offline = 0;  // came while the cloud was away
    std::uint64_t refused = 0;          // too large, or not UTF-8
  };
  Counters counters() const;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
