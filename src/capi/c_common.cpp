#include "capi/c_common.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace kubeedge::capi {
namespace {

thread_local std::string last_error;   // NOLINT: C's way to hand out a line

}  // namespace

ke_status to_c(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument: return KE_INVALID_ARGUMENT;
    case Errc::kNotFound: return KE_NOT_FOUND;
    case Errc::kAlreadyExists: return KE_ALREADY_EXISTS;
    case Errc::kConflict: return KE_CONFLICT;
    case Errc::kPermissionDenied: return KE_PERMISSION_DENIED;
    case Errc::kUnauthenticated: return KE_UNAUTHENTICATED;
    case Errc::kUnavailable: return KE_UNAVAILABLE;
    case Errc::kTimeout: return KE_TIMEOUT;
    case Errc::kCancelled: return KE_CANCELLED;
    case Errc::kLimitExceeded: return KE_LIMIT_EXCEEDED;
    case Errc::kUnimplemented: return KE_UNIMPLEMENTED;
    case Errc::kIo: return KE_IO;
    case Errc::kInternal: break;
  }
  return KE_INTERNAL;
}

ke_status failed(const Error& error) {
  last_error = error.message;
  return to_c(error.code);
}

unique_function<void(Result<void>)> Events::done(ke_done done, void* user) const {
  if (!done) return nullptr;
  return [loop = loop_, owner = owner(), done, user](Result<void> result) {
    emit(*loop, owner, [result = std::move(result), done, user] {
      if (result.ok()) done(user, KE_OK, "");
      else done(user, to_c(result.error().code), result.error().message.c_str());
    });
  };
}

unique_function<void(Result<TwinResult>)> Events::twin(ke_twin_fn done, void* user) const {
  return [loop = loop_, owner = owner(), done, user](Result<TwinResult> result) {
    emit(*loop, owner, [result = std::move(result), done, user] {
      if (!result) return done(user, to_c(result.error().code), result.error().message.c_str(), nullptr, 0);
      std::vector<ke_twin_property> list;
      for (const auto& [name, one] : *result)
        list.push_back({name.c_str(), one.expected ? one.expected->c_str() : nullptr, one.actual ? one.actual->c_str() : nullptr, one.type.c_str()});
      done(user, KE_OK, "", list.data(), list.size());
    });
  };
}

unique_function<void()> Events::event(ke_event_fn done, void* user) const {
  return [loop = loop_, owner = owner(), done, user] {
    if (done) emit(*loop, owner, [done, user] { done(user); });
  };
}

}  // namespace kubeedge::capi

using namespace kubeedge;
using capi::failed;
using capi::guarded;

const char* ke_version(void) { return KE_VERSION; }

const char* ke_status_name(ke_status status) {
  static const char* const kNames[] = {"ok", "invalid argument", "not found", "already exists", "conflict", "permission denied", "unauthenticated",
                                       "unavailable", "timeout", "cancelled", "limit exceeded", "unimplemented", "input/output", "internal"};
  const auto index = static_cast<std::size_t>(status);
  return index < sizeof kNames / sizeof *kNames ? kNames[index] : "unknown";
}

const char* ke_last_error(void) { return capi::last_error.c_str(); }

ke_status ke_loop_new(ke_log_level least, ke_loop** out) {
  return guarded([&] {
    if (!out || least < KE_LOG_DEBUG || least > KE_LOG_ERROR) return failed({Errc::kInvalidArgument, "ke_loop_new: a log level and a place for the loop are wanted"});
    constexpr LogLevel kLevels[] = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError};
    auto thread = LoopThread::create(stderr_logger(kLevels[least]));
    if (!thread) return failed(thread.error());
    auto loop = std::make_unique<ke_loop>();
    loop->thread = std::move(*thread);
    loop->stop_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->stop_fd < 0) return failed({Errc::kIo, std::string("eventfd: ") + std::strerror(errno)});
    *out = loop.release();
    return KE_OK;
  });
}

int ke_loop_fd(const ke_loop* loop) { return loop->thread->fd(); }

size_t ke_loop_drain(ke_loop* loop) {
  std::size_t count = 0;
  (void)guarded([&] {
    count = loop->thread->drain();
    return KE_OK;
  });
  return count;
}

ke_status ke_loop_run(ke_loop* loop) {
  pollfd wait[] = {{loop->thread->fd(), POLLIN, 0}, {loop->stop_fd, POLLIN, 0}};
  for (;;) {
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return failed({Errc::kIo, std::string("poll: ") + std::strerror(errno)});
    std::uint64_t stopped = 0;
    if (::read(loop->stop_fd, &stopped, sizeof stopped) > 0) return KE_OK;
    ke_loop_drain(loop);
  }
}

void ke_loop_stop(ke_loop* loop) {
  const std::uint64_t one = 1;
  (void)!::write(loop->stop_fd, &one, sizeof one);   // async-signal-safe
}

void ke_loop_free(ke_loop* loop) {
  if (!loop) return;
  loop->thread.reset();
  ::close(loop->stop_fd);
  delete loop;
}
