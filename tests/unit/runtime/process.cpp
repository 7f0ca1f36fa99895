#include "runtime/process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include <asio/io_context.hpp>
#include <doctest/doctest.h>

#include "base/text.h"
#include "runtime/files.h"

using namespace kubeedge;

namespace {

struct Output {
  std::string path = "/tmp/ke-process-" + base::random_hex(6);
  ~Output() { ::unlink(path.c_str()); }
  std::string text() const {
    const auto read = runtime::read_text_file(path);
    return read ? *read : read.error().message;
  }
};

// How `script` ended, after `meanwhile`.
std::string ending(const std::string& script, const Output& output, const std::function<void(runtime::ProcessWatch&)>& meanwhile = {}) {
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  auto process = runtime::start_process({"/bin/sh", "-c", script}, output.path);
  REQUIRE(process);
  std::string ended;
  runtime::ProcessWatch watch(runtime, std::move(*process), [&](const std::string& how) {
    ended = how;
    loop.stop();
  });
  if (meanwhile) meanwhile(watch);
  loop.run_for(std::chrono::seconds(10));
  return ended;
}

}  // namespace

TEST_CASE("a program is watched to its end, with what it printed and why it ended") {
  const Output output;
  CHECK(ending("echo out; echo err >&2; exit 3", output) == "exited with 3");
  CHECK(output.text() == "out\nerr\n");
  CHECK(ending("sleep 60", output, [](runtime::ProcessWatch& watch) { watch.signal(SIGTERM); }) == "killed by signal 15");
  CHECK(output.text().empty());
}

TEST_CASE("a program gets no descriptor of ours, no ignored or blocked signal, and a process group of its own") {
  const Output output;
  const std::string ours_path = "/etc/hostname";
  const int ours = ::open(ours_path.c_str(), O_RDONLY);   // not close-on-exec
  REQUIRE(ours >= 0);
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &old);
  CHECK(ending("echo $(readlink /proc/$$/fd/*); grep -E '^Sig(Blk|Ign)' /proc/self/status; test $(ps -o pgid= -p $$) = $$ && echo own", output) == "exited with 0");
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::signal(SIGPIPE, before);
  ::close(ours);
  const std::string said = output.text();
  CAPTURE(said);
  CHECK(said.find(ours_path) == std::string::npos);
  const auto mask = [&](const std::string& name) { return std::stoull(said.substr(said.find(name) + name.size()), nullptr, 16); };
  CHECK((mask("SigBlk:") & 1U << (SIGTERM - 1)) == 0);
  CHECK((mask("SigIgn:") & 1U << (SIGPIPE - 1)) == 0);
  CHECK(said.ends_with("own\n"));
}

TEST_CASE("what cannot be started says why; a process that is gone is not found; one of somebody else is watched") {
  const Output output;
  CHECK(runtime::start_process({"/nonexistent/program"}, output.path).error().message.find("/nonexistent/program: No such file") == 0);
  asio::io_context loop;
  const Runtime runtime{loop.get_executor()};
  auto process = runtime::start_process({"/bin/sh", "-c", "exec sleep 60"}, output.path);
  REQUIRE(process);
  CHECK_FALSE(process->ended_within(Milliseconds{50}));
  auto again = runtime::open_process(process->pid());
  REQUIRE(again);
  again->signal(SIGKILL);
  CHECK(process->ended_within(Milliseconds{5'000}));
  const pid_t pid = process->pid();
  runtime::ProcessWatch watch(runtime, std::move(*process), [&](const std::string& how) { CHECK(how == "killed by signal 9"); });
  loop.run_for(std::chrono::seconds(5));
  CHECK(runtime::open_process(pid).error().code == Errc::kNotFound);
}
