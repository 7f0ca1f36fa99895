// Within one connection an object's versions never go back: what is older came twice or was overtaken, and is not applied.
// Between connections nothing is remembered: a cloud restored from a backup has older versions in good faith. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace kubeedge::edge {

class MessageOrder {
 public:
  static constexpr std::size_t kMaxObjects = 10'000;   // past it all is forgotten: the guard is lost, nothing else

  // A new connection, or none.
  void clear() { seen_.clear(); }
  // False: this connection has brought something newer about the object. A `version` that is no number counts as 0; without
  // a UID nothing is known.
  bool admit(const std::string& uid, std::uint64_t version, bool removal) {
    if (uid.empty()) return true;
    if (seen_.size() >= kMaxObjects && !seen_.contains(uid)) clear();
    Seen& seen = seen_[uid];
    if (!removal && (seen.removed || version < seen.version)) return false;
    seen.removed = seen.removed || removal;
    seen.version = version > seen.version ? version : seen.version;
    return true;
  }

 private:
  struct Seen {
    std::uint64_t version = 0;
    bool removed = false;
  };
  std::map<std::string, Seen> seen_;
};

}  // namespace kubeedge::edge
