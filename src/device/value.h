// What a device app says, as the twins' text and back. Pure.
#pragma once

#include <string>
#include <string_view>

#include <kubeedge/device.h>

namespace kubeedge::device {

const char* to_string(Type type) noexcept;
// metadata.type of the twin: upstream's names, of which `double` is none (devices.md 12, trap 7).
const char* twin_type(Type type) noexcept;
const char* to_string(State state) noexcept;

// kInvalidArgument: not `type`, not finite, not UTF-8, or longer than kMaxValueBytes as text.
Result<std::string> encode(const Value& value, Type type);
Result<Value> decode(std::string_view text, Type type);

// Names as they may stand in a topic or a twin.
Result<void> check_device(const DeviceId& id);
Result<void> check_property(std::string_view name);

}  // namespace kubeedge::device
