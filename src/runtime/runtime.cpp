#include <kubeedge/runtime.h>

#include <mutex>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include "runtime/blocking_pool.h"
#include "runtime/store_thread.h"

namespace kubeedge {
inline namespace v0 {

BlockingPool::~BlockingPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (!thread_.joinable()) return;
  // The last Runtime may be let go by a job itself: a thread cannot join itself.
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

void BlockingPool::run(unique_function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  }
  wake_.notify_one();
}

void BlockingPool::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    unique_function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // what it captured is let go outside the lock
    lock.lock();
  }
}

struct Runtime::Shared {
  BlockingPool blocking;
  std::once_flag store_once;
  std::unique_ptr<StoreThread> store;
};

Runtime::Runtime(asio::any_io_executor executor, Logger& logger, const Clock& clock)
    : executor_(std::move(executor)), logger_(&logger), clock_(&clock), shared_(std::make_shared<Shared>()) {}

void Runtime::run_blocking(unique_function<void()> work, unique_function<void()> done) const {
  // The job holds no Runtime (else the blocking thread could destroy its own pool), and the loop stays alive until told.
  shared_->blocking.run([guard = asio::make_work_guard(executor_), work = std::move(work), done = std::move(done)]() mutable {
    work();
    work = nullptr;
    asio::post(guard.get_executor(), [done = std::move(done)]() mutable { done(); });
  });
}

StoreThread& Runtime::store_thread() const {
  std::call_once(shared_->store_once, [this] { shared_->store = std::make_unique<StoreThread>(); });
  return *shared_->store;
}

}  // namespace v0
}  // namespace kubeedge
