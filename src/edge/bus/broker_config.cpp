#include "edge/bus/broker_config.h"

#include "base/text.h"
#include "mqtt/server.h"
#include "pki/password.h"

namespace kubeedge::edge {
namespace {

constexpr int kPasswordRounds = 101;
constexpr std::size_t kPasswordBytes = 64;

bool is_loopback(std::string_view host) { return host.starts_with("127.") || host == "::1" || host == "localhost"; }

}  // namespace

Result<std::string> broker_config(const MqttOptions& mqtt, const std::string& folder, const std::string& user) {
  auto server = mqtt::parse_server(mqtt.server);
  if (!server) return std::move(server).error();
  const bool open = mqtt.username.empty();
  if (open && !server->tls && !is_loopback(server->endpoint.host))
    return base::error(Errc::kPermissionDenied, "internal broker {}: others reach it: set mqttUsername and mqttPassword, or let it listen on 127.0.0.1", mqtt.server);
  std::string text = "# Written by edgecore.\nper_listener_settings false\n";
  if (!user.empty()) text += fmt::format("user {}\n", user);
  text += fmt::format("listener {} {}\nallow_anonymous {}\n", server->endpoint.port, server->endpoint.host, open);
  if (!open) text += fmt::format("password_file {}/{}\n", folder, kBrokerPasswordFile);
  if (server->tls)
    text += fmt::format("cafile {0}/{1}\ncertfile {0}/{2}\nkeyfile {0}/{3}\nrequire_certificate true\n", folder, kBrokerCaFile, kBrokerCertificateFile, kBrokerKeyFile);
  return text + fmt::format("set_tcp_nodelay true\npersistence true\npersistence_location {}/\nautosave_interval {}\npersistent_client_expiration {}d\n"
                            "max_queued_messages 0\nmax_queued_bytes {}\nlog_dest stderr\nlog_type error\nlog_type warning\nconnection_messages false\n",
                            folder, kBrokerSaveSeconds, kBrokerForgetsAfterDays, kBrokerQueueBytes);
}

Result<std::string> broker_password(const std::string& name, std::string_view password, std::string_view salt) {
  if (name.empty() || name.find_first_of(":\n\r") != std::string::npos || name.front() == '#') return base::error(Errc::kInvalidArgument, "mqttUsername: mosquitto takes no ':' and no line break in it");
  return fmt::format("{}:$7${}${}${}\n", name, kPasswordRounds, base::base64(salt), base::base64(pki::pbkdf2_sha512(password, salt, kPasswordRounds, kPasswordBytes)));
}

}  // namespace kubeedge::edge
