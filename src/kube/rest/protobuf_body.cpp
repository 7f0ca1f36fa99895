#include "kube/rest/protobuf_body.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "base/text.h"
#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {
namespace {

using schema::Field;
using schema::Object;
using schema::Shape;
using schema::Type;

constexpr int kMaxNesting = 64;  // of messages; Kubernetes' own types need a dozen

struct Number {
  std::uint32_t number;
  std::string_view json;     // "" = an embedded struct: a message here, but its JSON fields stand in its owner
  std::string_view embedded;
  bool pointer;              // Go writes other fields even when they are empty
};
struct Message {
  std::string_view name;
  std::uint16_t first, count;
};

#include "kube/rest/protobuf_numbers.inc"

const Message* message_of(std::string_view name) {
  const auto found = std::lower_bound(std::begin(kMessages), std::end(kMessages), name, [](const Message& m, std::string_view n) { return m.name < n; });
  return found != std::end(kMessages) && found->name == name ? found : nullptr;
}

const Number* number_of(const Message& message, std::uint32_t number) {
  const auto all = std::span(kNumbers).subspan(message.first, message.count);
  const auto found = std::find_if(all.begin(), all.end(), [&](const Number& n) { return n.number == number; });
  return found == all.end() ? nullptr : &*found;
}

// One field of a message as it stands on the wire.
struct Wire {
  std::uint32_t number = 0;
  std::uint64_t varint = 0;
  std::string_view bytes;
  bool delimited = false;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool failed() const { return failed_; }

  std::optional<Wire> next() {
    if (failed_ || text_.empty()) return std::nullopt;
    const std::uint64_t tag = varint();
    Wire out;
    out.number = static_cast<std::uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0: out.varint = varint(); break;
      case 1: out.bytes = take(8); break;
      case 2: out.bytes = take(varint()); out.delimited = true; break;
      case 5: out.bytes = take(4); break;
      default: failed_ = true;
    }
    if (failed_) return std::nullopt;
    return out;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (text_.empty()) break;
      const auto byte = static_cast<unsigned char>(text_.front());
      text_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    failed_ = true;
    return 0;
  }
  std::string_view take(std::uint64_t size) {
    if (size > text_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view out = text_.substr(0, static_cast<std::size_t>(size));
    text_.remove_prefix(static_cast<std::size_t>(size));
    return out;
  }

  std::string_view text_;
  bool failed_ = false;
};

std::string_view short_name(const Object& object) { return object.name.substr(object.name.rfind('.') + 1); }

class Decoder {
 public:
  const std::string& error() const { return error_; }

  bool object(const Object& type, std::string_view bytes, Json& out, int depth) {
    const Message* message = message_of(short_name(type));
    return message == nullptr ? fail("no protobuf form of " + std::string(type.name)) : fields(*message, type, bytes, out, depth);
  }

 private:
  bool fail(std::string why) {
    if (error_.empty()) error_ = std::move(why);
    return false;
  }

  bool fields(const Message& message, const Object& type, std::string_view bytes, Json& out, int depth) {
    if (depth > kMaxNesting) return fail("nested too deep");
    Reader reader(bytes);
    while (const auto wire = reader.next()) {
      const Number* number = number_of(message, wire->number);
      if (number == nullptr) continue;  // a field of a newer client
      if (number->json.empty()) {
        const Message* embedded = message_of(number->embedded);
        if (embedded == nullptr || !wire->delimited) return fail("a broken " + std::string(number->embedded));
        if (!fields(*embedded, type, wire->bytes, out, depth + 1)) return false;
        continue;
      }
      const Field* field = type.find(number->json);
      if (field != nullptr && !member(*field, *number, *wire, out, depth)) return false;
    }
    return !reader.failed() || fail("truncated " + std::string(message.name));
  }

  bool member(const Field& field, const Number& number, const Wire& wire, Json& out, int depth) {
    const std::string name(field.name);
    if (field.shape == Shape::kMap) return entry(field, wire, out[name], depth);
    Json value;
    if (!single(field, wire, value, depth)) return false;
    if (field.shape == Shape::kArray) {
      out[name].push_back(std::move(value));
      return true;
    }
    // What Go's JSON leaves out where it is empty: protobuf carries it always.
    const bool empty = value.is_null() || value == "" || value == false || (value.is_number() && value == 0) || (value.is_object() && value.empty());
    if (!empty || number.pointer || (field.required && !value.is_null())) out[name] = std::move(value);
    return true;
  }

  bool entry(const Field& field, const Wire& wire, Json& map, int depth) {
    if (!map.is_object()) map = Json::object();
    std::string key;
    Json value;
    Wire content;
    content.delimited = true;
    Reader reader(wire.bytes);
    while (const auto part = reader.next()) {
      if (part->number == 1) key = std::string(part->bytes);
      if (part->number == 2) content = *part;
    }
    if (reader.failed() || !base::is_utf8(key)) return fail("a broken map entry of " + std::string(field.name));
    if (!single(field, content, value, depth)) return false;
    map[key] = std::move(value);
    return true;
  }

  bool single(const Field& field, const Wire& wire, Json& out, int depth) {
    const bool number = field.type == Type::kInteger || field.type == Type::kBoolean;
    if (number == wire.delimited) return fail("field " + std::string(field.name) + " has the wrong wire type");
    switch (field.type) {
      case Type::kInteger: out = static_cast<std::int64_t>(wire.varint); return true;
      case Type::kBoolean: out = wire.varint != 0; return true;
      case Type::kString: return text(wire.bytes, field, out);
      case Type::kBytes: out = base::base64(wire.bytes); return true;
      case Type::kObject: out = Json::object(); return object(*field.object, wire.bytes, out, depth + 1);
      case Type::kQuantity: return text_at(wire.bytes, 1, field, out);
      case Type::kTime:
      case Type::kMicroTime: return time(wire.bytes, field.type == Type::kMicroTime, out);
      case Type::kIntOrString: return int_or_string(wire.bytes, field, out);
      case Type::kAny: return raw(wire.bytes, field, out);
      case Type::kNumber:
      case Type::kDuration: break;
    }
    return fail("field " + std::string(field.name) + " has no protobuf form here");
  }

  bool text(std::string_view bytes, const Field& field, Json& out) {
    if (!base::is_utf8(bytes)) return fail("field " + std::string(field.name) + " is not UTF-8");
    out = std::string(bytes);
    return true;
  }

  bool text_at(std::string_view message, std::uint32_t number, const Field& field, Json& out) {
    Reader reader(message);
    std::string_view found;
    while (const auto part = reader.next())
      if (part->number == number && part->delimited) found = part->bytes;
    return !reader.failed() ? text(found, field, out) : fail("a broken " + std::string(field.name));
  }

  // An empty message is Go's zero time: none.
  bool time(std::string_view message, bool micro, Json& out) {
    Reader reader(message);
    std::optional<std::int64_t> seconds;
    std::int64_t nanos = 0;
    while (const auto part = reader.next()) {
      if (part->number == 1) seconds = static_cast<std::int64_t>(part->varint);
      if (part->number == 2) nanos = static_cast<std::int64_t>(part->varint);
    }
    constexpr std::int64_t kYear10000 = 253'402'300'800;
    if (reader.failed() || (seconds && (*seconds < -62'135'596'800 || *seconds >= kYear10000)) || nanos < 0 || nanos > 999'999'999) return fail("a broken time");
    if (!seconds) return true;
    out = micro ? base::rfc3339_micro(*seconds * 1000 + nanos / 1'000'000) : base::rfc3339(*seconds);
    return true;
  }

  bool int_or_string(std::string_view message, const Field& field, Json& out) {
    Reader reader(message);
    std::uint64_t type = 0, number = 0;
    std::string_view words;
    while (const auto part = reader.next()) {
      if (part->number == 1) type = part->varint;
      if (part->number == 2) number = part->varint;
      if (part->number == 3) words = part->bytes;
    }
    if (reader.failed()) return fail("a broken " + std::string(field.name));
    if (type == 1) return text(words, field, out);
    out = static_cast<std::int64_t>(static_cast<std::int32_t>(number));
    return true;
  }

  // RawExtension, FieldsV1: JSON inside.
  bool raw(std::string_view message, const Field& field, Json& out) {
    Json words;
    if (!text_at(message, 1, field, words)) return false;
    out = base::parse_json(words.get_ref<const std::string&>());
    if (out.is_discarded()) out = Json();
    return true;
  }

  std::string error_;
};

}  // namespace

std::variant<Json, Failure> json_of_protobuf(std::string_view body) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (!body.starts_with(kMagic)) return bad_request("the body does not begin with the mark of Kubernetes' protobuf form");
  std::string_view type_meta, raw;
  Reader unknown(body.substr(kMagic.size()));
  while (const auto part = unknown.next()) {
    if (part->number == 1) type_meta = part->bytes;
    if (part->number == 2) raw = part->bytes;
  }
  std::string api_version, name;
  Reader meta(type_meta);
  while (const auto part = meta.next()) {
    if (part->number == 1) api_version = std::string(part->bytes);
    if (part->number == 2) name = std::string(part->bytes);
  }
  if (unknown.failed() || meta.failed() || !base::is_utf8(api_version) || !base::is_utf8(name)) return bad_request("the protobuf body is broken");
  const auto slash = api_version.find('/');
  const std::string group = slash == std::string::npos ? "" : api_version.substr(0, slash);
  const std::string version = slash == std::string::npos ? api_version : api_version.substr(slash + 1);
  // DeleteOptions come in the group of what they delete.
  const schema::Kind* kind = schema::find_kind(name == "DeleteOptions" ? "" : group, name == "DeleteOptions" ? "v1" : version, name);
  if (kind == nullptr || kind->custom) return unsupported_media_type(fmt::format("no protobuf form of {} {} is known here: send application/json", api_version, name));
  Json out = Json::object();
  Decoder decoder;
  if (!decoder.object(*kind->object, raw, out, 0)) return bad_request(fmt::format("{} {}: the protobuf body is broken: {}", api_version, name, decoder.error()));
  out["apiVersion"] = api_version;
  out["kind"] = name;
  return out;
}

}  // namespace kubeedge::kube::rest
