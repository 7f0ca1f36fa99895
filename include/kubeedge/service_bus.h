// Calls from the cloud to HTTP servers on the node, and from apps on the node to REST targets of the cloud's rules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kubeedge {
inline namespace v0 {

struct ServiceBusOptions {
  bool enabled = false;
  std::string address = "127.0.0.1";         // where apps post {"method","targetURL","payload"}; open while a rule wants it
  std::uint16_t port = 9060;
  int timeout_s = 60;                        // for the cloud's answer to an app
  int call_timeout_s = 10;                   // for a server's answer to the cloud
  // Servers that may be called beside the loopback and the node's own addresses: "10.88.0.0/16", "192.0.2.7", "printer.local".
  std::vector<std::string> allowed_targets;
  std::string ca_file;                       // verifies https servers; "" = the system's authorities
};

}  // namespace v0
}  // namespace kubeedge
