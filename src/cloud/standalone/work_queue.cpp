#include "cloud/standalone/work_queue.h"

#include <algorithm>

#include "cloud/standalone/workloads/work_list.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {

struct WorkQueue::Impl : std::enable_shared_from_this<WorkQueue::Impl> {
  Impl(const Runtime& r, std::function<void(const std::string&)> w) : runtime(r), work(std::move(w)), timer(r) {}

  Runtime runtime;
  std::function<void(const std::string&)> work;
  runtime::Timer timer;
  workloads::WorkList list;

  Milliseconds now() const { return runtime.clock().steady(); }

  void arm() {
    const std::optional<Milliseconds> next = list.next();
    if (!next) return timer.cancel();
    timer.start(std::max(Milliseconds{0}, *next - now()), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->run();
    });
  }

  void run() {
    for (const std::string& key : list.take(now())) work(key);
    arm();
  }
};

WorkQueue::WorkQueue(const Runtime& runtime, std::function<void(const std::string& key)> work) : impl_(std::make_shared<Impl>(runtime, std::move(work))) {}

WorkQueue::~WorkQueue() {
  impl_->timer.cancel();
  impl_->work = [](const std::string&) {};
}

void WorkQueue::add(const std::string& key) {
  impl_->list.add(key);
  impl_->arm();
}

void WorkQueue::add_after(const std::string& key, Milliseconds wait) {
  impl_->list.add_at(key, impl_->now() + wait);
  impl_->arm();
}

void WorkQueue::done(const std::string& key, bool failed) {
  impl_->list.done(key, failed, impl_->now());
  impl_->arm();
}

}  // namespace kubeedge::cloud
