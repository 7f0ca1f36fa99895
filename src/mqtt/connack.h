// What a broker means by its refusal of a connection (MQTT 3.1.1, 3.2.2.3).
#pragma once

#include <string>

#include "base/text.h"

namespace kubeedge::mqtt {

inline std::string connack_text(int code) {
  switch (code) {
    case 1: return "the broker does not speak MQTT 3.1.1";
    case 2: return "the broker refused the client id";
    case 3: return "the broker is not available";
    case 4: return "the broker refused user name or password";
    case 5: return "the broker says: not authorized (user name, password or its ACL)";
    default: return fmt::format("the broker refused the connection with code {}", code);
  }
}

}  // namespace kubeedge::mqtt
