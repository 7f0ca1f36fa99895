// WebSocket frames: the first byte chooses role, UTF-8 check and step; pieces must give what the whole gives.
#include <cstdlib>

#include "wire/ws_frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kubeedge::wire;
  if (size == 0) return 0;
  const FrameOptions options{.server = (data[0] & 1U) != 0, .max_message_bytes = 4096, .validate_utf8 = (data[0] & 2U) != 0};
  const std::size_t step = 1 + (data[0] >> 2U);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<FrameReader::Event> whole;
  std::vector<FrameReader::Event> pieces;
  FrameReader first(options);
  FrameReader second(options);
  const bool first_ok = first.feed(bytes, whole).ok();
  bool second_ok = true;
  for (std::size_t at = 0; at < bytes.size() && second_ok; at += step) second_ok = second.feed(bytes.substr(at, step), pieces).ok();
  if (first_ok != second_ok || whole.size() != pieces.size() || first.close_code() != second.close_code()) std::abort();
  return 0;
}
