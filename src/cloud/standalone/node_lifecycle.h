// A node whose lease was not renewed for kGrace becomes Ready=Unknown and unreachable; when it is back, the taint goes.
// Ages are measured here, from when a renewal was seen: clocks of edges do not matter. No NoExecute taint and no
// eviction: an edge that is offline keeps its pods.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// Lives on the runtime's executor; `client` must outlive it.
class NodeLifecycle {
 public:
  static constexpr Milliseconds kGrace{40'000};
  static constexpr Milliseconds kCheck{2'000};

  NodeLifecycle(const Runtime& runtime, kube::KubeClient& client);
  ~NodeLifecycle();
  void start();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
