#include "runtime/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.h"

namespace kubeedge::runtime {
namespace {

constexpr int kFirstForeignDescriptor = 3;

// The attributes and file actions of one start.
struct Spawn {
  Spawn() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&files);
  }
  ~Spawn() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  posix_spawnattr_t attributes{};
  posix_spawn_file_actions_t files{};
};

std::string how_it_ended(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return "ended";
  if (WIFEXITED(status)) return fmt::format("exited with {}", WEXITSTATUS(status));
  return fmt::format("killed by signal {}", WTERMSIG(status));
}

}  // namespace

ProcessHandle::~ProcessHandle() {
  if (fd_ >= 0) ::close(fd_);
}

void ProcessHandle::signal(int number) const { (void)::syscall(SYS_pidfd_send_signal, fd_, number, nullptr, 0); }

bool ProcessHandle::ended_within(Milliseconds patience) const {
  pollfd wait{fd_, POLLIN, 0};
  return ::poll(&wait, 1, static_cast<int>(patience.count())) > 0;
}

Result<ProcessHandle> open_process(pid_t pid) {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return base::error(errno == ESRCH ? Errc::kNotFound : Errc::kIo, "process {}: {}", pid, std::strerror(errno));
  return ProcessHandle(pid, static_cast<int>(fd));
}

Result<ProcessHandle> start_process(const std::vector<std::string>& argv, const std::string& output) {
  Spawn spawn;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&spawn.attributes, &none);
  posix_spawnattr_setsigdefault(&spawn.attributes, &all);
  posix_spawnattr_setpgroup(&spawn.attributes, 0);
  posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  posix_spawn_file_actions_addopen(&spawn.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&spawn.files, STDOUT_FILENO, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&spawn.files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&spawn.files, kFirstForeignDescriptor);
  std::vector<char*> arguments;
  for (const auto& one : argv) arguments.push_back(const_cast<char*>(one.c_str()));   // the C signature; it copies
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, argv.at(0).c_str(), &spawn.files, &spawn.attributes, arguments.data(), environ);
  if (failed != 0) return base::error(Errc::kIo, "{}: {}", argv[0], std::strerror(failed));
  return open_process(pid);   // not waited for yet, so the number is still its own
}

struct ProcessWatch::Impl {
  Impl(const Runtime& runtime, ProcessHandle process) : handle(std::move(process)), descriptor(runtime.executor(), ::fcntl(handle.fd(), F_DUPFD_CLOEXEC, 0)) {}

  ProcessHandle handle;
  asio::posix::stream_descriptor descriptor;
};

ProcessWatch::ProcessWatch(const Runtime& runtime, ProcessHandle process, unique_function<void(std::string how)> ended)
    : impl_(std::make_shared<Impl>(runtime, std::move(process))) {
  impl_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read, [weak = std::weak_ptr<Impl>(impl_), ended = std::move(ended)](std::error_code failed) mutable {
    const auto self = weak.lock();
    if (self && !failed) ended(how_it_ended(self->handle.pid()));
  });
}

ProcessWatch::~ProcessWatch() = default;
pid_t ProcessWatch::pid() const { return impl_->handle.pid(); }
void ProcessWatch::signal(int number) const { impl_->handle.signal(number); }

}  // namespace kubeedge::runtime
