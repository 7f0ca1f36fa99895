// MetaManager: keeps what the cloud sends in upstream's tables, acknowledges after the commit, answers locally first.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "edge/ports/cloud_link.h"
#include "edge/ports/meta_client.h"
#include "store/store.h"

namespace kubeedge::edge {

// The tables of this module, for Store::open: upstream's `meta` and `meta_v2`.
std::string_view meta_schema();

inline constexpr Milliseconds kRemoteQueryTimeout{60'000};
inline constexpr Milliseconds kLeaseTimeout{10'000};

// `store` must outlive it. Lives on the runtime's executor.
class MetaManager final : public MetaClient, public MessageSink, public LinkObserver {
 public:
  static std::unique_ptr<MetaManager> create(const Runtime& runtime, store::Store& store, NodeId node);
  ~MetaManager() override;

  void set_link(CloudLink* link);
  void set_pod_sink(PodSink* sink);
  void set_device_sink(DeviceSink* sink);
  // Hands the stored pods, models and devices to their sinks.
  void start();

  // MessageSink: insert, update, delete from the cloud, and answers nobody waits for any more.
  void on_message(Message message) override;
  // LinkObserver: only who tells of connections gets the guard of message_order.h.
  void on_link(bool up) override;
  void collect(base::MetricsPage& page) const;

  // MetaClient
  std::optional<Bytes> local(const std::string& key) const override;
  std::vector<Bytes> local_list(const std::string& type) const override;
  void get_config_map(const std::string& ns, const std::string& name, MetaDone done) override;
  void get_secret(const std::string& ns, const std::string& name, MetaDone done) override;
  void request_token(const std::string& ns, const std::string& service_account, const std::string& pod_uid, Bytes token_request,
                     MetaDone done) override;
  void drop_tokens(const std::string& pod_uid) override;
  void create_node(Bytes node, MetaDone done) override;
  void update_node(Bytes node, MetaDone done) override;
  void patch_node_status(std::string strategic_patch, MetaDone done) override;
  void get_lease(MetaDone done) override;
  void create_lease(Bytes lease, MetaDone done) override;
  void update_lease(Bytes lease, MetaDone done) override;
  void patch_pod_status(const std::string& ns, const std::string& name, std::string strategic_patch, MetaDone done) override;
  void delete_pod(const std::string& ns, const std::string& name, const std::string& uid, MetaDone done) override;
  void post_event(const std::string& ns, const std::string& name, Bytes event) override;

 private:
  struct Impl;
  explicit MetaManager(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
