// Counts of rules on their way into Rule.status: coalesced, one patch of a rule at a time, safe beside other cloudcores. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/clock.h>

#include "cloud/router/rule_table.h"

namespace kubeedge::cloud {

inline constexpr Milliseconds kRuleStatusInterval{1'000};   // between two patches of a rule
inline constexpr std::size_t kMaxRuleErrorBytes = 500;

class RuleStatus {
 public:
  void count(const RuleId& rule, const std::string& error);
  void problem(const RuleId& rule, const std::string& text);
  void forget(const RuleId& rule) { rules_.erase(rule); }

  struct Patch { RuleId rule; Bytes merge_patch; };
  // What is due. Counts are absolute, so a patch names the version that they were added to: a conflict is told to failed() and
  // tried again on what the other one wrote.
  std::vector<Patch> due(const RuleTable& table, Milliseconds now);
  void stored(const RuleId& rule);
  void failed(const RuleId& rule);
  std::optional<Milliseconds> next_deadline() const;

 private:
  struct Entry {
    std::int64_t successes = 0, failures = 0;            // not stored yet
    std::int64_t sent_successes = 0, sent_failures = 0;  // in the patch under way
    std::optional<std::string> error;                    // the last one; empty text = none any more
    bool changed = false, under_way = false;
    Milliseconds next{0};
  };
  std::map<RuleId, Entry> rules_;
};

}  // namespace kubeedge::cloud
