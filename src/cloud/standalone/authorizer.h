// Who may do what: masters all, nodes their own, and everybody what RBAC objects say.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "kube/rbac/evaluator.h"
#include "kube/rest/api_server.h"
#include "kube/rest/storage.h"

namespace kubeedge::cloud {

// The node's name when `user` is a node ("system:node:<name>" in group system:nodes); else "".
std::string node_of(const kube::UserInfo& user);

// The audit line of a refused request: who wanted what of which object, and why not. Texts of the client are quoted and cut.
std::string refusal_line(const kube::UserInfo& user, const kube::Attributes& wanted, const std::string& reason);

// Judges by what `storage`, which must outlive it, holds at that moment.
class Authorizer {
 public:
  explicit Authorizer(kube::Storage& storage);

  kube::Verdict authorize(const kube::UserInfo& user, const kube::Attributes& wanted) const;
  // The status of a SelfSubjectRulesReview.
  nlohmann::json rules_of(const kube::UserInfo& user, const std::string& ns) const;
  // Refuses roles and bindings that grant more than their author holds.
  std::optional<kube::rest::Failure> admit(const kube::UserInfo& user, const kube::Attributes& wanted, const nlohmann::json& before,
                                           const nlohmann::json& after) const {
    return rbac_.admit(user, wanted, before, after);
  }

 private:
  void follow(const std::string& resource, std::unique_ptr<kube::Storage::Subscription>& subscription);

  kube::Storage& storage_;
  kube::rbac::Evaluator rbac_;
  std::array<std::unique_ptr<kube::Storage::Subscription>, 4> subscriptions_;
};

}  // namespace kubeedge::cloud
