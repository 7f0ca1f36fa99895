// The host's own addresses.
#pragma once

#include <string>
#include <vector>

namespace kubeedge::net {

// What another machine may dial: all addresses of interfaces that are up, without IPv6 link-local ones (they need a scope).
std::vector<std::string> host_addresses();
bool is_ip(const std::string& text);

}  // namespace kubeedge::net
