// Whose an object is: its controller, and who takes or lets go what a selector says. Pure.
#pragma once

#include <string>
#include <vector>

#include "cloud/standalone/workloads/workload.h"

namespace kubeedge::cloud::workloads {

// The uid of the owner that is the controller; "" where there is none.
std::string controller_uid(const nlohmann::json& owner_references);

struct Claimable {
  std::string ns, name, uid, owner;   // owner: the uid of its controller
  nlohmann::json labels;              // an object or null
  bool deleting = false;
};

// Takes what nobody owns and the selector of `parent` chooses, lets go what it owns and the selector chooses no more.
Plan plan_claims(const nlohmann::json& parent, const kube::Resource& resource, const std::vector<Claimable>& candidates);

}  // namespace kubeedge::cloud::workloads
