// EventBus: routes between the MQTT broker, DeviceTwin and the cloud (devices.md 5).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "edge/bus/uploads.h"
#include "edge/ports/cloud_link.h"
#include "edge/ports/mqtt.h"
#include "mqtt/receiver.h"
#include "store/store.h"

namespace kubeedge::edge {

// The tables of this module, for Store::open: upstream's sub_topics, our own ke_uploads.
std::string event_bus_schema();

// Gets the cloud's messages for source "router_eventbus" (operations subscribe, unsubscribe, publish) and the
// legacy ones of devices.md 5.4: wire group "user" (and "bus") of EdgeHub to on_message.
// Two clients at the broker. `transport` publishes, and hears the topics of DeviceTwin, which answers each with a result of its own.
// `receiver` hears what has no result: uploads and the topics of rules. Their PUBACK leaves once the message is committed, so twins
// never wait for them; from there Uploads takes them to the cloud.
// Lives on the runtime's executor; all that is handed in must outlive it.
class EventBus final : public TwinOutput, public MessageSink, public LinkObserver {
 public:
  EventBus(const Runtime& runtime, store::Store& store, mqtt::Transport& transport, mqtt::Receiver& receiver, CloudLink& link, TwinInput& twin, NodeId node,
           UploadLimits limits = {});
  ~EventBus() override;

  // Reads its tables, subscribes and connects. Never blocks on a missing broker.
  Result<void> start();
  void stop();

  void publish(std::string topic, Bytes payload) override;
  void on_message(Message message) override;
  void on_link(bool up) override;

  struct Counters {
    std::uint64_t refused = 0;      // too large, or not UTF-8
    std::uint64_t not_stored = 0;   // the store failed: QoS 1 comes again from the broker,
    std::uint64_t lost_qos0 = 0;    // QoS 0 does not
    Uploads::Counters uploads;
  };
  Counters counters() const;
  // The broker as both clients see it, for people: "connected", or who is not.
  std::string connection() const;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
