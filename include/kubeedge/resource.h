// Names of things: strong types, so that a node is never passed where a device is meant.
#pragma once

#include <compare>
#include <string>
#include <utility>

namespace kubeedge {
inline namespace v0 {

template <class Tag>
class StrongId {
 public:
  StrongId() = default;
  explicit StrongId(std::string text) : text_(std::move(text)) {}
  const std::string& str() const noexcept { return text_; }
  bool empty() const noexcept { return text_.empty(); }
  auto operator<=>(const StrongId&) const = default;

 private:
  std::string text_;
};

using NodeId = StrongId<struct NodeTag>;        // a Node's metadata.name
using MessageId = StrongId<struct MessageTag>;  // UUIDv4 text, opaque to the peer

// A device is named by its namespace and name everywhere; "ns/name" on the wire.
struct DeviceId {
  std::string ns;
  std::string name;
  auto operator<=>(const DeviceId&) const = default;
  std::string str() const { return ns + "/" + name; }
};

}  // namespace v0
}  // namespace kubeedge

template <class Tag>
struct std::hash<kubeedge::StrongId<Tag>> {
  std::size_t operator()(const kubeedge::StrongId<Tag>& id) const noexcept { return std::hash<std::string>{}(id.str()); }
};
