// The edge's link to its cloud as a state machine: when to dial, keepalives, pending requests, who gets a message.
// No I/O, no clock: the driver (edge_hub.h) moves bytes and calls poll().
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::edge {

// Reconnect: at once, then jittered waits of at most 10 s for the first 10 minutes of an outage, growing to 60 s after.
inline constexpr Milliseconds kFirstWaits{10'000};
inline constexpr Milliseconds kFirstPhase{600'000};
inline constexpr Milliseconds kLongestWait{60'000};
inline constexpr Milliseconds kRouteDialGap{1'000};   // changes of route dial at most this often
inline constexpr std::size_t kMaxPendingRequests = 1024;
inline constexpr int kMissedLeasesDead = 2;   // lease answers missing in a row = a dead link

class Link {
 public:
  using Done = unique_function<void(Result<Message>)>;
  enum class Target { kWaiter, kMeta, kTwin, kBus, kTask, kNone };
  // A request that is over; the driver calls `done` (never from inside a Link call).
  struct Finished {
    Done done;
    Result<Message> result;
  };
  struct Actions {
    bool dial = false;
    bool keepalive = false;
    bool close = false;   // the link is dead: close the socket and report on_down()
    std::vector<Finished> finished;
  };

  explicit Link(Milliseconds heartbeat, std::uint64_t seed = std::random_device{}());

  void start(Milliseconds now);
  void on_up(Milliseconds now);
  // Closed or the dial failed. Every pending request ends with kUnavailable.
  std::vector<Finished> on_down(Milliseconds now);
  // The host has other addresses or routes: what waits dials now.
  void on_route_change(Milliseconds now);
  bool up() const { return state_ == State::kUp; }

  // Registers a request that was (or is about to be) sent; `done` is taken unless this fails.
  Result<void> add_request(const Message& message, Milliseconds timeout, Milliseconds now, Done& done);
  // Where a received message goes; kWaiter also fills `finished`.
  Target route(const Message& message, std::vector<Finished>& finished);

  Actions poll(Milliseconds now);
  // When poll() wants to be called next.
  Milliseconds next(Milliseconds now) const;
  std::size_t pending() const { return pending_.size(); }

 private:
  enum class State { kIdle, kWaiting, kDialling, kUp };
  struct Pending {
    Done done;
    Milliseconds deadline{};
    std::string resource;
  };
  Milliseconds reconnect_wait(Milliseconds now);

  Milliseconds heartbeat_;
  std::mt19937_64 random_;
  State state_ = State::kIdle;
  Milliseconds dial_at_{}, dialled_at_{}, keepalive_at_{}, outage_since_{};
  bool outage_ = false;
  int failures_ = 0, missed_leases_ = 0;
  std::map<MessageId, Pending> pending_;
};

}  // namespace kubeedge::edge
