#include "net/resolver.h"

#include <netdb.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include "base/text.h"

namespace kubeedge::net {
namespace {

Result<std::vector<Address>> look_up(const Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (code != 0) return base::error(Errc::kUnavailable, "cannot resolve {}: {}", endpoint.host, gai_strerror(code));
  std::vector<Address> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Address address;
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

}  // namespace

// The thread's half and the loop's. What belongs to the loop (handlers, the hold on it) never leaves `waiting`, which
// shutdown() empties: a thread that outlives its loop finds nothing to touch.
struct Resolver::Shared {
  struct Job {
    std::uint64_t number;
    Endpoint endpoint;
  };
  struct Waiting {
    asio::executor_work_guard<asio::any_io_executor> hold;
    Done done;
  };

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> jobs;
  std::map<std::uint64_t, Waiting> waiting;
  std::uint64_t last = 0;
  std::thread thread;
  bool busy = false, ended = false;

  static void run(const std::shared_ptr<Shared>& self) {
    std::unique_lock lock(self->mutex);
    for (;;) {
      self->wake.wait(lock, [&] { return self->ended || !self->jobs.empty(); });
      if (self->ended) return;
      const Job job = std::move(self->jobs.front());
      self->jobs.pop_front();
      self->busy = true;
      lock.unlock();
      auto result = look_up(job.endpoint);
      lock.lock();
      self->busy = false;
      if (self->ended) return;
      auto found = self->waiting.extract(job.number);
      Waiting& one = found.mapped();
      asio::post(one.hold.get_executor(), [done = std::move(one.done), result = std::move(result)]() mutable { done(std::move(result)); });
    }
  }
};

Resolver& Resolver::of(const asio::any_io_executor& executor) {
  return asio::use_service<Resolver>(asio::query(executor, asio::execution::context));
}

Resolver::Resolver(asio::execution_context& context) : asio::execution_context::service(context), shared_(std::make_shared<Shared>()) {}

Resolver::~Resolver() = default;

void Resolver::resolve(const asio::any_io_executor& executor, const Endpoint& endpoint, Done done) {
  const std::lock_guard lock(shared_->mutex);
  if (shared_->waiting.size() >= kMaxWaiting) {
    asio::post(executor, [done = std::move(done), name = endpoint.host]() mutable {
      done(base::error(Errc::kLimitExceeded, "cannot resolve {}: {} names are waiting for the name server", name, kMaxWaiting));
    });
    return;
  }
  const std::uint64_t number = ++shared_->last;
  shared_->jobs.push_back({number, endpoint});
  shared_->waiting.emplace(number, Shared::Waiting{asio::make_work_guard(executor), std::move(done)});
  if (!shared_->thread.joinable()) shared_->thread = std::thread([shared = shared_] { Shared::run(shared); });
  shared_->wake.notify_one();
}

void Resolver::shutdown() noexcept {
  std::unique_lock lock(shared_->mutex);
  shared_->ended = true;
  const auto dropped = std::exchange(shared_->waiting, {});
  std::thread thread = std::move(shared_->thread);
  const bool busy = shared_->busy;
  lock.unlock();
  shared_->wake.notify_one();
  if (!thread.joinable()) return;
  busy ? thread.detach() : thread.join();
}

}  // namespace kubeedge::net
