#include "mqtt/server.h"

#include "base/text.h"
#include "mqtt/paho_transport.h"

namespace kubeedge::mqtt {

Result<Server> parse_server(const std::string& text) {
  if (Result<void> good = check_server(text); !good) return good.error();
  Server server;
  server.tls = text.starts_with("ssl://");
  const std::string rest = text.substr(std::string_view("tcp://").size());
  const bool has_port = rest.find(':', rest.starts_with('[') ? rest.find(']') : 0) != std::string::npos;
  auto endpoint = net::parse_endpoint(has_port ? rest : rest + (server.tls ? ":8883" : ":1883"));
  if (!endpoint) return endpoint.error().in("broker");
  server.endpoint = std::move(*endpoint);
  return server;
}

}  // namespace kubeedge::mqtt
