// Reading ownerReferences. Pure.
#pragma once

#include <string>

#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud::workloads {

// The uid of the owner that is the controller; "" where there is none.
inline std::string controller_uid(const nlohmann::json& owners) {
  if (!owners.is_array()) return "";
  for (const nlohmann::json& owner : owners)
    if (const nlohmann::json& mark = json_at(owner, {"controller"}); mark.is_boolean() && mark.get<bool>()) return json_text(owner, {"uid"});
  return "";
}

}  // namespace kubeedge::cloud::workloads
