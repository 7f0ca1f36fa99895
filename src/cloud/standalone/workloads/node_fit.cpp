#include "cloud/standalone/workloads/node_fit.h"

#include <algorithm>

#include "base/text.h"
#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud::workloads {

using nlohmann::json;

namespace {

// One matchExpressions entry of a node affinity.
bool expression_holds(const json& expression, const json& labels) {
  const json& label = json_at(labels, {json_text(expression, {"key"}).c_str()});
  const bool have = label.is_string();
  const std::string value = json_text(label);
  const std::string op = json_text(expression, {"operator"});
  const json& values = json_at(expression, {"values"});
  const bool listed = have && values.is_array() && std::find(values.begin(), values.end(), json(value)) != values.end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return have;
  if (op == "DoesNotExist") return !have;
  const auto left = base::to_int(value);
  const auto right = values.is_array() && !values.empty() ? base::to_int(json_text(values[0])) : std::nullopt;
  if (!left || !right) return false;
  return op == "Gt" ? *left > *right : op == "Lt" && *left < *right;
}

// All that a term asks for; a term that asks for nothing chooses nothing.
bool term_holds(const json& term, const json& labels, const json& fields) {
  const json& expressions = json_at(term, {"matchExpressions"});
  const json& of_fields = json_at(term, {"matchFields"});
  const auto all_hold = [](const json& list, const json& of) {
    return !list.is_array() || std::all_of(list.begin(), list.end(), [&](const json& one) { return expression_holds(one, of); });
  };
  return !(expressions.empty() && of_fields.empty()) && all_hold(expressions, labels) && all_hold(of_fields, fields);
}

}  // namespace

bool tolerates(const json& tolerations, const json& taint) {
  if (!tolerations.is_array()) return false;
  return std::any_of(tolerations.begin(), tolerations.end(), [&](const json& one) {
    const std::string key = json_text(one, {"key"}), effect = json_text(one, {"effect"}), op = json_text(one, {"operator"});
    if (!effect.empty() && effect != json_text(taint, {"effect"})) return false;
    if (key.empty()) return op == "Exists";
    if (key != json_text(taint, {"key"})) return false;
    return op == "Exists" || json_text(one, {"value"}) == json_text(taint, {"value"});
  });
}

bool selects_node(const json& pod_spec, const std::string& node, const json& labels) {
  if (const json& selector = json_at(pod_spec, {"nodeSelector"}); selector.is_object())
    for (const auto& item : selector.items())
      if (json_at(labels, {item.key().c_str()}) != item.value()) return false;
  const json& terms = json_at(pod_spec, {"affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"});
  if (!terms.is_array()) return true;
  const json fields = {{"metadata.name", node}};
  return std::any_of(terms.begin(), terms.end(), [&](const json& term) { return term_holds(term, labels, fields); });
}

}  // namespace kubeedge::cloud::workloads
