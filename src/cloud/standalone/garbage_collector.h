// Deletes what nobody owns any more, as ownerReferences say: in the background, in the foreground, or leaving it orphaned.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// Lives on the runtime's executor; `client` must outlive it. Watches every kind but Events.
class GarbageCollector {
 public:
  GarbageCollector(const Runtime& runtime, kube::KubeClient& client);
  ~GarbageCollector();
  void start();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
