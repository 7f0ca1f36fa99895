// A user's request for what runs on a node (logs, exec, attach), as the API's front ends hand it to CloudStream.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <kubeedge/resource.h>

#include "net/http.h"

namespace kubeedge::cloud {

struct NodeCall {
  enum class Kind : std::uint8_t { kLogs, kExec, kAttach };
  Kind kind = Kind::kLogs;
  std::string method = "GET";
  std::string path;               // of the kubelet's API, decoded: /containerLogs/<ns>/<pod>/<container>
  std::string query;              // raw
  net::Headers headers;           // the user's; those of an upgrade are passed on
};

// Lives on the cloud's loop.
class NodeStreams {
 public:
  virtual ~NodeStreams() = default;
  // Writes a refusal in the caller's form. `status`: the node's own (4xx, 5xx), 503 when it is not connected, 504 when it is silent.
  using Refuse = std::function<void(net::HttpResponder&, int status, const std::string& text)>;
  // Answers `responder` with what the node answers: a stream that goes on until one of the two leaves, or a refusal.
  virtual void relay(const NodeId& node, NodeCall call, std::shared_ptr<net::HttpResponder> responder, Refuse refuse) = 0;
};

}  // namespace kubeedge::cloud
