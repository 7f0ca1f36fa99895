// What the cloud asks of this node's pods through the stream tunnel: logs, exec, attach. Edged serves it, EdgeStream brings it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kubeedge/bytes.h>

namespace kubeedge::edge {

// A request of the kubelet's API (edge-node 6): GET /containerLogs/<ns>/<pod>/<container>?follow=true ...
struct NodeCall {
  std::string method;
  std::string path;      // decoded
  std::string query;     // raw
  std::vector<std::pair<std::string, std::string>> headers;
};

// Where the answer goes. Lives on the edge's loop; once the caller left its calls do nothing.
class NodeAnswer {
 public:
  virtual ~NodeAnswer() = default;
  // Either head() first and then the body, or raw(): a head that somebody else made follows in data() (an upgrade).
  virtual void head(int status) = 0;
  virtual void raw() = 0;
  virtual void data(Bytes bytes) = 0;
  virtual void end() = 0;
  // Bytes that data() should be given now; at 0 wait for NodeStream::on_room().
  virtual std::size_t room() const = 0;
  // Bytes of on_data() that are worked off: their sender may send as many more.
  virtual void consumed(std::size_t bytes) = 0;

  // A refusal: its text is shown to the user.
  void refuse(int status, std::string text) {
    head(status);
    data(Bytes(std::move(text)));
    end();
  }
};

// One request under way. Destroying it ends it without a word: the caller left.
class NodeStream {
 public:
  virtual ~NodeStream() = default;
  virtual void on_room() = 0;
  virtual void on_data(Bytes bytes) = 0;   // what the user types (exec, attach)
};

class NodeStreams {
 public:
  virtual ~NodeStreams() = default;
  // May answer at once or later, never after the returned object is gone. Null: it is answered already.
  virtual std::unique_ptr<NodeStream> open(NodeCall call, std::shared_ptr<NodeAnswer> answer) = 0;
};

}  // namespace kubeedge::edge
