// The library's loop on a thread of its own, for a program whose own loop is not asio's: what happened comes out of a descriptor.
#pragma once

#include <cstddef>
#include <memory>

#include <kubeedge/runtime.h>

namespace kubeedge {
inline namespace v0 {

// Objects made with runtime() live on the loop's thread: make, call and end them inside call() or post(). What they tell is
// handed to emit() and runs on the thread that calls drain().
//   auto loop = LoopThread::create();
//   std::optional<Edge> edge;
//   (*loop)->call([&] { edge->hub().on_link([&](LinkState s) { (*loop)->emit([s] { gw::led(s); }); }); });
//   poll({(*loop)->fd(), POLLIN}) ... (*loop)->drain();
class LoopThread {
 public:
  // Events that wait for drain(). Past it the loop waits for the program, which then hears all of them.
  static constexpr std::size_t kMaxEvents = 65'536;

  // kIo: no descriptor left.
  static Result<std::unique_ptr<LoopThread>> create(Logger& logger = stderr_logger(), const Clock& clock = system_clock());
  // Ends the thread, whatever still stands on the loop; not inside drain() or on the loop. Events not drained are dropped.
  ~LoopThread();

  const Runtime& runtime() const;
  // From any thread: runs `work` on the loop, later.
  void post(unique_function<void()> work);
  // From any thread but the loop's: runs `work` on the loop and waits for its end.
  void call(unique_function<void()> work);
  // From any thread, mostly the loop's: `event` runs in a drain().
  void emit(unique_function<void()> event);
  // Readable while events wait; for poll(), epoll or select(). Not to be read or closed.
  int fd() const;
  // Runs the events that wait now, in their order, on this thread; their number.
  std::size_t drain();

 private:
  struct Impl;
  explicit LoopThread(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
