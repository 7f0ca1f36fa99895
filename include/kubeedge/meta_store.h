// What the cloud sends, durable: the objects of one node in upstream's tables (SQLite), without a hub or an edge around it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/message.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

// Lives on the runtime's executor; the file is one process's.
class MetaStore {
 public:
  // Opens or makes the file (0600). kIo names it.
  static Result<MetaStore> open(const Runtime& runtime, const std::string& file, NodeId node);
  MetaStore(MetaStore&&) noexcept;
  MetaStore& operator=(MetaStore&&) noexcept;
  ~MetaStore();

  // A message of the cloud (insert, update, delete of an object). Its acknowledgement comes through on_answer after the commit.
  void apply(Message message);
  void on_answer(unique_function<void(Message)> handler);
  // The object's JSON as the cloud sent it; `key` is "<namespace>/<type>/<name>", `type` lower case: pod, configmap, device.
  std::optional<Bytes> get(const std::string& key) const;
  std::vector<Bytes> list(const std::string& type) const;
  // Made with the file, and anew when a damaged row had to be dropped: an edge that comes back with another id has lost
  // something of its store.
  const std::string& id() const;

 private:
  struct Impl;
  explicit MetaStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
