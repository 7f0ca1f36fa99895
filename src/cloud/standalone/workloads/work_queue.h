// Names of things to look at: each is worked on once at a time, again if it was named meanwhile, later and later while it fails.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <kubeedge/runtime.h>

namespace kubeedge::cloud::workloads {

// Lives on the runtime's executor. No timer runs while nothing is due.
class WorkQueue {
 public:
  static constexpr Milliseconds kFirstWait{200};
  static constexpr Milliseconds kLastWait{60'000};

  // `work` is never called from inside add(); it answers with done() when it is through, at once or later.
  WorkQueue(const Runtime& runtime, std::function<void(const std::string& key)> work);
  ~WorkQueue();
  void add(const std::string& key);
  void add_after(const std::string& key, Milliseconds wait);
  void done(const std::string& key, bool failed);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud::workloads
