// The configured rate of what an edge sends (messageQPS, messageBurst): a token bucket and the messages that wait for it.
// No I/O, no clock: the driver (edge_hub.h) sends what take() gives and calls it again at next().
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>

namespace kubeedge::edge {

inline constexpr std::size_t kMaxPacedMessages = 1024;   // upstream's queue of a module; beyond it the oldest is dropped
// Upstream's defaults. A file that was written by `--defaultconfig` names them without meaning a limit: they limit nothing here.
inline constexpr int kUnlimitedQps = 30;
inline constexpr int kUnlimitedBurst = 60;

class MessageRate {
 public:
  // qps <= 0 or upstream's default pair: no limit, everything may be sent at once. A burst below 1 counts as 1.
  MessageRate(int qps, int burst);

  bool limits() const { return qps_ > 0; }
  // Leases and status never wait: a node must not look dead because its devices talk much.
  static bool counts(const Message& message);

  void push(Message message);
  // What may be sent now, in order.
  std::vector<Message> take(Milliseconds now);
  // When take() has something to give; nothing while nobody waits.
  std::optional<Milliseconds> next(Milliseconds now) const;
  // The link broke: who needs more than once keeps its own latest state.
  void clear();
  std::size_t waiting_bytes() const { return waiting_bytes_; }   // about what they will take on the wire
  std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::size_t kHeaderBytes = 250;
  static std::size_t cost(const Message& message);
  void refill(Milliseconds now);
  Message pop();

  double qps_, burst_, tokens_;
  std::optional<Milliseconds> filled_;   // when tokens_ was right
  std::deque<Message> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace kubeedge::edge
