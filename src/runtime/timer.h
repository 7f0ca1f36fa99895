// A one-shot timer that cannot fire after it is gone.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

namespace kubeedge::runtime {

// Lives on the runtime's executor. start() replaces an earlier start(); the destructor cancels.
class Timer {
 public:
  explicit Timer(const Runtime& runtime);
  ~Timer();
  Timer(Timer&&) noexcept;
  Timer& operator=(Timer&&) noexcept;

  void start(Milliseconds after, unique_function<void()> fire);
  void cancel();
  bool running() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Runs `f` on the executor after the current call has returned.
void post(const Runtime& runtime, unique_function<void()> f);

}  // namespace kubeedge::runtime
