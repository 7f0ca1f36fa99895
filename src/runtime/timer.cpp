#include "runtime/timer.h"

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

namespace kubeedge::runtime {

struct Timer::Impl : std::enable_shared_from_this<Timer::Impl> {
  explicit Impl(const Runtime& runtime) : timer(runtime.executor()) {}
  asio::steady_timer timer;
  unique_function<void()> fire;
  std::uint64_t generation = 0;  // a handler of an earlier start() finds another number and does nothing
};

Timer::Timer(const Runtime& runtime) : impl_(std::make_shared<Impl>(runtime)) {}
Timer::~Timer() {
  if (impl_) cancel();
}
Timer::Timer(Timer&&) noexcept = default;
Timer& Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    if (impl_) cancel();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

void Timer::start(Milliseconds after, unique_function<void()> fire) {
  impl_->fire = std::move(fire);
  const std::uint64_t generation = ++impl_->generation;
  impl_->timer.expires_after(after);
  impl_->timer.async_wait([weak = std::weak_ptr(impl_), generation](const auto& failed) {
    const auto impl = weak.lock();
    if (!impl || failed || impl->generation != generation || !impl->fire) return;
    unique_function<void()> call = std::move(impl->fire);
    impl->fire = nullptr;
    call();  // may start() again or destroy the Timer
  });
}

void Timer::cancel() {
  ++impl_->generation;
  impl_->fire = nullptr;
  impl_->timer.cancel();
}

bool Timer::running() const { return static_cast<bool>(impl_->fire); }

void post(const Runtime& runtime, unique_function<void()> f) {
  asio::post(runtime.executor(), [f = std::move(f)]() mutable { f(); });
}

}  // namespace kubeedge::runtime
