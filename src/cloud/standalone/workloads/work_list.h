// Names of things to look at: each is worked on once at a time, again if it was named meanwhile, later and later while it fails. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include <kubeedge/clock.h>

namespace kubeedge::cloud::workloads {

class WorkList {
 public:
  static constexpr Milliseconds kFirstWait{200};
  static constexpr Milliseconds kLastWait{60'000};

  // As soon as may be: at once, or when the work on it is done and what it waits for after a failure is over.
  void add(const std::string& key);
  void add_at(const std::string& key, Milliseconds when);   // on the steady clock
  // What is to be worked on now; each is busy until done().
  std::set<std::string> take(Milliseconds now);
  void done(const std::string& key, bool failed, Milliseconds now);
  // When take() may have something; nothing: not before the next call.
  std::optional<Milliseconds> next() const;

 private:
  struct Failed {
    Milliseconds wait{0}, until{0};
  };
  std::set<std::string> ready_, busy_, again_;
  std::map<std::string, Milliseconds> due_;
  std::map<std::string, Failed> failed_;
};

}  // namespace kubeedge::cloud::workloads
