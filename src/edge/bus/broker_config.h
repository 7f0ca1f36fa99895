// The private configuration of a mosquitto that belongs to an edge (mqttMode 0). Pure but for the salt that it is given.
#pragma once

#include <string>
#include <string_view>

#include <kubeedge/mqtt.h>
#include <kubeedge/result.h>

namespace kubeedge::edge {

// What the broker keeps for an edge or an app that is away, all together.
inline constexpr std::size_t kBrokerQueueBytes = 64 * 1024 * 1024;
inline constexpr int kBrokerSaveSeconds = 60;          // what a kill -9 of the broker may cost; an orderly end saves all
inline constexpr int kBrokerForgetsAfterDays = 14;     // sessions of clients that never came back
inline constexpr std::size_t kSaltBytes = 12;          // mosquitto's

// Names in the broker's folder.
inline constexpr std::string_view kBrokerConfigFile = "mosquitto.conf", kBrokerPasswordFile = "passwords", kBrokerLogFile = "mosquitto.log", kBrokerPidFile = "pid",
                                  kBrokerCaFile = "ca.crt", kBrokerCertificateFile = "server.crt", kBrokerKeyFile = "server.key";

// `user`: whom mosquitto becomes when it is started by root; "" = it stays who it is. The address is that of `mqtt.server`; with "ssl://"
// clients need a certificate, with a user name the password. kPermissionDenied: an address that others reach, and no password.
Result<std::string> broker_config(const MqttOptions& mqtt, const std::string& folder, const std::string& user);
// Of the password file, as mosquitto_passwd writes it. kInvalidArgument: a name that the file cannot hold.
Result<std::string> broker_password(const std::string& name, std::string_view password, std::string_view salt);

}  // namespace kubeedge::edge
