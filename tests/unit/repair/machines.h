// The two machines of the model: our own cloud and edge, all but TLS, HTTP, containerd and the API server behind them.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "../cloud_edgecontroller/scripted_api.h"
#include "cloud/edgecontroller/edge_controller.h"
#include "cloud/hub/hub_sessions.h"
#include "cloud/synccontroller/sync_controller.h"
#include "edge/hub/hub_link.h"
#include "edge/meta/meta_manager.h"
#include "sim_network.h"
#include "virtual_time.h"

namespace kubeedge::model {

inline const NodeId kNode{"edge-1"};
inline constexpr Milliseconds kLeaseRenewal{10'000};
inline constexpr Milliseconds kStoreCheck{60'000};   // edge.cpp's
inline constexpr Milliseconds kAskAgain{5'000};      // as Edged does what failed

// cloudcore: what it knows besides the API is gone with it.
class CloudMachine {
 public:
  CloudMachine(VirtualLoop& loop, cloud_test::ScriptedApi& api);
  ~CloudMachine();
  void accept(const std::string& store_id, std::unique_ptr<net::WebSocket> socket);
  bool connected() const { return hub_.connected(kNode); }

 private:
  cloud::SyncController sync_;
  cloud::HubSessions hub_;
  cloud::EdgeController edge_;
};

// edgecore: what it knows besides its file is gone with it. In Edged's place stands a sink that asks for the configs that its
// pods name and deletes pods that are to end.
class EdgeMachine final : public edge::PodSink {
 public:
  EdgeMachine(VirtualLoop& loop, SimNetwork& network, const std::string& file, std::uint64_t seed);
  ~EdgeMachine() override;
  bool up() const { return link_.up(); }
  store::Store& store() { return store_; }
  void watch_closely() { store_.watch_closely(); }

  void on_pod_set(std::vector<Bytes> pods) override;
  void on_pod(Bytes pod) override;
  void on_pod_removed(const std::string& ns, const std::string& name, const std::string& uid) override;
  void on_object(const std::string&, const std::string&, const std::string&) override {}

 private:
  using json = nlohmann::json;
  void later(Milliseconds wait, unique_function<void()> then);
  void dial(const std::string& store_id);
  void renew_lease();
  void check_store();
  void ask_config(const std::string& name);
  void end_pod(const std::string& name, const std::string& uid);
  bool needed(const std::string& config) const;

  VirtualLoop& loop_;
  SimNetwork& network_;
  HeldStore store_;
  edge::HubLink link_;
  std::unique_ptr<edge::MetaManager> meta_;
  std::map<std::string, json> pods_;   // by name, as Edged has them
  std::set<std::string> asked_;
  std::shared_ptr<EdgeMachine*> self_ = std::make_shared<EdgeMachine*>(this);
};

}  // namespace kubeedge::model
