// A store that lives many lives on one FaultDisk, beside what must be in it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "fault_disk.h"
#include "runtime/store_thread.h"
#include "store/store.h"

namespace kubeedge::tests {

// "m/<key>" and "d/<device>/<name>" to the value.
using Content = std::map<std::string, std::string>;

struct HandClock final : Clock {
  Milliseconds now{1'000'000};
  std::int64_t unix_ms() const override { return now.count(); }
  Milliseconds steady() const override { return now; }
};

struct Silence final : Logger {
  bool enabled(LogLevel) const override { return false; }
  void write(LogLevel, std::string_view, std::string_view) override {}
};

struct TempFile {
  TempFile();
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  std::string path;
};

// What one group of writes came to.
struct Outcome {
  Content acknowledged;            // the content before, and what was acknowledged of the group
  Content whole_group;             // and all of it that could have been committed
  int told_good = 0, told_bad = 0;
  std::string error;               // the last one that is not the batch's own fault
};

class StoreLife {
 public:
  StoreLife(const std::string& path, store::OnDamage on_damage);
  bool opened() const { return opened_.ok(); }
  std::string error() const { return opened_ ? std::string() : opened_.error().message; }
  store::Store& store() { return **opened_; }
  Content content();
  // Batches that share one COMMIT, so that a seed is enough to repeat a run.
  Outcome write_group(const Content& before, std::mt19937_64& random);
  void settle();

  HandClock clock;

 private:
  Silence log_;
  asio::io_context loop_;
  Runtime runtime_{loop_.get_executor(), log_, clock};
  Result<std::unique_ptr<store::Store>> opened_;
};

}  // namespace kubeedge::tests
