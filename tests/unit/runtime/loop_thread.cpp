#include <kubeedge/loop_thread.h>

#include <poll.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "runtime/timer.h"

using namespace kubeedge;

namespace {

bool readable(int fd, int milliseconds) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, milliseconds) == 1;
}

}  // namespace

TEST_CASE("a loop thread: objects live on it, what they tell comes out of its descriptor in order, on the thread that drains") {
  auto made = LoopThread::create();
  REQUIRE(made);
  LoopThread& loop = **made;
  CHECK_FALSE(readable(loop.fd(), 0));
  CHECK(loop.drain() == 0);
  const auto here = std::this_thread::get_id();
  std::optional<runtime::Timer> timer;
  std::vector<int> seen;
  bool other_thread = false;
  loop.call([&] {
    other_thread = std::this_thread::get_id() != here;
    timer.emplace(loop.runtime());
    timer->start(Milliseconds{1}, [&] {
      for (int i = 0; i < 3; ++i) loop.emit([&, i] { seen.push_back(std::this_thread::get_id() == here ? i : -1); });
    });
  });
  CHECK(other_thread);
  while (seen.size() < 3) {
    REQUIRE(readable(loop.fd(), 5000));
    loop.drain();
  }
  CHECK(seen == std::vector<int>{0, 1, 2});
  CHECK_FALSE(readable(loop.fd(), 0));
  loop.call([&] { timer.reset(); });
}

TEST_CASE("a loop thread waits for a slow program and loses nothing; call() and the end do not wait for drain()") {
  auto made = LoopThread::create();
  REQUIRE(made);
  LoopThread& loop = **made;
  const std::size_t more = LoopThread::kMaxEvents + 1000;
  std::size_t seen = 0;
  std::atomic<std::size_t> emitted = 0;
  loop.post([&] {
    for (std::size_t i = 0; i < more; ++i) {
      loop.emit([&] { ++seen; });
      ++emitted;
    }
  });
  while (emitted < LoopThread::kMaxEvents) std::this_thread::yield();
  CHECK(emitted <= LoopThread::kMaxEvents);
  bool called = false;
  loop.call([&] { called = true; });   // behind the post: the loop goes on without a drain
  CHECK(called);
  CHECK(emitted == more);
  while (seen < more) loop.drain();
  loop.post([&] {
    for (std::size_t i = 0; i < more; ++i) loop.emit([&] { ++seen; });
  });
  made->reset();
  CHECK(seen == more);
}
