// The one JSON scanner of the wire: validate() is the door, the rest walks text that passed it. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <kubeedge/result.h>

namespace kubeedge::wire::scan {

// Checks UTF-8, RFC 8259 grammar, depth (kMaxJsonDepth), duplicate keys (compared unescaped) and unpaired
// surrogates (parsers differ on them). One value with white space around it. Errors name the byte offset.
Result<void> validate(std::string_view text);

// Everything below takes only text that validate() accepted.

std::string_view trim(std::string_view text);             // the value without the white space around it
std::string unescape(std::string_view literal);           // a string literal, quotes included -> its text

// The members of an object in order. `object` starts at '{'.
class Members {
 public:
  explicit Members(std::string_view object) : text_(object) {}
  struct Member {
    std::string_view key_literal;   // quotes included
    std::string_view value;         // raw
    bool key_is(std::string_view key) const;
  };
  std::optional<Member> next();

 private:
  std::string_view text_;
  std::size_t at_ = 1;
};

// The raw value of one member of an object; nullopt when `object` is no object or has no such key.
std::optional<std::string_view> member(std::string_view object, std::string_view key);

}  // namespace kubeedge::wire::scan
