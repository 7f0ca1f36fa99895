// The address of a broker: "tcp://HOST[:PORT]" or "ssl://HOST[:PORT]".
#pragma once

#include <string>

#include "net/stream.h"

namespace kubeedge::mqtt {

struct Server {
  net::Endpoint endpoint;   // port 1883 or 8883 where none is named
  bool tls = false;
};

Result<Server> parse_server(const std::string& text);

}  // namespace kubeedge::mqtt
