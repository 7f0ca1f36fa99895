#include "cloud/router/router_core.h"

#include <algorithm>

#include "base/text.h"
#include "wire/message_codec.h"

namespace kubeedge::cloud {
namespace {

constexpr std::size_t kMaxOwed = 1'000;           // of one node
constexpr std::size_t kMaxErrorText = 300;        // of a target's answer, in a rule's status
const char* const kBusSource = "router_eventbus";
const char* const kServiceSource = "router_servicebus";

// Topics that every edge uploads, rule or not (devices.md 5.2).
bool uploaded_anyway(const std::string& topic) {
  return topic.starts_with("$hw/") || topic == "SYS/dis/upload_records" || topic_matches("+/user/#", topic);
}

std::string with_tail(const std::string& path, const std::string& tail) {
  if (tail.empty()) return path;
  return path.ends_with('/') ? path + tail : path + "/" + tail;
}

// A resource "<port>:<path>" has one ':' only, for a Go edge.
std::string escape_colons(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == ':') out += "%3A";
    else out += c;
  }
  return out;
}

bool said_by_edge(const wire::HttpAnswer& answer) {
  return std::any_of(answer.headers.begin(), answer.headers.end(), [](const auto& header) { return base::lower(header.first) == "server" && header.second == wire::kEdgeServer; });
}

// A Go edge sends what an app posted as base64 (hub-protocol 7.2): the target gets what the app wrote.
Bytes upload_body(const Message& message) {
  std::string text = wire::content_text(message);
  if (message.source != "servicebus") return Bytes(std::move(text));
  auto decoded = base::from_base64(text);
  return Bytes(decoded ? std::move(*decoded) : std::move(text));
}

}  // namespace

// ---- rules

Result<void> RouterCore::on_rule(const Bytes& object) {
  std::set<RuleId> changed;
  auto put = table_.put_rule(object, changed);
  told(changed);
  return put ? Result<void>() : Result<void>(put.error());
}

void RouterCore::on_rule_gone(const Bytes& object) {
  if (const auto id = RuleTable::id_of(object)) table_.drop_rule(*id);
  wishes_changed_ = true;
}

Result<void> RouterCore::on_endpoint(const Bytes& object) {
  std::set<RuleId> changed;
  auto put = table_.put_endpoint(object, changed);
  told(changed);
  return put;
}

void RouterCore::on_endpoint_gone(const Bytes& object) {
  std::set<RuleId> changed;
  if (const auto id = RuleTable::id_of(object)) table_.drop_endpoint(*id, changed);
  told(changed);
}

void RouterCore::on_synced() {
  synced_ = wishes_changed_ = true;
  std::set<RuleId> all;
  table_.ids(all);
  told(all);
}

void RouterCore::told(const std::set<RuleId>& changed) {
  wishes_changed_ |= !changed.empty();
  if (!synced_) return;
  for (const auto& id : changed)
    if (const auto* rule = table_.find(id)) actions_.push_back(Problem{id, rule->problem});
}

// ---- what nodes must know

void RouterCore::on_connected(const NodeId& node, bool confirms) {
  sessions_[node] = Session{confirms, {}};
  uploads_.on_session(node);
  if (confirms) untold_.push_back(node);
  wishes_changed_ = true;
}

void RouterCore::on_disconnected(const NodeId& node) {
  sessions_.erase(node);
  uploads_.on_session(node);
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (it->second.node != node) {
      ++it;
      continue;
    }
    const Pending gone = it->second;
    by_request_.erase(gone.request);
    it = pending_.erase(it);
    const std::string why = "node " + node.str() + " disconnected before it answered: it may or may not have taken the request";
    reply(gone.request, 502, why);
    actions_.push_back(Count{gone.rule, why});
  }
}

void RouterCore::settle(std::int64_t unix_ms) {
  if (!wishes_changed_ || !synced_) return;
  wishes_changed_ = false;
  auto wanted = table_.wishes();
  for (const auto& [node, before] : wishes_)
    for (const auto& gone : before) {
      if (wanted[node].contains(gone)) continue;
      if (auto& owed = owed_[node]; owed.size() < kMaxOwed) owed.insert(gone);
    }
  wishes_ = std::move(wanted);
  for (auto& [node, session] : sessions_) {
    const auto& now = wishes_[node];
    if (const auto owed = owed_.find(node); owed != owed_.end()) {
      for (const auto& gone : owed->second)
        if (!now.contains(gone)) wish(node, gone, false, unix_ms);
      owed_.erase(owed);
    }
    for (const auto& one : now)
      if (!session.told.contains(one)) wish(node, one, true, unix_ms);
    session.told = now;
  }
  std::erase_if(wishes_, [](const auto& entry) { return entry.second.empty(); });
  std::erase_if(owed_, [](const auto& entry) { return entry.second.empty(); });
}

void RouterCore::wish(const NodeId& node, const NodeWish& wish, bool begin, std::int64_t unix_ms) {
  const bool bus = wish.source == kBusSource;
  actions_.push_back(Send{node, message(wish.source, bus ? (begin ? "subscribe" : "unsubscribe") : (begin ? "start" : "stop"), wish.resource, "null", unix_ms)});
}

Message RouterCore::message(std::string source, std::string operation, std::string resource, Bytes content, std::int64_t unix_ms) const {
  Message out;
  out.id = wire::new_message_id();
  out.timestamp_ms = unix_ms;
  out.source = std::move(source);
  out.group = "user";
  out.operation = std::move(operation);
  out.resource = std::move(resource);
  out.content = std::move(content);
  return out;
}

// ---- REST

void RouterCore::reply(std::uint64_t request, int status, std::string text) {
  actions_.push_back(Reply{request, status, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(text)});
}

void RouterCore::on_request(std::uint64_t request, RestRequest rest, std::int64_t unix_ms, Milliseconds now) {
  auto target = RestTarget::parse(rest.target);
  if (!target) {
    const Errc code = target.error().code;
    return reply(request, code == Errc::kNotFound ? 404 : code == Errc::kLimitExceeded ? 414 : 400, target.error().message);
  }
  if (!synced_) return reply(request, 503, "the rules are not known yet");
  const auto match = table_.match_rest(*target);
  if (!match) return reply(request, 404, "no rule of namespace " + target->ns.substr(0, 80) + " takes this path");
  const NodeId node(target->node);
  const auto session = sessions_.find(node);
  if (session == sessions_.end()) {
    actions_.push_back(Locate{request, node});
    return;
  }
  if (pending_.size() >= kMaxPendingRequests) return reply(request, 503, fmt::format("{} requests wait for nodes already", kMaxPendingRequests));

  Message out;
  const bool service = std::holds_alternative<ServiceTarget>(match->rule->binding->target);
  if (service) {
    const auto& to = std::get<ServiceTarget>(match->rule->binding->target);
    wire::HttpCall call{wire::end_to_end(rest.headers), rest.body.str(), rest.method, ""};
    std::string path = with_tail(to.path, match->tail);
    if (!target->query.empty()) path += "?" + target->query;
    if (!to.base.empty()) call.url = to.base + path;
    out = message(kServiceSource, rest.method, to.port + ":" + escape_colons(path), wire::http_content(call), unix_ms);
  } else if (!publish(request, *match, std::get<BusTarget>(match->rule->binding->target), rest, out)) {
    return;
  }
  out.timestamp_ms = unix_ms;
  if (out.content.size() > kMaxRestMessageBytes)
    return reply(request, 413, fmt::format("the body is too large: it would travel as {} bytes, the limit is {}", out.content.size(), kMaxRestMessageBytes));
  if (!service && !session->second.confirms) {
    reply(request, 200, "message delivered");
    actions_.push_back(Count{match->id, ""});
  } else {
    by_request_[request] = out.id;
    pending_[out.id] = Pending{request, match->id, node, now + rest_timeout_, service};
  }
  actions_.push_back(Send{node, std::move(out)});
}

// False: refused and answered.
bool RouterCore::publish(std::uint64_t request, const RuleTable::RestMatch& match, const BusTarget& target, const RestRequest& rest, Message& out) {
  if (!base::is_utf8(rest.body.view())) {
    reply(request, 400, "a message for the event bus is text: the body is not UTF-8");
    return false;
  }
  const std::string topic = with_tail(target.topic, match.tail);
  if (!is_publish_topic(topic)) {
    reply(request, 400, "the path makes no MQTT topic to publish to");
    return false;
  }
  out = message(kBusSource, "publish", topic, wire::json_string(rest.body.view()), 0);
  return true;
}

void RouterCore::on_client_gone(std::uint64_t request) {
  const auto found = by_request_.find(request);
  if (found == by_request_.end()) return;
  if (const auto pending = pending_.find(found->second); pending != pending_.end()) {
    actions_.push_back(Count{pending->second.rule, "the client left before the answer"});
    pending_.erase(pending);
  }
  by_request_.erase(found);
}

void RouterCore::answered(const Pending& pending, const Message& message) {
  if (!pending.service) {
    const bool fine = message.operation == "response";
    const std::string why = fine ? "" : wire::content_text(message).substr(0, kMaxErrorText);
    reply(pending.request, fine ? 200 : 502, fine ? "message delivered" : why);
    actions_.push_back(Count{pending.rule, fine ? "" : "node " + pending.node.str() + ": " + why});
    return;
  }
  auto answer = wire::http_answer(message);
  if (!answer) {
    reply(pending.request, 502, "node " + pending.node.str() + " gave no HTTP answer: " + answer.error().message);
    actions_.push_back(Count{pending.rule, answer.error().message});
    return;
  }
  const bool by_edge = said_by_edge(*answer);
  // A Go edge says 404 for a server that it could not reach.
  const int status = by_edge && message.operation.empty() && answer->status == 404 ? 502 : answer->status;
  actions_.push_back(Count{pending.rule, by_edge ? "node " + pending.node.str() + ": " + answer->body.substr(0, kMaxErrorText) : ""});
  actions_.push_back(Reply{pending.request, status, wire::end_to_end(answer->headers), std::move(answer->body)});
}

// ---- messages of nodes

void RouterCore::on_message(const NodeId& node, const Message& message, std::int64_t unix_ms, Milliseconds) {
  if (!message.parent_id.empty()) {
    const auto found = pending_.find(message.parent_id);
    if (found == pending_.end() || found->second.node != node) return;   // answered, timed out, or not its own
    const Pending pending = found->second;
    pending_.erase(found);
    by_request_.erase(pending.request);
    return answered(pending, message);
  }
  if (message.operation == "upload") uploaded(node, message, unix_ms);
}

void RouterCore::uploaded(const NodeId& node, const Message& message, std::int64_t unix_ms) {
  const auto session = sessions_.find(node);
  const bool keeps = session != sessions_.end() && session->second.confirms;
  Message head = message;
  head.content = "null";
  if (!synced_) {
    if (keeps) uploads_.put_off(node, head, "the rules are not known yet");
    return;
  }
  const auto rules = message.source == "servicebus" ? table_.match_url(node, message.resource) : table_.match_topic(node, message.resource);
  if (rules.empty()) return unwanted(node, head, unix_ms);
  std::vector<UploadLanes::Target> targets;
  for (const auto& id : rules) targets.push_back({id, std::get<RestTargetUrl>(table_.find(id)->binding->target).url});
  uploads_.add(node, std::move(head), upload_body(message), std::move(targets), keeps);
}

// Nobody wants it. A subscription that the node holds for a rule of the past ends here.
void RouterCore::unwanted(const NodeId& node, const Message& message, std::int64_t unix_ms) {
  if (message.source == "servicebus") {
    wish(node, {kServiceSource, message.resource}, false, unix_ms);
    return answer({node, message, false, "no rule takes " + message.resource.substr(0, 200) + " from node " + node.str()}, unix_ms);
  }
  if (!uploaded_anyway(message.resource)) wish(node, {kBusSource, message.resource}, false, unix_ms);
  answer({node, message, true, "OK"}, unix_ms);
}

// A Go edge knows answers for its apps only, and an app would take the text of a refusal for the target's answer: without one it is
// told of a time-out.
void RouterCore::answer(UploadLanes::Answer answer, std::int64_t unix_ms) {
  const auto session = sessions_.find(answer.node);
  const bool for_app = answer.taken && answer.message.source == "servicebus";
  if (session == sessions_.end() || (!for_app && !session->second.confirms)) return;
  Message out = wire::respond(answer.message, wire::json_string(answer.text), unix_ms);
  if (!answer.taken) out.operation = "error";
  actions_.push_back(Send{answer.node, std::move(out)});
}

// ---- time

void RouterCore::on_time(Milliseconds now) {
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (now < it->second.deadline) {
      ++it;
      continue;
    }
    const Pending late = it->second;
    it = pending_.erase(it);
    by_request_.erase(late.request);
    const std::string why = fmt::format("node {} gave no answer within {} s", late.node.str(), rest_timeout_.count() / 1000);
    reply(late.request, 504, why);
    actions_.push_back(Count{late.rule, why});
  }
  uploads_.on_time(now);
}

std::optional<Milliseconds> RouterCore::next_deadline() const {
  std::optional<Milliseconds> next = uploads_.next_deadline();
  for (const auto& [id, pending] : pending_)
    if (!next || pending.deadline < *next) next = pending.deadline;
  return next;
}

std::vector<RouterCore::Action> RouterCore::take(std::int64_t unix_ms) {
  for (const auto& node : std::exchange(untold_, {})) actions_.push_back(Send{node, message(kBusSource, "confirms", "uploads", "null", unix_ms)});
  for (auto& action : uploads_.take())
    std::visit([&](auto& one) { hand_on(std::move(one), unix_ms); }, action);
  settle(unix_ms);
  return std::exchange(actions_, {});
}

}  // namespace kubeedge::cloud
