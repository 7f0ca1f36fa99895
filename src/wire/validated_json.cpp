#include "wire/validated_json.h"

#include "base/text.h"
#include "wire/json_scan.h"

namespace kubeedge::wire {
namespace {

std::optional<std::string_view> find(std::string_view text, std::initializer_list<std::string_view> path) {
  std::optional<std::string_view> at = scan::trim(text);
  for (const std::string_view key : path) {
    at = scan::member(*at, key);
    if (!at) return std::nullopt;
  }
  return at;
}

}  // namespace

Result<ValidatedJson> ValidatedJson::parse(Bytes text) {
  if (auto valid = scan::validate(text); !valid) return valid.error();
  return ValidatedJson(std::move(text));
}

bool ValidatedJson::is_object() const { return scan::trim(text_).front() == '{'; }

std::optional<std::string> ValidatedJson::string_at(std::initializer_list<std::string_view> path) const {
  const auto found = find(text_, path);
  if (!found || found->front() != '"') return std::nullopt;
  return scan::unescape(*found);
}

std::optional<std::int64_t> ValidatedJson::int_at(std::initializer_list<std::string_view> path) const {
  const auto found = find(text_, path);
  return found ? base::to_int(*found) : std::nullopt;
}

std::optional<Bytes> ValidatedJson::raw_at(std::initializer_list<std::string_view> path) const {
  const auto found = find(text_, path);
  if (!found) return std::nullopt;
  return text_.slice(static_cast<std::size_t>(found->data() - text_.view().data()), found->size());
}

Bytes ValidatedJson::without_managed_fields() const {
  const auto metadata = find(text_, {"metadata"});
  if (!metadata || metadata->front() != '{') return text_;
  const char* const start = text_.view().data();
  scan::Members members(*metadata);
  const char* previous_end = nullptr;
  while (const auto found = members.next()) {
    const char* const value_end = found->value.data() + found->value.size();
    if (!found->key_is("managedFields")) {
      previous_end = value_end;
      continue;
    }
    const auto following = members.next();
    // The comma goes with the member: the one before it, or, for the first member, the one after it.
    const char* const cut_from = previous_end != nullptr ? previous_end : found->key_literal.data();
    const char* const cut_to = previous_end == nullptr && following ? following->key_literal.data() : value_end;
    std::string out;
    out.reserve(text_.size());
    out.append(start, static_cast<std::size_t>(cut_from - start));
    out.append(cut_to, static_cast<std::size_t>(start + text_.size() - cut_to));
    return Bytes(std::move(out));
  }
  return text_;
}

}  // namespace kubeedge::wire
