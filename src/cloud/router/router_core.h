// The Router without I/O: requests, uploads, answers and time in; replies, messages to nodes and HTTP calls out
// (hub-protocol 7). Pure but for the table's addresses.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/message.h>
#include <kubeedge/result.h>

#include "cloud/router/rule_table.h"
#include "cloud/router/upload_lanes.h"
#include "wire/http_content.h"

namespace kubeedge::cloud {

inline constexpr std::size_t kMaxRestBodyBytes = 12 * 1024 * 1024;      // upstream's
inline constexpr std::size_t kMaxRestMessageBytes = 15 * 1024 * 1024;   // a body as it travels (base64, JSON); an edge reads 16 MiB
inline constexpr std::size_t kMaxPendingRequests = 1'000;               // REST requests that wait for a node

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
  using Post = UploadLanes::Post;
  using Count = UploadLanes::Count;
  using Lost = UploadLanes::Lost;
  // What keeps a rule from working; empty = it works.
  struct Problem { RuleId rule; std::string text; };
  using Action = std::variant<Reply, Locate, Send, Post, Count, Lost, Problem>;

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
  void on_posted(std::uint64_t id, const Result<wire::HttpAnswer>& answer, Milliseconds now) { uploads_.on_posted(id, answer, now); }
  void on_time(Milliseconds now);
  std::optional<Milliseconds> next_deadline() const;

  // In order.
  std::vector<Action> take(std::int64_t unix_ms);
  const RuleTable& table() const { return table_; }
  std::size_t pending_requests() const { return pending_.size(); }
  std::size_t waiting_uploads() const { return uploads_.waiting(); }

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
  void told(const std::set<RuleId>& changed);
  void settle(std::int64_t unix_ms);
  void wish(const NodeId& node, const NodeWish& wish, bool begin, std::int64_t unix_ms);
  Message message(std::string source, std::string operation, std::string resource, Bytes content, std::int64_t unix_ms) const;
  void reply(std::uint64_t request, int status, std::string text);
  bool publish(std::uint64_t request, const RuleTable::RestMatch& match, const BusTarget& target, const RestRequest& rest, Message& out);
  void answered(const Pending& pending, const Message& message);
  void uploaded(const NodeId& node, const Message& message, std::int64_t unix_ms);
  void unwanted(const NodeId& node, const Message& message, std::int64_t unix_ms);
  void answer(UploadLanes::Answer answer, std::int64_t unix_ms);
  void hand_on(UploadLanes::Answer&& answered, std::int64_t unix_ms) { answer(std::move(answered), unix_ms); }
  template <class T>
  void hand_on(T&& other, std::int64_t) { actions_.push_back(std::forward<T>(other)); }

  Milliseconds rest_timeout_;
  RuleTable table_;
  bool synced_ = false, wishes_changed_ = false;
  std::vector<NodeId> untold_;   // connected, and not told yet that uploads are answered
  std::map<NodeId, Session> sessions_;
  std::map<NodeId, std::set<NodeWish>> wishes_;
  std::map<NodeId, std::set<NodeWish>> owed_;        // ends that a node has missed; bounded by kMaxOwed
  std::map<MessageId, Pending> pending_;
  std::map<std::uint64_t, MessageId> by_request_;
  UploadLanes uploads_;
  std::vector<Action> actions_;
};

}  // namespace kubeedge::cloud
