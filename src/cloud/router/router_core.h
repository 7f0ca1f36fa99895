// The Router without I/O: requests, uploads, answers and time in; replies, messages to nodes and HTTP calls out
// (hub-protocol 7). Pure but for the table's addresses.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>
#include <kubeedge/result.h>

#include "cloud/router/rule_table.h"
#include "wire/http_content.h"

namespace kubeedge::cloud {

inline constexpr std::size_t kMaxRestBodyBytes = 12 * 1024 * 1024;      // upstream's
inline constexpr std::size_t kMaxRestMessageBytes = 15 * 1024 * 1024;   // a body as it travels (base64, JSON); an edge reads 16 MiB
inline constexpr std::size_t kMaxPendingRequests = 1'000;               // REST requests that wait for a node
inline constexpr std::size_t kMaxPosts = 64;                            // uploads under way to their targets at once
inline constexpr std::size_t kMaxWaitingUploads = 10'000;               // behind those, and
inline constexpr std::size_t kMaxUploadBytes = 64 * 1024 * 1024;        // all together; past either the newest is refused and counted
inline constexpr int kPostTries = 3;                                    // for a target that is away or answers 429 or 5xx
inline constexpr Milliseconds kPostRetry{1'000};                        // times the number of tries so far

struct RestRequest {
  std::string method, target;
  wire::HttpHeaders headers;
  Bytes body;
};

class RouterCore {
 public:
  explicit RouterCore(Milliseconds rest_timeout) : rest_timeout_(rest_timeout) {}

  struct Reply { std::uint64_t request = 0; int status = 0; wire::HttpHeaders headers; std::string body; };
  // The request's node has no session here: another cloudcore may have it. The core has forgotten the request.
  struct Locate { std::uint64_t request = 0; NodeId node; };
  struct Send { NodeId node; Message message; };
  struct Post { std::uint64_t id = 0; std::string url; NodeId node; Bytes body; };
  // Outcome of one message of a rule; `error` empty = success.
  struct Count { RuleId rule; std::string error; };
  // What keeps a rule from working; empty = it works.
  struct Problem { RuleId rule; std::string text; };
  using Action = std::variant<Reply, Locate, Send, Post, Count, Problem>;

  Result<void> on_rule(const Bytes& object);
  void on_rule_gone(const Bytes& object);
  Result<void> on_endpoint(const Bytes& object);
  void on_endpoint_gone(const Bytes& object);
  // All rules and endpoints of the first lists were told: from here on a missing one is missing.
  void on_synced();

  // `confirms`: the node answers a publication when its broker has it, and wants its uploads answered (ours do). It is told
  // that they will be.
  void on_connected(const NodeId& node, bool confirms);
  void on_disconnected(const NodeId& node);

  void on_request(std::uint64_t request, RestRequest rest, std::int64_t unix_ms, Milliseconds now);
  void on_client_gone(std::uint64_t request);
  void on_message(const NodeId& node, const Message& message, std::int64_t unix_ms, Milliseconds now);
  // The target's answer: `status` and its body (first kMaxTargetAnswer bytes), or why there is none.
  void on_posted(std::uint64_t id, Result<wire::HttpAnswer> answer, std::int64_t unix_ms, Milliseconds now);
  void on_time(Milliseconds now);
  std::optional<Milliseconds> next_deadline() const;

  // In order.
  std::vector<Action> take(std::int64_t unix_ms);
  const RuleTable& table() const { return table_; }
  std::size_t pending_requests() const { return pending_.size(); }
  std::size_t waiting_uploads() const { return uploads_.size(); }

 private:
  struct Session {
    bool confirms = false;
    std::set<NodeWish> told;
  };
  struct Pending {
    std::uint64_t request = 0;
    RuleId rule;
    NodeId node;
    Milliseconds deadline{0};
    bool service = false;
  };
  // One message from a node; answered when all its rules are done.
  struct Receipt {
    NodeId node;
    Message message;          // route and id, no content
    std::size_t open = 0;
  };
  struct Upload {
    std::shared_ptr<Receipt> receipt;
    RuleId rule;
    std::string url;
    Bytes body;
    int tries = 0;
    Milliseconds again{0};    // when it waits for another try
  };

  void told(const std::set<RuleId>& changed);
  void settle(std::int64_t unix_ms);
  void wish(const NodeId& node, const NodeWish& wish, bool begin, std::int64_t unix_ms);
  Message message(std::string source, std::string operation, std::string resource, Bytes content, std::int64_t unix_ms) const;
  void reply(std::uint64_t request, int status, std::string text);
  bool publish(std::uint64_t request, const RuleTable::RestMatch& match, const BusTarget& target, const RestRequest& rest, Message& out);
  void answered(const Pending& pending, const Message& message);
  void uploaded(const NodeId& node, const Message& message, std::int64_t unix_ms);
  void unwanted(const NodeId& node, const Message& message, std::int64_t unix_ms);
  void confirm(const Receipt& receipt, std::int64_t unix_ms);
  void refuse(const Receipt& receipt, const std::string& why, std::int64_t unix_ms);
  void post(std::uint64_t id);
  void pump();
  void finish(std::uint64_t id, const std::string& error, const std::string& body, std::int64_t unix_ms);

  Milliseconds rest_timeout_;
  RuleTable table_;
  bool synced_ = false, wishes_changed_ = false;
  std::vector<NodeId> untold_;   // connected, and not told yet that uploads are answered
  std::map<NodeId, Session> sessions_;
  std::map<NodeId, std::set<NodeWish>> wishes_;
  std::map<NodeId, std::set<NodeWish>> owed_;        // ends that a node has missed; bounded by kMaxOwed
  std::map<MessageId, Pending> pending_;
  std::map<std::uint64_t, MessageId> by_request_;
  std::map<std::uint64_t, Upload> uploads_;          // by id
  std::deque<std::uint64_t> waiting_;
  std::multimap<Milliseconds, std::uint64_t> retries_;
  std::size_t posts_ = 0, upload_bytes_ = 0;
  std::uint64_t next_upload_ = 1;
  std::vector<Action> actions_;
};

}  // namespace kubeedge::cloud
