// JSON text that was fully validated once, at the door; only it may be peeked into or spliced. Pure.
#pragma once

#include <optional>
#include <string_view>

#include <kubeedge/bytes.h>
#include <kubeedge/result.h>

namespace kubeedge::wire {

class ValidatedJson {
 public:
  // Checks UTF-8, grammar, depth (kMaxJsonDepth) and duplicate keys. Errors name the byte offset.
  static Result<ValidatedJson> parse(Bytes text);

  const Bytes& text() const noexcept { return text_; }
  bool is_object() const;
  // The string at a path of object keys ("metadata", "uid"), unescaped; nullopt when absent or no string.
  std::optional<std::string> string_at(std::initializer_list<std::string_view> path) const;
  std::optional<std::int64_t> int_at(std::initializer_list<std::string_view> path) const;
  // The raw text of the value at a path.
  std::optional<Bytes> raw_at(std::initializer_list<std::string_view> path) const;
  // The same object without metadata.managedFields (cut by byte range).
  Bytes without_managed_fields() const;

 private:
  explicit ValidatedJson(Bytes text) : text_(std::move(text)) {}
  Bytes text_;
};

}  // namespace kubeedge::wire
