// MQTT as the edge's modules see it. The Paho transport implements MqttTransport; tests fake it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::edge {

// A longer payload arrives cut to one byte more than this: who reads it refuses it by its size, and can answer.
inline constexpr std::size_t kMaxMqttPayloadBytes = 1024 * 1024;

// A broker connection that heals itself. Lives on the edge's loop.
class MqttTransport {
 public:
  virtual ~MqttTransport() = default;
  struct Handlers {
    // `acknowledge` makes the PUBACK leave (QoS >= 1); call it once, any time later.
    std::function<void(std::string topic, Bytes payload, int qos, std::function<void()> acknowledge)> on_message;
    std::function<void(bool connected, std::string why)> on_state;
  };
  virtual void start(Handlers handlers) = 0;
  virtual void stop() = 0;
  virtual void subscribe(const std::string& filter, int qos) = 0;     // remembered, renewed at each connect
  virtual void unsubscribe(const std::string& filter) = 0;
  // QoS 1, not retained, as upstream. Bounded: past the limit the oldest is dropped and counted.
  virtual void publish(const std::string& topic, Bytes payload) = 0;
};

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
