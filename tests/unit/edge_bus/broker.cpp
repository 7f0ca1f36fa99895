#include "edge/bus/broker_config.h"

#include <doctest/doctest.h>

using namespace kubeedge;
using namespace kubeedge::edge;

namespace {

MqttOptions at(const std::string& server, const std::string& user = "") {
  MqttOptions options;
  options.server = server;
  options.username = user;
  options.password = "secret";
  return options;
}

bool has(const std::string& text, const std::string& line) { return text.find("\n" + line + "\n") != std::string::npos; }

}  // namespace

TEST_CASE("C57: the internal broker's configuration: by default for this host only, with a password or certificates for others") {
  const auto open = broker_config(at("tcp://127.0.0.1:1884"), "/data/broker", "mosquitto");
  REQUIRE(open);
  for (const char* line : {"user mosquitto", "listener 1884 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "persistence true", "persistence_location /data/broker/", "max_queued_messages 0"})
    CHECK(has(*open, line));
  CHECK(open->find("password_file") == std::string::npos);
  CHECK(open->find("secret") == std::string::npos);

  const auto closed = broker_config(at("tcp://[::1]", "edge"), "/b", "");
  REQUIRE(closed);
  for (const char* line : {"listener 1883 ::1", "allow_anonymous false", "password_file /b/passwords"}) CHECK(has(*closed, line));
  CHECK(closed->find("\nuser ") == std::string::npos);

  CHECK(broker_config(at("tcp://0.0.0.0:1884"), "/b", "").error().code == Errc::kPermissionDenied);
  CHECK(broker_config(at("tcp://0.0.0.0:1884", "edge"), "/b", ""));
  const auto tls = broker_config(at("ssl://0.0.0.0"), "/b", "");
  REQUIRE(tls);
  for (const char* line : {"listener 8883 0.0.0.0", "cafile /b/ca.crt", "certfile /b/server.crt", "keyfile /b/server.key", "require_certificate true"}) CHECK(has(*tls, line));
  for (const char* wrong : {"", "127.0.0.1:1884", "tcp://127.0.0.1:x", "ws://127.0.0.1:1884"}) CHECK_FALSE(broker_config(at(wrong), "/b", ""));
}

TEST_CASE("a line of the password file is the one that mosquitto_passwd 2.0.11 made of the same salt") {
  const auto salt = std::string("\x06\xd1\xa9\x04\x7f\xf2\xf3\xbf\x9a\x3f\xdb\xc2", 12);
  const auto line = broker_password("user", "secret", salt);
  REQUIRE(line);
  CHECK(*line ==
        "user:$7$101$BtGpBH/y87+aP9vC$nBNbSXE0hYsGLTJy1U2tyQ37VxXKIeLr9YbSLSoZONCyKvs3sOa4i7kpK44V9HHjjg0RZsMKqYhXXX0jJyDx9g==\n");
  for (const char* wrong : {"", "a:b", "a\nb", "#a"}) CHECK_FALSE(broker_password(wrong, "secret", salt));
}
