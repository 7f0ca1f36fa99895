// ConfigMap kubeedge/tunnelport: which cloudcore has which tunnel port (hub-protocol 8.3). No I/O.
#pragma once

#include <optional>
#include <string>

#include <kubeedge/bytes.h>

namespace kubeedge::cloud {

inline constexpr const char* kTunnelPortAnnotation = "tunnelportrecord.kubeedge.io";

struct TunnelPortRecord {
  int port = 0;                        // ours
  std::optional<std::string> object;   // the ConfigMap to write for it; nullopt: it is recorded already
};

// `config_map` as it is stored, "" where there is none. An address without a port gets the lowest that is free, from `first` on.
TunnelPortRecord claim_tunnel_port(const Bytes& config_map, const std::string& address, int first);

}  // namespace kubeedge::cloud
