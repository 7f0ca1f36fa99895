#include "cloud/standalone/cluster_roles.h"

#include <map>
#include <set>
#include <string>

#include "base/text.h"
#include "cloud/standalone/default_roles.h"
#include "cloud/standalone/json_at.h"
#include "kube/client/informer.h"
#include "kube/rbac/aggregate.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

const kube::Resource kRoles{"rbac.authorization.k8s.io", "v1", "clusterroles"};
const kube::Resource kBindings{"rbac.authorization.k8s.io", "v1", "clusterrolebindings"};

}  // namespace

struct ClusterRoles::Impl : std::enable_shared_from_this<ClusterRoles::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c) : runtime(r), client(c) {}

  Runtime runtime;
  kube::KubeClient& client;
  std::unique_ptr<kube::Informer> informer;
  std::map<std::string, json> roles;
  std::set<std::string> writing;      // aggregates whose new rules are under way
  bool seeded = false, due = false;

  void start() {
    const std::weak_ptr<Impl> weak = weak_from_this();
    informer = std::make_unique<kube::Informer>(runtime, client, kRoles, kube::ListOptions{}, kube::Informer::Handlers{
        [weak](Bytes object) { if (auto self = weak.lock()) self->on_role(base::parse_json(object), false); },
        [weak](Bytes object) { if (auto self = weak.lock()) self->on_role(base::parse_json(object), true); },
        [weak] { if (auto self = weak.lock()) self->on_synced(); }});
    informer->start();
  }

  void on_role(json role, bool gone) {
    const std::string name = json_text(role, {"metadata", "name"});
    if (gone) roles.erase(name);
    else roles[name] = std::move(role);
    if (seeded) settle_soon();
  }

  void on_synced() {
    if (std::exchange(seeded, true)) return;
    for (const json& role : default_cluster_roles()) {
      const auto found = roles.find(json_text(role, {"metadata", "name"}));
      ensure(kRoles, role, found == roles.end() ? json() : found->second, "rules");
    }
    client.list(kBindings, {}, [weak = weak_from_this()](kube::ApiResult<kube::ObjectList> listed) {
      const auto self = weak.lock();
      if (!self) return;
      if (!listed) return base::log(self->runtime.log(), LogLevel::kError, "roles", "cluster role bindings: {}", listed.error().message);
      std::map<std::string, json> stored;
      for (const Bytes& item : listed->items) {
        json binding = base::parse_json(item);
        const std::string name = json_text(binding, {"metadata", "name"});
        stored[name] = std::move(binding);
      }
      for (const json& binding : default_cluster_role_bindings()) self->ensure(kBindings, binding, stored[json_text(binding, {"metadata", "name"})], "subjects");
    });
    settle_soon();
  }

  // A default that is missing is made; one that lacks something gets it, unless an administrator said otherwise.
  void ensure(const kube::Resource& resource, const json& wanted, const json& stored, const char* field) {
    const std::string name = json_text(wanted, {"metadata", "name"});
    if (stored.is_null()) return client.create(resource, "", "", "", json_bytes(wanted), told(resource.plural + " " + name));
    if (const auto list = completed(stored, wanted, field))
      client.patch(resource, "", name, "", kube::PatchType::kMerge, json_bytes({{field, *list}}), told(resource.plural + " " + name));
  }

  kube::KubeClient::Done<Bytes> told(std::string what) {
    return [weak = weak_from_this(), what = std::move(what)](kube::ApiResult<Bytes> result) {
      const auto self = weak.lock();
      if (self && !result && result.error().code != 409) base::log(self->runtime.log(), LogLevel::kError, "roles", "{}: {}", what, result.error().message);
    };
  }

  // Many changes in a row are one look.
  void settle_soon() {
    if (std::exchange(due, true)) return;
    runtime::post(runtime, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->settle();
    });
  }

  void settle() {
    due = false;
    std::vector<json> all;
    for (const auto& [name, role] : roles) all.push_back(role);
    for (const json& role : all) {
      const std::string name = json_text(role, {"metadata", "name"});
      const auto rules = kube::rbac::aggregated_rules(role, all);
      if (!rules || !writing.insert(name).second) continue;
      client.patch(kRoles, "", name, "", kube::PatchType::kMerge, json_bytes({{"rules", *rules}}),
                   [weak = weak_from_this(), name](kube::ApiResult<Bytes> result) {
                     const auto self = weak.lock();
                     if (!self) return;
                     self->writing.erase(name);
                     if (!result) base::log(self->runtime.log(), LogLevel::kError, "roles", "clusterroles {}: {}", name, result.error().message);
                     else self->on_role(base::parse_json(*result), false);
                   });
    }
  }
};

ClusterRoles::ClusterRoles(const Runtime& runtime, kube::KubeClient& client) : impl_(std::make_shared<Impl>(runtime, client)) {}
ClusterRoles::~ClusterRoles() { impl_->informer.reset(); }
void ClusterRoles::start() { impl_->start(); }

}  // namespace kubeedge::cloud
