#include "kube/schema/label_selector.h"

#include <algorithm>
#include <vector>

#include "kube/schema/causes.h"

namespace kubeedge::kube::schema {
namespace {

bool holds(const Json& expression, const Json& labels) {
  const std::string& how = text_at(expression, "operator");
  const Json& value = at(labels, text_at(expression, "key"));
  const Json& values = list_at(expression, "values");
  const bool listed = !value.is_null() && std::find(values.begin(), values.end(), value) != values.end();
  if (how == "In") return listed;
  if (how == "NotIn") return !listed;
  if (how == "Exists") return !value.is_null();
  return how == "DoesNotExist" && value.is_null();
}

std::string text_of(const Json& expression) {
  const std::string& key = text_at(expression, "key");
  const std::string& how = text_at(expression, "operator");
  if (how == "Exists") return key;
  if (how == "DoesNotExist") return "!" + key;
  std::vector<std::string> values;
  for (const Json& value : list_at(expression, "values"))
    if (value.is_string()) values.push_back(value.get<std::string>());
  std::sort(values.begin(), values.end());
  std::string all;
  for (const std::string& value : values) all += (all.empty() ? "" : ",") + value;
  return key + (how == "In" ? " in (" : " notin (") + all + ")";
}

}  // namespace

bool selects_all(const Json& selector) { return at(selector, "matchLabels").empty() && list_at(selector, "matchExpressions").empty(); }

bool selects(const Json& selector, const Json& labels) {
  if (const Json& wanted = at(selector, "matchLabels"); wanted.is_object())
    for (const auto& item : wanted.items())
      if (at(labels, item.key()) != item.value()) return false;
  const Json& expressions = list_at(selector, "matchExpressions");
  return std::all_of(expressions.begin(), expressions.end(), [&](const Json& one) { return holds(one, labels); });
}

std::string selector_text(const Json& selector) {
  std::vector<std::pair<std::string, std::string>> parts;   // by key, as Kubernetes sorts them
  if (const Json& wanted = at(selector, "matchLabels"); wanted.is_object())
    for (const auto& item : wanted.items())
      if (item.value().is_string()) parts.emplace_back(item.key(), item.key() + "=" + item.value().get_ref<const std::string&>());
  for (const Json& one : list_at(selector, "matchExpressions")) parts.emplace_back(text_at(one, "key"), text_of(one));
  std::stable_sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out;
  for (const auto& part : parts) out += (out.empty() ? "" : ",") + part.second;
  return out.empty() ? "<none>" : out;
}

}  // namespace kubeedge::kube::schema
