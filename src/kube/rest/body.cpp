#include "kube/rest/body.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxBodyDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// Follows the parser and remembers where it is, to name keys that come twice.
class DuplicateFinder {
 public:
  explicit DuplicateFinder(std::vector<std::string>& out) : out_(out) {}

  bool operator()(int, Json::parse_event_t event, const Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start: stack_.push_back({false, {}, {}, 0}); break;
      case Json::parse_event_t::array_start: stack_.push_back({true, {}, {}, 0}); break;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        stack_.pop_back();
        count();
        break;
      case Json::parse_event_t::value: count(); break;
      case Json::parse_event_t::key:
        stack_.back().key = parsed.get<std::string>();
        if (!stack_.back().seen.insert(stack_.back().key).second) out_.push_back("duplicate field \"" + path() + "\"");
        break;
    }
    return true;
  }

 private:
  struct Level {
    bool array;
    std::set<std::string> seen;
    std::string key;
    std::size_t index;
  };
  void count() {
    if (!stack_.empty() && stack_.back().array) ++stack_.back().index;
  }
  std::string path() const {
    std::string out;
    for (const Level& level : stack_) out += level.array ? fmt::format("[{}]", level.index) : (out.empty() ? "" : ".") + level.key;
    return out;
  }

  std::vector<std::string>& out_;
  std::vector<Level> stack_;
};

}  // namespace

bool deeper_than(const Json& value, int levels) {
  if (!value.is_structured()) return false;
  return levels == 0 || std::any_of(value.begin(), value.end(), [&](const Json& item) { return deeper_than(item, levels - 1); });
}

std::variant<Json, Failure> parse_body(std::string_view text, std::vector<std::string>* duplicates) {
  if (too_deep(text)) return bad_request(fmt::format("the body is nested deeper than {} levels", kMaxBodyDepth));
  Json parsed = duplicates == nullptr ? base::parse_json(text) : Json::parse(text, DuplicateFinder(*duplicates), false);
  if (parsed.is_discarded()) return bad_request("the body is not valid JSON");
  return parsed;
}

}  // namespace kubeedge::kube::rest
