// The app's side of the twins as a state machine: reports, messages and time in; publications and answers out. No I/O, no
// clock, no threads, no types: values are text here.
//
// Promises: of each property the newest value is kept until a result of the edge named it (by the event_id of the message
// that carried it), and sent again after a silence, a refusal that time may mend (404: the device is not known yet; 5xx) or a
// reconnect. One update a device is under way at a time, so an older value never follows a newer one.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <kubeedge/device.h>

namespace kubeedge::device {

using Token = std::uint64_t;   // who waits; 0 = nobody

struct TwinClientTime {
  std::int64_t unix_ms = 0;    // stamps
  Milliseconds steady{0};      // deadlines
};

struct SubscribeTo { std::string filter; };
struct Publish { std::string topic, payload; };
struct Answered { Token token; std::optional<Error> error; };      // of a report or a state
struct Got { Token token; Result<TwinResult> twin; };
struct Wished { DeviceId device; std::string property, value; };
struct Trouble { Error error; };                                   // nobody waits for this answer
using Action = std::variant<SubscribeTo, Publish, Answered, Got, Wished, Trouble>;

class TwinClient {
 public:
  static constexpr Milliseconds kFirstResend{1'000};               // doubles to kMaxResend
  static constexpr Milliseconds kMaxResend{5'000};
  static constexpr std::size_t kMaxUpdateBytes = 128 * 1024;       // of values in one message
  static constexpr std::size_t kMaxRemembered = 8;                 // messages a device whose late result still counts

  // `prefix` makes event ids unlike those of every other app on the broker.
  explicit TwinClient(std::string prefix) : prefix_(std::move(prefix)) {}

  void connected(TwinClientTime now);
  void disconnected() { connected_ = false; }
  void on_message(std::string_view topic, std::string_view payload, TwinClientTime now);
  void tick(TwinClientTime now);

  struct Item { std::string value, twin_type; };
  // One report; each value replaces an older one of its property. The names and values are checked already.
  Result<void> report(const DeviceId& id, const std::map<std::string, Item>& values, Token token, TwinClientTime now);
  Result<void> set_state(const DeviceId& id, std::string state, Token token, TwinClientTime now);
  Result<void> get(const DeviceId& id, Token token, TwinClientTime now);
  // From now on wishes for this property are told.
  Result<void> watch(const DeviceId& id, const std::string& property, TwinClientTime now);

  std::vector<Action> take_actions() { return std::exchange(actions_, {}); }
  std::optional<Milliseconds> wake() const;     // when tick() is due
  std::size_t unacknowledged() const { return unacknowledged_; }
    std::vector<Token> everyone_waiting() const;

 private:
  struct Waiter {
    Token token = 0;
    std::size_t open = 0;          // properties of it that no result named yet
    std::optional<Error> error;
  };
  struct Pending {
    Item item;
    std::uint64_t generation = 0;
    std::vector<std::uint64_t> reports;           // waiters (by generation) that this property's result concerns
  };
  // A kind of request whose answer is awaited: at most one under way.
  struct Lane {
    bool under_way = false;        // `due` is when it goes again
    bool paused = false;           // the edge said: later; `due` is when
    Milliseconds due{0};
    Milliseconds wait = kFirstResend;
    void calm() { under_way = paused = false; wait = kFirstResend; }
  };
  struct Sent {
    std::string event_id;
    std::map<std::string, std::uint64_t> properties;   // -> generation
  };
  struct Wish {
    std::string value;
    std::int64_t timestamp = 0;
    auto operator<=>(const Wish&) const = default;
  };
  struct Question { Token token; Milliseconds deadline, again; };
  struct Entry {
    DeviceId id;
    std::map<std::string, Pending> pending;
    std::deque<Sent> sent;
    Lane update, state, document;
    bool one_by_one = false;       // the edge refused a batch as a whole: find the bad one
    bool told_unknown = false;     // 404 was logged
    std::string wanted_state, sent_state;
    std::uint64_t state_generation = 0, sent_state_generation = 0;
    std::vector<std::uint64_t> state_reports;
    std::set<std::string> watched;
    bool wants_document = false;
    std::string document_id;
    std::map<std::string, Wish> wishes;                // told last
    std::map<std::string, Question> questions;         // by event_id
    std::optional<Milliseconds> wake;                  // its place in wakes_
  };

  Result<Entry*> entry(const DeviceId& id);
  bool may_wait(Token token);
  void pump(Entry& entry, TwinClientTime now);
  void send_update(Entry& entry, TwinClientTime now);
  void send_state(Entry& entry, TwinClientTime now);
  void ask(Entry& entry, const std::string& event_id, TwinClientTime now);
  static void start(Lane& lane, TwinClientTime now);
  static void pause(Lane& lane, TwinClientTime now);
  static bool ready(Lane& lane, TwinClientTime now);
  void rearm(Entry& entry);
  void on_update_result(Entry& entry, std::string_view payload, TwinClientTime now);
  void on_state_result(Entry& entry, std::string_view payload);
  void on_get_result(Entry& entry, std::string_view payload, TwinClientTime now);
  void on_delta(Entry& entry, std::string_view payload);
  void wish(Entry& entry, const std::string& property, Wish wish);
  void settle_property(Entry& entry, const std::string& name, std::uint64_t up_to, const std::optional<Error>& error);
  bool settle(std::vector<std::uint64_t>& reports, std::uint64_t up_to, const std::optional<Error>& error);
  void expire_questions(Entry& entry, TwinClientTime now);
  std::string next_id() { return prefix_ + "-" + std::to_string(++ids_); }

  std::string prefix_;
  std::uint64_t ids_ = 0, generation_ = 0;
  bool connected_ = false;
  std::map<DeviceId, Entry> entries_;
  std::map<std::uint64_t, Waiter> waiters_;             // by generation of their report
  std::set<std::pair<Milliseconds, Entry*>> wakes_;     // entries are map nodes: they stay where they are
  std::vector<Action> actions_;
  std::size_t unacknowledged_ = 0, questions_ = 0;
};

}  // namespace kubeedge::device
