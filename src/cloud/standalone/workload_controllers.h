// Runs the workloads of apps: watches them and their pods, and does what the plans under workloads/ say.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// Lives on the runtime's executor; `client` must outlive it. Of a pod it keeps some hundred bytes.
class WorkloadControllers {
 public:
  WorkloadControllers(const Runtime& runtime, kube::KubeClient& client);
  ~WorkloadControllers();
  void start();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
