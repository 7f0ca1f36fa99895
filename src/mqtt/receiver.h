// A client of its own for messages whose PUBACK must wait for a commit: fixed client id, a session that the broker keeps, QoS 1.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/mqtt.h>
#include <kubeedge/runtime.h>

#include "mqtt/transport.h"

namespace kubeedge::mqtt {

inline constexpr std::size_t kMaxUnacknowledged = 1'000;                      // past either nothing is read from the broker
inline constexpr std::size_t kMaxUnacknowledgedBytes = 4 * 1024 * 1024;

// Lives on the runtime's executor. Subscribes with QoS 1 whatever is asked for. While it is away the broker keeps what comes for it (mosquitto: max_queued_messages, 1,000).
class Receiver : public Subscriber {
 public:
  // A message could not be kept: the connection ends without its PUBACK, and those behind it; the broker sends them again.
  // The next connection is tried after kMaxRetry.
  virtual void refuse(const std::string& why) = 0;
};

// Connects at start() and again after a loss, for ever, at most kMaxRetry apart. Certificates are read at each connection.
std::unique_ptr<Receiver> receiver(const Runtime& runtime, MqttOptions options, std::string client_id);

}  // namespace kubeedge::mqtt
