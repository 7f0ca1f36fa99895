#include "cloud/standalone/workloads/owner_graph.h"

#include <algorithm>

#include "cloud/standalone/json_at.h"
#include "kube/rest/deletion.h"

namespace kubeedge::cloud::workloads {

using kube::rest::kForegroundFinalizer;
using kube::rest::kOrphanFinalizer;
using nlohmann::json;

bool Owned::has_finalizer(std::string_view name_of_it) const { return std::find(finalizers.begin(), finalizers.end(), name_of_it) != finalizers.end(); }

Owned owned_of(const std::string& resource, const json& metadata) {
  Owned out{resource, json_text(metadata, {"namespace"}), json_text(metadata, {"name"}), json_text(metadata, {"uid"}), json_text(metadata, {"resourceVersion"}), {}, {}, false};
  out.deleting = !json_at(metadata, {"deletionTimestamp"}).is_null();
  if (const json& owners = json_at(metadata, {"ownerReferences"}); owners.is_array())
    for (const json& one : owners)
      out.owners.push_back({json_text(one, {"apiVersion"}), json_text(one, {"kind"}), json_text(one, {"name"}), json_text(one, {"uid"}),
                            json_at(one, {"blockOwnerDeletion"}) == true, json_at(one, {"controller"}) == true});
  if (const json& finalizers = json_at(metadata, {"finalizers"}); finalizers.is_array())
    for (const json& one : finalizers) out.finalizers.push_back(json_text(one));
  return out;
}

const Owned* OwnerGraph::find(const std::string& uid) const {
  const auto found = objects_.find(uid);
  return found == objects_.end() ? nullptr : &found->second;
}

std::set<std::string> OwnerGraph::dependents_of(const std::string& uid) const {
  const auto found = dependents_.find(uid);
  return found == dependents_.end() ? std::set<std::string>() : found->second;
}

void OwnerGraph::unlink(const Owned& object) {
  for (const Owner& owner : object.owners) {
    const auto found = dependents_.find(owner.uid);
    if (found == dependents_.end()) continue;
    found->second.erase(object.uid);
    if (found->second.empty()) dependents_.erase(found);
  }
}

bool OwnerGraph::needs_look(const Owned& object) const {
  if (object.deleting) return object.has_finalizer(kOrphanFinalizer) || object.has_finalizer(kForegroundFinalizer);
  return std::any_of(object.owners.begin(), object.owners.end(), [&](const Owner& owner) {
    const Owned* known = find(owner.uid);
    return !alive_.contains(owner.uid) || (known != nullptr && known->deleting && known->has_finalizer(kForegroundFinalizer));
  });
}

std::set<std::string> OwnerGraph::put(Owned object) {
  std::set<std::string> out;
  alive_.insert(object.uid);
  if (const Owned* known = find(object.uid)) {
    for (const Owner& owner : known->owners) out.insert(owner.uid);   // that may wait for it to let go
    unlink(*known);
    objects_.erase(object.uid);
  }
  for (const Owner& owner : object.owners) out.erase(owner.uid);
  if (needs_look(object)) out.insert(object.uid);
  const bool kept = !object.owners.empty() || (object.deleting && !object.finalizers.empty());
  for (const Owner& owner : object.owners) dependents_[owner.uid].insert(object.uid);
  if (kept) objects_.emplace(object.uid, std::move(object));
  std::erase_if(out, [&](const std::string& uid) { return find(uid) == nullptr; });
  return out;
}

std::set<std::string> OwnerGraph::remove(const std::string& uid) {
  alive_.erase(uid);
  std::set<std::string> out = dependents_of(uid);
  if (const Owned* known = find(uid)) {
    for (const Owner& owner : known->owners)
      if (find(owner.uid) != nullptr) out.insert(owner.uid);
    unlink(*known);
    objects_.erase(uid);
  }
  return out;
}

std::set<std::string> OwnerGraph::candidates() const {
  std::set<std::string> out;
  for (const auto& [uid, object] : objects_)
    if (needs_look(object)) out.insert(uid);
  return out;
}

Verdict OwnerGraph::judge(const std::string& uid) const {
  const Owned* object = find(uid);
  if (object == nullptr) return {};
  Verdict out;
  const std::set<std::string> mine = dependents_of(uid);
  if (object->deleting) {
    if (object->has_finalizer(kOrphanFinalizer)) {
      out.what = mine.empty() ? Verdict::What::kFinish : Verdict::What::kReleaseAll;
      out.finalizer = kOrphanFinalizer;
      out.dependents.assign(mine.begin(), mine.end());
    } else if (object->has_finalizer(kForegroundFinalizer)) {
      bool blocked = false;
      for (const std::string& one : mine) {
        const Owned& dependent = objects_.at(one);
        blocked = blocked || std::any_of(dependent.owners.begin(), dependent.owners.end(), [&](const Owner& owner) { return owner.uid == uid && owner.blocks; });
        if (!dependent.deleting) out.dependents.push_back(one);
      }
      out.what = !out.dependents.empty() ? Verdict::What::kDeleteAll : blocked ? Verdict::What::kNothing : Verdict::What::kFinish;
      out.finalizer = kForegroundFinalizer;
    }
    return out;
  }
  bool solid = false, waiting = false;
  for (const Owner& owner : object->owners) {
    const Owned* known = find(owner.uid);
    const bool leaves = known != nullptr && known->deleting && known->has_finalizer(kForegroundFinalizer);
    if (alive_.contains(owner.uid) && !leaves) solid = true;
    else out.uids.push_back(owner.uid);
    waiting = waiting || leaves;
  }
  if (out.uids.empty()) return {};
  out.what = solid ? Verdict::What::kUnlink : Verdict::What::kDelete;
  const bool foreground = (waiting && !mine.empty()) || object->has_finalizer(kForegroundFinalizer);
  out.propagation = foreground ? "Foreground" : object->has_finalizer(kOrphanFinalizer) ? "Orphan" : "Background";
  return out;
}

}  // namespace kubeedge::cloud::workloads
