// The cloud's REST endpoint for rules (upstream's 9443): calls to services and buses of the nodes, messages of the nodes to REST.
#pragma once

#include <cstdint>
#include <string>

namespace kubeedge {
inline namespace v0 {

struct RouterOptions {
  bool enabled = false;
  std::string address = "0.0.0.0";
  std::uint16_t port = 9443;                       // 0 = any free one
  int rest_timeout_s = 60;                         // a node that has not answered by then: 504
  bool tls = false;                                // HTTPS with the files below, or with the cloud's own server certificate
  std::string certificate_file, private_key_file;  // PEM
  std::string token_file;                          // callers say "Authorization: Bearer <its content>"; "" = anybody may call
  std::string target_ca_file;                      // verifies https targets of rules; "" = the system's authorities
};

}  // namespace v0
}  // namespace kubeedge
