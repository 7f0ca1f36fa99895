#include "net/route_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <asio/posix/stream_descriptor.hpp>

#include "base/text.h"
#include "runtime/timer.h"

namespace kubeedge::net {

struct RouteWatch::Impl : std::enable_shared_from_this<RouteWatch::Impl> {
  Impl(const Runtime& runtime, int fd, unique_function<void()> f) : netlink(runtime.executor(), fd), settle(runtime), changed(std::move(f)) {}

  asio::posix::stream_descriptor netlink;
  runtime::Timer settle;
  unique_function<void()> changed;

  void wait() {
    netlink.async_wait(asio::posix::stream_descriptor::wait_read, [weak = weak_from_this()](const asio::error_code& error) {
      const auto self = weak.lock();
      if (!self || error) return;
      self->drain();
      if (!self->settle.running())
        self->settle.start(kRouteSettle, [weak] {
          if (const auto again = weak.lock()) again->changed();
        });
      self->wait();
    });
  }

  // What exactly changed is of no interest, nor whether the kernel dropped some of it (ENOBUFS).
  void drain() {
    std::array<char, 8192> scrap;
    while (::recv(netlink.native_handle(), scrap.data(), scrap.size(), MSG_DONTWAIT) > 0 || errno == ENOBUFS) errno = 0;
  }
};

RouteWatch::RouteWatch(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RouteWatch::~RouteWatch() { impl_->settle.cancel(); }

Result<std::unique_ptr<RouteWatch>> RouteWatch::open(const Runtime& runtime, unique_function<void()> changed) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return base::error(Errc::kUnavailable, "a netlink socket: {}", std::strerror(errno));
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) {
    const int why = errno;
    ::close(fd);
    return base::error(Errc::kUnavailable, "rtnetlink's groups: {}", std::strerror(why));
  }
  auto impl = std::make_shared<Impl>(runtime, fd, std::move(changed));
  impl->wait();
  return std::unique_ptr<RouteWatch>(new RouteWatch(std::move(impl)));
}

}  // namespace kubeedge::net
