#include "kube/client/api_wire.h"

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube {
namespace {

// Walks valid JSON; every step stays inside `text`, so junk ends in nullopt and not beyond the buffer.
class Walker {
 public:
  explicit Walker(std::string_view text) : text_(text) {}

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  std::size_t at() const { return at_; }

  // Past one string; false at the end of the text.
  bool skip_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }

  bool skip_value() {
    const char first = peek();
    if (first == '"') return skip_string();
    if (first != '{' && first != '[') return skip_scalar();
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!skip_string()) return false;
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
      if (depth == 0) return true;
    }
    return false;
  }

 private:
  bool skip_scalar() {
    const std::size_t start = at_;
    while (at_ < text_.size() && std::string_view(",]} \n\t\r").find(text_[at_]) == std::string_view::npos) ++at_;
    return at_ > start;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

void append_segment(std::string& path, std::string_view segment) {
  if (segment.empty()) return;
  path += '/';
  path += base::percent_encode(segment);
}

std::optional<WatchEventType> event_type(std::string_view text) {
  if (text == "ADDED") return WatchEventType::kAdded;
  if (text == "MODIFIED") return WatchEventType::kModified;
  if (text == "DELETED") return WatchEventType::kDeleted;
  if (text == "BOOKMARK") return WatchEventType::kBookmark;
  return std::nullopt;
}

}  // namespace

std::string object_path(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource) {
  std::string path = resource.group.empty() ? "/api" : "/apis";
  append_segment(path, resource.group);
  append_segment(path, resource.version);
  if (!ns.empty()) {
    path += "/namespaces";
    append_segment(path, ns);
  }
  append_segment(path, resource.plural);
  append_segment(path, name);
  append_segment(path, subresource);
  return path;
}

std::string selector_query(const ListOptions& options) {
  std::string query;
  if (!options.label_selector.empty()) query += "labelSelector=" + base::percent_encode(options.label_selector);
  if (!options.field_selector.empty()) query += (query.empty() ? "" : "&") + ("fieldSelector=" + base::percent_encode(options.field_selector));
  return query;
}

const char* content_type(PatchType type) {
  switch (type) {
    case PatchType::kJson: return "application/json-patch+json";
    case PatchType::kMerge: return "application/merge-patch+json";
    case PatchType::kStrategicMerge: return "application/strategic-merge-patch+json";
  }
  return "";
}

std::optional<std::vector<std::pair<std::string_view, Bytes>>> members(const Bytes& json) {
  Walker walker(json.view());
  const bool object = walker.take('{');
  if (!object && !walker.take('[')) return std::nullopt;
  const char end = object ? '}' : ']';
  std::vector<std::pair<std::string_view, Bytes>> out;
  if (walker.take(end)) return out;
  for (;;) {
    std::string_view key;
    if (object) {
      if (walker.peek() != '"') return std::nullopt;
      const std::size_t from = walker.at() + 1;
      if (!walker.skip_string()) return std::nullopt;
      key = json.view().substr(from, walker.at() - from - 1);
      if (!walker.take(':')) return std::nullopt;
    }
    walker.peek();
    const std::size_t from = walker.at();
    if (!walker.skip_value()) return std::nullopt;
    out.emplace_back(key, json.slice(from, walker.at() - from));
    if (walker.take(end)) return out;
    if (!walker.take(',')) return std::nullopt;
  }
}

std::optional<Bytes> member(const Bytes& json, std::string_view key) {
  const auto all = members(json);
  if (!all) return std::nullopt;
  for (const auto& [name, value] : *all)
    if (name == key) return value;
  return std::nullopt;
}

std::string string_member(const Bytes& json, std::string_view key) {
  const std::optional<Bytes> value = member(json, key);
  if (!value || value->size() < 2 || value->view().front() != '"') return "";
  return std::string(value->view().substr(1, value->size() - 2));
}

std::optional<ObjectList> parse_list(const Bytes& body, std::string& continue_token) {
  const auto all = members(body);
  if (!all) return std::nullopt;
  std::string api_version, kind;
  ObjectList list;
  std::optional<Bytes> items;
  for (const auto& [key, value] : *all) {
    if (key == "apiVersion") api_version = value.str();
    if (key == "kind") kind = string_member(body, "kind");
    if (key == "items") items = value;
    if (key == "metadata") {
      list.resource_version = string_member(value, "resourceVersion");
      continue_token = string_member(value, "continue");
    }
  }
  if (!items || items->view() == "null") return list;  // Go writes an empty list as null at times
  const auto elements = members(*items);
  if (!elements) return std::nullopt;
  if (kind.ends_with("List")) kind.resize(kind.size() - 4);
  list.items.reserve(elements->size());
  for (const auto& [unused, item] : *elements) {
    if (!item.view().starts_with('{')) return std::nullopt;
    if (member(item, "kind") || kind.empty()) {
      list.items.push_back(item);
    } else {
      std::string whole = R"({"apiVersion":)" + api_version + R"(,"kind":")" + kind + "\"";
      whole += item.view().size() > 2 ? "," : "";
      whole += item.view().substr(1);
      list.items.emplace_back(std::move(whole));
    }
  }
  return list;
}

ApiResult<WatchEvent> parse_watch_line(const Bytes& line) {
  const std::string type = string_member(line, "type");
  const std::optional<Bytes> object = member(line, "object");
  if (type == "ERROR" && object) {
    const std::optional<Bytes> code = member(*object, "code");
    const auto number = code ? base::to_int(code->view()) : std::nullopt;
    return parse_error(static_cast<int>(number.value_or(500)), *object);
  }
  const std::optional<WatchEventType> known = event_type(type);
  if (!known || !object) return ApiError{500, "InternalError", "watch: a line that is no event: " + std::string(line.view().substr(0, 80)), {}};
  return WatchEvent{*known, *object};
}

ApiError parse_error(int status, const Bytes& body) {
  ApiError error;
  error.code = status;
  if (member(body, "message") || member(body, "reason")) {
    error.reason = string_member(body, "reason");
    if (const auto text = base::parse_json(member(body, "message").value_or(Bytes("null")).view()); text.is_string())
      error.message = text.get<std::string>();
    error.status = body;
  }
  if (error.message.empty()) error.message = "HTTP " + std::to_string(status) + ": " + std::string(body.view().substr(0, 200));
  return error;
}

}  // namespace kubeedge::kube
