// Names into addresses, on a thread of its own for each loop: a name server that does not answer holds a look-up for many
// seconds, and neither the disk work of pods (the blocking thread) nor the end of the process may wait for it.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/execution_context.hpp>

#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

#include "net/stream.h"

namespace kubeedge::net {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

// A service of the loop's execution context. The thread starts with the first look-up; the context's end waits for no
// look-up that is under way.
class Resolver final : public asio::execution_context::service {
 public:
  static constexpr std::size_t kMaxWaiting = 1000;   // look-ups; one more is kLimitExceeded
  using key_type = Resolver;
  inline static asio::execution_context::id id;
  using Done = unique_function<void(Result<std::vector<Address>>)>;

  static Resolver& of(const asio::any_io_executor& executor);
  explicit Resolver(asio::execution_context& context);
  ~Resolver() override;

  // On the loop; calls back there, never at once, in the order of the calls. Holds the loop until then.
  void resolve(const asio::any_io_executor& executor, const Endpoint& endpoint, Done done);

 private:
  struct Shared;
  void shutdown() noexcept override;
  std::shared_ptr<Shared> shared_;
};

}  // namespace kubeedge::net
