// Message <-> JSON text of the hub's wire (hub-protocol 2). Pure.
#pragma once

#include <kubeedge/message.h>
#include <kubeedge/result.h>

namespace kubeedge::wire {

// Limits on what decode() takes; the WebSocket layer bounds the size of the whole.
inline constexpr std::size_t kMaxJsonDepth = 128;

// Decodes one message. Validates the whole text: UTF-8, JSON, no duplicate keys at any level, depth.
// Go's peers escape <, >, & as \u003c...; keys are matched exactly, unknown keys ignored.
// Errors say what and at which byte.
Result<Message> decode(Bytes text);

// One line of JSON plus "\n", as Go's encoder ends it. Content is spliced in as it stands.
std::string encode(const Message& message);

// Content helpers. A Go peer's handler takes an object or a string that holds the same JSON text.
std::string content_text(const Message& message);            // string content: unescaped; else the raw JSON
Bytes json_string(std::string_view text);                    // text -> a JSON string literal, quotes included

// UUIDv4 text from the OS's random source.
MessageId new_message_id();

// resp(in, content) of hub-protocol 2.2: parent set, source, group, resource copied, operation "response".
Message respond(const Message& in, Bytes content, std::int64_t now_ms);
// The acknowledgement: respond(in, "OK").
Message ack(const Message& in, std::int64_t now_ms);

}  // namespace kubeedge::wire
