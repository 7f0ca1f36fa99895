// What the C faces share: no exception crosses, errors become a status and a line, and nothing of a freed object is called.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <kubeedge/c/kubeedge.h>
#include <kubeedge/loop_thread.h>
#include <kubeedge/result.h>
#include <kubeedge/twin.h>

struct ke_loop {
  std::unique_ptr<kubeedge::LoopThread> thread;
  int stop_fd = -1;   // an eventfd: readable once ke_loop_stop() was called
};

namespace kubeedge::capi {

ke_status to_c(Errc code);
// Remembers the line for ke_last_error() and gives the status.
ke_status failed(const Error& error);

inline std::string text(const char* given) { return given ? std::string(given) : std::string(); }

// `body` returns a ke_status; what it throws (no memory) becomes one.
template <class F>
ke_status guarded(F body) noexcept {
  try {
    return body();
  } catch (const std::exception& thrown) {
    return failed({Errc::kInternal, thrown.what()});
  }
}

// A caller's function and its `user`, to be called in the drain while `owner` lives.
class Events {
 public:
  explicit Events(LoopThread& loop) : loop_(&loop) {}
  LoopThread& loop() const { return *loop_; }
  std::weak_ptr<int> owner() const { return alive_; }

  // On the loop's thread: `call` runs in the drain, unless the owner is gone by then.
  template <class F>
  static void emit(LoopThread& loop, std::weak_ptr<int> owner, F call) {
    loop.emit([owner = std::move(owner), call = std::move(call)]() mutable {
      if (!owner.expired()) call();
    });
  }
  template <class F>
  void emit(F call) const { emit(*loop_, alive_, std::move(call)); }

  // Result<void> -> ke_done.
  unique_function<void(Result<void>)> done(ke_done done, void* user) const;
  // Result<TwinResult> -> ke_twin_fn.
  unique_function<void(Result<TwinResult>)> twin(ke_twin_fn done, void* user) const;
  unique_function<void()> event(ke_event_fn done, void* user) const;

 private:
  LoopThread* loop_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace kubeedge::capi
