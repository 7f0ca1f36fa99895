// The stream tunnel's messages: what is read must come out the same when it is written and read again.
#include <cstdlib>

#include "wire/tunnel.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kubeedge;
  using namespace kubeedge::wire;
  const auto message = decode_tunnel(Bytes(std::string(reinterpret_cast<const char*>(data), size)));
  if (!message) return 0;
  const auto again = decode_tunnel(Bytes(encode_tunnel(message->id, message->type, message->data)));
  if (!again || again->id != message->id || again->type != message->type || again->data.view() != message->data.view()) std::abort();
  if (const auto credit = decode_credit(message->data); credit && *decode_credit(encode_credit(*credit)) != *credit) std::abort();
  const auto connect = decode_connect(message->data);
  if (!connect) return 0;
  const auto same = decode_connect(encode_connect(TunnelType::kExec, *connect));
  if (!same || same->id != connect->id || same->method != connect->method || same->window != connect->window) std::abort();
  for (const auto& [name, value] : same->headers)
    if (name.find('\n') != std::string::npos || value.find('\n') != std::string::npos) std::abort();
  return 0;
}
