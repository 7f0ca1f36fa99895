// Small packets at once: Paho C leaves Nagle's algorithm on, has no option for it and gives its socket to nobody
// (eclipse-paho/paho.mqtt.c#530). A result published after a PUBACK would then wait for the broker's delayed
// acknowledgement, 40 ms.
#pragma once

#include <cstdint>

namespace kubeedge::mqtt {

// Sets TCP_NODELAY on each TCP connection of this process to a peer's `port`, Paho's among them; returns how many there are.
// Any thread. Looks at every open file once: for the moment after a connect, not for each message.
int set_nodelay(std::uint16_t port);

}  // namespace kubeedge::mqtt
