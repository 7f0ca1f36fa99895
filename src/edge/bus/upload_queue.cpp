#include "edge/bus/upload_queue.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::edge {

std::deque<UploadQueue::Entry>::iterator UploadQueue::find(Id id) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), id, [](const Entry& entry, Id wanted) { return entry.id < wanted; });
  return at != entries_.end() && at->id == id && at->state != State::kGone ? at : entries_.end();
}

void UploadQueue::load(Id id, std::size_t bytes) {
  entries_.push_back({id, static_cast<std::uint32_t>(bytes), State::kWaiting});
  ++messages_;
  bytes_ += bytes;
  next_id_ = id + 1;
}

Result<UploadQueue::Id> UploadQueue::admit(std::size_t bytes) {
  if (bytes > limits_.bytes || limits_.messages == 0) return base::error(Errc::kLimitExceeded, "an upload of {} bytes: all of them may have {}", bytes, limits_.bytes);
  while (messages_ >= limits_.messages || bytes_ + bytes > limits_.bytes) drop_oldest();
  const Id id = next_id_++;
  entries_.push_back({id, static_cast<std::uint32_t>(bytes), State::kWriting});
  ++messages_;
  bytes_ += bytes;
  return id;
}

void UploadQueue::drop_oldest() {
  const Entry& oldest = entries_.front();
  // One that is being written has no row yet: stored() sees that it is gone.
  if (oldest.state != State::kWriting) removed_.push_back(oldest.id);
  ++dropped_;
  --messages_;
  bytes_ -= oldest.bytes;
  entries_.pop_front();
  while (!entries_.empty() && entries_.front().state == State::kGone) entries_.pop_front();
}

void UploadQueue::remove(Id id) {
  const auto entry = find(id);
  if (entry == entries_.end()) return;
  removed_.push_back(id);
  --messages_;
  bytes_ -= entry->bytes;
  entry->state = State::kGone;
  while (!entries_.empty() && entries_.front().state == State::kGone) entries_.pop_front();
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

void UploadQueue::on_link(bool up) {
  up_ = up;
  confirms_ = false;
  pause_until_ = Milliseconds{0};
  for (const auto& flight : flying_) wait_again(flight.id);
  flying_.clear();
  flying_bytes_ = 0;
}

void UploadQueue::wait_again(Id id) {
  const auto entry = find(id);
  if (entry == entries_.end()) return;
  entry->state = State::kWaiting;
  cursor_ = std::min(cursor_, id);
}

bool UploadQueue::room(std::size_t bytes) const {
  if (!confirms_) return flying_.size() < kMaxUnanswered;
  return flying_.empty() || (flying_.size() < kMaxUnconfirmed && flying_bytes_ + bytes <= kMaxUnconfirmedBytes);
}

std::optional<UploadQueue::Id> UploadQueue::next(Milliseconds now) {
  if (!up_ || now < pause_until_) return std::nullopt;
  auto at = std::lower_bound(entries_.begin(), entries_.end(), cursor_, [](const Entry& entry, Id wanted) { return entry.id < wanted; });
  while (at != entries_.end() && (at->state == State::kSent || at->state == State::kGone)) ++at;
  if (at == entries_.end()) {
    cursor_ = next_id_;
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
  flying_.push_back({id, entry->bytes, std::move(message), now});
  flying_bytes_ += entry->bytes;
}

bool UploadQueue::answered(const MessageId& message, bool taken, Milliseconds now) {
  const auto flight = std::find_if(flying_.begin(), flying_.end(), [&](const Flight& one) { return one.message == message; });
  if (flight == flying_.end()) return false;
  const Id id = flight->id;
  flying_bytes_ -= flight->bytes;
  flying_.erase(flight);
  if (taken) {
    remove(id);
  } else {
    wait_again(id);
    pause_until_ = now + kRefusedPause;
  }
  return true;
}

void UploadQueue::on_time(Milliseconds now) {
  const Milliseconds patience = confirms_ ? kLostAfter : kTakenAfter;
  while (!flying_.empty() && flying_.front().at + patience <= now) {
    const Id id = flying_.front().id;
    flying_bytes_ -= flying_.front().bytes;
    flying_.pop_front();
    if (confirms_) wait_again(id);
    else remove(id);
  }
}

std::optional<Milliseconds> UploadQueue::next_deadline() const {
  std::optional<Milliseconds> next;
  if (!flying_.empty()) next = flying_.front().at + (confirms_ ? kLostAfter : kTakenAfter);
  if (up_ && pause_until_ > Milliseconds{0} && messages_ > flying_.size() && (!next || pause_until_ < *next)) next = pause_until_;
  return next;
}

}  // namespace kubeedge::edge
