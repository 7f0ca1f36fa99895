// The edge's one link to its cloud, as the modules see it. EdgeHub implements it, tests fake it.
#pragma once

#include <cstddef>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::edge {

class CloudLink {
 public:
  virtual ~CloudLink() = default;
  virtual bool up() const = 0;
  // Sends when up; otherwise drops and counts (whoever needs more keeps its own latest state).
  virtual void send(Message message) = 0;
  // Of what was sent: bytes that the kernel has not taken yet. For those who can wait.
  virtual std::size_t unsent_bytes() const { return 0; }
  // Sends and waits for the message whose parent_id is this one's id. kUnavailable at once when down or
  // when the link breaks, kTimeout after `timeout`. An `error` operation is kInternal with its text.
  virtual void request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) = 0;
};

// Gets messages of one group, or one group's answers that no request waits for.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  virtual void on_message(Message message) = 0;
};

class LinkObserver {
 public:
  virtual ~LinkObserver() = default;
  virtual void on_link(bool up) = 0;
};

}  // namespace kubeedge::edge
