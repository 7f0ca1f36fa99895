#include "edge/hub/link.h"

#include <algorithm>

namespace kubeedge::edge {
namespace {

bool is_lease(const std::string& resource) { return resource.rfind("kube-node-lease/lease/", 0) == 0; }

}  // namespace

Link::Link(Milliseconds heartbeat, std::uint64_t seed) : heartbeat_(heartbeat), random_(seed) {}

void Link::start(Milliseconds now) {
  state_ = State::kWaiting;
  dial_at_ = now;
  outage_ = true;
  outage_since_ = now;
}

void Link::on_up(Milliseconds now) {
  state_ = State::kUp;
  outage_ = false;
  failures_ = 0;
  missed_leases_ = 0;
  keepalive_at_ = now;
}

Milliseconds Link::reconnect_wait(Milliseconds now) {
  if (failures_ == 0) return Milliseconds{0};
  auto most = kFirstWaits;
  if (now - outage_since_ > kFirstPhase) most = std::min(kLongestWait, kFirstWaits + (now - outage_since_ - kFirstPhase) / 10);
  // A short first wait, then full jitter below the limit: a thousand nodes must not return in lockstep.
  most = std::min(most, Milliseconds{1000 << std::min(failures_ - 1, 10)});
  return Milliseconds{std::uniform_int_distribution<std::int64_t>(most.count() / 4, most.count())(random_)};
}

std::vector<Link::Finished> Link::on_down(Milliseconds now) {
  std::vector<Finished> finished;
  for (auto& [id, pending] : pending_)
    finished.push_back({std::move(pending.done), Error{Errc::kUnavailable, "the link to the cloud broke before the answer"}});
  pending_.clear();
  if (state_ == State::kIdle) return finished;
  if (!outage_) {
    outage_ = true;
    outage_since_ = now;
    failures_ = 0;
  } else {
    ++failures_;
  }
  state_ = State::kWaiting;
  dial_at_ = now + reconnect_wait(now);
  // A session that broke is dialled again at once; the next failure waits.
  return finished;
}

void Link::on_route_change(Milliseconds now) {
  if (state_ == State::kWaiting) dial_at_ = std::min(dial_at_, std::max(now, dialled_at_ + kRouteDialGap));
}

Result<void> Link::add_request(const Message& message, Milliseconds timeout, Milliseconds now, Done& done) {
  if (!up()) return Error{Errc::kUnavailable, "not connected"};
  if (pending_.size() >= kMaxPendingRequests) return Error{Errc::kLimitExceeded, "too many requests wait for the cloud"};
  pending_[message.id] = Pending{std::move(done), now + timeout, message.resource};
  return {};
}

Link::Target Link::route(const Message& message, std::vector<Finished>& finished) {
  if (!message.parent_id.empty()) {
    if (auto it = pending_.find(message.parent_id); it != pending_.end()) {
      if (is_lease(it->second.resource)) missed_leases_ = 0;
      auto done = std::move(it->second.done);
      pending_.erase(it);
      if (message.operation == "error")
        finished.push_back(Finished{std::move(done), Error{Errc::kInternal, message.content.str()}});
      else
        finished.push_back(Finished{std::move(done), message});
      return Target::kWaiter;
    }
  }
  if (message.group == "resource" || message.group == "func") return Target::kMeta;
  if (message.group == "twin") return Target::kTwin;
  if (message.group == "user") return Target::kBus;
  if (message.group == "taskmanager") return Target::kTask;
  return Target::kNone;
}

Link::Actions Link::poll(Milliseconds now) {
  Actions actions;
  if (state_ == State::kWaiting && now >= dial_at_) {
    state_ = State::kDialling;
    dialled_at_ = now;
    actions.dial = true;
  }
  if (state_ != State::kUp) return actions;
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (now < it->second.deadline) {
      ++it;
      continue;
    }
    if (is_lease(it->second.resource)) ++missed_leases_;
    actions.finished.push_back({std::move(it->second.done), Error{Errc::kTimeout, "no answer from the cloud for " + it->second.resource}});
    it = pending_.erase(it);
  }
  if (missed_leases_ >= kMissedLeasesDead) {
    actions.close = true;
  } else if (now >= keepalive_at_) {
    actions.keepalive = true;
    keepalive_at_ = now + heartbeat_;
  }
  return actions;
}

Milliseconds Link::next(Milliseconds now) const {
  if (state_ == State::kWaiting) return dial_at_;
  if (state_ != State::kUp) return now + Milliseconds{60'000};
  auto at = keepalive_at_;
  for (const auto& [id, pending] : pending_) at = std::min(at, pending.deadline);
  return at;
}

}  // namespace kubeedge::edge
