#include "virtual_time.h"

#include <cstdlib>

namespace kubeedge::model {
namespace {

// KUBEEDGE_SEED's one run may tell what it does; thousands may not.
Logger& logger() {
  static const bool told = std::getenv("KUBEEDGE_SEED") != nullptr;
  struct Silence final : Logger {
    bool enabled(LogLevel) const override { return false; }
    void write(LogLevel, std::string_view, std::string_view) override {}
  };
  static Silence silence;
  return told ? stderr_logger(LogLevel::kInfo) : silence;
}

}  // namespace

bool VirtualClock::ring_next(Milliseconds end) {
  const auto next = alarms_.begin();
  if (next == alarms_.end() || next->first.first > end) {
    now_ = end;
    return false;
  }
  now_ = std::max(now_, next->first.first);
  unique_function<void()> ring = std::move(next->second);
  alarms_.erase(next);
  ring();
  return true;
}

bool HeldStore::commit(asio::io_context& loop) {
  if (held_.empty() && !watched_) return false;
  auto group = std::exchange(held_, {});
  std::size_t told = 0;
  std::vector<Result<void>> results(group.size());
  for (std::size_t i = 0; i < group.size(); ++i)
    real_->write(std::move(group[i].first), [&results, &told, i](Result<void> result) {
      results[i] = std::move(result);
      ++told;
    });
  bool own_writes_done = !watched_;   // behind the store's own, in one queue
  if (watched_) real_->write({}, [&own_writes_done](Result<void>) { own_writes_done = true; });
  while (told < group.size() || !own_writes_done) {
    loop.restart();
    loop.run_one();
  }
  for (std::size_t i = 0; i < group.size(); ++i) group[i].second(std::move(results[i]));
  return !group.empty();
}

VirtualLoop::VirtualLoop() : runtime(io.get_executor(), logger(), clock) {}

void VirtualLoop::settle() {
  bool more = true;
  while (more) {
    io.restart();
    more = io.poll() > 0;
    if (store != nullptr && store->commit(io)) more = true;
  }
}

void VirtualLoop::run_until(Milliseconds end) {
  do settle();
  while (clock.ring_next(end));
  settle();
}

}  // namespace kubeedge::model
