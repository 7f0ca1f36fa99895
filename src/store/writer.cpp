#include "store/writer.h"

#include <asio/post.hpp>

#include "base/text.h"

namespace kubeedge::store {
namespace {

constexpr std::size_t kMaxGroup = 1024;   // batches in one COMMIT

}  // namespace

bool Writer::push(Batch& batch) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= Store::kMaxQueuedWrites) return false;
  queue_.push_back(std::move(batch));
  return true;
}

void Writer::run_pending() {
  for (;;) {
    std::vector<Batch> group = take();
    if (group.empty()) return;
    commit(group);
    // The loop must stay alive until it has heard: a write is outstanding work.
    asio::post(executor_, [group = std::move(group)]() mutable {
      for (Batch& batch : group)
        if (batch.done) batch.done(std::move(batch.result));
    });
  }
}

Store::Counters Writer::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

std::string Writer::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool Writer::corrupt() const {
  const std::lock_guard lock(mutex_);
  return corrupt_;
}

void Writer::wait_idle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

std::vector<Batch> Writer::take() {
  const std::lock_guard lock(mutex_);
  std::vector<Batch> group;
  while (!queue_.empty() && group.size() < kMaxGroup) {
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  busy_ = !group.empty();
  if (!busy_) idle_.notify_all();
  return group;
}

// One COMMIT for the whole group; a batch that fails is undone alone, by its savepoint.
void Writer::commit(std::vector<Batch>& group) {
  Result<void> begun = connection.exec("BEGIN IMMEDIATE");
  for (Batch& batch : group) batch.result = begun ? run(batch) : begun;
  if (begun) {
    const Result<void> committed = connection.exec("COMMIT");
    if (!committed) {
      if (connection.in_transaction()) static_cast<void>(connection.exec("ROLLBACK"));
      for (Batch& batch : group) batch.result = committed;
    }
  }
  const std::lock_guard lock(mutex_);
  corrupt_ = connection.corrupt();
  ++counters_.commits;
  failure_.clear();
  for (const Batch& batch : group) {
    ++(batch.result ? counters_.writes : counters_.failed);
    if (!batch.result) failure_ = batch.result.error().message;
  }
}

Result<void> Writer::run(Batch& batch) {
  // A failure such as a full disk may have rolled the whole transaction back: then nothing more can be written in it.
  if (!connection.in_transaction()) return base::error(Errc::kIo, "the transaction was rolled back by an earlier failure");
  if (Result<void> saved = connection.exec("SAVEPOINT batch"); !saved) return saved;
  for (const Statement& statement : batch.statements) {
    if (Result<void> ran = connection.run(statement, nullptr); !ran) {
      if (connection.in_transaction()) static_cast<void>(connection.exec("ROLLBACK TO batch; RELEASE batch"));
      return ran;
    }
  }
  return connection.exec("RELEASE batch");
}

}  // namespace kubeedge::store
