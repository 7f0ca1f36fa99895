#include "cloud/router/upload_lanes.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::cloud {
namespace {

constexpr std::size_t kMaxErrorText = 300;   // of a target's answer, in a rule's status

}  // namespace

UploadLanes::Key UploadLanes::key(const NodeId& node, const Message& message) {
  return {node, message.resource, app_waits(message) ? message.id.str() : std::string()};
}

void UploadLanes::add(const NodeId& node, Message message, Bytes body, std::vector<Target> targets, bool keeps) {
  const Key at = key(node, message);
  const auto found = lanes_.find(at);
  if (keeps && found != lanes_.end()) {
    const Lane& lane = found->second;
    if (std::any_of(lane.uploads.begin(), lane.uploads.end(), [&](const Upload& one) { return one.message.id == message.id; })) return;
    if (!lane.put_off.empty() && !lane.put_off.contains(message.id)) return put_off(node, message, "an older one waits");
  }
  if (uploads_ >= kMaxWaitingUploads || bytes_ + body.size() > kMaxUploadBytes) {
    const char* const why = "too many messages wait for their targets";
    for (const auto& target : targets) actions_.push_back(Count{target.rule, why});
    if (keeps) put_off(node, message, why);
    return;
  }
  Lane& lane = lanes_[at];
  forget(lane);
  ++uploads_;
  bytes_ += body.size();
  lane.uploads.push_back({std::move(message), std::move(body), std::move(targets), keeps, 0, {}});
  if (lane.uploads.size() == 1) begin(at, lane);
  pump();
}

void UploadLanes::put_off(const NodeId& node, const Message& message, const std::string& why) {
  actions_.push_back(Answer{node, message, false, why});
  if (app_waits(message)) return;
  if (remembered_ >= kMaxPutOff) {   // the order of what is on its way now may suffer
    for (auto& [at, lane] : lanes_) forget(lane);
    std::erase_if(lanes_, [](const auto& entry) { return entry.second.uploads.empty(); });
  }
  remembered_ += lanes_[key(node, message)].put_off.insert(message.id).second ? 1U : 0U;
}

void UploadLanes::forget(Lane& lane) {
  remembered_ -= lane.put_off.size();
  lane.put_off.clear();
}

void UploadLanes::on_session(const NodeId& node) {
  for (auto at = lanes_.lower_bound(Key{node, "", ""}); at != lanes_.end() && std::get<NodeId>(at->first) == node;) {
    forget(at->second);
    at = at->second.uploads.empty() ? lanes_.erase(at) : std::next(at);
  }
}

void UploadLanes::begin(const Key& key, Lane& lane) {
  Upload& head = lane.uploads.front();
  if (lane.partly != head.message.id) {
    lane.partly = MessageId();
    lane.delivered.clear();
  }
  for (const auto& target : head.targets) {
    if (lane.delivered.contains(target.rule)) continue;
    ++head.open;
    parts_[next_part_] = Part{key, target, 0};
    waiting_.push_back(next_part_++);
  }
  if (head.open == 0) head_done(key, lane);   // the rule that it waited for is gone
}

void UploadLanes::pump() {
  for (auto next = waiting_.begin(); next != waiting_.end() && posting_ < kMaxPosts;) {
    Part& part = parts_.at(*next);
    std::size_t& under_way = posts_[part.target.url];
    if (under_way >= kMaxPostsPerUrl) {
      ++next;
      continue;
    }
    ++under_way;
    ++posting_;
    ++part.tries;
    const Upload& head = lanes_.at(part.lane).uploads.front();
    actions_.push_back(Post{*next, part.target.url, std::get<NodeId>(part.lane), head.body, app_waits(head.message)});
    next = waiting_.erase(next);
  }
}

void UploadLanes::on_posted(std::uint64_t id, const Result<wire::HttpAnswer>& answer, Milliseconds now) {
  const auto found = parts_.find(id);
  if (found == parts_.end()) return;
  const std::string& url = found->second.target.url;
  --posting_;
  if (const auto at = posts_.find(url); --at->second == 0) posts_.erase(at);
  const bool fine = answer && answer->status >= 200 && answer->status < 300;
  const bool may_pass = !answer || answer->status == 408 || answer->status == 429 || answer->status >= 500;
  if (!fine && may_pass && found->second.tries < kPostTries) {
    retries_.emplace(now + kPostRetry * found->second.tries, id);
  } else {
    const std::string error = fine ? "" : answer ? fmt::format("{} answered {}", url, answer->status) : answer.error().message.substr(0, kMaxErrorText);
    const Part part = std::move(found->second);
    parts_.erase(found);
    part_done(part, error, !may_pass, answer ? answer->body : "");
  }
  pump();
}

void UploadLanes::part_done(const Part& part, const std::string& error, bool for_good, const std::string& body) {
  const NodeId& node = std::get<NodeId>(part.lane);
  Lane& lane = lanes_.at(part.lane);
  Upload& head = lane.uploads.front();
  --head.open;
  const bool again = !error.empty() && !for_good && head.keeps && !app_waits(head.message);
  if (again) {
    head.failure = error;
    if (lane.partly != head.message.id) actions_.push_back(Count{part.target.rule, error});   // once, however often it is tried
  } else {
    lane.delivered.insert(part.target.rule);
    actions_.push_back(Count{part.target.rule, error});
    if (!error.empty()) actions_.push_back(Lost{node, part.target.rule, head.message.resource, error});
  }
  // The app has the first answer, whatever its status.
  if (app_waits(head.message)) {
    const bool answered = error.empty() || !body.empty();
    actions_.push_back(Answer{node, head.message, answered, answered ? body : error});
  }
  if (head.open == 0) head_done(part.lane, lane);
}

void UploadLanes::drop_head(Lane& lane) {
  --uploads_;
  bytes_ -= lane.uploads.front().body.size();
  lane.uploads.pop_front();
}

// The next one begins, or all that is there is put off.
void UploadLanes::head_done(const Key& key, Lane& lane) {
  const NodeId& node = std::get<NodeId>(key);
  const std::string failure = lane.uploads.front().failure;
  if (failure.empty()) {
    if (const Message& message = lane.uploads.front().message; !app_waits(message)) actions_.push_back(Answer{node, message, true, "OK"});
    drop_head(lane);
    lane.partly = MessageId();
    lane.delivered.clear();
  } else {
    lane.partly = lane.uploads.front().message.id;
    for (; !lane.uploads.empty(); drop_head(lane)) put_off(node, lane.uploads.front().message, failure);
  }
  if (!lane.uploads.empty()) return begin(key, lane);
  if (lane.put_off.empty()) lanes_.erase(key);
}

void UploadLanes::on_time(Milliseconds now) {
  while (!retries_.empty() && retries_.begin()->first <= now) {
    waiting_.push_front(retries_.begin()->second);
    retries_.erase(retries_.begin());
  }
  pump();
}

std::optional<Milliseconds> UploadLanes::next_deadline() const { return retries_.empty() ? std::nullopt : std::optional(retries_.begin()->first); }

}  // namespace kubeedge::cloud
