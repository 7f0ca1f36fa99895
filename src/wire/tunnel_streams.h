// The streams of one tunnel, and how much each may send. Both ends keep one. Pure.
//
// Upstream's tunnel has no flow control: a user who does not read fills the cloud's memory or stops everybody else. Ends
// that both know windows send at most a window of bytes a stream until the other side says that it got rid of them. From a
// peer without windows a stream is cut when kMaxUnread bytes of it, or kMaxUnreadTotal of all, wait for their users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace kubeedge::wire {

class TunnelStreams {
 public:
  static constexpr std::size_t kMaxStreams = 64;                        // of one tunnel at a time
  static constexpr std::uint64_t kWindow = 256 * 1024;                  // what we grant
  static constexpr std::uint64_t kMaxWindow = 16 * 1024 * 1024;         // what we let ourselves be granted
  static constexpr std::uint64_t kMaxUnread = 8 * 1024 * 1024;
  static constexpr std::uint64_t kMaxUnreadTotal = 32 * 1024 * 1024;

  // `peer_window`: what we may send at first; 0 = the peer knows no windows. False: the id is taken, or there are kMaxStreams.
  bool add(std::uint64_t id, std::uint64_t peer_window);
  bool has(std::uint64_t id) const { return streams_.contains(id); }
  void remove(std::uint64_t id);
  std::size_t size() const { return streams_.size(); }
  std::vector<std::uint64_t> ids() const;

  // Ours to send: bytes that the peer takes now (as many as a size_t holds without windows; 0 for an unknown id).
  std::size_t room(std::uint64_t id) const;
  void sent(std::uint64_t id, std::size_t bytes);
  // The peer got rid of some. False: of more than it was sent; the stream should be cut.
  bool credited(std::uint64_t id, std::uint64_t bytes);

  enum class Taken { kYes, kUnknown, kTooMuch };
  Taken received(std::uint64_t id, std::size_t bytes);
  // We got rid of some: the credit to send to the peer now, 0 = none yet.
  std::uint64_t consumed(std::uint64_t id, std::size_t bytes);

 private:
  struct Stream {
    bool windows = false;
    std::uint64_t granted = 0;     // by the peer, in all
    std::uint64_t room = 0;        // of it, not used
    std::uint64_t unread = 0;      // received and not consumed
    std::uint64_t uncredited = 0;  // consumed and not told
  };
  std::map<std::uint64_t, Stream> streams_;
  std::uint64_t unread_total_ = 0;
};

}  // namespace kubeedge::wire
