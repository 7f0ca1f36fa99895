// The node as the cloud sees it: registers it, reports its status, renews its lease. In every Edge, with pods or without.
#pragma once

#include <functional>
#include <memory>

#include <kubeedge/runtime.h>

#include "edge/node/node_status.h"
#include "edge/ports/cloud_link.h"
#include "edge/ports/meta_client.h"

namespace kubeedge::edge {

struct NodeOptions {
  NodeIdentity identity;                       // address "" = what local_ip() says once the link is up
  std::string data_dir;
  Milliseconds status_update{10'000};          // computed this often, sent when it changed ...
  Milliseconds status_report{300'000};         // ... and at least this often
  int lease_duration_s = 40;                   // renewed every quarter
  Milliseconds retry_first{200}, retry_last{7'000};   // registration
};

// Lives on the runtime's executor. `meta` must outlive it.
class NodeAgent final : public LinkObserver {
 public:
  NodeAgent(const Runtime& runtime, MetaClient& meta, NodeOptions options, std::function<RuntimeState()> runtime_state, std::function<std::string()> local_ip);
  ~NodeAgent() override;
  void on_link(bool up) override;
  // Looks at the status now: the pod runtime came or went.
  void status_changed();
  // Once after the node was registered and its first status was taken by the cloud.
  void on_ready(unique_function<void()> handler);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
