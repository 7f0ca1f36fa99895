#include "sim_network.h"

#include "base/text.h"
#include "wire/message_codec.h"

namespace kubeedge::model {
namespace {

constexpr Milliseconds kTcpGivesUp{20'000};   // keepalive and TCP_USER_TIMEOUT of both daemons
constexpr Milliseconds kDialTimeout{10'000};
constexpr Milliseconds kLate{8'000};          // longer than a resend takes

}  // namespace

// Index 0 is the edge's end, 1 the cloud's; what goes to end i is with i.
struct SimNetwork::Wire {
  struct Side {
    End* end = nullptr;
    net::WebSocket::Handlers handlers;
    bool started = false, closed = false;
    std::deque<Bytes> early;               // came before start()
    std::deque<Bytes> swallowed;           // by a stall
    std::optional<std::string> swallowed_end;
    Milliseconds busy_until{0};            // messages keep their order
  };
  std::array<Side, 2> sides;
  bool broken = false;

  // For the eye: seen with KUBEEDGE_SEED only.
  static void tell(const Runtime& runtime, int to, const Bytes& text) {
    if (!runtime.log().enabled(LogLevel::kInfo)) return;
    const auto m = wire::decode(text);
    if (m) base::log(runtime.log(), LogLevel::kInfo, "network", "{:.3f} s, {} hears {} {} {} parent {} id {}", static_cast<double>(runtime.clock().steady().count()) / 1000, to == 0 ? "edge" : "cloud",
                     m->operation, m->resource, m->resource_version, m->parent_id.str().substr(0, 6), m->id.str().substr(0, 6));
  }

  void hear(int to, Bytes text) {
    Side& side = sides[static_cast<std::size_t>(to)];
    if (broken || side.closed || side.end == nullptr) return;
    if (!side.started) return side.early.push_back(std::move(text));
    side.handlers.on_message(std::move(text));
  }
  void end(int to, const std::string& why) {
    Side& side = sides[static_cast<std::size_t>(to)];
    if (std::exchange(side.closed, true) || side.end == nullptr || !side.handlers.on_closed) return;
    side.handlers.on_closed(Error{Errc::kUnavailable, why});
  }
};

class SimNetwork::End final : public net::WebSocket {
 public:
  End(SimNetwork& network, std::shared_ptr<Wire> wire, int side) : network_(network), wire_(std::move(wire)), side_(side) { mine().end = this; }
  ~End() override {
    mine().end = nullptr;
    if (!std::exchange(mine().closed, true)) network_.close(wire_, 1 - side_, "the peer is gone");
  }
  void start(Handlers handlers) override {
    mine().handlers = std::move(handlers);
    mine().started = true;
    for (Bytes& text : std::exchange(mine().early, {}))
      network_.loop_.after(Milliseconds{0}, [wire = wire_, side = side_, text = std::move(text)]() mutable { wire->hear(side, std::move(text)); });
  }
  void send(Bytes text) override {
    if (!mine().closed) network_.send(wire_, side_, std::move(text));
  }
  void ping(Bytes) override {}
  std::size_t queued_bytes() const override { return 0; }
  void close(std::uint16_t, std::string_view reason) override {
    if (mine().closed) return;
    network_.close(wire_, 1 - side_, std::string(reason));
    network_.loop_.after(Milliseconds{0}, [wire = wire_, side = side_, why = std::string(reason)] { wire->end(side, why); });
  }
  std::string peer_address() const override { return side_ == 0 ? "10.0.0.1:10000" : "10.0.0.2:40000"; }
  std::string local_address() const override { return side_ == 0 ? "10.0.0.2:40000" : "10.0.0.1:10000"; }

 private:
  Wire::Side& mine() { return wire_->sides[static_cast<std::size_t>(side_)]; }
  SimNetwork& network_;
  std::shared_ptr<Wire> wire_;
  int side_;
};

Milliseconds SimNetwork::delay() { return Milliseconds{1 + static_cast<std::int64_t>(random_() % (random_() % 10 == 0 ? 2'000 : 30))}; }

void SimNetwork::dial(std::string store_id, std::function<void(Result<std::unique_ptr<net::WebSocket>>)> done) {
  if (stalled()) return loop_.after(kDialTimeout, [done] { done(Error{Errc::kTimeout, "the dial timed out"}); });
  loop_.after(delay(), [this, store_id = std::move(store_id), done] {
    if (stalled()) return loop_.after(kDialTimeout, [done] { done(Error{Errc::kTimeout, "the dial timed out"}); });
    auto wire = std::make_shared<Wire>();
    wires_.push_back(wire);
    auto mine = std::make_unique<End>(*this, wire, 0);
    if (!accept_ || !accept_(store_id, std::make_unique<End>(*this, wire, 1))) return done(Error{Errc::kUnavailable, "connection refused"});
    done(std::unique_ptr<net::WebSocket>(std::move(mine)));
  });
}

void SimNetwork::send(const std::shared_ptr<Wire>& wire, int from, Bytes text) {
  const int to = 1 - from;
  if (chance(faults_.lost)) return;
  if (chance(faults_.doubled)) deliver(wire, to, delay(), text);
  if (chance(faults_.late)) {
    return loop_.after(Milliseconds{static_cast<std::int64_t>(random_()) % kLate.count()}, [this, wire, to, text = std::move(text)]() mutable { Wire::tell(loop_.runtime, to, text), wire->hear(to, std::move(text)); });
  }
  deliver(wire, to, delay(), std::move(text));
}

void SimNetwork::deliver(const std::shared_ptr<Wire>& wire, int to, Milliseconds wait, Bytes text) {
  Wire::Side& side = wire->sides[static_cast<std::size_t>(to)];
  side.busy_until = std::max(side.busy_until, loop_.now() + wait);
  loop_.clock.ring_at(side.busy_until, [this, wire, to, text = std::move(text)]() mutable {
    if (swallows_[static_cast<std::size_t>(to)]) return wire->sides[static_cast<std::size_t>(to)].swallowed.push_back(std::move(text));
    Wire::tell(loop_.runtime, to, text);
    wire->hear(to, std::move(text));
  });
}

void SimNetwork::close(const std::shared_ptr<Wire>& wire, int to, const std::string& why) {
  Wire::Side& side = wire->sides[static_cast<std::size_t>(to)];
  side.busy_until = std::max(side.busy_until, loop_.now() + delay());
  loop_.clock.ring_at(side.busy_until, [this, wire, to, why] {
    if (swallows_[static_cast<std::size_t>(to)]) wire->sides[static_cast<std::size_t>(to)].swallowed_end = why;
    else wire->end(to, why);
  });
}

void SimNetwork::stall(bool to_edge, bool to_cloud) {
  if (stalled()) return;
  swallows_ = {to_edge, to_cloud};
  // Without acknowledgements either end gives up, whichever way is gone.
  loop_.after(kTcpGivesUp, [this, which = ++stall_] {
    if (which == stall_) break_all("connection timed out");
  });
}

void SimNetwork::resume() {
  if (!stalled()) return;
  swallows_ = {};
  ++stall_;
  for (const auto& weak : wires_) {
    const auto wire = weak.lock();
    if (!wire) continue;
    for (int to : {0, 1}) {
      Wire::Side& side = wire->sides[static_cast<std::size_t>(to)];
      for (Bytes& text : std::exchange(side.swallowed, {})) deliver(wire, to, Milliseconds{1}, std::move(text));
      if (side.swallowed_end) close(wire, to, *std::exchange(side.swallowed_end, std::nullopt));
    }
  }
}

void SimNetwork::reset() { break_all("connection reset by peer"); }

void SimNetwork::break_all(const std::string& why) {
  for (const auto& weak : std::exchange(wires_, {}))
    if (const auto wire = weak.lock()) {
      wire->broken = true;
      for (int to : {0, 1}) loop_.after(delay(), [wire, to, why] { wire->end(to, why); });
    }
}

}  // namespace kubeedge::model
