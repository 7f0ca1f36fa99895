// The part of the kubelet's API that the stream tunnel asks for (edge-node 6): /containerLogs, /exec, /attach, /portForward.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <kubeedge/runtime.h>

#include "edge/edged/cri_client.h"
#include "edge/edged/log_query.h"
#include "edge/edged/log_stream.h"
#include "edge/ports/node_streams.h"

namespace kubeedge::edged {

// What this node's pods have, or why not.
class NodePods {
 public:
  template <class T> using Found = std::variant<T, Refusal>;
  virtual ~NodePods() = default;
  virtual Found<LogStream::Source> find_log(const std::string& ns, const std::string& pod, const std::string& container, bool previous) const = 0;
  virtual Found<std::string> find_running(const std::string& ns, const std::string& pod, const std::string& container) const = 0;   // its id
  virtual Found<std::string> find_sandbox(const std::string& ns, const std::string& pod) const = 0;
};

// Lives on the edge's loop. `pods` and `cri` must outlive it.
class NodeApi final : public edge::NodeStreams {
 public:
  NodeApi(const Runtime& runtime, const NodePods& pods, CriClient& cri);

  std::unique_ptr<edge::NodeStream> open(edge::NodeCall call, std::shared_ptr<edge::NodeAnswer> answer) override;
  // The runtime's newest list: streams of containers that do not run any more end.
  void relisted(const std::map<std::string, PodSummary>& pods);

 private:
  using Parts = std::vector<std::string>;
  std::unique_ptr<edge::NodeStream> open_log(const Parts& parts, const edge::NodeCall& call, const std::shared_ptr<edge::NodeAnswer>& answer);
  std::unique_ptr<edge::NodeStream> open_exec(const Parts& parts, edge::NodeCall call, const std::shared_ptr<edge::NodeAnswer>& answer);

  Runtime runtime_;
  const NodePods& pods_;
  CriClient& cri_;
  std::shared_ptr<LogWatch> watch_;
  std::vector<std::weak_ptr<LogStream::Ender>> followed_;
};

}  // namespace kubeedge::edged
