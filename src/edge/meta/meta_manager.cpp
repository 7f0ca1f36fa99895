#include "edge/meta/meta_manager.h"

#include "base/json.h"
#include "base/peer_log.h"
#include "base/text.h"
#include "edge/meta/message_order.h"
#include "wire/message_codec.h"
#include "wire/resource_path.h"
#include "wire/validated_json.h"

namespace kubeedge::edge {
namespace {

using base::log;
using nlohmann::json;
using store::Statement;
using wire::ResourcePath;
using wire::ValidatedJson;

// A row's UID, guarded: podpatch rows and foreign rows need not be JSON objects.
constexpr std::string_view kUidMatches =
    "(?2='' OR NOT json_valid(value) OR coalesce(json_extract(value,'$.metadata.uid'),'') IN ('',?2))";

std::string plural(const std::string& kind) {
  if (kind == "endpoints") return kind;
  if (kind.ends_with("s")) return kind + "es";
  if (kind.ends_with("y")) return kind.substr(0, kind.size() - 1) + "ies";
  return kind + "s";
}

Statement upsert_meta(std::string key, std::string type, std::string value) {
  return {"INSERT INTO meta(key,type,value) VALUES(?1,?2,?3) ON CONFLICT(key) DO UPDATE SET type=excluded.type,value=excluded.value",
          {std::move(key), std::move(type), std::move(value)}};
}

std::string ns_column(const std::string& ns) { return ns == "null" ? std::string() : ns; }

// Empty without apiVersion and kind: then the object cannot be named in meta_v2.
std::vector<Statement> upsert_meta_v2(const ResourcePath& path, const ValidatedJson& object) {
  auto api = object.string_at({"apiVersion"}), kind = object.string_at({"kind"});
  if (!api || !kind) return {};
  auto slash = api->find('/');
  auto group = slash == std::string::npos ? std::string() : api->substr(0, slash);
  auto version = slash == std::string::npos ? *api : api->substr(slash + 1);
  auto resource = plural(base::lower(*kind));
  auto key = fmt::format("/{}/{}/{}/{}/{}", group.empty() ? "core" : group, version, resource, path.ns, path.name);
  auto rv = base::to_int(object.string_at({"metadata", "resourceVersion"}).value_or("0")).value_or(0);
  return {{"INSERT INTO meta_v2(key,group_version_resource,namespace,name,resource_version,value) VALUES(?1,?2,?3,?4,?5,?6) "
           "ON CONFLICT(key) DO UPDATE SET value=excluded.value,resource_version=max(resource_version,excluded.resource_version)",
           {key, fmt::format("{}/{}, Resource={}", group, version, resource), ns_column(path.ns), path.name, rv,
            object.text().str() + "\n"}}};
}

// Go's answers may lack the type; rows must have it.
std::string typed(const ValidatedJson& object, std::string_view api_version, std::string_view kind) {
  if (object.string_at({"kind"}) || kind.empty()) return object.text().str();
  auto text = object.text().view();
  auto brace = text.find('{');
  auto rest = text.substr(brace + 1);
  bool empty = rest.find_first_not_of(" \t\r\n") == rest.rfind('}');
  return fmt::format("{{\"kind\":\"{}\",\"apiVersion\":\"{}\"{}{}", kind, api_version, empty ? "" : ",", rest);
}

MetaError status_error(const json& error) {
  auto status = error.find("ErrStatus");
  if (status == error.end() || !status->is_object()) return {"Unknown", "the cloud answered an error without a text"};
  MetaError out{"Unknown", "the cloud answered an error"};
  if (auto it = status->find("reason"); it != status->end() && it->is_string() && !it->get_ref<const std::string&>().empty())
    out.reason = it->get<std::string>();
  if (auto it = status->find("message"); it != status->end() && it->is_string()) out.message = it->get<std::string>();
  return out;
}

std::uint64_t version_of(const Message& message) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, base::to_int(message.resource_version).value_or(0)));
}

MetaResult<Bytes> failure(std::string reason, std::string message) { return {std::nullopt, {std::move(reason), std::move(message)}}; }

}  // namespace

std::string_view meta_schema() {
  return "CREATE TABLE IF NOT EXISTS `meta` (`key` text,`type` text,`value` text,PRIMARY KEY (`key`));\n"
         "CREATE TABLE IF NOT EXISTS `meta_v2` (`key` text,`group_version_resource` text,`namespace` text,`name` text,"
         "`resource_version` integer,`value` text,PRIMARY KEY (`key`));\n";
}

struct MetaManager::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, store::Store& s, NodeId n) : runtime(r), store(s), node(std::move(n)), cloud(r.log(), r.clock(), "meta") {}

  Runtime runtime;
  store::Store& store;
  NodeId node;
  base::PeerLog cloud;
  CloudLink* link = nullptr;
  PodSink* pods = nullptr;
  DeviceSink* devices = nullptr;
  std::optional<MessageOrder> order;     // once somebody tells of connections
  std::uint64_t acks = 0, refused = 0, outdated = 0;   // of the cloud's messages

  std::int64_t now_ms() const { return runtime.clock().unix_ms(); }

  void write(std::vector<Statement> batch, unique_function<void(Result<void>)> done) {
    store.write(std::move(batch), [weak = weak_from_this(), done = std::move(done)](Result<void> result) mutable {
      if (!weak.expired()) done(std::move(result));
    });
  }
  void write_and_forget(std::vector<Statement> batch) {
    write(std::move(batch), [this](Result<void> result) {
      if (!result) log(runtime.log(), LogLevel::kError, "meta", "{}", result.error().message);
    });
  }

  std::optional<Bytes> local(const std::string& key) const {
    auto rows = store.query({"SELECT value FROM meta WHERE key=?1", {key}});
    if (!rows || rows->empty() || rows->front().empty()) return std::nullopt;
    return Bytes(store::text(rows->front()[0]));
  }

  void send_error(const Message& in, const std::string& text) {
    ++refused;
    cloud.warn({node.str(), in.resource}, "{} not taken: {}", in.operation, text);
    if (!link) return;
    Message out = wire::respond(in, wire::json_string(text), now_ms());
    out.source = "metamanager";
    out.operation = "error";
    link->send(std::move(out));
  }
  void acknowledge(const Message& in) {
    ++acks;
    if (link) link->send(wire::ack(in, now_ms()));
  }

  // Durable first, then the consumer, then the ACK: a cloud that got the ACK never sends it again.
  void from_cloud(Message in) {
    auto path = ResourcePath::parse(in.resource);
    if (!path || path->name.empty()) return send_error(in, "this is no object's resource path");
    auto object = ValidatedJson::parse(Bytes(wire::content_text(in)));
    bool remove = in.operation == "delete";
    if ((!object || !object->is_object()) && !(remove && in.content.view() == "null"))
      return send_error(in, "the content is no JSON object");
    std::optional<ValidatedJson> value;
    if (object && object->is_object()) value = *object;
    if (order && value && !order->admit(value->string_at({"metadata", "uid"}).value_or(""), version_of(in), remove)) {
      ++outdated;
      return acknowledge(in);
    }
    auto batch = remove ? delete_statements(*path, value) : store_statements(*path, *value);
    write(std::move(batch), [this, in = std::move(in), path = *path, value](Result<void> result) {
      if (!result) return send_error(in, result.error().message);   // no ACK: the cloud sends it again
      if (in.operation == "delete")
        notify_removed(path, value);
      else
        notify(path, *value);
      acknowledge(in);
    });
  }

  std::vector<Statement> store_statements(const ResourcePath& path, const ValidatedJson& object) const {
    std::vector<Statement> batch{upsert_meta(path.str(), path.type, object.text().str())};
    for (auto& statement : upsert_meta_v2(path, object)) batch.push_back(std::move(statement));
    return batch;
  }

  std::vector<Statement> delete_statements(const ResourcePath& path, const std::optional<ValidatedJson>& object) const {
    auto uid = object ? object->string_at({"metadata", "uid"}).value_or("") : std::string();
    std::vector<Statement> batch;
    batch.push_back({fmt::format("DELETE FROM meta WHERE key=?1 AND {}", kUidMatches), {path.str(), uid}});
    if (path.type == "pod")   // the patch text goes with its pod, not with a newer pod of the same name
      batch.push_back({"DELETE FROM meta WHERE key=?1 AND NOT EXISTS (SELECT 1 FROM meta WHERE key=?2)",
                       {path.ns + "/podpatch/" + path.name, path.str()}});
    batch.push_back({fmt::format("DELETE FROM meta_v2 WHERE namespace=?3 AND name=?4 AND substr(key,-length(?1))=?1 AND {}", kUidMatches),
                     {fmt::format("/{}/{}/{}", plural(path.type), path.ns, path.name), uid, ns_column(path.ns), path.name}});
    return batch;
  }

  void notify(const ResourcePath& path, const ValidatedJson& object) {
    if (path.type == "pod") {
      if (pods && object.string_at({"spec", "nodeName"}) == node.str()) pods->on_pod(object.text());
    } else if (path.type == "configmap" || path.type == "secret") {
      if (pods) pods->on_object(path.type, path.ns, path.name);
    } else if (path.type == "device") {
      if (devices) devices->on_device(object.text());
    } else if (path.type == "devicemodel") {
      if (devices) devices->on_device_model(object.text());
    }
  }
  void notify_removed(const ResourcePath& path, const std::optional<ValidatedJson>& object) {
    if (path.type == "pod") {
      if (pods) pods->on_pod_removed(path.ns, path.name, object ? object->string_at({"metadata", "uid"}).value_or("") : "");
    } else if (path.type == "configmap" || path.type == "secret") {
      if (pods) pods->on_object(path.type, path.ns, path.name);
    } else if (path.type == "device" && devices && !local(path.str())) {
      devices->on_device_removed(DeviceId{path.ns, path.name});
    }
  }

  // How a good answer is kept.
  struct Keep {
    std::string key;             // "" = not kept
    std::string type, api_version, kind;
    bool only_same_uid = false;  // a patch answer must not bring back a row that was deleted meanwhile
  };

  void ask(std::string operation, std::string resource, Bytes content, Milliseconds timeout, Keep keep, MetaDone done) {
    if (!link || !link->up()) return done(failure("", "failed to process remote: not connected"));
    Message message;
    message.id = wire::new_message_id();
    message.timestamp_ms = now_ms();
    message.source = "edged";
    message.group = "meta";
    message.operation = std::move(operation);
    message.resource = std::move(resource);
    message.content = std::move(content);
    link->request(std::move(message), timeout,
                  [weak = weak_from_this(), keep = std::move(keep), done = std::move(done)](Result<Message> answer) mutable {
                    auto self = weak.lock();
                    if (!self) return;
                    if (!answer) return done(failure("", "failed to process remote: " + answer.error().message));
                    self->answered(std::move(*answer), std::move(keep), std::move(done));
                  });
  }

  void answered(Message answer, Keep keep, MetaDone done) {
    auto text = Bytes(wire::content_text(answer));
    auto parsed = ValidatedJson::parse(text);
    if (!parsed || !parsed->is_object()) {
      if (text.view() == "OK") return done({text, {}});
      return done(failure("Unknown", "the cloud answered neither an object nor OK for " + answer.resource));
    }
    if (auto status = parsed->raw_at({"ErrStatus"})) return done({std::nullopt, status_error(base::parse_json(text))});
    auto object = parsed->raw_at({"Object"});
    if (auto error = parsed->raw_at({"Err"}); error && error->view() != "null") {
      auto value = base::parse_json(error->view());
      return done({std::nullopt, status_error(value.is_object() ? value : json::object())});
    }
    auto body = object ? ValidatedJson::parse(*object) : std::move(parsed);
    if (!body || !body->is_object()) return done(failure("Unknown", "the cloud's answer for " + answer.resource + " has no object"));
    auto value = typed(*body, keep.api_version, keep.kind);
    std::vector<Statement> batch;
    if (keep.only_same_uid) {
      auto uid = body->string_at({"metadata", "uid"}).value_or("");
      batch.push_back({fmt::format("UPDATE meta SET value=?3 WHERE key=?1 AND {}", kUidMatches), {keep.key, uid, value}});
    } else if (!keep.key.empty()) {
      batch.push_back(upsert_meta(keep.key, keep.type, value));
    }
    write(std::move(batch), [this, answer = std::move(answer), value = Bytes(value), done = std::move(done)](Result<void> result) mutable {
      if (!result)
        send_error(answer, result.error().message);
      else if (!answer.resource_version.empty())
        acknowledge(answer);
      done({std::move(value), {}});
    });
  }

  void local_first(const std::string& ns, const std::string& type, const std::string& name, std::string kind, MetaDone done) {
    auto key = ns + "/" + type + "/" + name;
    if (auto row = local(key)) return done({std::move(row), {}});
    ask("query", key, "null", kRemoteQueryTimeout, {key, type, "v1", std::move(kind)}, std::move(done));
  }

  std::string node_key() const { return "null/node/" + node.str(); }
  std::string lease_key() const { return "kube-node-lease/lease/" + node.str(); }
  Keep keep_node() const { return {node_key(), "node", "v1", "Node"}; }
  Keep keep_lease() const { return {lease_key(), "lease", "", ""}; }
};

MetaManager::MetaManager(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetaManager::~MetaManager() = default;

std::unique_ptr<MetaManager> MetaManager::create(const Runtime& runtime, store::Store& store, NodeId node) {
  return std::unique_ptr<MetaManager>(new MetaManager(std::make_shared<Impl>(runtime, store, std::move(node))));
}

void MetaManager::set_link(CloudLink* link) { impl_->link = link; }
void MetaManager::set_pod_sink(PodSink* sink) { impl_->pods = sink; }
void MetaManager::set_device_sink(DeviceSink* sink) { impl_->devices = sink; }

void MetaManager::start() {
  if (impl_->devices) {
    for (auto& model : local_list("devicemodel")) impl_->devices->on_device_model(std::move(model));
    for (auto& device : local_list("device")) impl_->devices->on_device(std::move(device));
  }
  if (impl_->pods) impl_->pods->on_pod_set(local_list("pod"));
}

void MetaManager::on_message(Message message) {
  if (message.operation == "insert" || message.operation == "update" || message.operation == "delete")
    return impl_->from_cloud(std::move(message));
  if (message.operation == "response") {   // nobody waits any more: only the cloud's need for an ACK is left
    if (!message.resource_version.empty()) impl_->acknowledge(message);
    return;
  }
  log(impl_->runtime.log(), LogLevel::kWarning, "meta", "operation \"{}\" on {} is not supported, ignored", message.operation,
      message.resource);
}

void MetaManager::on_link(bool) { impl_->order.emplace(); }

void MetaManager::collect(base::MetricsPage& page) const {
  page.counter("kubeedge_metamanager_acks_total", "The cloud's messages acknowledged, each after its commit", impl_->acks);
  page.counter("kubeedge_metamanager_refused_messages_total", "The cloud's messages not taken: no object, or not stored", impl_->refused);
  page.counter("kubeedge_metamanager_outdated_messages_total", "The cloud's messages that came twice or were overtaken: acknowledged, not applied", impl_->outdated);
}

std::optional<Bytes> MetaManager::local(const std::string& key) const { return impl_->local(key); }

std::vector<Bytes> MetaManager::local_list(const std::string& type) const {
  std::vector<Bytes> out;
  auto rows = impl_->store.query({"SELECT value FROM meta WHERE type=?1 ORDER BY key", {type}});
  if (!rows) {
    log(impl_->runtime.log(), LogLevel::kError, "meta", "{}", rows.error().message);
    return out;
  }
  for (const auto& row : *rows) out.emplace_back(store::text(row[0]));
  return out;
}

void MetaManager::get_config_map(const std::string& ns, const std::string& name, MetaDone done) {
  impl_->local_first(ns, "configmap", name, "ConfigMap", std::move(done));
}
void MetaManager::get_secret(const std::string& ns, const std::string& name, MetaDone done) {
  impl_->local_first(ns, "secret", name, "Secret", std::move(done));
}

void MetaManager::request_token(const std::string& ns, const std::string& service_account, const std::string& pod_uid, Bytes token_request,
                                MetaDone done) {
  auto request = base::parse_json(token_request);
  if (!request.is_object()) return done(failure("BadRequest", "the token request is no JSON object"));
  auto spec = request.value("spec", json::object());
  std::string audiences, pod_name;
  std::int64_t seconds = 3600;
  if (spec.is_object()) {
    if (auto it = spec.find("audiences"); it != spec.end() && it->is_array())
      for (const auto& audience : *it)
        if (audience.is_string()) audiences += (audiences.empty() ? "" : ", ") + base::dump_json(audience);
    if (auto it = spec.find("expirationSeconds"); it != spec.end() && it->is_number_integer()) seconds = it->get<std::int64_t>();
    if (auto it = spec.find("boundObjectRef"); it != spec.end() && it->is_object())
      if (auto name = it->find("name"); name != it->end() && name->is_string()) pod_name = name->get<std::string>();
  }
  // Upstream's key is a Go-syntax dump; the same text lets a Go edge take the file over.
  auto key = fmt::format("\"{}\"/\"{}\"/[]string{{{}}}/{}/v1.BoundObjectReference{{Kind:\"Pod\", APIVersion:\"v1\", Name:\"{}\", UID:\"{}\"}}",
                         service_account, ns, audiences, seconds, pod_name, pod_uid);
  std::optional<Bytes> stored = impl_->local(key);
  if (stored) {
    if (auto token = ValidatedJson::parse(*stored)) {
      auto until = base::from_rfc3339(token->string_at({"status", "expirationTimestamp"}).value_or(""));
      auto life = token->int_at({"spec", "expirationSeconds"}).value_or(seconds);
      auto now = impl_->now_ms() / 1000;
      if (until && now < *until - life / 5 && now - (*until - life) < 24 * 3600) return done({std::move(stored), {}});
    } else {
      stored.reset();
    }
  }
  impl_->ask("query", ns + "/serviceaccounttoken/" + service_account, std::move(token_request), kRemoteQueryTimeout,
             {key, "serviceaccounttoken", "authentication.k8s.io/v1", "TokenRequest"},
             [stored = std::move(stored), done = std::move(done)](MetaResult<Bytes> answer) mutable {
               // No word from the cloud: a pod starts with the token that there is, be it over. Whom it is for is away as well.
               const bool unanswered = !answer && answer.error.reason.empty();
               done(unanswered && stored ? MetaResult<Bytes>{std::move(stored), {}} : std::move(answer));
             });
}

void MetaManager::drop_tokens(const std::string& pod_uid) {
  impl_->write_and_forget({{"DELETE FROM meta WHERE type='serviceaccounttoken' AND instr(key,?1)>0", {"UID:\"" + pod_uid + "\""}}});
}

void MetaManager::create_node(Bytes node, MetaDone done) {
  impl_->ask("insert", impl_->node_key(), std::move(node), kRemoteQueryTimeout, impl_->keep_node(), std::move(done));
}
void MetaManager::update_node(Bytes node, MetaDone done) {
  impl_->ask("update", impl_->node_key(), std::move(node), kRemoteQueryTimeout, {}, std::move(done));
}
void MetaManager::patch_node_status(std::string patch, MetaDone done) {
  auto resource = "null/nodepatch/" + impl_->node.str();
  impl_->write_and_forget({upsert_meta(resource, "nodepatch", patch)});
  impl_->ask("patch", resource, wire::json_string(patch), kRemoteQueryTimeout, impl_->keep_node(), std::move(done));
}
void MetaManager::get_lease(MetaDone done) {
  impl_->ask("query", impl_->lease_key(), "null", kLeaseTimeout, impl_->keep_lease(), std::move(done));
}
void MetaManager::create_lease(Bytes lease, MetaDone done) {
  impl_->ask("insert", impl_->lease_key(), std::move(lease), kLeaseTimeout, impl_->keep_lease(), std::move(done));
}
void MetaManager::update_lease(Bytes lease, MetaDone done) {
  // A renewal is not kept: every 10 s a commit that nobody will read, on flash, for as long as the node lives.
  impl_->ask("update", impl_->lease_key(), std::move(lease), kLeaseTimeout, {}, std::move(done));
}
void MetaManager::patch_pod_status(const std::string& ns, const std::string& name, std::string patch, MetaDone done) {
  auto resource = ns + "/podpatch/" + name;
  // Only beside its pod: the last patch of a pod that was deleted by force would stay for ever.
  impl_->write_and_forget({{"INSERT INTO meta(key,type,value) SELECT ?1,'podpatch',?2 WHERE EXISTS (SELECT 1 FROM meta WHERE key=?3) "
                            "ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                            {resource, patch, ns + "/pod/" + name}}});
  impl_->ask("patch", resource, wire::json_string(patch), kRemoteQueryTimeout, {ns + "/pod/" + name, "pod", "v1", "Pod", true}, std::move(done));
}
void MetaManager::delete_pod(const std::string& ns, const std::string& name, const std::string& uid, MetaDone done) {
  json options{{"gracePeriodSeconds", 0}, {"preconditions", {{"uid", uid}}}};
  impl_->ask("delete", ns + "/pod/" + name, base::dump_json(options), kRemoteQueryTimeout, {},
             std::move(done));
}
void MetaManager::post_event(const std::string& ns, const std::string& name, Bytes event) {
  if (!impl_->link || !impl_->link->up()) return;
  Message message;
  message.id = wire::new_message_id();
  message.timestamp_ms = impl_->now_ms();
  message.source = "edged";
  message.group = "meta";
  message.operation = "insert";
  message.resource = ns + "/event/" + name;
  message.content = std::move(event);
  impl_->link->send(std::move(message));
}

}  // namespace kubeedge::edge
