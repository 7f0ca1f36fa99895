// Resource strings (hub-protocol 2.4): "<ns>/<type>/<name>", cloud form "node/<id>/...". Pure.
#pragma once

#include <string>
#include <string_view>

#include <kubeedge/resource.h>
#include <kubeedge/result.h>

namespace kubeedge::wire {

// The wire form. Cluster-scoped objects have the namespace "null".
struct ResourcePath {
  std::string ns;
  std::string type;
  std::string name;   // empty for a list
  std::string str() const;
  static Result<ResourcePath> parse(std::string_view text);  // 2 or 3 segments, none empty, no "..", bounded
};

inline constexpr std::size_t kMaxResourceBytes = 2048;

}  // namespace kubeedge::wire
