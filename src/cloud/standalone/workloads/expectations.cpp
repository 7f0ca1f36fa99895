#include "cloud/standalone/workloads/expectations.h"

#include <algorithm>

namespace kubeedge::cloud::workloads {

void Expectations::expect(const std::string& key, const std::string& resource, std::uint64_t version, Milliseconds now) {
  if (version <= seen_[resource]) return;
  Wait& wait = waiting_[key];
  std::uint64_t& needed = wait.needs[resource];
  needed = std::max(needed, version);
  wait.until = now + kLongestWait;
}

std::vector<std::string> Expectations::saw(const std::string& resource, std::uint64_t version) {
  std::uint64_t& seen = seen_[resource];
  seen = std::max(seen, version);
  std::vector<std::string> free;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    auto& needs = at->second.needs;
    if (const auto need = needs.find(resource); need != needs.end() && need->second <= seen) needs.erase(need);
    if (!needs.empty()) {
      ++at;
      continue;
    }
    free.push_back(at->first);
    at = waiting_.erase(at);
  }
  return free;
}

bool Expectations::waits(const std::string& key, Milliseconds now) const {
  const auto found = waiting_.find(key);
  return found != waiting_.end() && now < found->second.until;
}

}  // namespace kubeedge::cloud::workloads
