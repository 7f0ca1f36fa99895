// The one thread for work that blocks on the disk or the kernel: mount, fsync, cgroup writes, process start.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

// run() may be called from any thread; jobs run in order. The thread starts at the first job; the destructor
// finishes what is queued.
class BlockingPool {
 public:
  BlockingPool() = default;
  ~BlockingPool();
  void run(unique_function<void()> job);

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<unique_function<void()>> jobs_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace v0
}  // namespace kubeedge
