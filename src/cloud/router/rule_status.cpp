#include "cloud/router/rule_status.h"

#include "base/json.h"

namespace kubeedge::cloud {

void RuleStatus::count(const RuleId& rule, const std::string& error) {
  Entry& entry = rules_[rule];
  if (error.empty()) {
    ++entry.successes;
  } else {
    ++entry.failures;
    entry.error = error.substr(0, kMaxRuleErrorBytes);
  }
  entry.changed = true;
}

void RuleStatus::problem(const RuleId& rule, const std::string& text) {
  Entry& entry = rules_[rule];
  entry.error = text.substr(0, kMaxRuleErrorBytes);   // a rule that is new or changed starts without an error
  entry.changed = true;
}

std::vector<RuleStatus::Patch> RuleStatus::due(const RuleTable& table, Milliseconds now) {
  std::vector<Patch> patches;
  for (auto it = rules_.begin(); it != rules_.end();) {
    const auto& id = it->first;
    Entry& entry = it->second;
    const auto* rule = table.find(id);
    if (!rule) {
      it = rules_.erase(it);
      continue;
    }
    ++it;
    if (!entry.changed || entry.under_way || now < entry.next) continue;
    entry.changed = false;
    nlohmann::json status = nlohmann::json::object();
    std::vector<std::string> errors = rule->errors;
    if (entry.error) errors = entry.error->empty() ? std::vector<std::string>{} : std::vector<std::string>{*entry.error};   // upstream keeps the last one
    if (entry.successes > 0 || entry.failures > 0) {
      status["successMessages"] = rule->successes + entry.successes;
      status["failMessages"] = rule->failures + entry.failures;
    }
    if (errors != rule->errors) status["errors"] = errors;
    if (status.empty()) continue;
    entry.under_way = true;
    entry.next = now + kRuleStatusInterval;
    entry.sent_successes = entry.successes;
    entry.sent_failures = entry.failures;
    patches.push_back({id, Bytes(base::dump_json({{"metadata", {{"resourceVersion", rule->version}}}, {"status", status}}))});
  }
  return patches;
}

void RuleStatus::stored(const RuleId& rule) {
  const auto found = rules_.find(rule);
  if (found == rules_.end()) return;
  Entry& entry = found->second;
  entry.under_way = false;
  entry.successes -= entry.sent_successes;
  entry.failures -= entry.sent_failures;
}

void RuleStatus::failed(const RuleId& rule) {
  const auto found = rules_.find(rule);
  if (found == rules_.end()) return;
  found->second.under_way = false;
  found->second.changed = true;
}

std::optional<Milliseconds> RuleStatus::next_deadline() const {
  std::optional<Milliseconds> next;
  for (const auto& [id, entry] : rules_)
    if (entry.changed && !entry.under_way && (!next || entry.next < *next)) next = entry.next;
  return next;
}

}  // namespace kubeedge::cloud
