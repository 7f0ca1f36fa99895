// Resource paths: what parses is spelled the same again.
#include <cstdint>
#include <cstdlib>

#include "wire/resource_path.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto path = kubeedge::wire::ResourcePath::parse(text);
  if (path && path->str() != text) std::abort();
  return 0;
}
