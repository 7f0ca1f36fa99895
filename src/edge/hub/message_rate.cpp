#include "edge/hub/message_rate.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace kubeedge::edge {

MessageRate::MessageRate(int qps, int burst)
    : qps_(qps == kUnlimitedQps && burst == kUnlimitedBurst ? 0 : std::max(qps, 0)), burst_(std::max(burst, 1)), tokens_(burst_) {}

bool MessageRate::counts(const Message& message) {
  if (message.operation == "keepalive") return false;
  constexpr std::array<std::string_view, 5> kFree{"/lease/", "/nodestatus/", "/nodepatch/", "/podstatus/", "/podpatch/"};
  return std::none_of(kFree.begin(), kFree.end(), [&](std::string_view part) { return message.resource.find(part) != std::string::npos; });
}

std::size_t MessageRate::cost(const Message& message) { return kHeaderBytes + message.resource.size() + message.content.size(); }

void MessageRate::push(Message message) {
  if (waiting_.size() == kMaxPacedMessages) {
    (void)pop();
    ++dropped_;
  }
  waiting_bytes_ += cost(message);
  waiting_.push_back(std::move(message));
}

Message MessageRate::pop() {
  Message oldest = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= cost(oldest);
  return oldest;
}

void MessageRate::clear() {
  waiting_.clear();
  waiting_bytes_ = 0;
}

void MessageRate::refill(Milliseconds now) {
  if (filled_) tokens_ = std::min(burst_, tokens_ + qps_ * static_cast<double>((now - *filled_).count()) / 1000.0);
  filled_ = now;
}

std::vector<Message> MessageRate::take(Milliseconds now) {
  refill(now);
  std::vector<Message> sends;
  while (!waiting_.empty() && tokens_ >= 1) {
    tokens_ -= 1;
    sends.push_back(pop());
  }
  return sends;
}

std::optional<Milliseconds> MessageRate::next(Milliseconds now) const {
  if (waiting_.empty()) return std::nullopt;
  const double missing = std::max(0.0, 1.0 - tokens_);
  const Milliseconds due = filled_.value_or(now) + Milliseconds{static_cast<std::int64_t>(std::ceil(missing * 1000.0 / qps_))};
  return std::max(due, now);
}

}  // namespace kubeedge::edge
