// What to do next for one pod, as kubelet's sync decides it. Plain logic, no I/O.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "edge/edged/json_view.h"
#include "edge/edged/observed.h"
#include "edge/edged/pod_status.h"

namespace kubeedge::edged {

inline constexpr std::int64_t kBackoffFirstMs = 10'000;
inline constexpr std::int64_t kBackoffMaxMs = 300'000;
inline constexpr std::int64_t kBackoffResetMs = 600'000;   // that long without a crash, and it counts from the start again

// Delays between restarts (or pulls) of one thing: none before the first, then 10 s doubling to 300 s.
class Backoff {
 public:
  // May it be tried at `now_ms`? Else the time when.
  std::int64_t allowed_at() const { return allowed_at_ms_; }
  // It was tried and failed (or ended) now.
  void failed(std::int64_t now_ms);
  void reset() { *this = Backoff(); }
  // A container found with this many restarts behind it.
  static Backoff after(int restarts, std::int64_t finished_ms);
  // How long the last failure makes it wait in all.
  std::int64_t wait_ms() const { return std::max<std::int64_t>(0, allowed_at_ms_ - last_ms_); }

 private:
  std::int64_t delay_ms_ = 0, allowed_at_ms_ = 0, last_ms_ = 0;
};

// "10s", "1m20s", "5m0s": whole seconds as Go prints them, for messages that people compare with kubelet's.
std::string go_duration(std::int64_t ms);

struct Actions {
  bool create_sandbox = false;
  std::vector<std::string> stop_sandboxes;               // ids: dead or superseded ones
  std::vector<std::string> kill;                         // container ids: image changed, unknown state
  std::vector<std::string> start;                        // container names, in order; init containers one at a time
  std::vector<std::string> remove;                       // container ids: dead instances older than the last
  std::vector<std::string> remove_sandboxes;             // ids: dead, older than the newest, nothing left in them
  bool done = false;                                     // ended for good (Succeeded or Failed): nothing may run
};

// `pod` is to run (not deleted); its status is the one that the cloud knows. Which containers may start now, back-off aside, is the caller's to check.
Actions next_actions(const Json& pod, const ObservedPod& observed);

// The first field of the pod that Edged does not honour yet, as a path with why; "" = all are honoured.
std::string unsupported_field(const Json& pod);

}  // namespace kubeedge::edged
