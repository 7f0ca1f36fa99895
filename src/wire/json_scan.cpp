#include "wire/json_scan.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "base/text.h"
#include "wire/message_codec.h"

namespace kubeedge::wire::scan {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The code unit of "uXXXX" at `at` (which points to the 'u'); -1 when it is none.
int code_unit(std::string_view text, std::size_t at) {
  if (text.size() < at + 5 || text[at] != 'u') return -1;
  int unit = 0;
  for (std::size_t i = at + 1; i < at + 5; ++i) {
    const int digit = hex_value(text[i]);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

bool is_high_surrogate(int unit) { return unit >= 0xd800 && unit <= 0xdbff; }
bool is_low_surrogate(int unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0U | point >> 6U);
    put(0x80U | (point & 0x3fU));
  } else if (point < 0x10000) {
    put(0xe0U | point >> 12U);
    put(0x80U | (point >> 6U & 0x3fU));
    put(0x80U | (point & 0x3fU));
  } else {
    put(0xf0U | point >> 18U);
    put(0x80U | (point >> 12U & 0x3fU));
    put(0x80U | (point >> 6U & 0x3fU));
    put(0x80U | (point & 0x3fU));
  }
}

// Objects up to this many members are searched for duplicates pairwise, larger ones by sorting:
// small ones are the rule and a sort costs more there; a forged large one must not cost n^2.
constexpr std::size_t kPairwiseMembers = 16;

// Recursive descent; kMaxJsonDepth bounds the recursion.
class Validator {
 public:
  explicit Validator(std::string_view text) : text_(text) {}

  Result<void> run() {
    if (!base::is_utf8(text_)) return base::error(Errc::kInvalidArgument, "JSON: not UTF-8");
    space();
    if (value(0)) {
      space();
      if (at_ != text_.size()) fail("text after the value");
    }
    if (why_ == nullptr) return {};
    return base::error(Errc::kInvalidArgument, "JSON: {} at byte {}", why_, at_);
  }

 private:
  struct Key {
    std::string_view text;
    std::size_t offset;
  };

  bool fail(const char* why) {
    why_ = why;
    return false;
  }
  bool more() const { return at_ < text_.size(); }
  void space() {
    while (more() && is_space(text_[at_])) ++at_;
  }
  bool take(char c) {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool value(std::size_t depth) {
    if (!more()) return fail("the text ends where a value should stand");
    switch (text_[at_]) {
      case '{': return depth < kMaxJsonDepth ? object(depth + 1) : fail("nested too deeply");
      case '[': return depth < kMaxJsonDepth ? array(depth + 1) : fail("nested too deeply");
      case '"': return string(nullptr);
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      default: return number();
    }
  }

  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return fail("an unknown word");
    at_ += expected.size();
    return true;
  }

  bool digits() {
    const std::size_t from = at_;
    while (more() && is_digit(text_[at_])) ++at_;
    return at_ > from || fail("a digit is missing");
  }

  bool number() {
    if (text_[at_] != '-' && !is_digit(text_[at_])) return fail("an unexpected character");
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    return true;
  }

  // `escaped` (if given) is set when the literal holds an escape.
  bool string(bool* escaped) {
    ++at_;
    while (more()) {
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
      if (c != '\\') {
        ++at_;
        continue;
      }
      if (escaped != nullptr) *escaped = true;
      if (!escape()) return false;
    }
    return fail("the text ends inside a string");
  }

  bool escape() {
    ++at_;
    if (!more()) return fail("the text ends inside a string");
    if (text_[at_] != 'u') {
      static constexpr std::string_view kSimple = "\"\\/bfnrt";
      if (kSimple.find(text_[at_]) == std::string_view::npos) return fail("an unknown escape");
      ++at_;
      return true;
    }
    const int unit = code_unit(text_, at_);
    if (unit < 0) return fail("a bad \\u escape");
    if (is_low_surrogate(unit)) return fail("an unpaired surrogate");
    if (is_high_surrogate(unit)) {
      if (text_.substr(at_ + 5, 1) != "\\" || !is_low_surrogate(code_unit(text_, at_ + 6))) return fail("an unpaired surrogate");
      at_ += 6;
    }
    at_ += 5;
    return true;
  }

  bool array(std::size_t depth) {
    ++at_;
    space();
    if (take(']')) return true;
    for (;;) {
      space();
      if (!value(depth)) return false;
      space();
      if (take(']')) return true;
      if (!take(',')) return fail("',' or ']' is missing");
    }
  }

  bool object(std::size_t depth) {
    ++at_;
    const std::size_t first_key = keys_.size();
    space();
    if (take('}')) return true;
    for (;;) {
      space();
      if (!key()) return false;
      space();
      if (!take(':')) return fail("':' is missing");
      space();
      if (!value(depth)) return false;
      space();
      if (take('}')) break;
      if (!take(',')) return fail("',' or '}' is missing");
    }
    if (!distinct(first_key)) return false;
    keys_.resize(first_key);
    return true;
  }

  bool key() {
    if (!more() || text_[at_] != '"') return fail("a key is missing");
    const std::size_t from = at_;
    bool escaped = false;
    if (!string(&escaped)) return false;
    const std::string_view literal = text_.substr(from, at_ - from);
    if (escaped) {
      unescaped_.push_back(unescape(literal));
      keys_.push_back({unescaped_.back(), from});
    } else {
      keys_.push_back({literal.substr(1, literal.size() - 2), from});
    }
    return true;
  }

  bool distinct(std::size_t first) {
    const auto begin = keys_.begin() + static_cast<std::ptrdiff_t>(first);
    const auto duplicate = [this](const Key& key) {
      at_ = key.offset;
      return fail("a duplicate key");
    };
    if (keys_.size() - first <= kPairwiseMembers) {
      for (auto a = begin; a != keys_.end(); ++a)
        for (auto b = begin; b != a; ++b)
          if (a->text == b->text) return duplicate(*a);
      return true;
    }
    std::sort(begin, keys_.end(), [](const Key& a, const Key& b) { return a.text < b.text; });
    const auto same = std::adjacent_find(begin, keys_.end(), [](const Key& a, const Key& b) { return a.text == b.text; });
    return same == keys_.end() || duplicate(*std::max_element(same, same + 2, [](const Key& a, const Key& b) { return a.offset < b.offset; }));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  const char* why_ = nullptr;
  std::vector<Key> keys_;                // of all objects that are open, innermost last
  std::deque<std::string> unescaped_;    // owns the keys that hold escapes
};

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return at + 1;
}

// One past the end of the value that starts at `at`.
std::size_t value_end(std::string_view text, std::size_t at) {
  if (text[at] == '"') return string_end(text, at);
  if (text[at] != '{' && text[at] != '[') {
    while (at < text.size() && !is_space(text[at]) && text[at] != ',' && text[at] != '}' && text[at] != ']') ++at;
    return at;
  }
  std::size_t depth = 0;
  for (;;) {
    switch (text[at]) {
      case '"': at = string_end(text, at); continue;
      case '{':
      case '[': ++depth; break;
      case '}':
      case ']':
        if (--depth == 0) return at + 1;
        break;
      default: break;
    }
    ++at;
  }
}

}  // namespace

Result<void> validate(std::string_view text) { return Validator(text).run(); }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string unescape(std::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  for (std::size_t i = 1; i + 1 < literal.size(); ++i) {
    if (literal[i] != '\\') {
      out += literal[i];
      continue;
    }
    ++i;
    switch (literal[i]) {
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'u': {
        int point = code_unit(literal, i);
        i += 4;
        if (is_high_surrogate(point)) {
          point = 0x10000 + ((point - 0xd800) << 10) + (code_unit(literal, i + 2) - 0xdc00);
          i += 6;
        }
        append_utf8(out, static_cast<std::uint32_t>(point));
        break;
      }
      default: out += literal[i];
    }
  }
  return out;
}

bool Members::Member::key_is(std::string_view key) const {
  const std::string_view inner = key_literal.substr(1, key_literal.size() - 2);
  return inner.find('\\') == std::string_view::npos ? inner == key : unescape(key_literal) == key;
}

std::optional<Members::Member> Members::next() {
  at_ = skip_space(text_, at_);
  if (text_[at_] == ',') at_ = skip_space(text_, at_ + 1);
  if (text_[at_] == '}') return std::nullopt;
  Member found;
  const std::size_t key_end = string_end(text_, at_);
  found.key_literal = text_.substr(at_, key_end - at_);
  const std::size_t colon = skip_space(text_, key_end);
  const std::size_t begin = skip_space(text_, colon + 1);
  at_ = value_end(text_, begin);
  found.value = text_.substr(begin, at_ - begin);
  return found;
}

std::optional<std::string_view> member(std::string_view object, std::string_view key) {
  if (object.empty() || object.front() != '{') return std::nullopt;
  Members members(object);
  while (const auto found = members.next())
    if (found->key_is(key)) return found->value;
  return std::nullopt;
}

}  // namespace kubeedge::wire::scan
