#include "runtime/timer.h"

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "runtime/ringing_clock.h"

namespace kubeedge::runtime {

struct Timer::Impl : std::enable_shared_from_this<Timer::Impl> {
  explicit Impl(const Runtime& runtime) : timer(runtime.executor()), clock(dynamic_cast<const RingingClock*>(&runtime.clock())) {}
  asio::steady_timer timer;
  const RingingClock* clock;
  unique_function<void()> fire;
  std::uint64_t generation = 0;  // a handler of an earlier start() finds another number and does nothing

  void ring(std::uint64_t started) {
    if (generation != started || !fire) return;
    unique_function<void()> call = std::move(fire);
    fire = nullptr;
    call();  // may start() again or destroy the Timer
  }
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
  if (impl_->clock != nullptr) {
    return impl_->clock->ring_at(impl_->clock->steady() + after, [weak = std::weak_ptr(impl_), generation] {
      if (const auto impl = weak.lock()) impl->ring(generation);
    });
  }
  impl_->timer.expires_after(after);
  impl_->timer.async_wait([weak = std::weak_ptr(impl_), generation](const auto& failed) {
    if (const auto impl = weak.lock(); impl && !failed) impl->ring(generation);
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
