// A broker connection as this library's modules see it. paho_transport.h implements it; tests fake it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include <kubeedge/bytes.h>
#include <kubeedge/clock.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::mqtt {

// A longer payload arrives cut to one byte more than this: who reads it refuses it by its size, and can answer.
inline constexpr std::size_t kMaxPayloadBytes = 1024 * 1024;

inline constexpr Milliseconds kFirstRetry{250};
inline constexpr Milliseconds kMaxRetry{2'000};   // the broker is near: apps wait for us no longer than that (C55)

// Who hears topics. Heals itself. Lives on its owner's loop.
class Subscriber {
 public:
  virtual ~Subscriber() = default;
  struct Handlers {
    // `acknowledge` makes the PUBACK leave (QoS >= 1); call it once, any time later.
    std::function<void(std::string topic, Bytes payload, int qos, std::function<void()> acknowledge)> on_message;
    std::function<void(bool connected, std::string why)> on_state;
  };
  virtual void start(Handlers handlers) = 0;
  virtual void stop() = 0;
  virtual void subscribe(const std::string& filter, int qos) = 0;     // remembered, renewed at each connect
  virtual void unsubscribe(const std::string& filter) = 0;
};

class Transport : public Subscriber {
 public:
  // Not retained. QoS 1: kept until the broker has it; bounded: past the limit the oldest is dropped and counted.
  // QoS 0: now or never, and never twice; for those who have an answer of their own to wait for.
  virtual void publish(const std::string& topic, Bytes payload, int qos) = 0;
  // As with QoS 1; `done` when the broker has it, or when it will never get it. Not called after stop().
  virtual void deliver(const std::string& topic, Bytes payload, unique_function<void(Result<void>)> done) {
    publish(topic, std::move(payload), 1);
    if (done) done({});
  }
};

}  // namespace kubeedge::mqtt
