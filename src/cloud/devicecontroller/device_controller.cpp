#include "cloud/devicecontroller/device_controller.h"

#include <deque>
#include <map>
#include <set>

#include "base/json.h"
#include "base/json_member.h"
#include "base/peer_log.h"
#include "base/text.h"
#include "kube/client/informer.h"
#include "runtime/timer.h"
#include "wire/message_codec.h"
#include "wire/validated_json.h"

namespace kubeedge::cloud {

namespace {

using nlohmann::json;
using base::text_of;

constexpr Milliseconds kRetry{1'000};
const char* const kApiVersion = "devices.kubeedge.io/v1beta1";
const kube::Resource kDevices{"devices.kubeedge.io", "v1beta1", "devices"};
const kube::Resource kModels{"devices.kubeedge.io", "v1beta1", "devicemodels"};
const kube::Resource kStatuses{"devices.kubeedge.io", "v1beta1", "devicestatuses"};
const kube::Resource kEvents{"", "v1", "events"};

Bytes slim(const Bytes& object) {
  auto valid = wire::ValidatedJson::parse(object);
  return valid ? valid->without_managed_fields() : object;
}

}  // namespace

struct DeviceController::Impl : std::enable_shared_from_this<DeviceController::Impl> {
  struct Model {
    std::string uid, version;
    Bytes raw;
    std::size_t digest = 0;
  };
  struct Device {
    explicit Device(const Runtime& runtime) : timer(runtime) {}
    DeviceId id;
    std::string uid, version, node, model, description;
    Bytes raw;
    std::size_t digest = 0;
    std::set<std::string> properties;
    bool sent = false;            // D1-D3 went out (or wait in the snapshot)
    std::string complaint;        // the last event's reason and message: said once

    // DeviceStatus: what is stored there, and what waits for a patch.
    bool status_known = false, status_pending = false;
    std::map<std::string, json> twins;          // property -> twin entry
    std::string state, last_online;
    bool twins_dirty = false, state_dirty = false;
    bool in_flight = false;
    bool ever_patched = false;
    Milliseconds last_patch{0};
    std::deque<std::pair<NodeId, Message>> unconfirmed;
    runtime::Timer timer;
  };
  using DevicePtr = std::shared_ptr<Device>;

  Impl(const Runtime& r, kube::KubeClient& c, EdgeLink& l, DeviceOptions o) : runtime(r), client(c), link(l), options(o), peers(r.log(), r.clock(), "devicecontroller") {}
  Runtime runtime;
  kube::KubeClient& client;
  EdgeLink& link;
  DeviceOptions options;
  std::map<DeviceId, DevicePtr> devices;
  std::map<DeviceId, Model> models;
  std::map<DeviceId, json> statuses;                 // of devices not seen yet, at start
  std::map<NodeId, std::set<DeviceId>> members;      // told to the node by D1 in this session
  std::vector<std::unique_ptr<kube::Informer>> informers;
  int unsynced = 3;
  base::PeerLog peers;
  std::uint64_t refused = 0, reports = 0, unconfirmed_dropped = 0;

  Milliseconds now() const { return runtime.clock().steady(); }
  template <class... A>
  void say(LogLevel level, fmt::format_string<A...> format, A&&... args) {
    base::log(runtime.log(), level, "devicecontroller", format, std::forward<A>(args)...);
  }

  Message message(const std::string& group, const std::string& operation, const std::string& resource, Bytes content, const std::string& version) const {
    Message m;
    m.id = wire::new_message_id();
    m.timestamp_ms = runtime.clock().unix_ms();
    m.resource_version = version;
    m.source = "devicecontroller";
    m.group = group;
    m.operation = operation;
    m.resource = resource;
    m.content = std::move(content);
    return m;
  }
  Message device_message(const std::string& op, const Device& d) const {
    return message("resource", op, d.id.ns + "/device/" + d.id.name, d.raw, d.version);
  }
  Message model_message(const std::string& op, const DeviceId& id, const Model& m) const {
    return message("resource", op, id.ns + "/devicemodel/" + id.name, m.raw, m.version);
  }
  Message membership(const std::vector<json>& added, const std::vector<json>& removed) const {
    const json content{{"event_id", base::uuid4()},
                       {"timestamp", runtime.clock().unix_ms()},
                       {"added_devices", added.empty() ? json() : json(added)},
                       {"removed_devices", removed.empty() ? json() : json(removed)}};
    return message("twin", "update", "membership", Bytes(base::dump_json(content)), "");
  }
  static json member(const Device& d) {
    json entry{{"id", d.id.str()}, {"name", d.id.name}};
    if (!d.description.empty()) entry["description"] = d.description;
    return entry;
  }

  const Model* model_of(const Device& d) const {
    const auto it = models.find(DeviceId{d.id.ns, d.model});
    return d.model.empty() || it == models.end() ? nullptr : &it->second;
  }
  bool deliverable(const Device& d) const { return !d.node.empty() && d.status_known && model_of(d); }
  bool model_used(const DeviceId& model, const std::string& node, const Device* but) const {
    for (const auto& [id, d] : devices)
      if (d.get() != but && d->sent && d->node == node && id.ns == model.ns && d->model == model.name) return true;
    return false;
  }

  // ---- down ----
  void deliver(const DevicePtr& d) {
    if (unsynced > 0 || d->node.empty() || d->sent) return;
    if (d->model.empty()) return complain(d, "NoDeviceModel", "spec.deviceModelRef.name is empty: the device is not sent to node " + d->node);
    const Model* model = model_of(*d);
    if (!model)
      return complain(d, "DeviceModelNotFound", "device model " + d->model + " does not exist in namespace " + d->id.ns + ": the device waits for it");
    if (!d->status_known) return create_status(d);
    const NodeId node(d->node);
    const bool first_use = !model_used(DeviceId{d->id.ns, d->model}, d->node, d.get());
    d->sent = true;
    d->complaint.clear();
    if (!link.connected(node)) return;       // snapshot() says it all at connect
    members[node].insert(d->id);
    link.send(node, membership({member(*d)}, {}));
    if (first_use) link.send(node, model_message("insert", DeviceId{d->id.ns, d->model}, *model));
    link.send(node, device_message("insert", *d));
  }

  void withdraw(const DevicePtr& d) {
    if (!d->sent) return;
    d->sent = false;
    const NodeId node(d->node);
    if (const auto it = members.find(node); it != members.end()) it->second.erase(d->id);
    json entry{{"id", d->id.str()}, {"name", d->id.name}};
    link.send(node, membership({}, {entry}));
    if (const Model* model = model_of(*d); model && !model_used(DeviceId{d->id.ns, d->model}, d->node, d.get()))
      link.send(node, model_message("delete", DeviceId{d->id.ns, d->model}, *model));
    link.send(node, device_message("delete", *d));
  }

  void on_device(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = base::member(object, "metadata");
    const json& spec = base::member(object, "spec");
    const DeviceId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
    if (id.name.empty()) return;
    const std::string uid = text_of(metadata, "uid");
    const std::size_t digest = std::hash<std::string>{}(base::dump_json(spec) + base::dump_json(base::member(metadata, "labels")));
    if (const auto it = devices.find(id); it != devices.end() && it->second->uid != uid) on_device_gone(it->second->raw);
    auto [it, fresh] = devices.try_emplace(id);
    if (fresh) {
      it->second = std::make_shared<Device>(runtime);
      it->second->id = id;
    }
    const DevicePtr d = it->second;
    const std::string node = text_of(spec, "nodeName");
    if (!fresh && d->node != node) withdraw(d);
    const bool changed = fresh || d->digest != digest;
    d->uid = uid;
    d->raw = slim(raw);
    if (!changed) return;
    const std::string old_model = d->model;
    d->digest = digest;
    d->version = text_of(metadata, "resourceVersion");
    d->node = node;
    d->model = text_of(base::member(spec, "deviceModelRef"), "name");
    d->description = text_of(base::member(metadata, "labels"), "description");
    d->properties.clear();
    for (const auto& property : base::member(spec, "properties"))
      if (const std::string name = text_of(property, "name"); !name.empty()) d->properties.insert(name);
    if (fresh)
      if (const auto known = statuses.find(id); known != statuses.end()) {
        load_status(*d, known->second);
        statuses.erase(known);
      }
    if (!d->sent) return deliver(d);
    const Model* model = model_of(*d);
    if (!model) return deliver_again(d);
    link.send(NodeId(d->node), model_message(old_model == d->model ? "update" : "insert", DeviceId{id.ns, d->model}, *model));
    link.send(NodeId(d->node), device_message("update", *d));
  }

  void deliver_again(const DevicePtr& d) {
    d->sent = false;
    deliver(d);
  }

  void on_device_gone(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = base::member(object, "metadata");
    const auto it = devices.find(DeviceId{text_of(metadata, "namespace"), text_of(metadata, "name")});
    if (it == devices.end() || it->second->uid != text_of(metadata, "uid")) return;
    const DevicePtr d = it->second;
    if (const std::string last = text_of(metadata, "resourceVersion"); !last.empty()) d->version = last;
    withdraw(d);
    d->timer.cancel();
    devices.erase(d->id);
  }

  void on_model(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = base::member(object, "metadata");
    const DeviceId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
    if (id.name.empty()) return;
    Model& model = models[id];
    const std::size_t digest = std::hash<std::string>{}(base::dump_json(base::member(object, "spec")) + text_of(metadata, "uid"));
    const bool changed = !model.raw.empty() && model.digest != digest;
    model = Model{text_of(metadata, "uid"), text_of(metadata, "resourceVersion"), slim(raw), digest};
    std::set<std::string> told;
    for (const auto& [device_id, d] : devices) {
      if (device_id.ns != id.ns || d->model != id.name) continue;
      if (!d->sent) deliver(d);
      // Upstream lets a changed model wait for the next change of a device; the edge would keep stale types.
      else if (changed && told.insert(d->node).second) link.send(NodeId(d->node), model_message("update", id, model));
    }
  }

  void on_model_gone(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = base::member(object, "metadata");
    const DeviceId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
    models.erase(id);
    for (const auto& [device_id, d] : devices)
      if (device_id.ns == id.ns && d->model == id.name && d->sent)
        complain(d, "DeviceModelNotFound", "device model " + id.name + " was deleted while this device uses it; the edge keeps its copy");
  }

  // An Event on the Device, once for each state of affairs.
  void complain(const DevicePtr& d, const char* reason, const std::string& what) {
    if (d->complaint == reason + what) return;
    d->complaint = reason + what;
    say(LogLevel::kWarning, "device {}: {}", d->id.str(), what);
    const std::string time = base::rfc3339(runtime.clock().unix_ms() / 1000);
    const std::string name = d->id.name + "." + base::random_hex(8);
    const json event{{"apiVersion", "v1"},
                     {"kind", "Event"},
                     {"metadata", {{"name", name}, {"namespace", d->id.ns}}},
                     {"involvedObject",
                      {{"apiVersion", kApiVersion}, {"kind", "Device"}, {"namespace", d->id.ns}, {"name", d->id.name}, {"uid", d->uid}, {"resourceVersion", d->version}}},
                     {"reason", reason},
                     {"message", what},
                     {"type", "Warning"},
                     {"source", {{"component", "devicecontroller"}}},
                     {"firstTimestamp", time},
                     {"lastTimestamp", time},
                     {"count", 1}};
    client.create(kEvents, d->id.ns, name, "", Bytes(base::dump_json(event)), [weak = weak_from_this(), id = d->id](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      if (self && !result) self->say(LogLevel::kWarning, "device {}: event not stored: {}", id.str(), result.error().message);
    });
  }

  // ---- DeviceStatus ----
  void load_status(Device& d, const json& status_object) {
    d.status_known = true;
    const json& status = base::member(status_object, "status");
    for (const auto& twin : base::member(status, "twins"))
      if (const std::string name = text_of(twin, "propertyName"); !name.empty()) d.twins[name] = twin;
    d.state = text_of(status, "state");
    d.last_online = text_of(status, "lastOnlineTime");
  }

  void create_status(const DevicePtr& d) {
    if (d->status_pending) return;
    d->status_pending = true;
    const json object{{"apiVersion", kApiVersion},
                      {"kind", "DeviceStatus"},
                      {"metadata",
                       {{"name", d->id.name},
                        {"namespace", d->id.ns},
                        {"ownerReferences",
                         json::array({{{"apiVersion", kApiVersion}, {"kind", "Device"}, {"name", d->id.name}, {"uid", d->uid}, {"controller", true}, {"blockOwnerDeletion", true}}})}}},
                      {"spec", json::object()}};
    std::weak_ptr<Device> weak_device = d;
    client.create(kStatuses, d->id.ns, d->id.name, "", Bytes(base::dump_json(object)), [weak = weak_from_this(), weak_device](kube::ApiResult<Bytes> result) {
      auto self = weak.lock();
      auto device = weak_device.lock();
      if (!self || !device) return;
      device->status_pending = false;
      if (result || result.error().code == 409) {
        device->status_known = true;
        return self->deliver(device);
      }
      self->say(LogLevel::kWarning, "device {}: DeviceStatus not created: {}; again in 1 s", device->id.str(), result.error().message);
      device->timer.start(kRetry, [weak, weak_device] {
        auto s = weak.lock();
        auto again = weak_device.lock();
        if (s && again) s->create_status(again);
      });
    });
  }

  void on_status(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = base::member(object, "metadata");
    const DeviceId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
    const auto it = devices.find(id);
    if (it == devices.end()) {
      if (unsynced > 0) statuses[id] = object;
      return;
    }
    // Our own copy leads once it is known; the API is read at start only.
    if (it->second->status_known) return;
    load_status(*it->second, object);
    deliver(it->second);
  }

  void on_status_gone(const Bytes& raw) {
    const json object = base::parse_json(raw);
    const json& metadata = base::member(object, "metadata");
    const auto it = devices.find(DeviceId{text_of(metadata, "namespace"), text_of(metadata, "name")});
    if (it == devices.end()) return;
    it->second->status_known = false;
    it->second->twins_dirty = !it->second->twins.empty();
    create_status(it->second);
  }

  void on_synced() {
    if (--unsynced > 0) return;
    statuses.clear();
    for (const auto& [id, d] : devices) deliver(d);
  }

  // ---- up ----
  void refuse(const NodeId& node, const std::string& resource, const char* why) {
    ++refused;
    peers.warn({node.str(), resource}, "{}", why);
  }

  void on_message(const NodeId& node, const Message& m) {
    if (m.resource.find("membership/detail") != std::string::npos) return;     // upstream ignores it too
    const bool twin = m.resource.find("/twin/edge_updated") != std::string::npos;
    const bool state = m.resource.find("/state/update") != std::string::npos;
    const auto parts = base::split(m.resource, '/');
    if ((!twin && !state) || parts.size() < 4 || parts[0] != "device")
      return refuse(node, m.resource, "not understood");
    const auto it = devices.find(DeviceId{parts[1], parts[2]});
    if (it == devices.end()) return refuse(node, m.resource, "report for an unknown device");
    const DevicePtr d = it->second;
    if (d->node != node.str()) return refuse(node, m.resource, "report for another node's device");
    const json content = base::parse_json(wire::content_text(m));
    if (!content.is_object()) return refuse(node, m.resource, "report is no JSON object");
    if (twin) apply_twins(*d, base::member(content, "twin"));
    else apply_state(*d, content);
    ++reports;
    d->unconfirmed.emplace_back(node, m);
    if (d->unconfirmed.size() > kMaxUnconfirmed) {
      d->unconfirmed.pop_front();
      ++unconfirmed_dropped;
    }
    store(d);
  }

  static json side_of(const json& side, const json& type) {
    json value{{"value", text_of(side, "value")}};
    json metadata = json::object();
    const json& stamp = base::member(base::member(side, "metadata"), "timestamp");
    if (stamp.is_number_integer()) metadata["timestamp"] = std::to_string(stamp.get<std::int64_t>());
    else if (stamp.is_string()) metadata["timestamp"] = stamp;
    if (type.is_string()) metadata["type"] = type;
    if (!metadata.empty()) value["metadata"] = std::move(metadata);
    return value;
  }

  void apply_twins(Device& d, const json& twins) {
    if (!twins.is_object()) return;
    for (const auto& [name, twin] : twins.items()) {
      if (!d.properties.contains(name)) continue;
      json entry = d.twins.contains(name) ? d.twins[name] : json{{"propertyName", name}, {"reported", {{"value", ""}}}, {"observedDesired", {{"value", ""}}}};
      const json& type = base::member(base::member(twin, "metadata"), "type");
      if (base::member(base::member(twin, "actual"), "value").is_string()) entry["reported"] = side_of(base::member(twin, "actual"), type);
      if (base::member(base::member(twin, "expected"), "value").is_string()) entry["observedDesired"] = side_of(base::member(twin, "expected"), type);
      if (d.twins.contains(name) && d.twins[name] == entry) continue;
      d.twins[name] = std::move(entry);
      d.twins_dirty = true;
    }
  }

  void apply_state(Device& d, const json& content) {
    const json& device = content.contains("device") ? content["device"] : base::member(content, "Device");
    const std::string state = text_of(device, "state"), online = text_of(device, "lastOnlineTime");
    if (state.empty() || (state == d.state && (online.empty() || online == d.last_online))) return;
    d.state = state;
    d.last_online = online;
    d.state_dirty = true;
  }

  void store(const DevicePtr& d) {
    if (d->in_flight) return;
    if (!d->twins_dirty && !d->state_dirty) return confirm(*d, d->unconfirmed.size());
    if (!d->status_known) return create_status(d);
    const Milliseconds due = d->last_patch + options.status_interval;
    if (d->ever_patched && now() < due) {
      if (!d->timer.running()) retry(d, due - now());
      return;
    }
    patch(d);
  }

  void retry(const DevicePtr& d, Milliseconds after) {
    std::weak_ptr<Device> weak_device = d;
    d->timer.start(after, [weak = weak_from_this(), weak_device] {
      auto self = weak.lock();
      auto device = weak_device.lock();
      if (self && device) self->store(device);
    });
  }

  void patch(const DevicePtr& d) {
    json status = json::object();
    if (d->twins_dirty) {
      json list = json::array();
      for (auto it = d->twins.begin(); it != d->twins.end();) {
        if (!d->properties.contains(it->first)) {
          it = d->twins.erase(it);       // its property is no more
          continue;
        }
        list.push_back(it->second);
        ++it;
      }
      status["twins"] = std::move(list);
    }
    const bool with_state = d->state_dirty;
    if (with_state) {
      status["state"] = d->state;
      if (!d->last_online.empty()) status["lastOnlineTime"] = d->last_online;
    }
    const bool with_twins = d->twins_dirty;
    d->twins_dirty = d->state_dirty = false;
    d->in_flight = true;
    d->ever_patched = true;
    d->last_patch = now();
    const std::size_t covered = d->unconfirmed.size();
    std::weak_ptr<Device> weak_device = d;
    client.patch(kStatuses, d->id.ns, d->id.name, "", kube::PatchType::kMerge, Bytes(base::dump_json({{"status", status}})),
                 [weak = weak_from_this(), weak_device, with_twins, with_state, covered](kube::ApiResult<Bytes> result) {
                   auto self = weak.lock();
                   auto device = weak_device.lock();
                   if (!self || !device) return;
                   device->in_flight = false;
                   if (!result) {
                     device->twins_dirty |= with_twins;
                     device->state_dirty |= with_state;
                     self->say(LogLevel::kWarning, "device {}: status not stored: {}; again in 1 s", device->id.str(), result.error().message);
                     if (result.error().code == 404) device->status_known = false;
                     return self->retry(device, kRetry);
                   }
                   self->confirm(*device, covered);
                   if (device->twins_dirty || device->state_dirty || !device->unconfirmed.empty()) self->store(device);
                 });
  }

  // D8: only after the values are stored.
  void confirm(Device& d, std::size_t count) {
    for (; count > 0 && !d.unconfirmed.empty(); --count) {
      const auto [node, request] = std::move(d.unconfirmed.front());
      d.unconfirmed.pop_front();
      Message ok = message("twin", "response", "twin", "\"OK\"", "");
      ok.parent_id = request.id;
      link.send(node, std::move(ok));
    }
  }

  void watch(const kube::Resource& resource, void (Impl::*upsert)(const Bytes&), void (Impl::*gone)(const Bytes&)) {
    std::weak_ptr<Impl> weak = weak_from_this();
    kube::Informer::Handlers handlers;
    handlers.on_upsert = [weak, upsert](Bytes object) {
      if (auto self = weak.lock()) (self.get()->*upsert)(object);
    };
    handlers.on_delete = [weak, gone](Bytes object) {
      if (auto self = weak.lock()) (self.get()->*gone)(object);
    };
    handlers.on_synced = [weak, first = true]() mutable {
      auto self = weak.lock();
      if (self && std::exchange(first, false)) self->on_synced();
    };
    informers.push_back(std::make_unique<kube::Informer>(runtime, client, resource, kube::ListOptions{}, std::move(handlers)));
    informers.back()->start();
  }
};

DeviceController::DeviceController(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, DeviceOptions options)
    : impl_(std::make_shared<Impl>(runtime, client, link, options)) {}
DeviceController::~DeviceController() = default;

void DeviceController::start() {
  impl_->watch(kModels, &Impl::on_model, &Impl::on_model_gone);
  impl_->watch(kStatuses, &Impl::on_status, &Impl::on_status_gone);
  impl_->watch(kDevices, &Impl::on_device, &Impl::on_device_gone);
}

void DeviceController::stop() {
  impl_->informers.clear();
  for (auto& [id, device] : impl_->devices) device->timer.cancel();
}

void DeviceController::on_message(const NodeId& node, Message message) { impl_->on_message(node, message); }

void DeviceController::collect(base::MetricsPage& page) const {
  page.gauge("kubeedge_devicecontroller_devices", "Devices in the API", static_cast<std::int64_t>(impl_->devices.size()));
  page.counter("kubeedge_devicecontroller_reports_total", "Twin and state reports of edges that were taken", impl_->reports);
  page.counter("kubeedge_devicecontroller_refused_reports_total", "Reports for unknown devices or another node's, or not understood", impl_->refused);
  page.counter("kubeedge_devicecontroller_unconfirmed_drops_total", "Confirmations given up past the limit of a device, the oldest first", impl_->unconfirmed_dropped);
}

bool DeviceController::synced() const { return impl_->unsynced == 0; }

void DeviceController::on_connected(const NodeId& node) { impl_->members.erase(node); }

void DeviceController::snapshot(const NodeId& node, std::vector<Message>& messages) {
  std::vector<json> added;
  std::set<DeviceId> models;
  std::vector<Message> objects;
  auto& members = impl_->members[node];
  for (const auto& [id, device] : impl_->devices) {
    if (!device->sent || device->node != node.str()) continue;
    if (members.insert(id).second) added.push_back(Impl::member(*device));
    models.insert(DeviceId{id.ns, device->model});
    objects.push_back(impl_->device_message("insert", *device));
  }
  if (!added.empty()) messages.push_back(impl_->membership(added, {}));
  for (const auto& id : models)
    if (const auto it = impl_->models.find(id); it != impl_->models.end()) messages.push_back(impl_->model_message("insert", id, it->second));
  for (auto& object : objects) messages.push_back(std::move(object));
}

NodeSnapshot::Fate DeviceController::fate(const NodeId& node, const SyncRecord& record, Message& message) {
  const DeviceId id{record.ns, record.name};
  if (record.kind == "Device") {
    const auto it = impl_->devices.find(id);
    if (it != impl_->devices.end() && it->second->node == node.str() && it->second->uid == record.uid) {
      message = impl_->device_message("update", *it->second);
      return Fate::kCurrent;
    }
    // A device of the same name that lives on here keeps its membership.
    if (it == impl_->devices.end() || it->second->node != node.str())
      impl_->link.send(node, impl_->membership({}, {json{{"id", id.str()}, {"name", id.name}}}));
    return Fate::kGone;
  }
  if (record.kind == "DeviceModel") {
    const auto it = impl_->models.find(id);
    if (it == impl_->models.end()) {
      // A device that still names it keeps its copy at the edge (the Device carries an event).
      for (const auto& [device_id, device] : impl_->devices)
        if (device->sent && device->node == node.str() && device_id.ns == id.ns && device->model == id.name) return Fate::kNotMine;
      return Fate::kGone;
    }
    if (it->second.uid != record.uid || !impl_->model_used(id, node.str(), nullptr)) return Fate::kGone;
    message = impl_->model_message("update", id, it->second);
    return Fate::kCurrent;
  }
  return Fate::kNotMine;
}

}  // namespace kubeedge::cloud
