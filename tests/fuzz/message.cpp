// Message codec: what decodes must encode and decode to the same again.
#include <cstdlib>

#include "wire/message_codec.h"
#include "wire/validated_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kubeedge;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (auto json = wire::ValidatedJson::parse(text)) {
    json->string_at({"metadata", "uid"});
    if (!wire::ValidatedJson::parse(json->without_managed_fields())) std::abort();
  }
  const auto message = wire::decode(text);
  if (!message) return 0;
  wire::content_text(*message);
  const auto again = wire::decode(wire::encode(*message));
  if (!again || again->id != message->id || again->resource != message->resource || again->content.view() != message->content.view()) std::abort();
  return 0;
}
