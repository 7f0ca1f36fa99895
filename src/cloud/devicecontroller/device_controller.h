// DeviceController: devices and models down, twins and states up (devices.md 2).
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

struct DeviceOptions {
  Milliseconds status_interval{1'000};      // at most one DeviceStatus patch a device in this time, one in flight
};
inline constexpr std::size_t kMaxUnconfirmed = 1'000;   // reports of one device that wait for a patch; older ones go unconfirmed

// Lives on the runtime's executor; all references must outlive it.
class DeviceController final : public UpstreamSink, public NodeSnapshot {
 public:
  DeviceController(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, DeviceOptions options);
  ~DeviceController() override;
  void start();
  void stop();

  void on_message(const NodeId& node, Message message) override;
  void collect(base::MetricsPage& page) const;

  bool synced() const override;
  void snapshot(const NodeId& node, std::vector<Message>& messages) override;
  Fate fate(const NodeId& node, const SyncRecord& record, Message& message) override;
  void on_connected(const NodeId& node) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
