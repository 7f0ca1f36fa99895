// A loop in virtual time: nothing waits, alarms ring in order, and two runs of one seed do the same.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>

#include "runtime/ringing_clock.h"
#include "store/store.h"

namespace kubeedge::model {

class VirtualClock final : public runtime::RingingClock {
 public:
  std::int64_t unix_ms() const override { return 1'700'000'000'000 + now_.count(); }
  Milliseconds steady() const override { return now_; }
  void ring_at(Milliseconds at, unique_function<void()> ring) const override { alarms_.emplace(std::pair{at, ++number_}, std::move(ring)); }
  // False: nothing rings until `end`, which is now.
  bool ring_next(Milliseconds end);

 private:
  mutable Milliseconds now_{0};
  mutable std::uint64_t number_ = 0;
  mutable std::map<std::pair<Milliseconds, std::uint64_t>, unique_function<void()>> alarms_;
};

// A store whose commits happen when the loop has nothing else to do, all of a moment together.
class HeldStore final : public store::Store {
 public:
  explicit HeldStore(std::unique_ptr<store::Store> real) : real_(std::move(real)) {}
  void write(std::vector<store::Statement> batch, unique_function<void(Result<void>)> done) override { held_.push_back({std::move(batch), std::move(done)}); }
  Result<std::vector<store::Row>> query(const store::Statement& statement) override { return real_->query(statement); }
  Counters counters() const override { return real_->counters(); }
  std::string failure() const override { return real_->failure(); }
  const std::string& id() const override { return real_->id(); }
  bool lost_rows() const override { return real_->lost_rows(); }
  void on_loss(unique_function<void()> handler) override { real_->on_loss(std::move(handler)); }
  void check_next() override { real_->check_next(); }

  // Commits what is held and runs what came of it. False: there was nothing.
  bool commit(asio::io_context& loop);
  // Somebody changed the file: the store may write of its own accord from now on.
  void watch_closely() { watched_ = true; }

 private:
  std::unique_ptr<store::Store> real_;
  std::deque<std::pair<std::vector<store::Statement>, unique_function<void(Result<void>)>>> held_;
  bool watched_ = false;
};

class VirtualLoop {
 public:
  VirtualLoop();
  Milliseconds now() const { return clock.steady(); }
  // Runs to `end`, with all that is to be done then.
  void run_until(Milliseconds end);
  void after(Milliseconds wait, unique_function<void()> then) { clock.ring_at(now() + wait, std::move(then)); }

  asio::io_context io;
  VirtualClock clock;
  Runtime runtime;
  HeldStore* store = nullptr;   // of the one machine that has one

 private:
  void settle();
};

}  // namespace kubeedge::model
