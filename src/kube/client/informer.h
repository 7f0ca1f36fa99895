// List then watch, for ever. A watch that breaks goes on from its last revision (waits of 250 ms doubling to 10 s, jittered);
// after a 410, a refusal, or some fruitless tries the list is read again. Says only what changed.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <kubeedge/runtime.h>

#include "kube/client/kube_client.h"

namespace kubeedge::kube {

class Informer {
 public:
  struct Handlers {
    unique_function<void(Bytes object)> on_upsert;   // added or changed
    unique_function<void(Bytes object)> on_delete;   // last known state
    unique_function<void()> on_synced;               // after each successful list was told
  };
  Informer(const Runtime& runtime, KubeClient& client, Resource resource, ListOptions options, Handlers handlers);
  ~Informer();
  void start();
  // Keeps only "ns/name" -> (uid, resourceVersion) to detect what vanished between lists; objects are the caller's.

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::kube
