#include "cloud/standalone/workloads/work_list.h"

#include <algorithm>

namespace kubeedge::cloud::workloads {

void WorkList::add(const std::string& key) {
  if (busy_.contains(key)) again_.insert(key);
  else if (const auto failed = failed_.find(key); failed != failed_.end()) add_at(key, failed->second.until);
  else ready_.insert(key);
}

void WorkList::add_at(const std::string& key, Milliseconds when) {
  const auto [slot, fresh] = due_.try_emplace(key, when);
  if (!fresh) slot->second = std::min(slot->second, when);
}

std::set<std::string> WorkList::take(Milliseconds now) {
  std::set<std::string> out;
  out.swap(ready_);
  for (auto at = due_.begin(); at != due_.end();) {
    if (at->second > now || busy_.contains(at->first)) {
      ++at;
      continue;
    }
    out.insert(at->first);
    at = due_.erase(at);
  }
  busy_.insert(out.begin(), out.end());
  return out;
}

void WorkList::done(const std::string& key, bool failed, Milliseconds now) {
  busy_.erase(key);
  if (failed) {
    Failed& one = failed_[key];
    one.wait = one.wait.count() == 0 ? kFirstWait : std::min(one.wait * 2, kLastWait);
    one.until = now + one.wait;
    add_at(key, one.until);
    again_.erase(key);
    return;
  }
  failed_.erase(key);
  if (again_.erase(key) > 0) ready_.insert(key);
}

std::optional<Milliseconds> WorkList::next() const {
  if (!ready_.empty()) return Milliseconds{0};
  std::optional<Milliseconds> out;
  for (const auto& [key, when] : due_)
    if (!busy_.contains(key)) out = out ? std::min(*out, when) : when;
  return out;
}

}  // namespace kubeedge::cloud::workloads
