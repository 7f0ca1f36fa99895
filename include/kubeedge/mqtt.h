// How the edge reaches its MQTT broker.
#pragma once

#include <cstdint>
#include <string>

namespace kubeedge {
inline namespace v0 {

struct MqttOptions {
  std::string server = "tcp://127.0.0.1:1883";   // tcp:// or ssl://
  std::string username, password;                // never logged
  std::string ca_file, certificate_file, private_key_file;
  static MqttOptions broker(std::string host, std::uint16_t port) {
    MqttOptions options;
    options.server = "tcp://" + std::move(host) + ":" + std::to_string(port);
    return options;
  }
};

}  // namespace v0
}  // namespace kubeedge
