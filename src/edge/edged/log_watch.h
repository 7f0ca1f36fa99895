// Tells when something in a folder is written, made or renamed: one inotify descriptor for all logs that are followed.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <kubeedge/runtime.h>

namespace kubeedge::edged {

// Lives on the runtime's executor.
class LogWatch {
 public:
  static constexpr Milliseconds kSettle{10};          // after a change: a log that is written line by line is read piece by piece
  static constexpr Milliseconds kBlindPoll{1'000};    // where inotify refuses (its limits), it is looked at so often

  explicit LogWatch(const Runtime& runtime);
  ~LogWatch();
  // Watches until the returned object is let go. `changed` may come without a reason.
  std::shared_ptr<void> watch(const std::string& folder, std::function<void()> changed);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edged
