#include "edge/bus/upload_queue.h"

#include <algorithm>
#include <functional>

#include "base/text.h"

namespace kubeedge::edge {
namespace {

std::int32_t seconds(Milliseconds at) { return static_cast<std::int32_t>(at.count() / 1000); }

}  // namespace

UploadQueue::Topic UploadQueue::topic_of(std::string_view topic) { return static_cast<Topic>(std::hash<std::string_view>()(topic)); }

std::deque<UploadQueue::Entry>::iterator UploadQueue::find(Id id) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), id, [](const Entry& entry, Id wanted) { return entry.id < wanted; });
  return at != entries_.end() && at->id == id && at->state != State::kGone ? at : entries_.end();
}

// ---- rows

void UploadQueue::load(Id id, std::string_view topic, std::size_t bytes, Milliseconds age, Milliseconds now) {
  entries_.push_back({id, topic_of(topic), static_cast<std::uint32_t>(bytes), seconds(now - std::min(age, limits_.age)), State::kWaiting});
  ++messages_;
  bytes_ += bytes;
  next_id_ = id + 1;
}

Result<UploadQueue::Id> UploadQueue::admit(std::string_view topic, std::size_t bytes, Milliseconds now) {
  if (bytes > limits_.bytes || limits_.messages == 0) return base::error(Errc::kLimitExceeded, "an upload of {} bytes: all of them may have {}", bytes, limits_.bytes);
  for (; messages_ >= limits_.messages || bytes_ + bytes > limits_.bytes; ++dropped_) drop_front();
  const Id id = next_id_++;
  entries_.push_back({id, topic_of(topic), static_cast<std::uint32_t>(bytes), seconds(now), State::kWriting});
  ++messages_;
  bytes_ += bytes;
  return id;
}

void UploadQueue::drop_front() {
  const Entry& oldest = entries_.front();
  // One that is being written has no row yet: stored() sees that it is gone.
  if (oldest.state != State::kWriting) removed_.push_back(oldest.id);
  --messages_;
  bytes_ -= oldest.bytes;
  entries_.pop_front();
  clear_gone();
}

void UploadQueue::clear_gone() {
  while (!entries_.empty() && entries_.front().state == State::kGone) entries_.pop_front();
}

void UploadQueue::remove(Id id) {
  const auto entry = find(id);
  if (entry == entries_.end()) return;
  removed_.push_back(id);
  --messages_;
  bytes_ -= entry->bytes;
  entry->state = State::kGone;
  clear_gone();
}

void UploadQueue::stored(Id id) {
  const auto entry = find(id);
  if (entry == entries_.end()) return removed_.push_back(id);   // dropped meanwhile
  entry->state = State::kWaiting;
}

void UploadQueue::not_stored(Id id) {
  const auto before = removed_.size();
  remove(id);
  removed_.resize(before);   // it has no row
}

void UploadQueue::expire(Milliseconds now) {
  for (; !entries_.empty() && entries_.front().state != State::kWriting && Milliseconds{1000} * entries_.front().born_s + limits_.age <= now; ++expired_) drop_front();
}

// ---- the link

void UploadQueue::on_link(bool up, Milliseconds now) {
  up_ = up;
  confirms_ = false;
  meeting_ = now + kMeetAfter;
  all_wait_.reset();
  parked_.clear();
  for (const auto& flight : flying_) wait_again(flight.id);
  flying_.clear();
  flying_bytes_ = 0;
  cursor_ = 0;
}

void UploadQueue::wait_again(Id id) {
  const auto entry = find(id);
  if (entry == entries_.end()) return;
  entry->state = State::kWaiting;
  cursor_ = std::min(cursor_, id);
}

bool UploadQueue::room(std::size_t bytes) const {
  if (!confirms_ && !meeting_) return flying_.size() < kMaxUnanswered;
  return flying_.empty() || (flying_.size() < kMaxUnconfirmed && flying_bytes_ + bytes <= kMaxUnconfirmedBytes);
}

std::optional<UploadQueue::Id> UploadQueue::next(Milliseconds now) {
  if (!up_) return std::nullopt;
  if (meeting_ && *meeting_ <= now) meeting_.reset();
  offer(now);
  if (all_wait_) return std::nullopt;
  auto at = std::lower_bound(entries_.begin(), entries_.end(), cursor_, [](const Entry& entry, Id wanted) { return entry.id < wanted; });
  while (at != entries_.end() && (at->state == State::kSent || at->state == State::kGone || (at->state == State::kWaiting && held(at->topic)))) ++at;
  if (at == entries_.end()) {
    cursor_ = next_id_;
    std::erase_if(parked_, [](const auto& entry) { return entry.second.offered && entry.second.flying == 0; });   // none of the topic is left
    return std::nullopt;
  }
  cursor_ = at->id;
  if (at->state == State::kWriting || !room(at->bytes)) return std::nullopt;
  return at->id;
}

void UploadQueue::sent(Id id, MessageId message, Milliseconds now) {
  const auto entry = find(id);
  if (entry == entries_.end()) return;
  entry->state = State::kSent;
  flying_.push_back({id, entry->topic, entry->bytes, std::move(message), now});
  flying_bytes_ += entry->bytes;
  if (const auto parked = parked_.find(entry->topic); parked != parked_.end()) {
    parked->second.flying = 1;
    parked->second.trying = true;
  }
}

bool UploadQueue::answered(const MessageId& message, bool taken, Milliseconds now) {
  const auto at = std::find_if(flying_.begin(), flying_.end(), [&](const Flight& one) { return one.message == message; });
  if (at == flying_.end()) return false;
  const Flight flight = std::move(*at);
  flying_bytes_ -= flight.bytes;
  flying_.erase(at);
  if (taken) {
    remove(flight.id);
    if (const auto parked = parked_.find(flight.topic); parked != parked_.end() && parked->second.trying) {
      parked_.erase(parked);
      cursor_ = 0;
    }
  } else {
    wait_again(flight.id);
    park(flight.topic, now);
  }
  landed(flight.topic);
  return true;
}

void UploadQueue::on_time(Milliseconds now) {
  const Milliseconds patience = confirms_ ? kLostAfter : kTakenAfter;
  while (!flying_.empty() && flying_.front().at + patience <= now) {
    const Flight flight = std::move(flying_.front());
    flying_bytes_ -= flight.bytes;
    flying_.pop_front();
    if (confirms_) wait_again(flight.id);
    else remove(flight.id);
    landed(flight.topic);
  }
}

// ---- topics that wait

bool UploadQueue::held(Topic topic) const {
  const auto parked = parked_.find(topic);
  return parked != parked_.end() && (!parked->second.offered || parked->second.flying > 0);
}

std::size_t UploadQueue::flying(Topic topic) const {
  return static_cast<std::size_t>(std::count_if(flying_.begin(), flying_.end(), [&](const Flight& one) { return one.topic == topic; }));
}

// One of the topic was put off; it does not fly any more.
void UploadQueue::park(Topic topic, Milliseconds now) {
  const auto found = parked_.find(topic);
  if (found == parked_.end() && parked_.size() >= kMaxParked) {
    all_wait_ = now + kFirstPause;
    return;
  }
  Parked& parked = found != parked_.end() ? found->second : parked_[topic];
  if (found != parked_.end() && !parked.trying) return;   // sent before the first of them was put off
  parked.pause = parked.pause == Milliseconds{0} ? kFirstPause : std::min(parked.pause * 2, kMaxPause);
  parked.until = now + parked.pause;
  parked.offered = parked.trying = false;
}

void UploadQueue::landed(Topic topic) {
  if (const auto parked = parked_.find(topic); parked != parked_.end()) parked->second.flying = flying(topic);
}

// Whose time has come may go, which is before the cursor.
void UploadQueue::offer(Milliseconds now) {
  if (all_wait_ && *all_wait_ <= now && flying_.empty()) {
    all_wait_.reset();
    parked_.clear();
    cursor_ = 0;
  }
  for (auto& [topic, parked] : parked_) {
    if (parked.offered || parked.flying > 0 || now < parked.until) continue;
    parked.offered = true;
    cursor_ = 0;
  }
}

std::optional<Milliseconds> UploadQueue::next_deadline() const {
  std::optional<Milliseconds> next;
  const auto at = [&](Milliseconds when) {
    if (!next || when < *next) next = when;
  };
  if (!entries_.empty()) at(Milliseconds{1000} * entries_.front().born_s + limits_.age);
  if (!flying_.empty()) at(flying_.front().at + (confirms_ ? kLostAfter : kTakenAfter));
  if (up_ && meeting_ && !confirms_ && messages_ > flying_.size()) at(*meeting_);
  if (all_wait_ && flying_.empty()) at(*all_wait_);
  for (const auto& [topic, parked] : parked_)
    if (!parked.offered && parked.flying == 0) at(parked.until);
  return next;
}

}  // namespace kubeedge::edge
