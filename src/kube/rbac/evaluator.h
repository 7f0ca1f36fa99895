// RBAC: the stored roles and bindings in, verdicts out. No storage, no clock. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "kube/rbac/rule.h"
#include "kube/rest/api_server.h"

namespace kubeedge::kube::rbac {

inline constexpr std::string_view kGroup = "rbac.authorization.k8s.io";
inline constexpr std::string_view kMasters = "system:masters";   // may all, always: with it a broken set of roles is repaired

bool in_group(const UserInfo& user, std::string_view group);

class Evaluator {
 public:
  // One stored object of a resource of our group ("roles", "clusterrolebindings" ...); null = it is gone.
  void set(std::string_view resource, const std::string& ns, const std::string& name, const nlohmann::json& object);

  // The reason names the binding that allows, or the roles that bindings name in vain.
  Verdict authorize(const UserInfo& user, const Attributes& wanted) const;

  struct Held {
    std::vector<Rule> rules;
    std::vector<std::string> errors;   // of bindings whose role does not exist
  };
  Held rules_of(const UserInfo& user, const std::string& ns) const;

  // Nobody grants by a role or a binding what he does not hold himself, unless he may "escalate" or "bind".
  std::optional<rest::Failure> admit(const UserInfo& user, const Attributes& wanted, const nlohmann::json& before, const nlohmann::json& after) const;

 private:
  struct Subject {
    std::string kind, name, ns;
  };
  struct Binding {
    std::string role_kind, role_name;
    std::vector<Subject> subjects;
  };
  using Named = std::map<std::string, std::map<std::string, Binding>>;   // namespace ("" = cluster) -> name

  static const Subject* subject_for(const UserInfo& user, const Binding& binding, const std::string& ns);
  const std::vector<Rule>* rules_behind(const std::string& kind, const std::string& name, const std::string& ns) const;
  // Calls see(rule, binding's name, binding, subject) until it returns false; lost(error) for a role that is not there.
  template <class See, class Lost>
  void visit(const UserInfo& user, const std::string& ns, See see, Lost lost) const;
  std::optional<std::string> lacking(const UserInfo& user, const std::string& ns, const std::vector<Rule>& asked) const;
  std::optional<rest::Failure> admit_role(const UserInfo& user, const Attributes& wanted, const nlohmann::json& before, const nlohmann::json& after) const;
  std::optional<rest::Failure> admit_binding(const UserInfo& user, const Attributes& wanted, const nlohmann::json& after) const;

  std::map<std::string, std::map<std::string, std::vector<Rule>>> roles_;   // namespace ("" = ClusterRole) -> name
  Named bindings_;
};

}  // namespace kubeedge::kube::rbac
