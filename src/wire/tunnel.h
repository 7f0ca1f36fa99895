// The stream tunnel's messages (hub-protocol 8.1): logs, exec and attach of the pods on an edge, over one WebSocket. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>

namespace kubeedge::wire {

inline constexpr const char* kTunnelPath = "/v1/kubeedge/connect";
inline constexpr const char* kTunnelNodeHeader = "SessionHostNameOverride";
inline constexpr const char* kTunnelAddressHeader = "SessionInternalIP";
// Ours, unknown to upstream: an edge that sends it takes part in windows (tunnel_streams.h); its value is the first window.
inline constexpr const char* kTunnelWindowHeader = "Kubeedge-Stream-Window";

inline constexpr std::size_t kMaxTunnelData = 1024 * 1024;                   // of one message; upstream cuts longer ones
inline constexpr std::size_t kMaxTunnelMessage = kMaxTunnelData + 2 * 10;    // and its two numbers

enum class TunnelType : std::uint64_t {
  kLogs = 0,       // down: begin a stream, JSON TunnelConnect
  kExec = 1,
  kMetrics = 2,
  kData = 3,       // both
  kRemove = 4,     // both: this stream is over
  kClose = 5,      // down: so is the whole tunnel; the reason
  kAttach = 6,
  kWindow = 64,    // both, only between peers that agreed on windows (a Go edge ends at an unknown type): a number of bytes
};

struct TunnelMessage {
  std::uint64_t id = 0;
  TunnelType type = TunnelType::kData;
  Bytes data;
};

// A whole WebSocket message. kInvalidArgument: a number is cut short or over 64 bits; kLimitExceeded: too much data.
Result<TunnelMessage> decode_tunnel(const Bytes& message);
std::string encode_tunnel(std::uint64_t id, TunnelType type, std::string_view data);

// kWindow's data.
std::string encode_credit(std::uint64_t bytes);
Result<std::uint64_t> decode_credit(std::string_view data);

// The request that an edge makes of its own kubelet API.
struct TunnelConnect {
  std::uint64_t id = 0;
  std::string method = "GET";
  std::string path;               // decoded
  std::string query;              // raw
  std::vector<std::pair<std::string, std::string>> headers;
  std::uint64_t window = 0;       // ours: what the edge may send before it is credited; 0 = no windows
};

std::string encode_connect(TunnelType type, const TunnelConnect& connect);
Result<TunnelConnect> decode_connect(std::string_view json);

}  // namespace kubeedge::wire
