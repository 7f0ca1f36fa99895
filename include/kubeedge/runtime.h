// What every object of libkubeedge is handed: the loop it lives on and the few shared helpers.
#pragma once

#include <functional>
#include <memory>

#include <asio/any_io_executor.hpp>
#include <asio/detail/thread_context.hpp>
#include <asio/detail/thread_info_base.hpp>
#include <asio/version.hpp>

#include <kubeedge/clock.h>
#include <kubeedge/log.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

class StoreThread;   // src/store: the process's one SQLite writer
class BlockingPool;  // src/runtime: one thread for mount, fsync, process start

// The library's sockets live on the program's loop, so both must be compiled against one asio and see one "which loop does
// this thread run" (a program that keeps asio's symbols from the shared library does not: asio would crash).
struct AsioFacts {
  int version = ASIO_VERSION;
  bool loop_is_shared = false;
  AsioFacts();   // inline: taken where the program is compiled
};
namespace detail {
bool library_sees_loop(asio::detail::thread_context* loop) noexcept;
}  // namespace detail

// Thread rule: an object made with a Runtime lives on its executor: call it there, it calls back there.
// The executor must run one thread at a time (an io_context run by one thread, or a strand).
// A Runtime is cheap to copy; copies share the helper threads, which stop when the last copy is gone.
class Runtime {
 public:
  explicit Runtime(asio::any_io_executor executor, Logger& logger = stderr_logger(), const Clock& clock = system_clock(), AsioFacts program = {});

  // kInvalidArgument when the program's asio and the library's are not one; the factories (Edge::create ...) ask it.
  Result<void> usable() const;

  asio::any_io_executor executor() const { return executor_; }
  Logger& log() const { return *logger_; }
  const Clock& clock() const { return *clock_; }

  // Runs `work` on the blocking thread and then `done` on the executor. Work is run in order.
  // Queue limit: BlockingPool::kMaxQueued; past it, `work` runs late, never dropped.
  void run_blocking(unique_function<void()> work, unique_function<void()> done) const;

  // The shared writer thread, started at first use.
  StoreThread& store_thread() const;

 private:
  struct Shared;
  asio::any_io_executor executor_;
  Logger* logger_;
  const Clock* clock_;
  AsioFacts program_;
  std::shared_ptr<Shared> shared_;
};

inline AsioFacts::AsioFacts() {
  struct Loop : asio::detail::thread_context {
    using Stack = thread_call_stack;
  } loop;
  asio::detail::thread_info_base info;
  const Loop::Stack::context entered(&loop, info);
  loop_is_shared = detail::library_sees_loop(&loop);
}

}  // namespace v0
}  // namespace kubeedge
