// The connection to an MQTT broker that edges and device apps stand on, for whoever wants plain topics.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/bytes.h>
#include <kubeedge/mqtt.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

// Heals itself: tries for ever, at most 2 s apart, and subscribes again. Lives on the runtime's executor.
class Bus {
 public:
  static constexpr std::size_t kMaxSubscriptions = 1'000;
  using Handler = unique_function<void(const std::string& topic, const Bytes& payload)>;

  // kInvalidArgument: the server is no tcp:// or ssl:// address.
  static Result<Bus> create(const Runtime& runtime, MqttOptions options, std::string client_id);
  Bus(Bus&&) noexcept;
  Bus& operator=(Bus&&) noexcept;
  ~Bus();

  void on_state(unique_function<void(bool connected, const std::string& why)> handler);
  // QoS 1. A message that several filters match goes to each of their handlers. kInvalidArgument: no MQTT topic filter.
  Result<void> subscribe(const std::string& filter, Handler handler);
  // QoS 1 is kept until the broker has it (the newest 10,000), QoS 0 goes now or never. kInvalidArgument: no topic, or over 1 MiB.
  Result<void> publish(const std::string& topic, Bytes payload, int qos = 1);
  void start();
  void stop();

 private:
  struct Impl;
  explicit Bus(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
