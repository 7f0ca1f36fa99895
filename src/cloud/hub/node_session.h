// One node's session without I/O: messages, acknowledgements and time in; messages to send out (hub-protocol 4). Pure.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>

#include "cloud/ports/edge_link.h"

namespace kubeedge::cloud {

// hub-protocol 4.3 on the wire form of a down message.
bool needs_ack(const Message& message);

// What the session and the sync records need to know of an ACK-able message's object.
struct ObjectKey {
  std::string uid, api_version, kind, ns, name;
  bool deletion = false;       // operation delete
  bool terminating = false;    // metadata.deletionTimestamp is set
};
ObjectKey object_key(const Message& message);

// Unsigned decimal compare as upstream's; anything not a number counts as 0.
std::uint64_t version_number(const std::string& resource_version);

struct SessionOptions {
  Milliseconds resend_after{5'000};     // an unacknowledged message goes again, with the same id
  Milliseconds keepalive{30'000};
  // Upstream has one message in flight a node; we keep a small window over different objects (an object's own
  // messages stay strictly in turn). A Go edge buffers 100 messages and drops the oldest past that.
  std::size_t window = 16;
  std::size_t max_queued = 20'000;      // objects waiting; past it the session is closed and resent at reconnect
};

class NodeSession {
 public:
  NodeSession(SessionOptions options, Milliseconds now);

  // Objects wait until begin(): the connect-time resend comes first. Answers and NO-ACK messages pass at once.
  void begin(Milliseconds now);
  bool begun() const { return begun_; }
  // False: an object without uid, or without a version and no delete, is not sendable; or the queue is full (overflowed()).
  bool enqueue(Message message, Milliseconds now);
  bool overflowed() const { return overflowed_; }

  void on_keepalive(Milliseconds now) { last_keepalive_ = now; }
  bool dead(Milliseconds now) const { return now - last_keepalive_ >= options_.keepalive; }

  // An up message with operation response: the message that it acknowledges, if it was one of ours.
  std::optional<Message> on_ack(const MessageId& parent, Milliseconds now);
  // Resends what is overdue.
  void on_time(Milliseconds now);
  // When on_time() or dead() can next have something to say.
  Milliseconds next_deadline() const;

  // Messages to put on the wire, in order.
  std::vector<Message> take_sends();
  std::size_t in_flight() const { return flights_.size(); }
  std::size_t queued() const { return queue_.size(); }

  struct Counters {
    std::uint64_t acknowledged = 0, resent = 0;
    std::uint64_t coalesced = 0;   // an older state that never left, replaced by its successor or passed over
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Flight {
    Message message;
    std::string uid;
    bool answer = false;
    Milliseconds resend_at{0};
    std::uint64_t number = 0;   // resends keep the order of the sends
  };
  struct Waiting {
    Message message;
    ObjectKey key;
  };
  void pump(Milliseconds now);
  void launch(Message message, std::string uid, bool answer, Milliseconds now);
  bool resource_in_flight(const std::string& resource) const;

  SessionOptions options_;
  Milliseconds last_keepalive_;
  bool begun_ = false;
  bool overflowed_ = false;
  std::map<std::string, Flight> flights_;     // by message id
  std::uint64_t launched_ = 0;
  std::list<Waiting> queue_;                  // at most one a UID
  std::vector<Message> sends_;
  Counters counters_;
};

}  // namespace kubeedge::cloud
