// The device twins of one node as a state machine: requests and time in; statements, publications and cloud
// messages out (devices.md 3). No I/O, no clock, no threads.
//
// Promises: memory changes at once, but nothing of a change is published, answered or sent to the cloud before
// its statements are committed (the driver calls committed() then, in the order of the Effects). What the cloud
// has not confirmed is marked in ke_dirty in the same batch: the latest value per property, never a history.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <kubeedge/message.h>
#include <kubeedge/resource.h>
#include <kubeedge/result.h>
#include <kubeedge/twin.h>

#include "edge/twin/twin_json.h"
#include "store/store.h"

namespace kubeedge::edge {

struct TwinTime {
  std::int64_t unix_ms = 0;      // stamps
  std::int64_t steady_ms = 0;    // deadlines
};

struct Publication {
  std::string topic;
  std::string payload;
};

struct DeltaNote {
  DeviceId device;
  TwinDelta delta;
};

// A property (or, with an empty name, the device's state) whose committed value the cloud shall get.
struct DirtyMark {
  std::string device;
  std::string name;
  std::uint64_t generation = 0;
  TwinState twin;
  std::string state, last_online;
};

// What one input leads to. Empty statements = nothing to commit, but it still waits for its predecessors.
struct Effects {
  std::vector<store::Statement> statements;
  std::vector<Publication> publications;    // after the commit, in this order
  std::vector<Publication> on_failure;      // instead of all the rest, when the commit failed
  std::vector<DeltaNote> deltas;            // changed deltas, for the embedding program
  std::vector<DirtyMark> marks;
  std::vector<std::string> warnings;        // one log line each
  std::optional<Error> error;               // of an API call
  TwinResult result;                        // of an API call
};

struct TwinEngineOptions {
  std::string node;
  bool strict = false;
  std::function<std::string()> new_id;      // UUID text
};

class TwinEngine {
 public:
  static constexpr std::size_t kMaxDevices = 10'000;
  static constexpr std::size_t kMaxTwinsPerDevice = 1'000;
  static constexpr std::int64_t kConfirmWaitMs = 10'000;    // doubles to kMaxConfirmWaitMs for each silence
  static constexpr std::int64_t kMaxConfirmWaitMs = 60'000;
  // A cloud confirms what it has stored, up to its statusInterval later. What changes meanwhile goes once the device is
  // quiet for this long, so that the last value of a burst does not wait for two intervals.
  static constexpr std::int64_t kQuietMs = 50;
  static constexpr std::size_t kMaxUnconfirmed = 8;         // messages a device and kind
  static constexpr std::int64_t kTickMs = 1000;
  static constexpr std::int64_t kTimeSyncMs = 60'000;       // times of equal reports reach the cloud this often
  static constexpr int kFirstReportCopies = 2;              // a Go cloud confirms a property's first report and stores it empty

  explicit TwinEngine(TwinEngineOptions options);

  static std::string_view schema();
  // What load() wants, one list of rows each.
  static std::vector<store::Statement> load_queries();
  // Replaces all state by the store's.
  void load(const std::vector<std::vector<store::Row>>& tables);

  Effects on_mqtt(std::string_view topic, std::string_view payload, TwinTime now);
  Effects on_membership(std::string_view content, bool whole, TwinTime now);    // whole: membership/detail
  Effects on_cloud_updated(const DeviceId& device, std::string_view content, TwinTime now);
  Effects on_device(std::string_view device_object, TwinTime now);
  Effects on_device_removed(const DeviceId& device, TwinTime now);
  Effects report(const DeviceId& device, const std::map<std::string, std::string>& values, TwinTime now);
  Effects set_state(const DeviceId& device, const std::string& state, TwinTime now);
  // After load() of a store that lost rows, nobody knows all of which: a desired value whose twin is gone is taken from
  // its object again, and what is stored goes to the cloud once more.
  Effects recover();
  // The deltas that stand, to be published (again).
  Effects all_deltas(TwinTime now, bool notify);
  Result<TwinResult> get(const DeviceId& device) const;

  // The statements of these Effects are durable: its marks may travel.
  void committed(const std::vector<DirtyMark>& marks, TwinTime now);
  void on_link(bool up, TwinTime now);
  void on_confirm(const MessageId& parent, TwinTime now);
  // Time passes: resends, times of equal reports, dropped marks.
  Effects tick(TwinTime now);
  // In how many ms tick() is wanted; nothing while nothing waits.
  std::optional<std::int64_t> tick_in_ms() const;

  // Messages for the cloud, oldest first.
  std::vector<Message> take_messages();
  std::size_t dirty_count() const;
  std::size_t device_count() const { return devices_.size(); }

 private:
  struct Desired {
    std::string value;
    std::int64_t generation = 0;     // 0 = the object had none
  };
  struct Dirty {
    std::uint64_t generation = 0;    // of the newest change, committed or not
    int sides = 0;
    int copies = 1;                  // confirmations still wanted
    bool ready = false;              // a committed value is there
    std::uint64_t ready_generation = 0;
    std::uint64_t sent_generation = 0;   // of the newest message under way; 0 = none
    TwinState twin;                  // that value
    std::string state, last_online;
  };
  struct Lane {                      // the way of one kind of a device's messages
    std::size_t unconfirmed = 0;
    std::int64_t deadline = 0;       // of the confirmations, when there are any to come
    std::int64_t wait = kConfirmWaitMs;
  };
  struct Flight {
    std::string device;
    bool is_state = false;
    std::map<std::string, std::uint64_t> sent;   // name -> generation
  };
  struct DeviceEntry {
    DeviceId id;
    std::string description, state, last_online;
    std::map<std::string, TwinState> twins;
    std::map<std::string, AttributeState> attributes;
    std::map<std::string, Desired> desired;
    std::set<std::string> declared;  // property names of the Device object
    std::map<std::string, Dirty> dirty;
    Lane twin_lane, state_lane;
    std::set<std::string> stale_times;
    std::int64_t last_time_sync = 0;
    std::int64_t last_change = 0;    // steady ms
    TwinDelta notified;
  };
  struct Outcome;
  enum class Mode : std::uint8_t { kRest, kSync };

  DeviceEntry* find(const std::string& id);
  void update_request(const DeviceId& id, std::string_view payload, Mode mode, TwinTime now, Effects& out);
  void update(DeviceEntry& device, const TwinChanges& changes, const std::string& event_id, Mode mode, TwinTime now, Effects& out);
  void change_property(DeviceEntry& device, const std::string& name, const TwinChange& change, Mode mode, TwinTime now, Outcome& outcome,
                       Effects& out);
  void delete_property(DeviceEntry& device, const std::string& name, const TwinChange* change, Mode mode, Outcome& outcome, Effects& out);
  void sync_property(DeviceEntry& device, const std::string& name, TwinState& twin, const TwinChange& change, bool is_new, TwinTime now,
                     Outcome& outcome, Effects& out);
  void finish(DeviceEntry& device, const Outcome& outcome, const std::string& event_id, TwinTime now, Effects& out);
  void publish_delta(DeviceEntry& device, TwinTime now, bool notify, Effects& out);
  void mark(DeviceEntry& device, const std::string& name, int sides, int copies, Effects& out);
  void twin_get(const DeviceId& id, std::string_view payload, TwinTime now, Effects& out);
  void state_update(const DeviceId& id, const std::string& state, TwinTime now, Effects& out);
  void add_member(const MemberDevice& member, TwinTime now, Effects& out);
  void sync_attributes(DeviceEntry& device, const std::map<std::string, AttributeState>& attributes, TwinTime now, Effects& out);
  DeviceEntry& create_device(const DeviceId& id, const std::string& description, Effects& out);
  void remove_device(const std::string& id, TwinTime now, Effects& out);
  void apply_desired(DeviceEntry& device, const std::string& name, const std::string& value, std::int64_t generation, TwinTime now,
                     Outcome& outcome, Effects& out);
  void forget_desired(DeviceEntry& device, TwinTime now, const std::set<std::string>& keep, Outcome& outcome, Effects& out);
  void flush(DeviceEntry& device, TwinTime now);
  void send_twins(DeviceEntry& device, TwinTime now);
  void send_state(DeviceEntry& device, TwinTime now);
  void send(DeviceEntry& device, Flight flight, std::string resource, Json content, TwinTime now);
  void give_up(DeviceEntry& device, bool is_state, TwinTime now);
  Json member_json(const DeviceEntry& device) const;

  TwinEngineOptions options_;
  std::map<std::string, DeviceEntry> devices_;           // by "ns/name"
  std::map<MessageId, Flight> in_flight_;
  std::set<std::string> not_quiet_;                      // devices with values that only wait for kQuietMs
  std::vector<store::Statement> cleanup_;                // marks the cloud confirmed; written with the next batch
  std::vector<Message> messages_;
  std::uint64_t generation_ = 0;
  bool link_up_ = false;
};

// "ns/name" -> id; nullopt unless it has exactly two non-empty parts that may stand in an MQTT topic.
std::optional<DeviceId> parse_device_id(std::string_view text);

}  // namespace kubeedge::edge
