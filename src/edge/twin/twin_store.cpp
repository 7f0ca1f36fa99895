#include "edge/twin/device_twin.h"

namespace kubeedge {
inline namespace v0 {

struct TwinStore::Impl final : edge::CloudLink {
  bool up() const override { return false; }   // what is for the cloud stays marked in the file
  void send(Message) override {}
  void request(Message, Milliseconds, unique_function<void(Result<Message>)> done) override { done(Error{Errc::kUnavailable, "twins alone have no cloud"}); }

  std::unique_ptr<store::Store> store;
  std::unique_ptr<edge::DeviceTwin> twins;
};

Result<TwinStore> TwinStore::open(const Runtime& runtime, const std::string& file, NodeId node) {
  if (Result<void> usable = runtime.usable(); !usable) return usable.error();
  auto impl = std::make_unique<Impl>();
  auto opened = store::Store::open(runtime, file, edge::device_twin_schema());
  if (!opened) return std::move(opened).error();
  impl->store = std::move(*opened);
  auto twins = edge::DeviceTwin::create(runtime, *impl->store, *impl, {std::move(node), false});
  if (!twins) return std::move(twins).error();
  impl->twins = std::move(*twins);
  return TwinStore(std::move(impl));
}

TwinStore::TwinStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TwinStore::TwinStore(TwinStore&&) noexcept = default;
TwinStore& TwinStore::operator=(TwinStore&&) noexcept = default;
TwinStore::~TwinStore() = default;

void TwinStore::set_device(std::string device) { impl_->twins->on_device(Bytes(std::move(device))); }
void TwinStore::remove_device(const DeviceId& device) { impl_->twins->on_device_removed(device); }
void TwinStore::start() { impl_->twins->start(); }
Twin& TwinStore::twin() { return *impl_->twins; }

}  // namespace v0
}  // namespace kubeedge
