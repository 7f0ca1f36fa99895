// Holds a workload back until the watches have shown what its own last look wrote: else it would make its pods twice. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <kubeedge/clock.h>

namespace kubeedge::cloud::workloads {

class Expectations {
 public:
  static constexpr Milliseconds kLongestWait{30'000};   // a watch that was read anew may never show it

  // The key's look wrote an object of `resource` and the server gave it this version.
  void expect(const std::string& key, const std::string& resource, std::uint64_t version, Milliseconds now);
  // A watch has told of `version`, and so of all before it. Keys that have nothing to wait for any more.
  std::vector<std::string> saw(const std::string& resource, std::uint64_t version);
  bool waits(const std::string& key, Milliseconds now) const;
  void forget(const std::string& key) { waiting_.erase(key); }

 private:
  struct Wait {
    std::map<std::string, std::uint64_t> needs;   // by resource
    Milliseconds until{0};
  };
  std::map<std::string, std::uint64_t> seen_;     // by resource
  std::map<std::string, Wait> waiting_;
};

}  // namespace kubeedge::cloud::workloads
