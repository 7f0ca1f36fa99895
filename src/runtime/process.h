// A program beside us, watched through its pidfd: no SIGCHLD and no thread of our own is needed for it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

namespace kubeedge::runtime {

// A process and its pidfd, which this closes.
class ProcessHandle {
 public:
  ProcessHandle(pid_t pid, int fd) : pid_(pid), fd_(fd) {}
  ProcessHandle(ProcessHandle&& other) noexcept : pid_(other.pid_), fd_(std::exchange(other.fd_, -1)) {}
  ProcessHandle& operator=(ProcessHandle&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~ProcessHandle();

  pid_t pid() const { return pid_; }
  int fd() const { return fd_; }
  void signal(int number) const;   // nothing where it is gone
  // Blocks; false = it runs on.
  bool ended_within(Milliseconds patience) const;

 private:
  pid_t pid_;
  int fd_;
};

// Blocks: for the blocking thread. `argv[0]` is a path. It gets none of our descriptors, no blocked or ignored signal, and a process
// group of its own (a ^C is not meant for it); what it prints goes to `output`, which is made anew.
Result<ProcessHandle> start_process(const std::vector<std::string>& argv, const std::string& output);
// kNotFound where there is none.
Result<ProcessHandle> open_process(pid_t pid);

// Lives on the runtime's executor. Its end ends the watching, not the process.
class ProcessWatch {
 public:
  // `ended` once: "exited with 1", "killed by signal 9"; of a process that is no child of ours just "ended".
  ProcessWatch(const Runtime& runtime, ProcessHandle process, unique_function<void(std::string how)> ended);
  ~ProcessWatch();
  pid_t pid() const;
  void signal(int number) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::runtime
