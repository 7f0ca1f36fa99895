// Label and field selectors. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubeedge/result.h>
#include <nlohmann/json.hpp>

#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {

inline constexpr std::size_t kMaxSelectorBytes = 16 * 1024;

// "a=b, c!=d, e in (f,g), h notin (i), j, !k"
class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);
  bool matches(const nlohmann::json& object) const;
  bool empty() const { return requirements_.empty(); }

 private:
  enum class Operator { kIn, kNotIn, kExists, kAbsent };
  struct Requirement {
    std::string key;
    Operator op;
    std::vector<std::string> values;
  };
  std::vector<Requirement> requirements_;
};

// "metadata.name=x,spec.nodeName!=y". Which fields a kind knows is a table; others are refused as Kubernetes does.
class FieldSelector {
 public:
  static Result<FieldSelector> parse(const schema::Kind& kind, std::string_view text);
  bool matches(const nlohmann::json& object) const;
  bool empty() const { return requirements_.empty(); }
  // The one name that `metadata.name=` asks for.
  std::optional<std::string> name() const;

 private:
  struct Requirement {
    std::string field;
    bool equal;
    std::string value;
  };
  std::vector<Requirement> requirements_;
};

}  // namespace kubeedge::kube::rest
