#include "wire/tunnel_streams.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace kubeedge::wire {

bool TunnelStreams::add(std::uint64_t id, std::uint64_t peer_window) {
  if (streams_.size() >= kMaxStreams || streams_.contains(id)) return false;
  const std::uint64_t window = std::min(peer_window, kMaxWindow);
  streams_[id] = Stream{window > 0, window, window, 0, 0};
  return true;
}

void TunnelStreams::remove(std::uint64_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  unread_total_ -= found->second.unread;
  streams_.erase(found);
}

std::vector<std::uint64_t> TunnelStreams::ids() const {
  std::vector<std::uint64_t> out;
  for (const auto& [id, stream] : streams_) out.push_back(id);
  return out;
}

std::size_t TunnelStreams::room(std::uint64_t id) const {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return 0;
  return found->second.windows ? static_cast<std::size_t>(found->second.room) : std::numeric_limits<std::size_t>::max();
}

void TunnelStreams::sent(std::uint64_t id, std::size_t bytes) {
  const auto found = streams_.find(id);
  if (found != streams_.end() && found->second.windows) found->second.room -= std::min<std::uint64_t>(found->second.room, bytes);
}

bool TunnelStreams::credited(std::uint64_t id, std::uint64_t bytes) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return true;   // over on our side, and the peer does not know yet
  Stream& stream = found->second;
  if (!stream.windows || bytes > stream.granted - stream.room) return false;
  stream.room += bytes;
  return true;
}

TunnelStreams::Taken TunnelStreams::received(std::uint64_t id, std::size_t bytes) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return Taken::kUnknown;
  Stream& stream = found->second;
  stream.unread += bytes;
  unread_total_ += bytes;
  // With windows, what was consumed and not told still counts as sent.
  const bool too_much = stream.windows ? stream.unread + stream.uncredited > kWindow : stream.unread > kMaxUnread || unread_total_ > kMaxUnreadTotal;
  return too_much ? Taken::kTooMuch : Taken::kYes;
}

std::uint64_t TunnelStreams::consumed(std::uint64_t id, std::size_t bytes) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return 0;
  Stream& stream = found->second;
  const std::uint64_t less = std::min<std::uint64_t>(stream.unread, bytes);
  stream.unread -= less;
  unread_total_ -= less;
  if (!stream.windows) return 0;
  stream.uncredited += less;
  if (stream.uncredited < kWindow / 2) return 0;
  return std::exchange(stream.uncredited, 0);
}

}  // namespace kubeedge::wire
