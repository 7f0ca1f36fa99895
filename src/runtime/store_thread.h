// The process's one writer thread: takes what all stores have queued and runs it in groups.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace kubeedge {
inline namespace v0 {

// A source of work. run_pending() is called on the StoreThread; it takes all that is queued by then.
class StoreWork {
 public:
  virtual ~StoreWork() = default;
  virtual void run_pending() = 0;
};

// notify() may come from any thread. A work item that is queued already is not queued twice.
class StoreThread {
 public:
  StoreThread() = default;
  ~StoreThread();
  void notify(std::shared_ptr<StoreWork> work);

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<StoreWork>> ready_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace v0
}  // namespace kubeedge
