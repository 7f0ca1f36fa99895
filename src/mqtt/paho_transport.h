// Transport on Eclipse Paho's MQTTAsync. Only paho_transport.cpp includes Paho.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/mqtt.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "mqtt/transport.h"

namespace kubeedge::mqtt {

// kInvalidArgument: no address like tcp://host:1883 or ssl://host:8883.
Result<void> check_server(const std::string& server);

// MQTT 3.1.1, clean session, keepalive 30 s; reconnects at once, then after at most 5 s, for ever; renews its
// subscriptions at each connect. start() returns at once. Paho's two threads only hop to the executor.
// Note: Paho ignores SIGPIPE for the process when the first client is made.
std::unique_ptr<Transport> paho_transport(const Runtime& runtime, MqttOptions options, std::string client_id);

}  // namespace kubeedge::mqtt
