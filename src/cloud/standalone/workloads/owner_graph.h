// Who owns whom, and what follows from it when an owner goes. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubeedge::cloud::workloads {

struct Owner {
  std::string api_version, kind, name, uid;
  bool blocks = false;      // its foreground deletion waits for this dependent
  bool controls = false;
};

struct Owned {
  std::string resource;     // as schema::Kind::storage_resource() names it
  std::string ns, name, uid, version;
  std::vector<Owner> owners;
  std::vector<std::string> finalizers;
  bool deleting = false;
  bool has_finalizer(std::string_view name_of_it) const;
};
// From an object's metadata.
Owned owned_of(const std::string& resource, const nlohmann::json& metadata);

struct Verdict {
  enum class What {
    kNothing,
    kDelete,         // with `propagation`, if its owners are gone indeed
    kUnlink,         // take the owners `uids` out of its ownerReferences
    kReleaseAll,     // take `uid` out of the ownerReferences of all `dependents`
    kDeleteAll,      // delete all `dependents`
    kFinish,         // take `finalizer` away
  } what = What::kNothing;
  std::string propagation, finalizer;
  std::vector<std::string> uids;          // kUnlink: owners
  std::vector<std::string> dependents;    // uids
};

class OwnerGraph {
 public:
  // Which uids are to be looked at because of it.
  std::set<std::string> put(Owned object);
  std::set<std::string> remove(const std::string& uid);
  // All that may need a look, once everything is known.
  std::set<std::string> candidates() const;
  Verdict judge(const std::string& uid) const;
  const Owned* find(const std::string& uid) const;

 private:
  bool needs_look(const Owned& object) const;
  void unlink(const Owned& object);
  std::set<std::string> dependents_of(const std::string& uid) const;

  std::unordered_set<std::string> alive_;              // every uid that there is
  std::map<std::string, Owned> objects_;               // those with owners, and those whose deletion waits for the collector
  std::map<std::string, std::set<std::string>> dependents_;
};

}  // namespace kubeedge::cloud::workloads
