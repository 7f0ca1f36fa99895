#include "kube/patch/field_set.h"

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::patch {
namespace {

using Json = nlohmann::json;

bool is_element(std::string_view text) {
  if (text.size() < 2 || text[1] != ':') return false;
  switch (text[0]) {
    case 'f': return true;
    case 'i': return base::to_int(text.substr(2)).has_value();
    case 'v': return !base::parse_json(text.substr(2)).is_discarded();
    case 'k': return base::parse_json(text.substr(2)).is_object();
    default: return false;
  }
}

// One spelling for keys and values.
std::string canonical(const std::string& element) {
  return element[0] == 'k' || element[0] == 'v' ? element.substr(0, 2) + base::dump_json(base::parse_json(element.substr(2))) : element;
}

Result<void> read(const Json& from, FieldSet& into, int depth) {
  if (!from.is_object()) return base::error(Errc::kInvalidArgument, "fieldsV1: expected an object, found {}", from.type_name());
  if (depth > FieldSet::kMaxDepth) return base::error(Errc::kInvalidArgument, "fieldsV1 is nested deeper than {} levels", FieldSet::kMaxDepth);
  for (const auto& [key, value] : from.items()) {
    if (key == ".") continue;   // about its parent
    if (!is_element(key)) return base::error(Errc::kInvalidArgument, "fieldsV1: \"{}\" is no path element", key.substr(0, 80));
    if (!value.is_object()) return base::error(Errc::kInvalidArgument, "fieldsV1: expected an object at \"{}\"", key.substr(0, 80));
    const std::string element = canonical(key);
    if (value.empty() || value.contains(".")) into.insert_member(element);
    if (value.empty()) continue;
    if (Result<void> inner = read(value, into.child(element), depth + 1); !inner) return inner;
  }
  return {};
}

}  // namespace

Result<FieldSet> FieldSet::parse(const Json& fields_v1) {
  FieldSet out;
  if (Result<void> done = read(fields_v1, out, 0); !done) return std::move(done).error();
  out.tidy();
  return out;
}

Json FieldSet::json() const {
  Json out = Json::object();
  for (const auto& [element, node] : nodes_) {
    if (!node.member && node.children.empty()) continue;
    Json inner = node.children.json();
    if (node.member && !inner.empty()) inner["."] = Json::object();
    out[element] = std::move(inner);
  }
  return out;
}

bool FieldSet::empty() const {
  for (const auto& [element, node] : nodes_)
    if (node.member || !node.children.empty()) return false;
  return true;
}

bool FieldSet::has_member(const std::string& element) const {
  const auto found = nodes_.find(element);
  return found != nodes_.end() && found->second.member;
}

bool FieldSet::has(const Path& path) const {
  const FieldSet* at = this;
  for (std::size_t i = 0; i + 1 < path.size() && at != nullptr; ++i) at = at->below(path[i]);
  return at != nullptr && !path.empty() && at->has_member(path.back());
}

const FieldSet* FieldSet::below(const std::string& element) const {
  const auto found = nodes_.find(element);
  return found == nodes_.end() || found->second.children.empty() ? nullptr : &found->second.children;
}

void FieldSet::insert(const Path& path) {
  FieldSet* at = this;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) at = &at->child(path[i]);
  if (!path.empty()) at->insert_member(path.back());
}

FieldSet& FieldSet::child(const std::string& element) { return nodes_[element].children; }

void FieldSet::insert_member(const std::string& element) { nodes_[element].member = true; }

void FieldSet::each(const std::function<void(const Path&)>& visitor) const {
  Path path;
  visit(path, visitor);
}

void FieldSet::visit(Path& path, const std::function<void(const Path&)>& visitor) const {
  for (const bool members : {true, false}) {
    for (const auto& [element, node] : nodes_) {
      path.push_back(element);
      if (members && node.member) visitor(path);
      if (!members) node.children.visit(path, visitor);
      path.pop_back();
    }
  }
}

FieldSet& FieldSet::operator|=(const FieldSet& other) {
  for (const auto& [element, node] : other.nodes_) {
    Node& mine = nodes_[element];
    mine.member |= node.member;
    mine.children |= node.children;
  }
  return *this;
}

FieldSet FieldSet::operator-(const FieldSet& other) const {
  FieldSet out = *this;
  for (const auto& [element, node] : other.nodes_) {
    const auto mine = out.nodes_.find(element);
    if (mine == out.nodes_.end()) continue;
    mine->second.member &= !node.member;
    mine->second.children = mine->second.children - node.children;
  }
  out.tidy();
  return out;
}

FieldSet FieldSet::operator&(const FieldSet& other) const {
  FieldSet out;
  for (const auto& [element, node] : nodes_) {
    const auto theirs = other.nodes_.find(element);
    if (theirs == other.nodes_.end()) continue;
    out.nodes_[element] = {node.member && theirs->second.member, node.children & theirs->second.children};
  }
  out.tidy();
  return out;
}

FieldSet FieldSet::without(const FieldSet& prefixes) const {
  FieldSet out;
  for (const auto& [element, node] : nodes_) {
    const auto prefix = prefixes.nodes_.find(element);
    if (prefix == prefixes.nodes_.end()) out.nodes_[element] = node;
    else if (!prefix->second.member) out.nodes_[element] = {node.member, node.children.without(prefix->second.children)};
  }
  out.tidy();
  return out;
}

void FieldSet::tidy() {
  std::erase_if(nodes_, [](const auto& entry) { return !entry.second.member && entry.second.children.empty(); });
}

std::string path_text(const Path& path) {
  std::string out;
  for (const std::string& element : path) {
    const std::string_view rest = std::string_view(element).substr(2);
    if (element[0] == 'f') {
      out += "." + std::string(rest);
    } else if (element[0] == 'k') {
      std::vector<std::string> keys;
      const Json values = base::parse_json(rest);
      for (const auto& [key, value] : values.items()) keys.push_back(key + "=" + base::dump_json(value));
      out += fmt::format("[{}]", fmt::join(keys, ","));
    } else {
      out += fmt::format("[{}]", rest);
    }
  }
  return out;
}

}  // namespace kubeedge::kube::patch
