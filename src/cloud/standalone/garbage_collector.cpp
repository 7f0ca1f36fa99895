#include "cloud/standalone/garbage_collector.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/work_queue.h"
#include "cloud/standalone/workloads/owner_graph.h"
#include "kube/client/api_wire.h"
#include "kube/client/informer.h"
#include "kube/schema/schema.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;
using workloads::Owned;
using workloads::Owner;
using workloads::Verdict;
namespace schema = kube::schema;

kube::Resource resource_of(const schema::Kind& kind) { return {std::string(kind.group), std::string(kind.version), std::string(kind.plural)}; }

const schema::Kind* kind_of(const Owner& owner) {
  const auto slash = owner.api_version.find('/');
  const bool core = slash == std::string::npos;
  return schema::find_kind(core ? "" : owner.api_version.substr(0, slash), core ? owner.api_version : owner.api_version.substr(slash + 1), owner.kind);
}

}  // namespace

struct GarbageCollector::Impl : std::enable_shared_from_this<GarbageCollector::Impl> {
  Impl(const Runtime& r, kube::KubeClient& c) : runtime(r), client(c), queue(r, [this](const std::string& uid) { look(uid); }) {}

  Runtime runtime;
  kube::KubeClient& client;
  workloads::OwnerGraph graph;
  WorkQueue queue;
  std::map<std::string, const schema::Kind*> kinds;   // by storage_resource()
  std::vector<std::unique_ptr<kube::Informer>> informers;
  std::size_t unread = 0;                              // kinds whose first list is still to come

  void start() {
    for (const schema::Kind& kind : schema::kinds()) {
      if (kind.group.empty() && kind.kind == "Event") continue;
      kinds[kind.storage_resource()] = &kind;
      follow(kind);
    }
    unread = informers.size();
    for (const auto& informer : informers) informer->start();
  }

  void follow(const schema::Kind& kind) {
    const std::weak_ptr<Impl> weak = weak_from_this();
    const std::string resource = kind.storage_resource();
    const auto synced = std::make_shared<bool>(false);
    informers.push_back(std::make_unique<kube::Informer>(runtime, client, resource_of(kind), kube::ListOptions{}, kube::Informer::Handlers{
        [weak, resource](Bytes object) { if (const auto self = weak.lock()) self->on_object(resource, object, false); },
        [weak, resource](Bytes object) { if (const auto self = weak.lock()) self->on_object(resource, object, true); },
        [weak, synced] { if (const auto self = weak.lock(); self && !std::exchange(*synced, true)) self->on_read(); }}));
  }

  void on_object(const std::string& resource, const Bytes& object, bool gone) {
    const std::optional<Bytes> metadata = kube::member(object, "metadata");
    if (!metadata) return;
    Owned owned = workloads::owned_of(resource, base::parse_json(*metadata));
    const std::string uid = owned.uid;
    const std::set<std::string> touched = gone ? graph.remove(uid) : graph.put(std::move(owned));
    if (unread == 0)
      for (const std::string& one : touched) queue.add(one);
  }

  void on_read() {
    if (--unread > 0) return;
    for (const std::string& uid : graph.candidates()) queue.add(uid);
  }

  // What one look asks of the API; the key is free again when the last answer is there.
  struct Look {
    std::string uid;
    std::size_t open = 1;   // 1 = the look itself
    bool failed = false;
  };
  using LookPtr = std::shared_ptr<Look>;

  void finish(const LookPtr& look) {
    if (--look->open == 0) queue.done(look->uid, look->failed);
  }

  // A conflict or an object that is gone: the watch brings what is new.
  kube::KubeClient::Done<Bytes> answer(const LookPtr& look, const Owned& about) {
    ++look->open;
    return [weak = weak_from_this(), look, what = about.resource + " " + about.ns + "/" + about.name](kube::ApiResult<Bytes> result) {
      const auto self = weak.lock();
      if (!self) return;
      if (!result && result.error().code != 404) {
        look->failed = true;
        if (result.error().code != 409) base::log(self->runtime.log(), LogLevel::kWarning, "garbage", "{}: {}", what, result.error().message);
      }
      self->finish(look);
    };
  }

  void look(const std::string& uid) {
    const auto look = std::make_shared<Look>(Look{uid});
    const Owned* object = graph.find(uid);
    const Verdict verdict = graph.judge(uid);
    switch (verdict.what) {
      case Verdict::What::kNothing: break;
      case Verdict::What::kUnlink: unlink(look, *object, verdict.uids); break;
      case Verdict::What::kDelete: make_sure(look, *object, verdict); break;
      case Verdict::What::kReleaseAll:
        for (const std::string& one : verdict.dependents)
          if (const Owned* dependent = graph.find(one)) unlink(look, *dependent, {uid});
        break;
      case Verdict::What::kDeleteAll:
        for (const std::string& one : verdict.dependents)
          if (graph.find(one) != nullptr) queue.add(one);
        break;
      case Verdict::What::kFinish: take_finalizer(look, *object, verdict.finalizer); break;
    }
    finish(look);
  }

  void unlink(const LookPtr& look, const Owned& object, const std::vector<std::string>& owners) {
    json list = json::array();
    for (const Owner& owner : object.owners)
      if (std::find(owners.begin(), owners.end(), owner.uid) == owners.end()) {
        list.push_back({{"apiVersion", owner.api_version}, {"kind", owner.kind}, {"name", owner.name}, {"uid", owner.uid}});
        if (owner.blocks) list.back()["blockOwnerDeletion"] = true;
        if (owner.controls) list.back()["controller"] = true;
      }
    const json metadata = {{"uid", object.uid}, {"resourceVersion", object.version}, {"ownerReferences", list.empty() ? json() : list}};
    client.patch(resource_of(*kinds.at(object.resource)), object.ns, object.name, "", kube::PatchType::kMerge, json_bytes({{"metadata", metadata}}), answer(look, object));
  }

  void take_finalizer(const LookPtr& look, const Owned& object, const std::string& finalizer) {
    json left = json::array();
    for (const std::string& one : object.finalizers)
      if (one != finalizer) left.push_back(one);
    const json metadata = {{"uid", object.uid}, {"resourceVersion", object.version}, {"finalizers", left.empty() ? json() : left}};
    client.patch(resource_of(*kinds.at(object.resource)), object.ns, object.name, "", kube::PatchType::kMerge, json_bytes({{"metadata", metadata}}), answer(look, object));
  }

  // Nothing is deleted on the word of a watch alone: the owners that are not known are asked for by name.
  void make_sure(const LookPtr& look, const Owned& object, const Verdict& verdict) {
    struct Asked {
      std::size_t open = 1;
      bool there = false;
    };
    const auto asked = std::make_shared<Asked>();
    const auto step = [weak = weak_from_this(), look, asked, uid = object.uid, propagation = verdict.propagation] {
      const auto self = weak.lock();
      if (!self || --asked->open > 0) return;
      if (const Owned* still = self->graph.find(uid); still != nullptr && !asked->there) self->remove(look, *still, propagation);
      self->finish(look);
    };
    ++look->open;
    for (const Owner& owner : object.owners) {
      const schema::Kind* kind = kind_of(owner);
      // Of an owner whose kind is not served here nothing is known, nor of one in a namespace that cannot be named.
      if (kind == nullptr || (kind->namespaced && object.ns.empty())) {
        asked->there = true;
        continue;
      }
      const Owned* known = graph.find(owner.uid);
      if (known != nullptr && known->deleting) continue;
      ++asked->open;
      client.get(resource_of(*kind), kind->namespaced ? object.ns : "", owner.name, [asked, step, uid = owner.uid](kube::ApiResult<Bytes> result) {
        if (result) asked->there = asked->there || json_text(base::parse_json(*result), {"metadata", "uid"}) == uid;
        else if (result.error().code != 404) asked->there = true;   // not known to be gone
        step();
      });
    }
    step();
  }

  void remove(const LookPtr& look, const Owned& object, const std::string& propagation) {
    const json options = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", propagation}, {"preconditions", {{"uid", object.uid}}}};
    client.remove(resource_of(*kinds.at(object.resource)), object.ns, object.name, json_bytes(options), answer(look, object));
  }
};

GarbageCollector::GarbageCollector(const Runtime& runtime, kube::KubeClient& client) : impl_(std::make_shared<Impl>(runtime, client)) {}
GarbageCollector::~GarbageCollector() { impl_->informers.clear(); }
void GarbageCollector::start() { impl_->start(); }

}  // namespace kubeedge::cloud
