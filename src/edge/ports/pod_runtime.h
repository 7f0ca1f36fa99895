// A pod runtime as the Edge assembly sees it: src/edge/edged over CRI implements it in a library of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "edge/ports/cloud_link.h"
#include "edge/ports/meta_client.h"
#include "edge/ports/node_streams.h"

namespace kubeedge {
inline namespace v0 {

// Lives on the edge's loop.
class PodRuntime : public edge::PodSink, public edge::LinkObserver {
 public:
  ~PodRuntime() override = default;
  virtual void start() = 0;
  virtual void stop(unique_function<void()> done) = 0;   // containers keep running
  // "containerd://1.6.20", "" until the runtime answered; its outage makes the node NotReady with `why`.
  virtual std::string runtime_version() const = 0;
  virtual bool ready(std::string& why) const = 0;
  virtual int max_pods() const = 0;
  virtual void on_state(std::function<void()> handler) = 0;   // readiness changed
  virtual void set_node_ip(const std::string& ip) = 0;        // known once the link was up
  virtual edge::NodeStreams* streams() { return nullptr; }    // logs, exec ...; it goes with the runtime
};

class PodRuntimeFactory {
 public:
  virtual ~PodRuntimeFactory() = default;
  virtual std::unique_ptr<PodRuntime> create(const Runtime& runtime, edge::MetaClient& meta, const std::string& node_name,
                                             const std::string& node_ip) = 0;
};

}  // namespace v0
}  // namespace kubeedge
