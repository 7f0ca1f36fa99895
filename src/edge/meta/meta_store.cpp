#include <kubeedge/meta_store.h>

#include "edge/meta/meta_manager.h"

namespace kubeedge {
inline namespace v0 {

struct MetaStore::Impl final : edge::CloudLink {
  ~Impl() override {
    if (manager) manager->set_link(nullptr);
  }
  // What MetaManager says to the cloud are its acknowledgements; it asks nothing, since nobody asks it.
  bool up() const override { return true; }
  void send(Message message) override {
    if (answer) answer(std::move(message));
  }
  void request(Message, Milliseconds, unique_function<void(Result<Message>)> done) override { done(Error{Errc::kUnavailable, "a store alone has no cloud"}); }

  std::unique_ptr<store::Store> store;
  std::unique_ptr<edge::MetaManager> manager;
  unique_function<void(Message)> answer;
};

Result<MetaStore> MetaStore::open(const Runtime& runtime, const std::string& file, NodeId node) {
  if (Result<void> usable = runtime.usable(); !usable) return usable.error();
  auto impl = std::make_unique<Impl>();
  auto opened = store::Store::open(runtime, file, edge::meta_schema());
  if (!opened) return std::move(opened).error();
  impl->store = std::move(*opened);
  impl->manager = edge::MetaManager::create(runtime, *impl->store, std::move(node));
  impl->manager->set_link(impl.get());
  impl->manager->start();
  return MetaStore(std::move(impl));
}

MetaStore::MetaStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetaStore::MetaStore(MetaStore&&) noexcept = default;
MetaStore& MetaStore::operator=(MetaStore&&) noexcept = default;
MetaStore::~MetaStore() = default;

void MetaStore::apply(Message message) { impl_->manager->on_message(std::move(message)); }
void MetaStore::on_answer(unique_function<void(Message)> handler) { impl_->answer = std::move(handler); }
std::optional<Bytes> MetaStore::get(const std::string& key) const { return impl_->manager->local(key); }
std::vector<Bytes> MetaStore::list(const std::string& type) const { return impl_->manager->local_list(type); }
const std::string& MetaStore::id() const { return impl_->store->id(); }

}  // namespace v0
}  // namespace kubeedge
