#include <kubeedge/runtime.h>

#include <mutex>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include "base/text.h"
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

bool detail::library_sees_loop(asio::detail::thread_context* loop) noexcept {
  return asio::detail::call_stack<asio::detail::thread_context, asio::detail::thread_info_base>::contains(loop) != nullptr;
}

Runtime::Runtime(asio::any_io_executor executor, Logger& logger, const Clock& clock, AsioFacts program)
    : executor_(std::move(executor)), logger_(&logger), clock_(&clock), program_(program), shared_(std::make_shared<Shared>()) {}

Result<void> Runtime::usable() const {
  if (program_.version != ASIO_VERSION)
    return base::error(Errc::kInvalidArgument, "this program was compiled with asio {}, libkubeedge with asio {}", program_.version, ASIO_VERSION);
  if (!program_.loop_is_shared)
    return base::error(Errc::kInvalidArgument, "this program keeps asio's symbols from libkubeedge.so (a version script of its linker?): show them, or link libkubeedge.a");
  return {};
}

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
