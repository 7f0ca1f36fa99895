#include "device/value.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "mqtt/topic.h"

namespace kubeedge::device {
namespace {

constexpr std::size_t kMaxNameBytes = 253;       // Kubernetes' own
constexpr std::size_t kMaxPropertyBytes = 128;   // devices.md 3.5

// Shortest text that reads back as the same number; without the '+' of an exponent, which upstream's pattern refuses.
std::string double_text(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string text(buffer.data(), end);
  if (const auto plus = text.find('+'); plus != std::string::npos) text.erase(plus, 1);
  return text;
}

Result<Value> decode_double(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size() || !std::isfinite(number)) return base::error(Errc::kInvalidArgument, "not a number");
  return Value(number);
}

}  // namespace

const char* to_string(Type type) noexcept {
  constexpr std::array kNames{"int", "double", "bool", "string", "bytes"};
  return kNames[static_cast<std::size_t>(type)];
}

const char* twin_type(Type type) noexcept {
  constexpr std::array kNames{"int", "float", "boolean", "string", "string"};
  return kNames[static_cast<std::size_t>(type)];
}

const char* to_string(State state) noexcept {
  constexpr std::array kNames{"ok", "online", "offline", "unhealthy", "unknown"};
  return kNames[static_cast<std::size_t>(state)];
}

Result<std::string> encode(const Value& value, Type type) {
  const auto given = static_cast<Type>(value.index());
  if (given != type) return base::error(Errc::kInvalidArgument, "declared as {}, given a value of type {}", to_string(type), to_string(given));
  std::string text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) text = std::to_string(*number);
  if (const auto* truth = std::get_if<bool>(&value)) text = *truth ? "true" : "false";
  if (const auto* number = std::get_if<double>(&value)) {
    if (!std::isfinite(*number)) return base::error(Errc::kInvalidArgument, "not a finite number");
    text = double_text(*number);
  }
  if (const auto* string = std::get_if<std::string>(&value)) {
    if (!base::is_utf8(*string)) return base::error(Errc::kInvalidArgument, "a string is UTF-8 text; other bytes are a Blob");
    text = *string;
  }
  if (const auto* blob = std::get_if<Blob>(&value)) text = base::base64url({reinterpret_cast<const char*>(blob->data()), blob->size()});
  if (text.size() > kMaxValueBytes) return base::error(Errc::kInvalidArgument, "longer than {} bytes as text", kMaxValueBytes);
  return text;
}

Result<Value> decode(std::string_view text, Type type) {
  switch (type) {
    case Type::kInt:
      if (const auto number = base::to_int(text)) return Value(*number);
      return base::error(Errc::kInvalidArgument, "not an integer of 64 bits");
    case Type::kDouble:
      return decode_double(text);
    case Type::kBool:
      if (text == "true" || text == "false") return Value(text == "true");
      return base::error(Errc::kInvalidArgument, "neither true nor false");
    case Type::kString:
      return Value(std::string(text));
    case Type::kBytes:
      break;
  }
  const auto bytes = base::from_base64(text);
  if (!bytes) return base::error(Errc::kInvalidArgument, "not base64");
  const auto* first = reinterpret_cast<const std::byte*>(bytes->data());
  return Value(Blob(first, first + bytes->size()));
}

Result<void> check_device(const DeviceId& id) {
  for (const std::string* part : {&id.ns, &id.name})
    if (part->size() > kMaxNameBytes || !mqtt::is_topic(*part) || part->find('/') != std::string::npos)
      return base::error(Errc::kInvalidArgument, "device \"{}\": namespace and name are 1 to {} bytes without / + #", id.str().substr(0, 80), kMaxNameBytes);
  return {};
}

Result<void> check_property(std::string_view name) {
  constexpr std::string_view kSpecial = "-_.,:/@#";
  bool good = !name.empty() && name.size() <= kMaxPropertyBytes;
  for (const char c : name)
    good = good && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kSpecial.find(c) != std::string_view::npos);
  if (good) return {};
  return base::error(Errc::kInvalidArgument, "property \"{}\": a name is 1 to {} letters, digits or {}", name.substr(0, 80), kMaxPropertyBytes, kSpecial);
}

}  // namespace kubeedge::device
