// What controllers need of a node. Pure.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::cloud::workloads {

struct NodeView {
  std::string name;
  nlohmann::json labels, taints;
  bool operator==(const NodeView&) const = default;
};

}  // namespace kubeedge::cloud::workloads
