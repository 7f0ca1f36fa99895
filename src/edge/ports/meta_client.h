// What MetaManager gives to node and Edged: Kubernetes objects, local first (edge-node 1.2, hub-protocol 5.2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/resource.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::edge {

// A failed call. `reason` is the Status' reason (NotFound, AlreadyExists, Conflict ...), or "" when the cloud
// could not be asked (offline, time-out): then try again later.
struct MetaError {
  std::string reason;
  std::string message;
};

template <class T>
struct MetaResult {
  std::optional<T> value;
  MetaError error;
  explicit operator bool() const { return value.has_value(); }
};

using MetaDone = unique_function<void(MetaResult<Bytes>)>;

// Lives on the edge's loop; callbacks run there.
class MetaClient {
 public:
  virtual ~MetaClient() = default;

  // Local copies, never the cloud. `key` = "<ns>/<type>/<name>".
  virtual std::optional<Bytes> local(const std::string& key) const = 0;
  virtual std::vector<Bytes> local_list(const std::string& type) const = 0;   // all rows of a type

  // ConfigMap and Secret: the local row, else the cloud's answer, which is stored before it is given back.
  virtual void get_config_map(const std::string& ns, const std::string& name, MetaDone done) = 0;
  virtual void get_secret(const std::string& ns, const std::string& name, MetaDone done) = 0;
  // `pod_uid` keeps one pod's token apart from another's. A stored token is used until 80 % of its life or 24 h.
  virtual void request_token(const std::string& ns, const std::string& service_account, const std::string& pod_uid,
                             Bytes token_request, MetaDone done) = 0;
  virtual void drop_tokens(const std::string& pod_uid) = 0;

  // Node and Lease: the cloud only; a good answer is stored.
  virtual void create_node(Bytes node, MetaDone done) = 0;
  virtual void update_node(Bytes node, MetaDone done) = 0;           // merges labels and annotations
  virtual void patch_node_status(std::string strategic_patch, MetaDone done) = 0;
  virtual void get_lease(MetaDone done) = 0;
  virtual void create_lease(Bytes lease, MetaDone done) = 0;
  virtual void update_lease(Bytes lease, MetaDone done) = 0;

  // Pods. The answer's Object becomes the local copy's status base.
  virtual void patch_pod_status(const std::string& ns, const std::string& name, std::string strategic_patch, MetaDone done) = 0;
  virtual void delete_pod(const std::string& ns, const std::string& name, const std::string& uid, MetaDone done) = 0;

  virtual void post_event(const std::string& ns, const std::string& name, Bytes event) = 0;  // fire and forget
};

// What MetaManager tells Edged. Pods are whole objects; each call comes after the row is durable.
class PodSink {
 public:
  virtual ~PodSink() = default;
  virtual void on_pod_set(std::vector<Bytes> pods) = 0;               // at start, from the store: SET
  virtual void on_pod(Bytes pod) = 0;                                 // added or changed (deletionTimestamp = terminate)
  virtual void on_pod_removed(const std::string& ns, const std::string& name, const std::string& uid) = 0;
  virtual void on_object(const std::string& type, const std::string& ns, const std::string& name) = 0;  // configmap, secret changed
};

// What MetaManager tells DeviceTwin: Device and DeviceModel objects as they are stored.
class DeviceSink {
 public:
  virtual ~DeviceSink() = default;
  virtual void on_device(Bytes device) = 0;
  virtual void on_device_removed(const DeviceId& id) = 0;
  virtual void on_device_model(Bytes model) = 0;
};

}  // namespace kubeedge::edge
