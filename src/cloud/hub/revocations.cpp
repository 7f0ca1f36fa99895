#include "cloud/hub/revocations.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_member.h"
#include "base/text.h"
#include "kube/client/informer.h"

namespace kubeedge::cloud {

namespace {
const kube::Resource kConfigMaps{"", "v1", "configmaps"};

struct ConfigMapView {
  std::string name;
  std::map<std::string, std::string> data;
};
ConfigMapView view(const Bytes& object) {
  ConfigMapView out;
  const auto json = base::parse_json(object);
  out.name = base::text_of(base::member(json, "metadata"), "name");
  if (const auto& data = base::member(json, "data"); data.is_object())
    for (const auto& [node, time] : data.items())
      if (time.is_string()) out.data.emplace(node, time.get<std::string>());
  return out;
}
}  // namespace

RevocationTable::Change RevocationTable::set(const std::string& config_map, const std::map<std::string, std::string>& data) {
  Change change;
  std::map<std::string, std::int64_t> times;
  const auto& old = maps_[config_map];
  for (const auto& [node, text] : data) {
    const auto time = base::from_rfc3339(text);
    if (!time) {
      change.bad.push_back(node);
      continue;
    }
    times.emplace(node, *time);
    if (const auto was = old.find(node); was == old.end() || was->second != *time) change.nodes.push_back(node);
  }
  if (times.empty())
    maps_.erase(config_map);
  else
    maps_[config_map] = std::move(times);
  return change;
}

std::optional<std::int64_t> RevocationTable::before(const std::string& node) const {
  std::optional<std::int64_t> latest;
  for (const auto& [name, times] : maps_)
    if (const auto found = times.find(node); found != times.end()) latest = std::max(latest.value_or(found->second), found->second);
  return latest;
}

std::string RevocationTable::shard(std::string_view node) {
  std::uint32_t hash = 2166136261U;   // FNV-1a: the same for every build and every cloudcore
  for (const char c : node) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return fmt::format("revoked-certificates-{:02}", hash % kRevocationShards);
}

struct Revocations::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, kube::KubeClient& c, unique_function<void(const NodeId&)> f) : runtime(r), client(c), changed(std::move(f)) {}
  Runtime runtime;
  kube::KubeClient& client;
  unique_function<void(const NodeId&)> changed;
  RevocationTable table;
  std::unique_ptr<kube::Informer> informer;

  void put(const Bytes& object, bool gone) {
    const ConfigMapView map = view(object);
    const auto change = table.set(map.name, gone ? std::map<std::string, std::string>{} : map.data);
    for (const auto& node : change.bad)
      base::log(runtime.log(), LogLevel::kWarning, "cloudhub", "ConfigMap {}/{}: data.{} is no RFC 3339 time; it revokes nothing", kRevocationsNamespace,
                map.name, node);
    for (const auto& node : change.nodes) changed(NodeId(node));
  }

  void patch(const NodeId& node, std::int64_t before, unique_function<void(Result<void>)> done) {
    const std::string name = RevocationTable::shard(node.str());
    const nlohmann::json data{{"data", {{node.str(), base::rfc3339(before)}}}};
    client.patch(kConfigMaps, kRevocationsNamespace, name, "", kube::PatchType::kMerge, Bytes(base::dump_json(data)),
                 [weak = weak_from_this(), node, before, name, done = std::move(done)](kube::ApiResult<Bytes> patched) mutable {
                   auto self = weak.lock();
                   if (!self) return;
                   if (!patched && patched.error().code == 404) return self->create(node, before, name, std::move(done));
                   self->written(node, patched, std::move(done));
                 });
  }

  void create(const NodeId& node, std::int64_t before, const std::string& name, unique_function<void(Result<void>)> done) {
    const nlohmann::json object{{"apiVersion", "v1"},
                                {"kind", "ConfigMap"},
                                {"metadata", {{"name", name}, {"namespace", kRevocationsNamespace}, {"labels", {{kRevocationsLabel, ""}}}}},
                                {"data", {{node.str(), base::rfc3339(before)}}}};
    client.create(kConfigMaps, kRevocationsNamespace, "", "", Bytes(base::dump_json(object)),
                  [weak = weak_from_this(), node, before, done = std::move(done)](kube::ApiResult<Bytes> created) mutable {
                    auto self = weak.lock();
                    if (!self) return;
                    if (!created && created.error().code == 409) return self->patch(node, before, std::move(done));   // another cloudcore was first
                    self->written(node, created, std::move(done));
                  });
  }

  void written(const NodeId& node, const kube::ApiResult<Bytes>& result, unique_function<void(Result<void>)> done) {
    if (result) {
      put(*result, false);
      return done({});
    }
    const auto& error = result.error();
    if (kube::transient(error)) return done(base::error(Errc::kUnavailable, "older certificates of node {} could not be revoked: {}", node.str(), error.message));
    base::log(runtime.log(), LogLevel::kWarning, "cloudhub", "older certificates of node {} stay valid: {} (see daemons/cloudcore/deploy/rbac.yaml)", node.str(),
              error.message);
    done({});
  }
};

Revocations::Revocations(const Runtime& runtime, kube::KubeClient& client, unique_function<void(const NodeId&)> changed)
    : impl_(std::make_shared<Impl>(runtime, client, std::move(changed))) {}
Revocations::~Revocations() { stop(); }

void Revocations::start() {
  kube::ListOptions options;
  options.ns = kRevocationsNamespace;
  options.label_selector = kRevocationsLabel;
  std::weak_ptr<Impl> weak = impl_;
  kube::Informer::Handlers handlers;
  handlers.on_upsert = [weak](Bytes object) {
    if (auto self = weak.lock()) self->put(object, false);
  };
  handlers.on_delete = [weak](Bytes object) {
    if (auto self = weak.lock()) self->put(object, true);
  };
  handlers.on_synced = [] {};
  impl_->informer = std::make_unique<kube::Informer>(impl_->runtime, impl_->client, kConfigMaps, std::move(options), std::move(handlers));
  impl_->informer->start();
}

void Revocations::stop() { impl_->informer.reset(); }

bool Revocations::revoked(const NodeId& node, std::int64_t issued_unix_s) const {
  const auto before = impl_->table.before(node.str());
  return before && issued_unix_s < *before;
}

void Revocations::revoke(const NodeId& node, std::int64_t before_unix_s, unique_function<void(Result<void>)> done) {
  impl_->patch(node, before_unix_s, std::move(done));
}

}  // namespace kubeedge::cloud
