// A set of fields of an object, as metadata.managedFields keeps it (fieldsV1): a tree whose edges are path elements in their
// written form: "f:spec" a member, "k:{"name":"c"}" an item by its keys, "v:"x"" one by its value. Pure.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <kubeedge/result.h>

namespace kubeedge::kube::patch {

using Path = std::vector<std::string>;   // path elements

class FieldSet {
 public:
  static constexpr int kMaxDepth = 64;

  // kInvalidArgument: no fieldsV1, or deeper than kMaxDepth.
  static Result<FieldSet> parse(const nlohmann::json& fields_v1);
  nlohmann::json json() const;

  bool empty() const;
  bool has_member(const std::string& element) const;    // the element itself, not what is below it
  bool has(const Path& path) const;
  const FieldSet* below(const std::string& element) const;   // null: nothing
  void insert(const Path& path);                        // the empty path is no field
  void insert_member(const std::string& element);
  FieldSet& child(const std::string& element);

  // Each path, an object's own members before what is below them.
  void each(const std::function<void(const Path&)>& visitor) const;

  FieldSet& operator|=(const FieldSet& other);
  FieldSet operator-(const FieldSet& other) const;      // the very same paths
  FieldSet operator&(const FieldSet& other) const;
  FieldSet without(const FieldSet& prefixes) const;     // nor anything below them
  bool operator==(const FieldSet& other) const { return json() == other.json(); }

  struct Node;
  const std::map<std::string, Node>& nodes() const { return nodes_; }

 private:
  void visit(Path& path, const std::function<void(const Path&)>& visitor) const;
  void tidy();
  std::map<std::string, Node> nodes_;
};

struct FieldSet::Node {
  bool member = false;
  FieldSet children;
};

inline std::string member_element(std::string_view name) { return "f:" + std::string(name); }

// `.spec.containers[name="c"].image`, as conflicts name a field.
std::string path_text(const Path& path);

}  // namespace kubeedge::kube::patch
