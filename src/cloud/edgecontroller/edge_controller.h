// EdgeController: nodes, pods, configmaps and secrets down; registration, status, leases, tokens, events up (hub-protocol 5).
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// Lives on the runtime's executor; all references must outlive it.
// A node may touch its own Node and lease, pods bound to it, configmaps and secrets that these name and tokens of their
// service accounts; anything else is answered with a Forbidden Status and logged.
class EdgeController final : public UpstreamSink, public NodeSnapshot {
 public:
  EdgeController(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, SyncRecords& records);
  ~EdgeController() override;
  void start();
  void stop();

  void on_message(const NodeId& node, Message message) override;
  void collect(base::MetricsPage& page) const;

  bool synced() const override;
  void snapshot(const NodeId& node, std::vector<Message>& messages) override;
  Fate fate(const NodeId& node, const SyncRecord& record, Message& message) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
