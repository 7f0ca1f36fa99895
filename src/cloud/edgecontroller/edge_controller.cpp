#include "cloud/edgecontroller/edge_controller.h"

#include <map>
#include <set>

#include "base/json.h"
#include "base/json_member.h"
#include "base/peer_log.h"
#include "base/text.h"
#include "kube/client/informer.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"
#include "wire/resource_path.h"
#include "wire/validated_json.h"

namespace kubeedge::cloud {

namespace {

using nlohmann::json;
using base::member;
using base::text_of;

constexpr Milliseconds kOrphanSweep{5'000};      // records of nodes that are gone
const kube::Resource kNodes{"", "v1", "nodes"};
const kube::Resource kPods{"", "v1", "pods"};
const kube::Resource kConfigMaps{"", "v1", "configmaps"};
const kube::Resource kSecrets{"", "v1", "secrets"};
const kube::Resource kEvents{"", "v1", "events"};
const kube::Resource kServiceAccounts{"", "v1", "serviceaccounts"};
const kube::Resource kLeases{"coordination.k8s.io", "v1", "leases"};


// What an edge acts on: all but versions, managed fields and status.
std::size_t digest_of(const json& object) {
  json metadata = member(object, "metadata");
  if (metadata.is_object())
    for (const char* key : {"resourceVersion", "generation", "managedFields"}) metadata.erase(key);
  return std::hash<std::string>{}(base::dump_json(metadata) + base::dump_json(member(object, "spec")));
}

Bytes slim(const Bytes& object) {
  auto valid = wire::ValidatedJson::parse(object);
  return valid ? valid->without_managed_fields() : object;
}

// "configmap/ns/name" and "secret/ns/name" of everything that a pod names.
std::set<std::string> references(const json& pod, const std::string& ns) {
  std::set<std::string> refs;
  const auto add = [&](const char* kind, const std::string& name) {
    if (!name.empty()) refs.insert(std::string(kind) + "/" + ns + "/" + name);
  };
  const json& spec = member(pod, "spec");
  for (const auto& volume : member(spec, "volumes")) {
    add("configmap", text_of(member(volume, "configMap"), "name"));
    add("secret", text_of(member(volume, "secret"), "secretName"));
    for (const auto& source : member(member(volume, "projected"), "sources")) {
      add("configmap", text_of(member(source, "configMap"), "name"));
      add("secret", text_of(member(source, "secret"), "name"));
    }
  }
  // Upstream forgets init containers: a map used only there never follows.
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"})
    for (const auto& container : member(spec, list)) {
      for (const auto& from : member(container, "envFrom")) {
        add("configmap", text_of(member(from, "configMapRef"), "name"));
        add("secret", text_of(member(from, "secretRef"), "name"));
      }
      for (const auto& env : member(container, "env")) {
        add("configmap", text_of(member(member(env, "valueFrom"), "configMapKeyRef"), "name"));
        add("secret", text_of(member(member(env, "valueFrom"), "secretKeyRef"), "name"));
      }
    }
  for (const auto& secret : member(spec, "imagePullSecrets")) add("secret", text_of(secret, "name"));
  return refs;
}

Bytes status_of(const kube::ApiError& error) {
  if (!error.status.empty()) return error.status;
  const bool away = error.code == 0;
  return Bytes(base::dump_json({{"metadata", json::object()},
                     {"status", "Failure"},
                     {"message", error.message},
                     {"reason", away ? "ServiceUnavailable" : error.reason.empty() ? "InternalError" : error.reason},
                     {"code", away ? 503 : error.code}}));
}

kube::ApiError failure(int code, const char* reason, std::string message) {
  kube::ApiError error;
  error.code = code;
  error.reason = reason;
  error.message = std::move(message);
  return error;
}

}  // namespace

struct EdgeController::Impl : std::enable_shared_from_this<EdgeController::Impl> {
  struct Object {
    std::string uid, version;      // the version at the last change that an edge acts on
    Bytes raw;                     // newest state, without managedFields
    std::size_t digest = 0;
    bool terminating = false;
  };
  struct Pod : Object {
    std::string node, service_account;
    std::set<std::string> refs;
  };

  Impl(const Runtime& r, kube::KubeClient& c, EdgeLink& l, SyncRecords& s) : runtime(r), client(c), link(l), records(s), sweep_timer(r), peers(r.log(), r.clock(), "edgecontroller") {}
  Runtime runtime;
  kube::KubeClient& client;
  EdgeLink& link;
  SyncRecords& records;
  runtime::Timer sweep_timer;
  std::map<std::string, Object> nodes;                       // edge nodes
  std::map<std::string, Pod> pods;                           // bound ones, "ns/name"
  std::map<std::string, std::set<std::string>> pods_of;      // node -> "ns/name"
  std::map<std::string, Object> configs;                     // "configmap/ns/name", "secret/ns/name"
  std::map<std::string, std::map<std::string, int>> users;   // the same key -> node -> pods that name it
  std::vector<std::unique_ptr<kube::Informer>> informers;
  int unsynced = 4;
  base::PeerLog peers;
  std::uint64_t forbidden = 0, refused = 0;   // requests of edges

  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "edgecontroller", format, std::forward<A>(args)...);
  }

  Message down(const std::string& operation, const std::string& resource, const Object& object) const {
    Message message;
    message.id = wire::new_message_id();
    message.timestamp_ms = runtime.clock().unix_ms();
    message.resource_version = object.version;
    message.source = "edgecontroller";
    message.group = "resource";
    message.operation = operation;
    message.resource = resource;
    message.content = object.raw;
    return message;
  }

  // ---- down ----
  void on_node(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = member(object, "metadata");
    const std::string name = text_of(metadata, "name");
    if (name.empty()) return;
    Object& node = nodes[name];
    const std::size_t digest = digest_of(object);
    const bool changed = node.raw.empty() || node.digest != digest || node.uid != text_of(metadata, "uid");
    node.raw = slim(raw);
    if (!changed) return;
    node.digest = digest;
    node.uid = text_of(metadata, "uid");
    node.version = text_of(metadata, "resourceVersion");
    link.send(NodeId(name), down("update", "null/node/" + name, node));
  }

  void on_node_gone(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const std::string name = text_of(member(object, "metadata"), "name");
    if (nodes.erase(name) == 0) return;
    say(LogLevel::kInfo, "node {} was deleted", name);
    link.node_deleted(NodeId(name));
  }

  void forget_pod(const std::string& key) {
    const auto it = pods.find(key);
    if (it == pods.end()) return;
    for (const auto& ref : it->second.refs) {
      auto& by_node = users[ref];
      if (--by_node[it->second.node] <= 0) by_node.erase(it->second.node);
      if (by_node.empty()) users.erase(ref);
    }
    auto& of = pods_of[it->second.node];
    of.erase(key);
    if (of.empty()) pods_of.erase(it->second.node);
    pods.erase(it);
  }

  void on_pod(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = member(object, "metadata");
    const json& spec = member(object, "spec");
    const std::string ns = text_of(metadata, "namespace"), name = text_of(metadata, "name"), node = text_of(spec, "nodeName");
    if (name.empty() || node.empty()) return;
    const std::string key = ns + "/" + name;
    const std::string uid = text_of(metadata, "uid");
    const std::size_t digest = digest_of(object);
    if (const auto old = pods.find(key); old != pods.end()) {
      if (old->second.uid == uid && old->second.digest == digest) {
        old->second.raw = slim(raw);     // status only: the edge told us itself
        return;
      }
      if (old->second.uid != uid) {
        link.send(NodeId(old->second.node), down("delete", ns + "/pod/" + name, old->second));
      }
    }
    const bool known = pods.contains(key) && pods[key].uid == uid;
    forget_pod(key);
    Pod& pod = pods[key];
    pod.uid = uid;
    pod.version = text_of(metadata, "resourceVersion");
    pod.raw = slim(raw);
    pod.digest = digest;
    pod.terminating = !member(metadata, "deletionTimestamp").is_null();
    pod.node = node;
    pod.service_account = text_of(spec, "serviceAccountName");
    if (pod.service_account.empty()) pod.service_account = "default";
    pod.refs = references(object, ns);
    for (const auto& ref : pod.refs) ++users[ref][node];
    pods_of[node].insert(key);
    link.send(NodeId(node), down(known || pod.terminating ? "update" : "insert", ns + "/pod/" + name, pod));
  }

  void on_pod_gone(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = member(object, "metadata");
    const std::string ns = text_of(metadata, "namespace"), name = text_of(metadata, "name");
    const auto it = pods.find(ns + "/" + name);
    // The delete of an older UID never touches its successor.
    if (it == pods.end() || it->second.uid != text_of(metadata, "uid")) return;
    Object last = it->second;
    last.version = text_of(metadata, "resourceVersion");
    const NodeId node(it->second.node);
    forget_pod(ns + "/" + name);
    link.send(node, down("delete", ns + "/pod/" + name, last));
  }

  void on_config(const char* kind, const Bytes& raw, bool gone) {
    const json object = base::parse_json(raw);
    const json& metadata = member(object, "metadata");
    const std::string ns = text_of(metadata, "namespace"), name = text_of(metadata, "name");
    if (name.empty()) return;
    const std::string key = std::string(kind) + "/" + ns + "/" + name;
    const bool known = configs.contains(key);
    Object config;
    config.uid = text_of(metadata, "uid");
    config.version = text_of(metadata, "resourceVersion");
    config.raw = slim(raw);
    if (gone) {
      if (!known || configs[key].uid != config.uid) return;
      configs.erase(key);
    } else {
      configs[key] = config;
    }
    // Also to who holds a copy that no pod names just now: the next pod would start with it.
    std::set<NodeId> receivers;
    if (const auto using_nodes = users.find(key); using_nodes != users.end())
      for (const auto& [node, count] : using_nodes->second) receivers.insert(NodeId(node));
    for (const auto& node : link.connected_nodes())
      if (records.find(node, config.uid)) receivers.insert(node);
    const std::string operation = gone ? "delete" : !known && std::string_view(kind) == "configmap" ? "insert" : "update";
    for (const auto& node : receivers) link.send(node, down(operation, ns + "/" + kind + "/" + name, config));
  }

  // "configmap", "secret", or "" for a record of anything else.
  static std::string config_kind(const SyncRecord& record) {
    return record.kind == "ConfigMap" ? "configmap" : record.kind == "Secret" ? "secret" : "";
  }

  void sweep() {
    peers.flush();
    if (unsynced == 0 && records.synced())
      for (const auto& node : records.nodes())
        if (!nodes.contains(node.str()) && !link.connected(node)) link.node_deleted(node);
    std::weak_ptr<Impl> weak = weak_from_this();
    sweep_timer.start(kOrphanSweep, [weak] {
      if (auto self = weak.lock()) self->sweep();
    });
  }

  // ---- up ----
  void answer(const NodeId& node, const Message& request, Bytes content, const std::string& version = {}) {
    Message message = wire::respond(request, std::move(content), runtime.clock().unix_ms());
    message.source = "edgecontroller";
    message.group = "resource";
    message.resource_version = version;
    link.send(node, std::move(message));
  }

  static Bytes object_response(const kube::ApiResult<Bytes>& result) {
    if (result) return Bytes("{\"Object\":" + slim(*result).str() + ",\"Err\":null}");
    return Bytes("{\"Object\":null,\"Err\":{\"ErrStatus\":" + status_of(result.error()).str() + "}}");
  }
  static Bytes bare_error(const kube::ApiError& error) { return Bytes("{\"ErrStatus\":" + status_of(error).str() + "}"); }
  static std::string version_of(const kube::ApiResult<Bytes>& result) {
    if (!result) return {};
    auto valid = wire::ValidatedJson::parse(*result);
    return valid ? valid->string_at({"metadata", "resourceVersion"}).value_or("") : std::string();
  }

  enum class Shape { kObjResp, kObjRespVersion, kBare };
  kube::KubeClient::Done<Bytes> reply(const NodeId& node, const Message& request, Shape shape) {
    std::weak_ptr<Impl> weak = weak_from_this();
    return [weak, node, request, shape](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      if (!self) return;
      if (shape == Shape::kBare) return self->answer(node, request, result ? slim(*result) : bare_error(result.error()), version_of(result));
      self->answer(node, request, object_response(result), shape == Shape::kObjRespVersion ? version_of(result) : std::string());
    };
  }

  void deny(const NodeId& node, const Message& request, Shape shape, const std::string& why) {
    ++forbidden;
    peers.warn({node.str(), request.resource}, "a node may not {} this: {}", request.operation, why);
    const auto error = failure(403, "Forbidden", fmt::format("node {} may not {} {}: {}", node.str(), request.operation, request.resource, why));
    answer(node, request, shape == Shape::kBare ? bare_error(error) : object_response(error));
  }

  // The content as an object with apiVersion and kind; null when it is none.
  static json typed_content(const Message& message, const char* api_version, const char* kind) {
    json object = base::parse_json(wire::content_text(message));
    if (!object.is_object()) return json();
    object["apiVersion"] = api_version;
    object["kind"] = kind;
    return object;
  }

  // The same for what is written, or null and an answer: the path was judged, so the body may name nothing else
  // (a create goes by the body's name).
  json own_content(const NodeId& node, const Message& request, const wire::ResourcePath& path, const char* api_version, const char* kind) {
    json object = typed_content(request, api_version, kind);
    if (object.is_null()) {
      answer(node, request, object_response(failure(400, "BadRequest", "content of " + request.resource + " is no JSON object")));
      return object;
    }
    const json& metadata = member(object, "metadata");
    const std::string ns = text_of(metadata, "namespace");
    if (text_of(metadata, "name") == path.name && (ns.empty() || ns == path.ns)) return object;
    deny(node, request, Shape::kObjResp, "the object has another name");
    return json();
  }

  bool named_by_pod(const NodeId& node, const std::string& kind, const std::string& ns, const std::string& name) const {
    const auto used = users.find(kind + "/" + ns + "/" + name);
    if (used != users.end() && used->second.contains(node.str())) return true;
    if (kind != "configmap" || name != "kube-root-ca.crt") return false;
    const auto of = pods_of.find(node.str());
    if (of == pods_of.end()) return false;
    for (const auto& key : of->second)
      if (key.starts_with(ns + "/")) return true;
    return false;
  }

  // Runs `go` when the pod is bound to the node. Otherwise answers: Forbidden, or what the API said when it was asked.
  void with_own_pod(const NodeId& node, const Message& request, const wire::ResourcePath& path, Shape shape, unique_function<void(Impl&)> go) {
    if (const auto it = pods.find(path.ns + "/" + path.name); it != pods.end()) {
      if (it->second.node == node.str()) return go(*this);
      return deny(node, request, shape, "the pod is bound to another node");
    }
    std::weak_ptr<Impl> weak = weak_from_this();
    client.get(kPods, path.ns, path.name,
               [weak, node, request, shape, go = std::move(go)](kube::ApiResult<Bytes> got) mutable {
                 auto self = weak.lock();
                 if (!self) return;
                 if (!got) {
                   if (request.operation == "delete" && got.error().code == 404) return self->answer(node, request, "\"OK\"");
                   return self->answer(node, request, shape == Shape::kBare ? bare_error(got.error()) : object_response(got));
                 }
                 const json pod = base::parse_json(got->view());
                 if (text_of(member(pod, "spec"), "nodeName") != node.str()) return self->deny(node, request, shape, "the pod is bound to another node");
                 go(*self);
               });
  }

  void on_message(const NodeId& node, Message message) {
    auto path = wire::ResourcePath::parse(message.resource);
    if (!path) {
      ++refused;
      peers.warn({node.str(), message.resource}, "{} dropped: {}", message.operation, path.error().message);
      return;
    }
    const std::string& type = path->type;
    if (type == "node" || type == "nodepatch") return node_request(node, message, *path);
    if (type == "lease") return lease_request(node, message, *path);
    if (type == "pod" || type == "podpatch") return pod_request(node, message, *path);
    if ((type == "configmap" || type == "secret") && message.operation == "query") {
      if (!named_by_pod(node, type, path->ns, path->name)) return deny(node, message, Shape::kBare, "no pod of this node names it");
      return client.get(type == "secret" ? kSecrets : kConfigMaps, path->ns, path->name, reply(node, message, Shape::kBare));
    }
    if (type == "serviceaccounttoken" && message.operation == "query") return token_request(node, message, *path);
    if (type == "event") return event_request(node, message, *path);
    const auto error = failure(501, "NotImplemented", "this cloud does not serve " + message.operation + " of " + type);
    ++refused;
    peers.warn({node.str(), message.resource}, "{} is not served", message.operation);
    answer(node, message, message.operation == "query" ? bare_error(error) : object_response(error));
  }

  void node_request(const NodeId& node, const Message& message, const wire::ResourcePath& path) {
    const Shape shape = message.operation == "query" ? Shape::kBare : Shape::kObjResp;
    if (path.name != node.str()) return deny(node, message, shape, "it is another node's");
    if (path.type == "nodepatch" && message.operation == "patch")
      return client.patch(kNodes, "", path.name, "status", kube::PatchType::kStrategicMerge, Bytes(wire::content_text(message)),
                          reply(node, message, Shape::kObjRespVersion));
    if (message.operation == "query") return client.get(kNodes, "", path.name, reply(node, message, Shape::kBare));
    if (message.operation != "insert" && message.operation != "update")
      return answer(node, message, object_response(failure(405, "MethodNotAllowed", message.operation + " of a node is not served")));
    json object = own_content(node, message, path, "v1", "Node");
    if (object.is_null()) return;
    if (message.operation == "insert") return client.create(kNodes, "", path.name, "", Bytes(base::dump_json(object)), reply(node, message, Shape::kObjResp));
    json metadata = json::object();
    for (const char* key : {"labels", "annotations"})
      if (const json& value = member(member(object, "metadata"), key); value.is_object()) metadata[key] = value;
    std::weak_ptr<Impl> weak = weak_from_this();
    client.patch(kNodes, "", path.name, "", kube::PatchType::kMerge, Bytes(base::dump_json({{"metadata", metadata}})),
                 [weak, node, message](kube::ApiResult<Bytes> result) {
                   auto self = weak.lock();
                   if (!self) return;
                   if (result) return self->answer(node, message, "\"OK\"", version_of(result));
                   self->answer(node, message, object_response(result));
                 });
  }

  void lease_request(const NodeId& node, const Message& message, const wire::ResourcePath& path) {
    if (path.ns != "kube-node-lease" || path.name != node.str()) return deny(node, message, Shape::kObjResp, "it is not this node's lease");
    if (message.operation == "query") return client.get(kLeases, path.ns, path.name, reply(node, message, Shape::kObjResp));
    if (message.operation != "insert" && message.operation != "update")
      return answer(node, message, object_response(failure(405, "MethodNotAllowed", message.operation + " of a lease is not served")));
    json object = own_content(node, message, path, "coordination.k8s.io/v1", "Lease");
    if (object.is_null()) return;
    if (message.operation == "insert") return client.create(kLeases, path.ns, path.name, "", Bytes(base::dump_json(object)), reply(node, message, Shape::kObjResp));
    client.update(kLeases, path.ns, path.name, "", Bytes(base::dump_json(object)), reply(node, message, Shape::kObjResp));
  }

  void pod_request(const NodeId& node, const Message& message, const wire::ResourcePath& path) {
    if (path.type == "podpatch" && message.operation == "patch")
      return with_own_pod(node, message, path, Shape::kObjResp, [node, message, path](Impl& self) {
        self.client.patch(kPods, path.ns, path.name, "status", kube::PatchType::kStrategicMerge, Bytes(wire::content_text(message)),
                          self.reply(node, message, Shape::kObjRespVersion));
      });
    if (message.operation == "delete")
      return with_own_pod(node, message, path, Shape::kBare, [node, message, path](Impl& self) { self.delete_pod(node, message, path); });
    if (message.operation == "insert") {
      json pod = own_content(node, message, path, "v1", "Pod");
      if (pod.is_null()) return;
      const bool mirror = member(member(pod, "metadata"), "annotations").is_object() &&
                          member(member(pod, "metadata"), "annotations").contains("kubernetes.io/config.mirror");
      if (!mirror || text_of(member(pod, "spec"), "nodeName") != node.str())
        return deny(node, message, Shape::kObjResp, "a node creates only mirror pods of its own");
      return client.create(kPods, path.ns, path.name, "", Bytes(base::dump_json(pod)), reply(node, message, Shape::kObjRespVersion));
    }
    answer(node, message, object_response(failure(405, "MethodNotAllowed", message.operation + " of " + path.type + " is not served")));
  }

  void delete_pod(const NodeId& node, const Message& message, const wire::ResourcePath& path) {
    std::string options = wire::content_text(message);
    const json parsed = base::parse_json(options);
    // A bare string is the UID.
    if (!parsed.is_object()) options = base::dump_json({{"gracePeriodSeconds", 0}, {"preconditions", {{"uid", parsed.is_string() ? parsed.get<std::string>() : options}}}});
    std::weak_ptr<Impl> weak = weak_from_this();
    client.remove(kPods, path.ns, path.name, Bytes(options), [weak, node, message](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      if (!self) return;
      // Gone, or recreated under another UID: what the edge wanted gone is gone.
      const bool done = result || result.error().code == 404 || result.error().code == 409;
      self->answer(node, message, done ? Bytes("\"OK\"") : bare_error(result.error()));
    });
  }

  void token_request(const NodeId& node, const Message& message, const wire::ResourcePath& path) {
    json request = typed_content(message, "authentication.k8s.io/v1", "TokenRequest");
    if (request.is_null()) return answer(node, message, bare_error(failure(400, "BadRequest", "content of " + message.resource + " is no TokenRequest")));
    const std::string pod_uid = text_of(member(member(request, "spec"), "boundObjectRef"), "uid");
    bool allowed = false;
    if (const auto of = pods_of.find(node.str()); of != pods_of.end())
      for (const auto& key : of->second) {
        const Pod& pod = pods.at(key);
        if (key.starts_with(path.ns + "/") && pod.service_account == path.name && (pod_uid.empty() || pod.uid == pod_uid)) allowed = true;
      }
    if (!allowed) return deny(node, message, Shape::kBare, "no pod of this node runs as that service account");
    std::weak_ptr<Impl> weak = weak_from_this();
    client.create(kServiceAccounts, path.ns, path.name, "token", Bytes(base::dump_json(request)), [weak, node, message](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      if (!self) return;
      if (!result) return self->answer(node, message, bare_error(result.error()));
      json token = base::parse_json(result->view());
      if (token.is_object()) {
        token["kind"] = "TokenRequest";
        token["apiVersion"] = "authentication.k8s.io/v1";
      }
      self->answer(node, message, Bytes(base::dump_json(token)));
    });
  }

  // Events are never answered.
  void event_request(const NodeId& node, const Message& message, const wire::ResourcePath& path) {
    std::weak_ptr<Impl> weak = weak_from_this();
    auto done = [weak, node, resource = message.resource](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      if (self && !result) self->peers.warn({node.str(), resource}, "not stored: {}", result.error().message);
    };
    json content = base::parse_json(wire::content_text(message));
    if (!content.is_object()) {
      ++refused;
      return peers.warn({node.str(), message.resource}, "no JSON object");
    }
    if (message.operation == "patch")
      return client.patch(kEvents, path.ns, path.name, "", kube::PatchType::kStrategicMerge, Bytes(text_of(content, "patchData")), std::move(done));
    content["apiVersion"] = "v1";
    content["kind"] = "Event";
    if (message.operation == "insert") return client.create(kEvents, path.ns, path.name, "", Bytes(base::dump_json(content)), std::move(done));
    if (message.operation == "update") return client.update(kEvents, path.ns, path.name, "", Bytes(base::dump_json(content)), std::move(done));
  }

  void watch(const kube::Resource& resource, kube::ListOptions options, void (*upsert)(Impl&, const Bytes&), void (*gone)(Impl&, const Bytes&)) {
    std::weak_ptr<Impl> weak = weak_from_this();
    kube::Informer::Handlers handlers;
    handlers.on_upsert = [weak, upsert](Bytes object) {
      if (auto self = weak.lock()) upsert(*self, object);
    };
    handlers.on_delete = [weak, gone](Bytes object) {
      if (auto self = weak.lock()) gone(*self, object);
    };
    handlers.on_synced = [weak, first = true]() mutable {
      auto self = weak.lock();
      if (self && std::exchange(first, false)) --self->unsynced;
    };
    informers.push_back(std::make_unique<kube::Informer>(runtime, client, resource, std::move(options), std::move(handlers)));
    informers.back()->start();
  }
};

EdgeController::EdgeController(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, SyncRecords& records)
    : impl_(std::make_shared<Impl>(runtime, client, link, records)) {}
EdgeController::~EdgeController() = default;

void EdgeController::start() {
  kube::ListOptions edge_nodes;
  edge_nodes.label_selector = "node-role.kubernetes.io/edge=";
  impl_->watch(kNodes, edge_nodes, [](Impl& i, const Bytes& o) { i.on_node(o); }, [](Impl& i, const Bytes& o) { i.on_node_gone(o); });
  impl_->watch(kPods, {}, [](Impl& i, const Bytes& o) { i.on_pod(o); }, [](Impl& i, const Bytes& o) { i.on_pod_gone(o); });
  impl_->watch(kConfigMaps, {}, [](Impl& i, const Bytes& o) { i.on_config("configmap", o, false); },
               [](Impl& i, const Bytes& o) { i.on_config("configmap", o, true); });
  impl_->watch(kSecrets, {}, [](Impl& i, const Bytes& o) { i.on_config("secret", o, false); },
               [](Impl& i, const Bytes& o) { i.on_config("secret", o, true); });
  impl_->sweep();
}

void EdgeController::stop() {
  impl_->informers.clear();
  impl_->sweep_timer.cancel();
}

void EdgeController::collect(base::MetricsPage& page) const {
  const char* help = "Requests of edges that were refused: for what is another's, or for what is not served";
  page.counter("kubeedge_edgecontroller_refused_requests_total", help, impl_->forbidden, {{"reason", "forbidden"}});
  page.counter("kubeedge_edgecontroller_refused_requests_total", help, impl_->refused, {{"reason", "not_served"}});
  page.gauge("kubeedge_edgecontroller_nodes", "Edge nodes in the API", static_cast<std::int64_t>(impl_->nodes.size()));
  page.gauge("kubeedge_edgecontroller_pods", "Pods bound to a node", static_cast<std::int64_t>(impl_->pods.size()));
}

void EdgeController::on_message(const NodeId& node, Message message) { impl_->on_message(node, std::move(message)); }

bool EdgeController::synced() const { return impl_->unsynced == 0; }

void EdgeController::snapshot(const NodeId& node, std::vector<Message>& messages) {
  if (const auto it = impl_->nodes.find(node.str()); it != impl_->nodes.end())
    messages.push_back(impl_->down("update", "null/node/" + node.str(), it->second));
  // Made again under a name that the node knows. Before the pods, which may start at once.
  for (const auto& record : impl_->records.all(node)) {
    const auto kind = Impl::config_kind(record);
    const auto it = impl_->configs.find(kind + "/" + record.ns + "/" + record.name);
    if (it == impl_->configs.end() || it->second.uid == record.uid || !impl_->named_by_pod(node, kind, record.ns, record.name)) continue;
    messages.push_back(impl_->down("update", record.ns + "/" + kind + "/" + record.name, it->second));
  }
  const auto of = impl_->pods_of.find(node.str());
  if (of == impl_->pods_of.end()) return;
  for (const auto& key : of->second) {
    const Impl::Pod& pod = impl_->pods.at(key);
    const auto slash = key.find('/');
    const auto record = impl_->records.find(node, pod.uid);
    const bool known = record && record->resource_version != "0";
    messages.push_back(impl_->down(known || pod.terminating ? "update" : "insert", key.substr(0, slash) + "/pod/" + key.substr(slash + 1), pod));
  }
}

NodeSnapshot::Fate EdgeController::fate(const NodeId& node, const SyncRecord& record, Message& message) {
  if (record.kind == "Pod") return Fate::kGone;   // snapshot() names every one that lives
  if (record.kind == "Node") {
    // A Node's delete is never sent (hub-protocol 5.1), so no acknowledgement would take the record away. The edge may
    // have a new Node under the same name.
    impl_->records.removed(node, record.uid);
    return Fate::kNotMine;
  }
  const std::string kind = Impl::config_kind(record);
  if (kind.empty()) return Fate::kNotMine;
  const auto it = impl_->configs.find(kind + "/" + record.ns + "/" + record.name);
  if (it == impl_->configs.end() || it->second.uid != record.uid) return Fate::kGone;
  message = impl_->down("update", record.ns + "/" + kind + "/" + record.name, it->second);
  return Fate::kCurrent;
}

}  // namespace kubeedge::cloud
