#include "runtime/store_thread.h"

#include <algorithm>

namespace kubeedge {
inline namespace v0 {

StoreThread::~StoreThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void StoreThread::notify(std::shared_ptr<StoreWork> work) {
  {
    const std::lock_guard lock(mutex_);
    if (std::find(ready_.begin(), ready_.end(), work) == ready_.end()) ready_.push_back(std::move(work));
    if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  }
  wake_.notify_one();
}

void StoreThread::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
    if (ready_.empty()) return;
    std::vector<std::shared_ptr<StoreWork>> batch;
    batch.swap(ready_);
    lock.unlock();
    for (const auto& work : batch) work->run_pending();
    batch.clear();
    lock.lock();
  }
}

}  // namespace v0
}  // namespace kubeedge
