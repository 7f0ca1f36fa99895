// SyncRecords kept as ObjectSync and ClusterObjectSync objects (hub-protocol 4.5): in memory at once, in the API soon after.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

inline constexpr std::size_t kMaxSyncWrites = 16;       // API writes in flight

// Lives on the runtime's executor; `client` must outlive it.
class SyncController final : public SyncRecords {
 public:
  SyncController(const Runtime& runtime, kube::KubeClient& client);
  ~SyncController() override;
  void start();
  void stop();

  bool synced() const override;
  std::vector<NodeId> nodes() const override;
  std::optional<SyncRecord> find(const NodeId& node, const std::string& uid) const override;
  std::vector<SyncRecord> all(const NodeId& node) const override;
  void offered(const NodeId& node, SyncRecord record) override;
  void acknowledged(const NodeId& node, SyncRecord record) override;
  void removed(const NodeId& node, const std::string& uid) override;
  void clear(const NodeId& node, unique_function<void()> done) override;
  void reset(const NodeId& node, unique_function<void()> done) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
