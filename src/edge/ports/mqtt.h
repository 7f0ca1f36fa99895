// Between EventBus and DeviceTwin. The broker connection itself is mqtt/transport.h.
#pragma once

#include <string>
#include <string_view>

#include <kubeedge/bytes.h>

namespace kubeedge::edge {

// EventBus -> DeviceTwin: a message on $hw/events/device/... or $hw/events/node/...
class TwinInput {
 public:
  virtual ~TwinInput() = default;
  virtual void on_mqtt(std::string_view topic, Bytes payload) = 0;
  // The broker is (again) there and subscribed: apps may have missed deltas, which are published again.
  virtual void on_broker_up() = 0;
};

// DeviceTwin -> EventBus.
class TwinOutput {
 public:
  virtual ~TwinOutput() = default;
  virtual void publish(std::string topic, Bytes payload) = 0;
};

}  // namespace kubeedge::edge
