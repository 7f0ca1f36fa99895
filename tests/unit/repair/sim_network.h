// The way between one edge and its cloud: WebSockets in virtual time that are late, stall, break; and, worse than TCP,
// lose, double and swap single messages.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <random>

#include "net/websocket.h"
#include "virtual_time.h"

namespace kubeedge::model {

struct Faults {
  double lost = 0, doubled = 0, late = 0;   // of each message; a late one is overtaken
};

class SimNetwork {
 public:
  // Who takes new connections; false when nobody is there.
  using Accept = std::function<bool(const std::string& store_id, std::unique_ptr<net::WebSocket> socket)>;

  SimNetwork(VirtualLoop& loop, std::uint64_t seed) : loop_(loop), random_(seed) {}
  void set_accept(Accept accept) { accept_ = std::move(accept); }
  void dial(std::string store_id, std::function<void(Result<std::unique_ptr<net::WebSocket>>)> done);

  void set_faults(Faults faults) { faults_ = faults; }
  // The path swallows what goes to the edge, to the cloud, or both, without a word. When it is back in time TCP delivers it.
  void stall(bool to_edge, bool to_cloud);
  void resume();
  bool stalled() const { return swallows_[0] || swallows_[1]; }
  // Every connection is reset; what was under way is lost.
  void reset();

  struct Wire;
  class End;

 private:
  friend class End;
  void send(const std::shared_ptr<Wire>& wire, int from, Bytes text);
  void deliver(const std::shared_ptr<Wire>& wire, int to, Milliseconds wait, Bytes text);
  void close(const std::shared_ptr<Wire>& wire, int to, const std::string& why);
  void break_all(const std::string& why);
  Milliseconds delay();
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }

  VirtualLoop& loop_;
  std::mt19937_64 random_;
  Accept accept_;
  Faults faults_;
  std::array<bool, 2> swallows_{};
  std::uint64_t stall_ = 0;   // which one
  std::vector<std::weak_ptr<Wire>> wires_;
};

}  // namespace kubeedge::model
