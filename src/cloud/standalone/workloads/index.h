// Objects by name, by the uid of their controller, and by namespace; nothing older takes the place of what is known. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace kubeedge::cloud::workloads {

// A workload: its text without managedFields, for there are few of them and most of each is looked at.
struct Entry {
  std::string ns, name, uid, owner;      // owner: the uid of its controller
  std::string text;
  std::uint64_t version = 0;
  std::string key() const { return ns + "/" + name; }
};

template <class T>
class Index {
 public:
  const T* find(const std::string& key) const {
    const auto found = items_.find(key);
    return found == items_.end() ? nullptr : &found->second;
  }
  // False: what is known is as new. `before`: what it replaces.
  bool put(T item, std::optional<T>& before) {
    const std::string key = item.key();
    if (const T* known = find(key)) {
      if (known->version >= item.version) return false;
      before = *known;
      forget(*known);
    }
    owned_[item.owner].insert(key);
    items_.insert_or_assign(key, std::move(item));
    return true;
  }
  // What was there, if it is the object of this uid.
  std::optional<T> take(const std::string& key, const std::string& uid) {
    const auto found = items_.find(key);
    if (found == items_.end() || found->second.uid != uid) return std::nullopt;
    std::optional<T> out(std::move(found->second));
    items_.erase(found);
    forget(*out);
    return out;
  }
  std::vector<const T*> owned_by(const std::string& uid) const {
    std::vector<const T*> out;
    if (const auto found = owned_.find(uid); found != owned_.end())
      for (const std::string& key : found->second) out.push_back(find(key));
    return out;
  }
  std::vector<const T*> in_namespace(const std::string& ns) const {
    std::vector<const T*> out;
    for (auto at = items_.lower_bound(ns + "/"); at != items_.end() && at->second.ns == ns; ++at) out.push_back(&at->second);
    return out;
  }
  template <class Fn>
  void each(Fn fn) const {
    for (const auto& item : items_) fn(item.second);
  }

 private:
  void forget(const T& item) {
    const auto found = owned_.find(item.owner);
    if (found == owned_.end()) return;
    found->second.erase(item.key());
    if (found->second.empty()) owned_.erase(found);
  }

  std::map<std::string, T> items_;
  std::map<std::string, std::set<std::string>> owned_;   // by uid; "" = nobody's
};

}  // namespace kubeedge::cloud::workloads
