// The writer's side of a Store: batches in, group commits out. Owned by the Store and, while it has work, by the StoreThread.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "runtime/store_thread.h"
#include "store/connection.h"

namespace kubeedge::store {

struct Batch {
  std::vector<Statement> statements;
  unique_function<void(Result<void>)> done;
  Result<void> result;
};

class Writer final : public StoreWork {
 public:
  explicit Writer(asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // Of the StoreThread; of the Store's executor after wait_idle(), until the next push().
  Connection connection;

  // Takes `batch` unless the queue is full.
  bool push(Batch& batch);
  void run_pending() override;
  Store::Counters counters() const;
  std::string failure() const;
  // A commit met a malformed file.
  bool corrupt() const;
  void wait_idle();

 private:
  std::vector<Batch> take();
  void commit(std::vector<Batch>& group);
  Result<void> run(Batch& batch);

  asio::any_io_executor executor_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<Batch> queue_;
  bool busy_ = false;
  bool corrupt_ = false;
  Store::Counters counters_;
  std::string failure_;
};

}  // namespace kubeedge::store
