#include "cloud/standalone/workloads/work_queue.h"

#include <algorithm>
#include <map>
#include <set>

#include "runtime/timer.h"

namespace kubeedge::cloud::workloads {

struct WorkQueue::Impl : std::enable_shared_from_this<WorkQueue::Impl> {
  Impl(const Runtime& r, std::function<void(const std::string&)> w) : runtime(r), work(std::move(w)), timer(r) {}

  Runtime runtime;
  std::function<void(const std::string&)> work;
  runtime::Timer timer;
  std::set<std::string> ready, busy, again;
  std::map<std::string, Milliseconds> due;     // on the steady clock
  std::map<std::string, Milliseconds> waits;   // of those that failed last time
  bool posted = false;

  void add(const std::string& key) {
    due.erase(key);
    if (busy.contains(key)) {
      again.insert(key);
      return;
    }
    ready.insert(key);
    if (std::exchange(posted, true)) return;
    runtime::post(runtime, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->run();
    });
  }

  void run() {
    posted = false;
    for (const std::string& key : std::exchange(ready, {})) {
      busy.insert(key);
      work(key);
    }
  }

  void add_after(const std::string& key, Milliseconds wait) {
    const Milliseconds when = runtime.clock().steady() + wait;
    const auto [slot, fresh] = due.try_emplace(key, when);
    if (!fresh) slot->second = std::min(slot->second, when);
    arm();
  }

  void arm() {
    if (due.empty()) return timer.cancel();
    const auto first = std::min_element(due.begin(), due.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    timer.start(std::max(Milliseconds{0}, first->second - runtime.clock().steady()), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->fire();
    });
  }

  void fire() {
    std::set<std::string> now;
    for (const auto& [key, when] : due)
      if (when <= runtime.clock().steady()) now.insert(key);
    for (const std::string& key : now) add(key);
    arm();
  }

  void done(const std::string& key, bool failed) {
    busy.erase(key);
    if (!failed) waits.erase(key);
    if (again.erase(key) > 0 && !failed) return add(key);
    if (!failed) return;
    Milliseconds& wait = waits[key];
    wait = wait.count() == 0 ? kFirstWait : std::min(wait * 2, kLastWait);
    add_after(key, wait);
  }
};

WorkQueue::WorkQueue(const Runtime& runtime, std::function<void(const std::string& key)> work) : impl_(std::make_shared<Impl>(runtime, std::move(work))) {}
WorkQueue::~WorkQueue() { impl_->timer.cancel(); }
void WorkQueue::add(const std::string& key) { impl_->add(key); }
void WorkQueue::add_after(const std::string& key, Milliseconds wait) { impl_->add_after(key, wait); }
void WorkQueue::done(const std::string& key, bool failed) { impl_->done(key, failed); }

}  // namespace kubeedge::cloud::workloads
