// Binds pods without a node to a Ready node that they fit, or says why not. Speaks only KubeClient.
// In: pods and nodes. Out: pods/binding, or PodScheduled=False and an event FailedScheduling, once per reason.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include <kubeedge/runtime.h>
#include <nlohmann/json.hpp>

#include "kube/client/informer.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

// "250m" -> 250, "2" -> 2000 (thousandths); "64Mi" -> bytes * 1000. 0 for what is no quantity.
std::int64_t milli_quantity(const std::string& text);

// What fits where: pure, no I/O.
class Scheduler {
 public:
  void set_node(const nlohmann::json& node);
  void remove_node(const std::string& name);
  void set_pod(const nlohmann::json& pod);                    // bound and running pods take room
  void remove_pod(const std::string& ns_name);
  void assume(const std::string& ns_name, const nlohmann::json& pod, const std::string& node);

  // The node with the fewest pods among those that fit; "" and `why` ("0/2 nodes are available: ...") when none does.
  std::string choose(const nlohmann::json& pod, std::string& why) const;

 private:
  struct Need { std::int64_t cpu = 0, memory = 0; };
  struct Node { nlohmann::json labels, taints; Need room; std::int64_t pods = 0; bool ready = false, unschedulable = false; };
  struct Placed { std::string node; Need need; };
  static Need need_of(const nlohmann::json& pod);
  std::string obstacle(const std::string& name, const Node& node, const nlohmann::json& pod, const Need& need) const;

  std::map<std::string, Node> nodes_;
  std::map<std::string, Placed> placed_;
};

// Lives on the runtime's executor; `client` must outlive it.
class Binder {
 public:
  Binder(const Runtime& runtime, kube::KubeClient& client);
  ~Binder();
  void start();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
