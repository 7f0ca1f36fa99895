#include "kube/rest/selector.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

using Json = nlohmann::json;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Splits at commas outside parentheses.
std::vector<std::string_view> terms(std::string_view text) {
  std::vector<std::string_view> out;
  int depth = 0;
  std::size_t from = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '(') ++depth;
    if (i < text.size() && text[i] == ')') --depth;
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      out.push_back(trim(text.substr(from, i - from)));
      from = i + 1;
    }
  }
  return out;
}

bool is_key(std::string_view text) {
  return !text.empty() && text.size() <= 317 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '/';
  });
}

bool is_value(std::string_view text) { return text.empty() || (text.size() <= 63 && is_key(text) && text.find('/') == std::string_view::npos); }

Error wrong(std::string_view what, std::string_view term) { return base::error(Errc::kInvalidArgument, "unable to parse requirement: {}: \"{}\"", what, term); }

// The text at a dotted path ("spec.nodeName"), as field selectors compare it.
std::string text_at(const Json& object, std::string_view path) {
  const Json* at = &object;
  for (const std::string& part : base::split(path, '.')) {
    if (!at->is_object()) return "";
    const auto found = at->find(part);
    if (found == at->end()) return "";
    at = &*found;
  }
  if (at->is_string()) return at->get<std::string>();
  return at->is_object() || at->is_array() || at->is_null() ? "" : at->dump();
}

bool knows(const schema::Kind& kind, std::string_view field) {
  if (field == "metadata.name" || (field == "metadata.namespace" && kind.namespaced)) return true;
  static constexpr std::string_view kPod[] = {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
                                              "status.phase", "status.podIP", "status.nominatedNodeName"};
  static constexpr std::string_view kEvent[] = {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid", "involvedObject.apiVersion",
                                                "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"};
  const auto in = [&](auto& list) { return std::find(std::begin(list), std::end(list), field) != std::end(list); };
  if (!kind.group.empty()) return false;
  if (kind.kind == "Pod") return in(kPod);
  if (kind.kind == "Event") return in(kEvent);
  if (kind.kind == "Secret") return field == "type";
  if (kind.kind == "Namespace") return field == "status.phase";
  if (kind.kind == "Node") return field == "spec.unschedulable";
  return false;
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  if (text.size() > kMaxSelectorBytes) return base::error(Errc::kLimitExceeded, "the label selector is over {} bytes", kMaxSelectorBytes);
  if (trim(text).empty()) return out;
  for (const std::string_view term : terms(text)) {
    Requirement requirement;
    std::string_view rest = term;
    if (rest.starts_with('!')) {
      requirement.op = Operator::kAbsent;
      requirement.key = trim(rest.substr(1));
    } else if (const auto open = rest.find('('); open != std::string_view::npos) {
      if (!rest.ends_with(')')) return wrong("expected: ')'", term);
      std::string_view head = trim(rest.substr(0, open));
      const auto space = head.rfind(' ');
      if (space == std::string_view::npos) return wrong("expected: in, notin", term);
      const std::string_view op = head.substr(space + 1);
      if (op != "in" && op != "notin") return wrong("expected: in, notin", term);
      requirement.op = op == "in" ? Operator::kIn : Operator::kNotIn;
      requirement.key = trim(head.substr(0, space));
      for (const std::string_view value : terms(rest.substr(open + 1, rest.size() - open - 2))) requirement.values.emplace_back(value);
    } else if (const auto equal = rest.find('='); equal != std::string_view::npos) {
      const bool negated = equal > 0 && rest[equal - 1] == '!';
      requirement.op = negated ? Operator::kNotIn : Operator::kIn;
      requirement.key = trim(rest.substr(0, negated ? equal - 1 : equal));
      std::string_view value = rest.substr(equal + 1);
      if (!negated && value.starts_with('=')) value.remove_prefix(1);
      requirement.values.emplace_back(trim(value));
    } else {
      requirement.op = Operator::kExists;
      requirement.key = rest;
    }
    if (!is_key(requirement.key)) return wrong("invalid label key", term);
    for (const std::string& value : requirement.values)
      if (!is_value(value)) return wrong("invalid label value", term);
    out.requirements_.push_back(std::move(requirement));
  }
  return out;
}

bool LabelSelector::matches(const Json& object) const {
  if (requirements_.empty()) return true;
  static const Json none = Json::object();
  const Json* labels = &none;
  if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object()) {
    if (const auto found = metadata->find("labels"); found != metadata->end() && found->is_object()) labels = &*found;
  }
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& requirement) {
    const auto found = labels->find(requirement.key);
    const bool present = found != labels->end();
    const auto listed = [&] {
      return present && found->is_string() &&
             std::find(requirement.values.begin(), requirement.values.end(), found->get_ref<const std::string&>()) != requirement.values.end();
    };
    switch (requirement.op) {
      case Operator::kExists: return present;
      case Operator::kAbsent: return !present;
      case Operator::kIn: return listed();
      case Operator::kNotIn: return !listed();
    }
    return false;
  });
}

Result<FieldSelector> FieldSelector::parse(const schema::Kind& kind, std::string_view text) {
  FieldSelector out;
  if (text.size() > kMaxSelectorBytes) return base::error(Errc::kLimitExceeded, "the field selector is over {} bytes", kMaxSelectorBytes);
  if (trim(text).empty()) return out;
  for (const std::string_view term : terms(text)) {
    const auto equal = term.find('=');
    if (equal == std::string_view::npos || equal == 0) return base::error(Errc::kInvalidArgument, "invalid selector: '{}'; can't understand '{}'", text, term);
    const bool negated = term[equal - 1] == '!';
    std::string_view value = term.substr(equal + 1);
    if (!negated && value.starts_with('=')) value.remove_prefix(1);
    Requirement requirement{std::string(trim(term.substr(0, negated ? equal - 1 : equal))), !negated, std::string(trim(value))};
    if (!knows(kind, requirement.field)) return base::error(Errc::kInvalidArgument, "field label not supported: {}", requirement.field);
    out.requirements_.push_back(std::move(requirement));
  }
  return out;
}

bool FieldSelector::matches(const Json& object) const {
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& requirement) {
    std::string value;
    if (requirement.field == "source") {
      value = text_at(object, "source.component");
      if (value.empty()) value = text_at(object, "reportingComponent");
    } else {
      value = text_at(object, requirement.field);
      if (value.empty() && (requirement.field == "spec.unschedulable" || requirement.field == "spec.hostNetwork")) value = "false";
    }
    return (value == requirement.value) == requirement.equal;
  });
}

std::optional<std::string> FieldSelector::name() const {
  for (const Requirement& requirement : requirements_)
    if (requirement.field == "metadata.name" && requirement.equal) return requirement.value;
  return std::nullopt;
}

}  // namespace kubeedge::kube::rest
