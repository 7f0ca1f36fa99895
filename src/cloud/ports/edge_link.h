// CloudHub as the controllers see it, and the controllers as CloudHub sees them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/message.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::cloud {

// CloudHub implements it. Lives on the cloud's loop.
class EdgeLink {
 public:
  virtual ~EdgeLink() = default;
  virtual bool connected(const NodeId& node) const = 0;
  virtual std::vector<NodeId> connected_nodes() const = 0;
  // `message.resource` in wire form (no "node/<id>/"). Whether it needs an ACK is decided by hub-protocol 4.3.
  // ACK-able ones coalesce per object UID (the newest resourceVersion wins, a delete wins over all) and are sent
  // again until acknowledged; for a node without a session nothing is kept (the connect-time resend brings it).
  virtual void send(const NodeId& node, Message message) = 0;
  // The node answers messages of group "user" and wants its uploads answered: our edge does, a Go edge does not.
  virtual bool confirms(const NodeId& node) const { (void)node; return false; }
  // The node is gone from the API: its session ends, its sync records are cleared.
  virtual void node_deleted(const NodeId& node) = 0;
};

// A controller's inbound side. CloudHub routes by source (hub-protocol 2.3): twin -> DeviceController,
// metaserver -> DynamicController, group user -> Router, else EdgeController.
class UpstreamSink {
 public:
  virtual ~UpstreamSink() = default;
  virtual void on_message(const NodeId& node, Message message) = 0;
};

// ObjectSync and ClusterObjectSync (hub-protocol 4.5), kept by SyncController through KubeClient.
struct SyncRecord {
  std::string ns;                 // "null" = ClusterObjectSync
  std::string api_version, kind, name, uid;
  std::string resource_version;   // last acknowledged; "0" = created, none yet
};
class SyncRecords {
 public:
  virtual ~SyncRecords() = default;
  virtual bool synced() const = 0;                          // the first list was told
  virtual std::vector<NodeId> nodes() const = 0;            // that have records
  virtual std::optional<SyncRecord> find(const NodeId& node, const std::string& uid) const = 0;
  virtual std::vector<SyncRecord> all(const NodeId& node) const = 0;
  // It is being sent: whether the acknowledgement comes or not, the node may hold it from now on. Creates a missing record
  // with version "0", at once; `record`'s own version is not looked at.
  virtual void offered(const NodeId& node, SyncRecord record) = 0;
  virtual void acknowledged(const NodeId& node, SyncRecord record) = 0;   // create if missing, set the version
  virtual void removed(const NodeId& node, const std::string& uid) = 0;
  virtual void clear(const NodeId& node, unique_function<void()> done) = 0;  // the node is gone
  // What the node holds is unknown (another store, a join with a token): every version becomes "0", so that all that lives
  // is sent again. The records stay: what is gone meanwhile needs its delete, in case the edge has it still.
  virtual void reset(const NodeId& node, unique_function<void()> done) = 0;
};

// Asked at connect, and every kResyncInterval for a connected node: all that this node should have.
class NodeSnapshot {
 public:
  virtual ~NodeSnapshot() = default;
  // Its informers have told their first lists; before that an absent object proves nothing and nothing is resent.
  virtual bool synced() const { return true; }
  virtual void snapshot(const NodeId& node, std::vector<Message>& messages) = 0;   // ACK-able, with resourceversion
  // What became of a recorded object that snapshot() did not name. kCurrent: `message` is its newest state.
  enum class Fate : std::uint8_t { kNotMine, kGone, kCurrent };
  virtual Fate fate(const NodeId& node, const SyncRecord& record, Message& message) {
    (void)node, (void)record, (void)message;
    return Fate::kNotMine;
  }
  virtual void on_connected(const NodeId& node) { (void)node; }
  virtual void on_disconnected(const NodeId& node) { (void)node; }
};

}  // namespace kubeedge::cloud
