// Keeps ClusterRoles as Kubernetes' controllers do: the default roles and bindings are there, aggregates have the rules of their parts.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// Lives on the runtime's executor; `client` must outlive it.
class ClusterRoles {
 public:
  ClusterRoles(const Runtime& runtime, kube::KubeClient& client);
  ~ClusterRoles();
  void start();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
