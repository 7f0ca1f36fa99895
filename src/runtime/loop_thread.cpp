#include <kubeedge/loop_thread.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include "base/text.h"

namespace kubeedge {
inline namespace v0 {

struct LoopThread::Impl {
  Impl(int descriptor_in, Logger& logger, const Clock& clock) : descriptor(descriptor_in), runtime(io.get_executor(), logger, clock) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      closing = true;
    }
    room.notify_all();
    work.reset();
    io.stop();
    if (thread.joinable()) thread.join();
    ::close(descriptor);
  }

  void emit(unique_function<void()> event) {
    std::unique_lock lock(mutex);
    // A program that waits in call() drains nothing: the loop must not wait for it.
    room.wait(lock, [this] { return events.size() < kMaxEvents || calls > 0 || closing; });
    if (closing) return;
    events.push_back(std::move(event));
    if (events.size() == 1) signal();
  }

  void signal() const {
    const std::uint64_t one = 1;
    (void)!::write(descriptor, &one, sizeof one);   // an eventfd that is full is readable, too
  }

  void quiet() const {
    std::uint64_t count = 0;
    (void)!::read(descriptor, &count, sizeof count);
  }

  const int descriptor;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  Runtime runtime;
  std::mutex mutex;
  std::condition_variable room;
  std::deque<unique_function<void()>> events;
  int calls = 0;
  bool closing = false;
  std::thread thread;
};

Result<std::unique_ptr<LoopThread>> LoopThread::create(Logger& logger, const Clock& clock) {
  const int descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (descriptor < 0) return base::error(Errc::kIo, "eventfd: {}", std::strerror(errno));
  auto impl = std::make_unique<Impl>(descriptor, logger, clock);
  impl->thread = std::thread([io = &impl->io] { io->run(); });
  return std::unique_ptr<LoopThread>(new LoopThread(std::move(impl)));
}

LoopThread::LoopThread(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoopThread::~LoopThread() = default;

const Runtime& LoopThread::runtime() const { return impl_->runtime; }

void LoopThread::post(unique_function<void()> work) {
  asio::post(impl_->io, [work = std::move(work)]() mutable { work(); });
}

void LoopThread::call(unique_function<void()> work) {
  {
    const std::lock_guard lock(impl_->mutex);
    ++impl_->calls;
  }
  impl_->room.notify_all();
  std::promise<void> ended;
  asio::post(impl_->io, [&] {
    work();
    ended.set_value();
  });
  ended.get_future().wait();
  const std::lock_guard lock(impl_->mutex);
  --impl_->calls;
}

void LoopThread::emit(unique_function<void()> event) { impl_->emit(std::move(event)); }

int LoopThread::fd() const { return impl_->descriptor; }

std::size_t LoopThread::drain() {
  std::deque<unique_function<void()>> now;
  {
    const std::lock_guard lock(impl_->mutex);
    now.swap(impl_->events);
    impl_->quiet();
  }
  impl_->room.notify_all();
  for (auto& event : now) event();
  return now.size();
}

}  // namespace v0
}  // namespace kubeedge
