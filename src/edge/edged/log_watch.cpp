#include "edge/edged/log_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include <asio/posix/stream_descriptor.hpp>

#include "base/text.h"
#include "runtime/timer.h"

namespace kubeedge::edged {
namespace {

constexpr std::uint32_t kEvents = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE;

}  // namespace

struct LogWatch::Impl : std::enable_shared_from_this<Impl> {
  // One who follows. The timer runs between a change and its telling.
  struct Follower {
    Follower(const Runtime& runtime, std::function<void()> f) : timer(runtime), changed(std::move(f)) {}
    runtime::Timer timer;
    std::function<void()> changed;
  };
  using FollowerPtr = std::shared_ptr<Follower>;

  explicit Impl(const Runtime& r) : runtime(r) {}

  Runtime runtime;
  std::optional<asio::posix::stream_descriptor> inotify;
  std::map<int, std::map<Follower*, std::weak_ptr<Follower>>> watches;   // by inotify's number of the folder
  bool complained = false;

  int open(const std::string& folder) {
    if (!inotify) {
      const int fd = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
      if (fd < 0) return -1;
      inotify.emplace(runtime.executor(), fd);
      wait();
    }
    return ::inotify_add_watch(inotify->native_handle(), folder.c_str(), kEvents);   // the same folder gives the same number
  }

  void wait() {
    inotify->async_wait(asio::posix::stream_descriptor::wait_read, [weak = weak_from_this()](const asio::error_code& error) {
      const auto self = weak.lock();
      if (!self || error || !self->inotify) return;
      self->drain();
      self->wait();
    });
  }

  void drain() {
    alignas(inotify_event) char buffer[16 * 1024];
    for (;;) {
      const ssize_t got = ::read(inotify->native_handle(), buffer, sizeof buffer);
      if (got <= 0) return;
      for (ssize_t at = 0; at < got;) {
        inotify_event event{};
        std::memcpy(&event, buffer + at, sizeof event);
        at += static_cast<ssize_t>(sizeof event + event.len);
        if ((event.mask & IN_Q_OVERFLOW) != 0) {
          for (const auto& [number, followers] : watches) tell(followers);
        } else if (const auto found = watches.find(event.wd); found != watches.end()) {
          tell(found->second);
        }
      }
    }
  }

  static void tell(const std::map<Follower*, std::weak_ptr<Follower>>& followers) {
    for (const auto& [key, weak] : followers)
      if (const auto follower = weak.lock(); follower && !follower->timer.running()) arm(follower, kSettle);
  }

  static void arm(const FollowerPtr& follower, Milliseconds after) {
    follower->timer.start(after, [weak = std::weak_ptr<Follower>(follower)] {
      if (const auto again = weak.lock()) again->changed();
    });
  }

  void poll(const FollowerPtr& follower) {
    follower->timer.start(kBlindPoll, [weak = std::weak_ptr<Follower>(follower), owner = weak_from_this()] {
      const auto again = weak.lock();
      const auto self = owner.lock();
      if (!again || !self) return;
      again->changed();
      self->poll(again);
    });
  }

  void forget(int number, Follower* follower) {
    const auto found = watches.find(number);
    if (found == watches.end()) return;
    found->second.erase(follower);
    if (!found->second.empty()) return;
    watches.erase(found);
    ::inotify_rm_watch(inotify->native_handle(), number);
  }
};

LogWatch::LogWatch(const Runtime& runtime) : impl_(std::make_shared<Impl>(runtime)) {}
LogWatch::~LogWatch() = default;

std::shared_ptr<void> LogWatch::watch(const std::string& folder, std::function<void()> changed) {
  auto follower = std::make_shared<Impl::Follower>(impl_->runtime, std::move(changed));
  const int number = impl_->open(folder);
  if (number < 0) {
    if (!std::exchange(impl_->complained, true))
      base::log(impl_->runtime.log(), LogLevel::kWarning, "edged", "logs are looked at once a second: inotify of {}: {}", folder, std::strerror(errno));
    impl_->poll(follower);
    return follower;
  }
  impl_->watches[number][follower.get()] = follower;
  return {follower.get(), [follower, number, owner = std::weak_ptr<Impl>(impl_)](void*) mutable {
            if (const auto self = owner.lock()) self->forget(number, follower.get());
            follower.reset();
          }};
}

}  // namespace kubeedge::edged
