// Uploads of nodes on their way to the targets of their rules: those of one node and topic one after the other, in the order in
// which they came. No I/O, no clock: router_core.h decides which rules take one, and drives it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>
#include <kubeedge/result.h>

#include "cloud/router/rule_table.h"
#include "wire/http_content.h"

namespace kubeedge::cloud {

inline constexpr std::size_t kMaxPosts = 64;                            // uploads under way to their targets at once,
inline constexpr std::size_t kMaxPostsPerUrl = 16;                      // of which one that does not answer holds no more than this
inline constexpr std::size_t kMaxWaitingUploads = 10'000;               // behind those, and
inline constexpr std::size_t kMaxUploadBytes = 64 * 1024 * 1024;        // all together; past either the newest is put off and counted
inline constexpr std::size_t kMaxPutOff = 100'000;                      // ids remembered of uploads that nodes keep for later
inline constexpr int kPostTries = 3;                                    // for a target that is away or answers 408, 429 or 5xx
inline constexpr Milliseconds kPostRetry{1'000};                        // times the number of tries so far

// An upload that its target refuses for good (3xx, 4xx) is counted and forgotten. One that could not be delivered is put off with
// all those behind it: the node keeps them and sends them again, the oldest first. A Go edge keeps nothing: there it is counted and
// forgotten, too.
class UploadLanes {
 public:
  struct Target { RuleId rule; std::string url; };
  struct Post { std::uint64_t id = 0; std::string url; NodeId node; Bytes body; bool for_app = false; };   // `for_app`: it waits for the answer
  // Outcome of one message of a rule; `error` empty = success.
  struct Count { RuleId rule; std::string error; };
  // To `node`, about its `message`: "OK", the target's answer, or why it was put off.
  struct Answer { NodeId node; Message message; bool taken = true; std::string text; };
  // Forgotten although not delivered.
  struct Lost { NodeId node; RuleId rule; std::string topic, why; };
  using Action = std::variant<Post, Count, Answer, Lost>;

  // `keeps`: the node keeps what is put off. `message` is answered once. Again the id of one that is still on its way changes nothing.
  void add(const NodeId& node, Message message, Bytes body, std::vector<Target> targets, bool keeps);
  void put_off(const NodeId& node, const Message& message, const std::string& why);
  // A new session, or none: the node sends all that it keeps again, from the oldest.
  void on_session(const NodeId& node);
  // The target's answer, or why there is none.
  void on_posted(std::uint64_t id, const Result<wire::HttpAnswer>& answer, Milliseconds now);
  void on_time(Milliseconds now);
  std::optional<Milliseconds> next_deadline() const;

  std::vector<Action> take() { return std::exchange(actions_, {}); }
  std::size_t waiting() const { return uploads_; }

 private:
  // An app of a servicebus waits for its answer: each of its messages has a lane of its own, by its id.
  using Key = std::tuple<NodeId, std::string, std::string>;   // node, topic, id
  struct Upload {
    Message message;             // route and id, no content
    Bytes body;
    std::vector<Target> targets;
    bool keeps = false;
    std::size_t open = 0;        // parts that are not done
    std::string failure;         // why one of them could not be delivered
  };
  struct Part {                  // of the upload at the head of a lane: one target
    Key lane;
    Target target;
    int tries = 0;
  };
  struct Lane {
    std::deque<Upload> uploads;
    // Ids that the node keeps. While there are any, the next to take is one of them: others were sent before the node knew.
    std::set<MessageId> put_off;
    // The upload that was partly delivered when it was put off, and to whom.
    MessageId partly;
    std::set<RuleId> delivered;
  };
  static Key key(const NodeId& node, const Message& message);
  static bool app_waits(const Message& message) { return message.source == "servicebus"; }
  void begin(const Key& key, Lane& lane);
  void pump();
  void part_done(const Part& part, const std::string& error, bool for_good, const std::string& body);
  void head_done(const Key& key, Lane& lane);
  void drop_head(Lane& lane);
  void forget(Lane& lane);

  std::map<Key, Lane> lanes_;
  std::map<std::uint64_t, Part> parts_;
  std::deque<std::uint64_t> waiting_;                // parts to post
  std::multimap<Milliseconds, std::uint64_t> retries_;
  std::map<std::string, std::size_t> posts_;         // under way, by url
  std::size_t posting_ = 0, uploads_ = 0, bytes_ = 0, remembered_ = 0;
  std::uint64_t next_part_ = 1;
  std::vector<Action> actions_;
};

}  // namespace kubeedge::cloud
