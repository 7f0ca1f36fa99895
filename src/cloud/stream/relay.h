// One user's stream: the HTTP exchange with the user on one side, a stream of a node's tunnel on the other.
// The node's answer comes as an HTTP message in raw bytes: its head says whether it is a body, an upgrade or a refusal.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <kubeedge/runtime.h>

#include "cloud/ports/node_streams.h"
#include "net/http_message.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {

// The tunnel as a relay sees it.
class RelayTunnel {
 public:
  virtual ~RelayTunnel() = default;
  virtual std::size_t room() const = 0;
  virtual void to_node(std::string_view data) = 0;
  virtual void consumed(std::size_t bytes) = 0;   // of what came from the node
  virtual void over(bool tell_node) = 0;          // the stream is forgotten
};

// Lives on the runtime's executor. Every end is told once: to the user, and by over() to the node.
class Relay final : public std::enable_shared_from_this<Relay> {
 public:
  static constexpr Milliseconds kAnswerTimeout{30'000};           // until the node's head is there
  static constexpr std::size_t kMaxRefusalBytes = 64 * 1024;

  Relay(const Runtime& runtime, std::string node, std::shared_ptr<net::HttpResponder> responder, NodeStreams::Refuse refuse,
        std::unique_ptr<RelayTunnel> tunnel);
  void start();

  void on_data(const Bytes& data);
  void on_room();
  void on_removed();                       // the node ended it
  void on_lost(const std::string& why);    // the tunnel broke, or the node sent too much

 private:
  enum class State { kHead, kBody, kRefusal, kPipe, kOver };
  void on_head();
  void parse(std::string_view data);
  void give(std::string body, std::size_t worth);
  void become_pipe(std::string_view rest);
  void to_user(Bytes data, std::size_t worth);
  void read_user();
  void from_user(std::string_view data);
  void finish_message();
  void refuse(int status, const std::string& text);
  void leave(bool tell_node);

  Runtime runtime_;
  std::string node_;
  std::shared_ptr<net::HttpResponder> responder_;
  NodeStreams::Refuse refuse_;
  std::unique_ptr<RelayTunnel> tunnel_;
  runtime::Timer timer_;
  net::HttpParser parser_;
  State state_ = State::kHead;
  std::string body_;                       // parsed out of the bytes at hand, or the text of a refusal
  std::unique_ptr<net::Stream> user_;      // after an upgrade
  std::string held_;                       // from the user, until the tunnel has room: one read, and what came with the request
  bool reading_ = false;
};

}  // namespace kubeedge::cloud
