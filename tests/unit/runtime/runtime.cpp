#include <string>
#include <thread>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "runtime/timer.h"

using namespace kubeedge;

TEST_CASE("a timer fires once, may start itself again, and not after it is gone") {
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  int fired = 0;
  runtime::Timer timer{runtime};
  timer.start(Milliseconds{1}, [&] {
    ++fired;
    CHECK_FALSE(timer.running());
    timer.start(Milliseconds{1}, [&] { ++fired; });
  });
  {
    runtime::Timer gone{runtime};
    gone.start(Milliseconds{1}, [&] { fired += 100; });
  }
  runtime::Timer replaced{runtime};
  replaced.start(Milliseconds{1}, [&] { fired += 1000; });
  replaced.start(Milliseconds{2}, [&] { fired += 10; });
  loop.run();
  CHECK(fired == 12);
}

TEST_CASE("blocking work runs in order on another thread and answers on the loop") {
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  const auto here = std::this_thread::get_id();
  std::string order;
  for (const char name : {'a', 'b', 'c'})
    runtime.run_blocking([&, name] { CHECK(std::this_thread::get_id() != here); order += name; },
                         [&] { CHECK(std::this_thread::get_id() == here); });
  loop.run();
  CHECK(order == "abc");
}

TEST_CASE("a program with another asio than the library's is refused with a reason") {
  asio::io_context loop;
  CHECK(Runtime{loop.get_executor()}.usable());
  AsioFacts older;
  older.version = 101200;
  CHECK(Runtime(loop.get_executor(), stderr_logger(), system_clock(), older).usable().error().message.find("asio 101200") != std::string::npos);
  AsioFacts apart;
  apart.loop_is_shared = false;
  CHECK(Runtime(loop.get_executor(), stderr_logger(), system_clock(), apart).usable().error().message.find("libkubeedge.a") != std::string::npos);
}
