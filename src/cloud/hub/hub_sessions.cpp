#include "cloud/hub/hub_sessions.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"
#include "wire/validated_json.h"

namespace kubeedge::cloud {

namespace {

constexpr Milliseconds kPrepareRetry{1'000};      // store id look-up and annotation, while the API is away
constexpr Milliseconds kSyncedPoll{100};
constexpr std::size_t kMaxTrafficNodes = 10'000;  // with figures of their own; nodes past them share one
const kube::Resource kNodes{"", "v1", "nodes"};

std::string host_of(const std::string& address) {
  const auto colon = address.rfind(':');
  std::string host = colon == std::string::npos ? address : address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return host;
}

// What one node moved since this process began; kept over its reconnects.
struct Traffic {
  std::uint64_t sessions = 0, received = 0, received_bytes = 0, sent = 0, sent_bytes = 0;
};

// Why a session ended, for the counters.
enum class End : std::uint8_t { kPeer, kReplaced, kSilent, kOverflow, kDecided, kStop };
constexpr const char* kEndNames[] = {"peer", "replaced", "silent", "overflow", "decided", "stop"};

// Why a message of an edge was not taken.
enum class Bad : std::uint8_t { kMalformed, kSource, kNoModule, kEdgeError };
constexpr const char* kBadNames[] = {"malformed", "source", "no_module", "edge_error"};

}  // namespace

struct HubSessions::Impl : std::enable_shared_from_this<HubSessions::Impl> {
  struct Connection {
    Connection(const Runtime& runtime, SessionOptions options, Milliseconds now) : session(options, now), timer(runtime) {}
    NodeId node;
    std::int64_t certified_s = 0;          // its certificate's notBefore
    std::unique_ptr<net::WebSocket> socket;
    NodeSession session;
    runtime::Timer timer;                  // resends, keepalive
    std::optional<runtime::Timer> prepare;   // between connect and the resend
    std::string store_id;
    bool annotated = false;
    bool uploads_dropped = false;            // said once
    Traffic* traffic = nullptr;              // of this node
  };

  Impl(const Runtime& r, kube::KubeClient& c, SyncRecords& s, HubOptions o)
      : runtime(r), client(c), records(s), options(std::move(o)), resync_timer(r), peers(r.log(), r.clock(), "cloudhub") {}

  Runtime runtime;
  kube::KubeClient& client;
  SyncRecords& records;
  HubOptions options;
  HubSinks sinks;
  std::map<NodeId, std::shared_ptr<Connection>> connections;
  runtime::Timer resync_timer;
  bool stopped = false;
  base::PeerLog peers;
  std::map<NodeId, Traffic> traffic;
  Traffic other_traffic;                     // of nodes past kMaxTrafficNodes
  NodeSession::Counters past;                // of sessions that ended
  std::array<std::uint64_t, std::size(kEndNames)> ended{};
  std::array<std::uint64_t, std::size(kBadNames)> bad{};

  Milliseconds now() const { return runtime.clock().steady(); }
  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "cloudhub", format, std::forward<A>(args)...);
  }

  bool is_current(const std::shared_ptr<Connection>& connection) const {
    const auto found = connections.find(connection->node);
    return found != connections.end() && found->second == connection;
  }

  Traffic& traffic_of(const NodeId& node) {
    if (const auto known = traffic.find(node); known != traffic.end()) return known->second;
    return traffic.size() < kMaxTrafficNodes ? traffic[node] : other_traffic;
  }

  void open(const std::shared_ptr<Connection>& connection) {
    if (const auto old = connections.find(connection->node); old != connections.end()) {
      say(LogLevel::kInfo, "node {}: a newer connection from {} replaces the old one", connection->node.str(), connection->socket->peer_address());
      drop(old->second, End::kReplaced, "replaced by a newer connection");
    }
    connections[connection->node] = connection;
    say(LogLevel::kInfo, "node {} connected from {}", connection->node.str(), connection->socket->peer_address());
    std::weak_ptr<Impl> weak = weak_from_this();
    std::weak_ptr<Connection> weak_connection = connection;
    connection->socket->start({
        [weak, weak_connection](Bytes text) {
          auto self = weak.lock();
          auto c = weak_connection.lock();
          if (self && c) self->on_text(c, std::move(text));
        },
        [weak, weak_connection](Error reason) {
          auto self = weak.lock();
          auto c = weak_connection.lock();
          if (self && c) self->drop(c, End::kPeer, reason.message);
        },
    });
    for (auto* snapshot : sinks.snapshots) snapshot->on_connected(connection->node);
    arm(connection);
    prepare(connection);
  }

  // Before the resend: is the edge's store the one that the records speak of? Then the Node's annotations.
  void prepare(const std::shared_ptr<Connection>& connection) {
    std::weak_ptr<Impl> weak = weak_from_this();
    std::weak_ptr<Connection> weak_connection = connection;
    client.get(kNodes, "", connection->node.str(), [weak, weak_connection](kube::ApiResult<Bytes> got) {
      auto self = weak.lock();
      auto c = weak_connection.lock();
      if (!self || !c || !self->is_current(c)) return;
      if (!got && got.error().code != 404) {
        self->say(LogLevel::kWarning, "node {}: look-up failed: {}; again in 1 s", c->node.str(), got.error().message);
        return self->later(c, kPrepareRetry, &Impl::prepare);
      }
      std::string last;
      if (got)
        if (auto json = wire::ValidatedJson::parse(*got)) last = json->string_at({"metadata", "annotations", kStoreIdAnnotation}).value_or("");
      // Without the header (a Go edge) nothing is promised; with it, any difference means another store.
      if (!c->store_id.empty() && last != c->store_id) {
        if (!last.empty()) self->say(LogLevel::kWarning, "node {}: the edge has a new store: all its objects are sent again", c->node.str());
        self->records.reset(c->node, [weak, weak_connection] {
          auto s = weak.lock();
          auto cc = weak_connection.lock();
          if (s && cc && s->is_current(cc)) s->ready(cc);
        });
      } else {
        c->annotated = got && !c->store_id.empty();
        self->ready(c);
      }
    });
  }

  void later(const std::shared_ptr<Connection>& connection, Milliseconds after, void (Impl::*next)(const std::shared_ptr<Connection>&)) {
    std::weak_ptr<Impl> weak = weak_from_this();
    std::weak_ptr<Connection> weak_connection = connection;
    if (!connection->prepare) connection->prepare.emplace(runtime);
    connection->prepare->start(after, [weak, weak_connection, next] {
      auto self = weak.lock();
      auto c = weak_connection.lock();
      if (self && c && self->is_current(c)) (self.get()->*next)(c);
    });
  }

  bool all_synced() const {
    return records.synced() && std::all_of(sinks.snapshots.begin(), sinks.snapshots.end(), [](NodeSnapshot* s) { return s->synced(); });
  }

  void ready(const std::shared_ptr<Connection>& connection) {
    if (!all_synced()) return later(connection, kSyncedPoll, &Impl::ready);
    resend(connection, true);
    connection->session.begin(now());
    flush(connection);
    annotate(connection);
  }

  // The store id is remembered only after the records were cleared: a crash between the two clears once more.
  void annotate(const std::shared_ptr<Connection>& connection) {
    if (connection->annotated) return;
    nlohmann::json annotations{{"cloudcore", options.cloud_ip.empty() ? host_of(connection->socket->local_address()) : options.cloud_ip}};
    if (!connection->store_id.empty()) annotations[kStoreIdAnnotation] = connection->store_id;
    const nlohmann::json patch{{"metadata", {{"annotations", annotations}}}};
    std::weak_ptr<Impl> weak = weak_from_this();
    std::weak_ptr<Connection> weak_connection = connection;
    client.patch(kNodes, "", connection->node.str(), "", kube::PatchType::kMerge, Bytes(base::dump_json(patch)),
                 [weak, weak_connection](kube::ApiResult<Bytes> done) {
                   auto self = weak.lock();
                   auto c = weak_connection.lock();
                   if (!self || !c || !self->is_current(c)) return;
                   if (done) {
                     c->annotated = true;
                     return;
                   }
                   self->later(c, kPrepareRetry, &Impl::annotate);   // a new node is registered a moment later
                 });
  }

  // What is newer than the records, and deletes for what is gone. `first`: at connect.
  void resend(const std::shared_ptr<Connection>& connection, bool first) {
    const NodeId& node = connection->node;
    std::vector<Message> messages;
    for (auto* snapshot : sinks.snapshots) snapshot->snapshot(node, messages);
    std::set<std::string> named;
    for (const auto& message : messages) named.insert(object_key(message).uid);
    // What is gone comes first, then what has its place: a Go edge deletes by name, whatever the UID.
    for (const auto& record : records.all(node)) {
      if (named.contains(record.uid)) continue;
      for (auto* snapshot : sinks.snapshots) {
        Message message;
        const auto fate = snapshot->fate(node, record, message);
        if (fate == NodeSnapshot::Fate::kNotMine) continue;
        enqueue(connection, fate == NodeSnapshot::Fate::kGone ? orphan(record) : std::move(message), false);
        break;
      }
    }
    for (auto& message : messages) {
      // A Go edge may have lost its store and cannot say so; without the Node it never gets past registration.
      const bool force = first && connection->store_id.empty() && object_key(message).kind == "Node";
      enqueue(connection, std::move(message), force);
    }
  }

  Message orphan(const SyncRecord& record) const {
    nlohmann::json metadata{{"name", record.name}, {"uid", record.uid}};
    if (record.ns != "null") metadata["namespace"] = record.ns;
    Message message;
    message.id = wire::new_message_id();
    message.timestamp_ms = runtime.clock().unix_ms();
    message.source = "edgecontroller";
    message.group = "resource";
    message.operation = "delete";
    message.resource = record.ns + "/" + base::lower(record.kind) + "/" + record.name;
    message.content = Bytes(base::dump_json({{"metadata", metadata}}));
    return message;
  }

  void enqueue(const std::shared_ptr<Connection>& connection, Message message, bool force) {
    if (needs_ack(message) && message.operation != "delete") {
      const auto news = record_of(message);
      const auto record = news ? records.find(connection->node, news->uid) : std::nullopt;
      const bool known = record && !record->resource_version.empty() &&
                         version_number(message.resource_version) <= version_number(record->resource_version);
      if (known && !force && message.operation != "response") return;
      if (news) records.offered(connection->node, *news);
    }
    const std::string resource = message.resource;
    if (connection->session.enqueue(std::move(message), now())) return;
    if (connection->session.overflowed()) return drop(connection, End::kOverflow, "too many unacknowledged objects; all are sent again at reconnect");
    peers.warn({connection->node.str(), resource}, "an object without uid or resourceVersion is not sent");
  }

  void send(const NodeId& node, Message message) {
    const auto found = connections.find(node);
    if (found == connections.end()) return;
    const auto connection = found->second;
    if (message.id.empty()) message.id = wire::new_message_id();
    if (message.timestamp_ms == 0) message.timestamp_ms = runtime.clock().unix_ms();
    enqueue(connection, std::move(message), false);
    flush(connection);
  }

  void flush(const std::shared_ptr<Connection>& connection) {
    if (!is_current(connection)) return;
    for (auto& message : connection->session.take_sends()) {
      Bytes text(wire::encode(message));
      ++connection->traffic->sent;
      connection->traffic->sent_bytes += text.size();
      connection->socket->send(std::move(text));
    }
    arm(connection);
  }

  void arm(const std::shared_ptr<Connection>& connection) {
    const Milliseconds wait = std::max(Milliseconds{1}, connection->session.next_deadline() - now());
    std::weak_ptr<Impl> weak = weak_from_this();
    std::weak_ptr<Connection> weak_connection = connection;
    connection->timer.start(wait, [weak, weak_connection] {
      auto self = weak.lock();
      auto c = weak_connection.lock();
      if (!self || !c || !self->is_current(c)) return;
      if (c->session.dead(self->now())) return self->drop(c, End::kSilent, "no keepalive in time");
      c->session.on_time(self->now());
      self->flush(c);
    });
  }

  void on_text(const std::shared_ptr<Connection>& connection, Bytes text) {
    if (!is_current(connection)) return;
    ++connection->traffic->received;
    connection->traffic->received_bytes += text.size();
    auto decoded = wire::decode(std::move(text));
    if (!decoded) {
      count(Bad::kMalformed);
      peers.warn({connection->node.str(), {}}, "message dropped: {}", decoded.error().message);
      return;
    }
    route(connection, std::move(*decoded));
    flush(connection);
  }

  void count(Bad why) { ++bad[static_cast<std::size_t>(why)]; }

  void route(const std::shared_ptr<Connection>& connection, Message message) {
    const NodeId node = connection->node;
    if (message.operation == "keepalive") return connection->session.on_keepalive(now());
    if (message.group == "user") return route_user(connection, std::move(message));
    if (message.operation == "response") {
      // Unknown parents are normal: a Go edge acknowledges answers that need none.
      if (auto acked = connection->session.on_ack(message.parent_id, now())) acknowledged(node, *acked);
      return;
    }
    if (message.operation == "error") {
      count(Bad::kEdgeError);
      peers.warn({node.str(), message.resource}, "the edge could not take message {}: {}", message.parent_id.str(), wire::content_text(message).substr(0, 200));
      return;
    }
    if (message.resource == "k8s/ca.crt") {
      Message answer = wire::respond(message, wire::json_string(options.api_ca_pem), runtime.clock().unix_ms());
      answer.source = "cloudhub";
      answer.group = "resource";
      connection->session.enqueue(std::move(answer), now());
      return;
    }
    for (const char* ours : {"cloudhub", "cloudStream", "devicecontroller", "edgecontroller", "synccontroller"})
      if (message.source == ours) {
        count(Bad::kSource);
        peers.warn({node.str(), message.resource}, "{} dropped: source {} is the cloud's own", message.operation, message.source);
        return;
      }
    const bool absent = message.source == "metaserver" || message.operation == "prepull" || message.operation == "upgrade" || message.operation == "UpdateNodeActionStatus";
    if (absent) {
      count(Bad::kNoModule);
      peers.warn({node.str(), message.resource}, "{} from {}: this cloud has no module for it", message.operation, message.source);
      return;
    }
    UpstreamSink* sink = message.source == "twin" ? sinks.device : sinks.edge;
    if (sink) sink->on_message(node, std::move(message));
  }

  // Buses and services of the edge (hub-protocol 7.2).
  void route_user(const std::shared_ptr<Connection>& connection, Message message) {
    if (sinks.router) return sinks.router->on_message(connection->node, std::move(message));
    if (message.operation != "upload") return;
    if (!std::exchange(connection->uploads_dropped, true))
      say(LogLevel::kWarning, "node {}: upload of {} dropped, and those that follow: the router is not enabled (modules.router.enable)", connection->node.str(), message.resource);
    if (!connection->store_id.empty()) connection->session.enqueue(wire::ack(message, runtime.clock().unix_ms()), now());
  }

  // What a record says of a message's object; none of what has no UID, kind and version.
  static std::optional<SyncRecord> record_of(const Message& message) {
    const ObjectKey key = object_key(message);
    if (message.group == "twin" || key.uid.empty() || key.kind.empty() || message.resource_version.empty()) return std::nullopt;
    return SyncRecord{key.ns, key.api_version, key.kind, key.name, key.uid, message.resource_version};
  }

  void acknowledged(const NodeId& node, const Message& message) {
    if (message.operation == "delete" && message.group != "twin") {
      if (const std::string uid = object_key(message).uid; !uid.empty()) records.removed(node, uid);
      return;
    }
    if (auto record = record_of(message)) records.acknowledged(node, std::move(*record));
  }

  void drop(std::shared_ptr<Connection> connection, End end, const std::string& why) {   // by value: the map lets go of its own
    if (!is_current(connection)) return;
    connections.erase(connection->node);
    ++ended[static_cast<std::size_t>(end)];
    const auto& counted = connection->session.counters();
    past.acknowledged += counted.acknowledged;
    past.resent += counted.resent;
    past.coalesced += counted.coalesced;
    connection->timer.cancel();
    connection->prepare.reset();
    connection->socket->close(1000, why.substr(0, 100));
    say(LogLevel::kInfo, "node {} disconnected: {}", connection->node.str(), why);
    for (auto* snapshot : sinks.snapshots) snapshot->on_disconnected(connection->node);
    // The socket sends its Close first; it goes when this call is over.
    auto keep = connection;
    runtime::post(runtime, [keep] {});
  }

  void collect(base::MetricsPage& page) const {
    NodeSession::Counters all = past;
    std::size_t queued = 0, in_flight = 0, unsent = 0;
    for (const auto& [node, connection] : connections) {
      const auto& counted = connection->session.counters();
      all.acknowledged += counted.acknowledged;
      all.resent += counted.resent;
      all.coalesced += counted.coalesced;
      queued += connection->session.queued();
      in_flight += connection->session.in_flight();
      unsent += connection->socket->queued_bytes();
    }
    const auto gauge = [&page](const char* name, const char* help, std::size_t value) { page.gauge(name, help, static_cast<std::int64_t>(value)); };
    gauge("KubeEdge_CloudHub_connected_nodes", "Number of nodes that are connected to this cloudcore", connections.size());
    gauge("kubeedge_cloudhub_queued_objects", "Objects that wait for room in a node's window, one a UID", queued);
    gauge("kubeedge_cloudhub_in_flight_messages", "Messages sent and not yet acknowledged", in_flight);
    gauge("kubeedge_cloudhub_unsent_bytes", "Bytes queued to slow connections", unsent);
    page.counter("kubeedge_cloudhub_acks_total", "Acknowledgements taken from edges", all.acknowledged);
    page.counter("kubeedge_cloudhub_resent_messages_total", "Messages sent again for want of an acknowledgement", all.resent);
    const char* drops = "Messages that a queue let go of, by policy: coalesced into a newer state, or all with the session for a resend";
    page.counter("kubeedge_cloudhub_queue_drops_total", drops, all.coalesced, {{"policy", "coalesce"}});
    page.counter("kubeedge_cloudhub_queue_drops_total", drops, ended[static_cast<std::size_t>(End::kOverflow)], {{"policy", "resend"}});
    for (std::size_t i = 0; i < ended.size(); ++i)
      page.counter("kubeedge_cloudhub_sessions_ended_total", "Sessions that ended, by who or what ended them", ended[i], {{"by", kEndNames[i]}});
    for (std::size_t i = 0; i < bad.size(); ++i)
      page.counter("kubeedge_cloudhub_rejected_messages_total", "Messages of edges that were not taken", bad[i], {{"reason", kBadNames[i]}});
    page.counter("kubeedge_cloudhub_suppressed_log_lines_total", "Lines about peers that were counted, not written", peers.suppressed());
    for (const auto& [node, one] : traffic) collect(page, node.str(), one);
    if (other_traffic.sessions > 0) collect(page, "", other_traffic);
  }
  static void collect(base::MetricsPage& page, const std::string& node, const Traffic& one) {
    page.counter("kubeedge_cloudhub_node_sessions_total", "Connections of a node: one more than its reconnects", one.sessions, {{"node", node}});
    page.counter("kubeedge_cloudhub_node_received_messages_total", "Messages from a node", one.received, {{"node", node}});
    page.counter("kubeedge_cloudhub_node_received_bytes_total", "Bytes of messages from a node, before TLS and framing", one.received_bytes, {{"node", node}});
    page.counter("kubeedge_cloudhub_node_sent_messages_total", "Messages to a node", one.sent, {{"node", node}});
    page.counter("kubeedge_cloudhub_node_sent_bytes_total", "Bytes of messages to a node, before TLS and framing", one.sent_bytes, {{"node", node}});
  }

  void resync() {
    if (stopped) return;
    peers.flush();
    std::vector<std::shared_ptr<Connection>> begun;
    for (const auto& [node, connection] : connections)
      if (connection->session.begun()) begun.push_back(connection);
    if (all_synced())
      for (const auto& connection : begun) {
        if (!is_current(connection)) continue;
        resend(connection, false);
        flush(connection);
      }
    std::weak_ptr<Impl> weak = weak_from_this();
    resync_timer.start(kResyncInterval, [weak] {
      if (auto self = weak.lock()) self->resync();
    });
  }
};

HubSessions::HubSessions(const Runtime& runtime, kube::KubeClient& client, SyncRecords& records, HubOptions options)
    : impl_(std::make_shared<Impl>(runtime, client, records, std::move(options))) {}

HubSessions::~HubSessions() { stop(); }

void HubSessions::attach(HubSinks sinks) { impl_->sinks = std::move(sinks); }
void HubSessions::start() { impl_->resync(); }

void HubSessions::stop() {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->resync_timer.cancel();
  while (!impl_->connections.empty()) impl_->drop(impl_->connections.begin()->second, End::kStop, "the cloud stops");
}

void HubSessions::open(NodeId node, std::int64_t certified_s, std::string store_id, std::unique_ptr<net::WebSocket> socket) {
  auto connection = std::make_shared<Impl::Connection>(impl_->runtime, impl_->options.session, impl_->now());
  connection->node = std::move(node);
  connection->certified_s = certified_s;
  connection->socket = std::move(socket);
  connection->store_id = std::move(store_id);
  connection->traffic = &impl_->traffic_of(connection->node);
  ++connection->traffic->sessions;
  impl_->open(connection);
}

std::size_t HubSessions::size() const { return impl_->connections.size(); }

bool HubSessions::connected(const NodeId& node) const { return impl_->connections.contains(node); }

std::vector<NodeId> HubSessions::connected_nodes() const {
  std::vector<NodeId> nodes;
  for (const auto& [node, connection] : impl_->connections) nodes.push_back(node);
  return nodes;
}

void HubSessions::send(const NodeId& node, Message message) { impl_->send(node, std::move(message)); }

bool HubSessions::confirms(const NodeId& node) const {
  const auto found = impl_->connections.find(node);
  return found != impl_->connections.end() && !found->second->store_id.empty();
}

void HubSessions::node_deleted(const NodeId& node) {
  disconnect(node, "the Node object was deleted");
  impl_->traffic.erase(node);   // its session is over: nobody counts there any more
  impl_->records.clear(node, [] {});
}

void HubSessions::disconnect(const NodeId& node, const std::string& why) {
  if (const auto found = impl_->connections.find(node); found != impl_->connections.end()) impl_->drop(std::shared_ptr<Impl::Connection>(found->second), End::kDecided, why);
}

std::optional<std::int64_t> HubSessions::certified(const NodeId& node) const {
  const auto found = impl_->connections.find(node);
  return found == impl_->connections.end() ? std::nullopt : std::optional(found->second->certified_s);
}

base::PeerLog& HubSessions::peers() { return impl_->peers; }

void HubSessions::collect(base::MetricsPage& page) const { impl_->collect(page); }

}  // namespace kubeedge::cloud
