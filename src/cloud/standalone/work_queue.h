// Runs a WorkList on the loop. No timer runs while nothing is due.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <kubeedge/runtime.h>

namespace kubeedge::cloud {

// Lives on the runtime's executor.
class WorkQueue {
 public:
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

}  // namespace kubeedge::cloud
