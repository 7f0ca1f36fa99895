// Tells when the host's addresses or routes change (rtnetlink): a node whose cable comes back should not sit out a back-off.
#pragma once

#include <memory>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::net {

inline constexpr Milliseconds kRouteSettle{200};   // one change comes as a handful of messages

// Lives on the runtime's executor. `changed` runs there, once a burst; no call after the destructor.
class RouteWatch {
 public:
  // kUnavailable where the kernel or a sandbox gives no netlink socket.
  static Result<std::unique_ptr<RouteWatch>> open(const Runtime& runtime, unique_function<void()> changed);
  ~RouteWatch();

 private:
  struct Impl;
  explicit RouteWatch(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::net
