// Which uploads wait for the cloud, which are on their way and which rows may go. No I/O, no clock: uploads.h drives it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/resource.h>
#include <kubeedge/result.h>

namespace kubeedge::edge {

struct UploadLimits {
  std::size_t messages = 100'000;
  std::size_t bytes = 64 * 1024 * 1024;
  Milliseconds age{7 * 24 * 3'600'000LL};   // of an upload that the cloud, or its target, never took
};

// The oldest goes first and is let go of first. A row's id grows with its age.
// A cloud that answers may put an upload off, because its target is away: then those of its topic wait, the others go on. Once none
// of the topic is on its way any more the oldest is tried alone, and the rest follows when it was taken: so the order is kept.
class UploadQueue {
 public:
  using Id = std::int64_t;
  static constexpr std::size_t kRowBytes = 128;                    // what a row costs beside topic and payload
  // On their way to a cloud that answers: little, so that a slow uplink has room for leases, status and twins.
  static constexpr std::size_t kMaxUnconfirmed = 256;
  static constexpr std::size_t kMaxUnconfirmedBytes = 64 * 1024;   // a larger message goes alone
  static constexpr Milliseconds kMeetAfter{2'000};                 // a cloud that has not said by then that it answers does not
  // Upstream's cloud answers no upload (hub-protocol 7.2). A message counts as taken when its link has had no fault for longer
  // than it takes to find a dead one (20 s: TCP_USER_TIMEOUT).
  static constexpr Milliseconds kTakenAfter{25'000};
  static constexpr std::size_t kMaxUnanswered = 8'000;
  static constexpr Milliseconds kFirstPause{2'000}, kMaxPause{30'000};   // of a topic that was put off; doubled each time
  static constexpr std::size_t kMaxParked = 256;                   // topics that wait for themselves; with one more all wait
  static constexpr Milliseconds kLostAfter{600'000};               // without the answer of a cloud that answers: sent again

  explicit UploadQueue(UploadLimits limits) : limits_(limits) {}

  // A row of the store, in the order of their ids.
  void load(Id id, std::string_view topic, std::size_t bytes, Milliseconds age, Milliseconds now);
  // A new one, to be written; what must go for it is in take_removed(). kLimitExceeded: larger than all of the room.
  Result<Id> admit(std::string_view topic, std::size_t bytes, Milliseconds now);
  void stored(Id id);
  void not_stored(Id id);

  // Either way: what was on its way goes again.
  void on_link(bool up, Milliseconds now);
  // The cloud at the other end of this link answers each upload.
  void confirms() { confirms_ = true; }
  // The one to send now, if there is room on the way.
  std::optional<Id> next(Milliseconds now);
  void sent(Id id, MessageId message, Milliseconds now);
  // The row cannot be read: nothing to send.
  void forget(Id id) { remove(id); }
  // False: no upload of ours, or one of an earlier link. `taken` false: the cloud wants it later.
  bool answered(const MessageId& message, bool taken, Milliseconds now);
  // Those that wait too long go.
  void expire(Milliseconds now);
  // What is on its way for so long is taken, or lost. Not to be called while it may not even have left.
  void on_time(Milliseconds now);
  std::optional<Milliseconds> next_deadline() const;

  // Rows to delete.
  std::vector<Id> take_removed() { return std::exchange(removed_, {}); }
  std::size_t messages() const { return messages_; }
  std::size_t bytes() const { return bytes_; }
  std::size_t unconfirmed() const { return flying_.size(); }
  std::size_t parked_topics() const { return parked_.size(); }
  std::uint64_t dropped() const { return dropped_; }   // for want of room
  std::uint64_t expired() const { return expired_; }

 private:
  enum class State : std::uint8_t { kWriting, kWaiting, kSent, kGone };
  using Topic = std::uint32_t;   // a hash: two topics of one number wait for each other, no more
  struct Entry {
    Id id = 0;
    Topic topic = 0;
    std::uint32_t bytes = 0;
    std::int32_t born_s = 0;     // of the steady clock
    State state = State::kWriting;
  };
  struct Flight {
    Id id = 0;
    Topic topic = 0;
    std::size_t bytes = 0;
    MessageId message;
    Milliseconds at{};
  };
  struct Parked {
    Milliseconds pause{}, until{};
    std::size_t flying = 0;      // of the topic
    bool offered = false;        // its time has come: the cursor went back for it
    bool trying = false;         // the one that flies is the try
  };
  static Topic topic_of(std::string_view topic);
  std::deque<Entry>::iterator find(Id id);   // entries_.end(): not there
  void remove(Id id);
  void drop_front();
  void clear_gone();
  void wait_again(Id id);
  void park(Topic topic, Milliseconds now);
  void landed(Topic topic);
  void offer(Milliseconds now);
  bool held(Topic topic) const;
  bool room(std::size_t bytes) const;
  std::size_t flying(Topic topic) const;

  UploadLimits limits_;
  std::deque<Entry> entries_;   // by id; the front is not kGone
  std::deque<Flight> flying_;   // in the order of sending
  std::map<Topic, Parked> parked_;
  std::vector<Id> removed_;
  std::size_t messages_ = 0, bytes_ = 0, flying_bytes_ = 0;
  std::uint64_t dropped_ = 0, expired_ = 0;
  Id next_id_ = 1;
  Id cursor_ = 0;               // nothing before it may go now
  std::optional<Milliseconds> meeting_;    // until then the cloud may say that it answers
  std::optional<Milliseconds> all_wait_;   // until then, and until nothing flies
  bool up_ = false, confirms_ = false;
};

}  // namespace kubeedge::edge
