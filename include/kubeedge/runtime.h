// What every object of libkubeedge is handed: the loop it lives on and the few shared helpers.
#pragma once

#include <functional>
#include <memory>

#include <asio/any_io_executor.hpp>

#include <kubeedge/clock.h>
#include <kubeedge/log.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

class StoreThread;   // src/store: the process's one SQLite writer
class BlockingPool;  // src/runtime: one thread for name resolution, mount, fsync, process start

// Thread rule: an object made with a Runtime lives on its executor: call it there, it calls back there.
// The executor must run one thread at a time (an io_context run by one thread, or a strand).
// A Runtime is cheap to copy; copies share the helper threads, which stop when the last copy is gone.
class Runtime {
 public:
  explicit Runtime(asio::any_io_executor executor, Logger& logger = stderr_logger(), const Clock& clock = system_clock());

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
  std::shared_ptr<Shared> shared_;
};

}  // namespace v0
}  // namespace kubeedge
