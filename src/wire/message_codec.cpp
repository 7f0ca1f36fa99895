#include "wire/message_codec.h"

#include "base/text.h"
#include "wire/json_scan.h"

namespace kubeedge::wire {
namespace {

Error bad_field(std::string_view field, std::string_view expected) {
  return base::error(Errc::kInvalidArgument, "message: {} is no {}", field, expected);
}

// As in Go, null leaves a field at its zero value.
Result<void> read_string(std::string_view field, std::string_view value, std::string& out) {
  if (value == "null") return {};
  if (value.front() != '"') return bad_field(field, "string");
  out = scan::unescape(value);
  return {};
}

Result<void> read_header(std::string_view header, Message& out) {
  std::string id;
  std::string parent;
  scan::Members members(header);
  while (const auto member = members.next()) {
    Result<void> read;
    if (member->key_is("msg_id")) {
      read = read_string("header.msg_id", member->value, id);
    } else if (member->key_is("parent_msg_id")) {
      read = read_string("header.parent_msg_id", member->value, parent);
    } else if (member->key_is("resourceversion")) {
      read = read_string("header.resourceversion", member->value, out.resource_version);
    } else if (member->key_is("timestamp") && member->value != "null") {
      const auto number = base::to_int(member->value);
      if (!number) return bad_field("header.timestamp", "64-bit integer");
      out.timestamp_ms = *number;
    } else if (member->key_is("sync") && member->value != "null") {
      if (member->value != "true" && member->value != "false") return bad_field("header.sync", "boolean");
      out.sync = member->value == "true";
    }
    if (!read) return read;
  }
  out.id = MessageId(std::move(id));
  out.parent_id = MessageId(std::move(parent));
  return {};
}

Result<void> read_route(std::string_view route, Message& out) {
  scan::Members members(route);
  while (const auto member = members.next()) {
    Result<void> read;
    if (member->key_is("source")) read = read_string("route.source", member->value, out.source);
    else if (member->key_is("destination")) read = read_string("route.destination", member->value, out.destination);
    else if (member->key_is("group")) read = read_string("route.group", member->value, out.group);
    else if (member->key_is("operation")) read = read_string("route.operation", member->value, out.operation);
    else if (member->key_is("resource")) read = read_string("route.resource", member->value, out.resource);
    if (!read) return read;
  }
  return {};
}

void append_literal(std::string& out, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) {
          out += c;
        } else {
          out += "\\u00";
          out += kHex[static_cast<unsigned char>(c) >> 4U];
          out += kHex[static_cast<unsigned char>(c) & 15U];
        }
    }
  }
  out += '"';
}

// Each byte that is part of no UTF-8 sequence becomes U+FFFD, as Go's encoder does it.
std::string repaired(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t length = 1;
    while (length <= 4 && length <= text.size() && !base::is_utf8(text.substr(0, length))) ++length;
    if (length > 4 || length > text.size()) {
      out += "\xef\xbf\xbd";
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

void append_string(std::string& out, std::string_view text) {
  if (base::is_utf8(text)) append_literal(out, text);
  else append_literal(out, repaired(text));
}

// `"key":"text"` with a comma before it unless it opens the object; nothing for an empty text.
void append_field(std::string& out, std::string_view key, std::string_view text) {
  if (text.empty()) return;
  if (out.back() != '{') out += ',';
  out += '"';
  out += key;
  out += "\":";
  append_string(out, text);
}

}  // namespace

Result<Message> decode(Bytes text) {
  if (auto valid = scan::validate(text); !valid) return valid.error().in("message");
  const std::string_view root = scan::trim(text);
  if (root.front() != '{') return base::error(Errc::kInvalidArgument, "message: no JSON object");
  Message out;
  bool has_header = false;
  scan::Members members(root);
  while (const auto member = members.next()) {
    Result<void> read;
    if (member->key_is("header")) {
      if (member->value.front() != '{') return bad_field("header", "object");
      read = read_header(member->value, out);
      has_header = true;
    } else if (member->key_is("route") && member->value != "null") {
      if (member->value.front() != '{') return bad_field("route", "object");
      read = read_route(member->value, out);
    } else if (member->key_is("content")) {
      out.content = text.slice(static_cast<std::size_t>(member->value.data() - text.view().data()), member->value.size());
    }
    if (!read) return read.error();
  }
  if (!has_header) return base::error(Errc::kInvalidArgument, "message: it has no header");
  return out;
}

std::string encode(const Message& message) {
  std::string out;
  out.reserve(message.content.size() + 384);
  out += "{\"header\":{\"msg_id\":";
  append_string(out, message.id.str());
  append_field(out, "parent_msg_id", message.parent_id.str());
  out += ",\"timestamp\":";
  out += std::to_string(message.timestamp_ms);
  append_field(out, "resourceversion", message.resource_version);
  if (message.sync) out += ",\"sync\":true";
  out += "},\"route\":{";
  append_field(out, "source", message.source);
  append_field(out, "destination", message.destination);
  append_field(out, "group", message.group);
  append_field(out, "operation", message.operation);
  append_field(out, "resource", message.resource);
  out += "},\"content\":";
  out += message.content.empty() ? std::string_view("null") : message.content.view();
  out += "}\n";
  return out;
}

std::string content_text(const Message& message) {
  const std::string_view content = message.content;
  return !content.empty() && content.front() == '"' ? scan::unescape(content) : std::string(content);
}

Bytes json_string(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  append_string(out, text);
  return Bytes(std::move(out));
}

MessageId new_message_id() { return MessageId(base::uuid4()); }

Message respond(const Message& in, Bytes content, std::int64_t now_ms) {
  Message out;
  out.id = new_message_id();
  out.parent_id = in.id;
  out.timestamp_ms = now_ms;
  out.source = in.source;
  out.group = in.group;
  out.operation = "response";
  out.resource = in.resource;
  out.content = std::move(content);
  return out;
}

Message ack(const Message& in, std::int64_t now_ms) { return respond(in, "\"OK\"", now_ms); }

}  // namespace kubeedge::wire
