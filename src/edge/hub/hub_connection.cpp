#include "edge/hub/edge_hub.h"
#include "edge/hub/hub_options.h"

namespace kubeedge {
inline namespace v0 {

struct HubConnection::Impl final : edge::MessageSink {
  Impl(const Runtime& runtime, edge::HubOptions options) : client(runtime, std::move(options)) {
    client.set_meta_sink(this);
    client.set_twin_sink(this);
    client.set_bus_sink(this);
  }
  ~Impl() override { client.stop(); }
  void on_message(Message message) override {
    if (handler) handler(std::move(message));
  }
  unique_function<void(Message)> handler;
  edge::HubClient client;
};

Result<HubConnection> HubConnection::create(const Runtime& runtime, EdgeHubOptions options) {
  if (Result<void> usable = runtime.usable(); !usable) return usable.error();
  auto checked = edge::hub_options(options);
  if (!checked) return std::move(checked).error();
  return HubConnection(std::make_unique<Impl>(runtime, std::move(*checked)));
}

HubConnection::HubConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HubConnection::HubConnection(HubConnection&&) noexcept = default;
HubConnection& HubConnection::operator=(HubConnection&&) noexcept = default;
HubConnection::~HubConnection() = default;

EdgeHub& HubConnection::hub() { return impl_->client; }
void HubConnection::on_message(unique_function<void(Message)> handler) { impl_->handler = std::move(handler); }
void HubConnection::on_failure(unique_function<void(Error)> handler) { impl_->client.on_failure(std::move(handler)); }

Result<void> HubConnection::send(Message message) {
  if (!impl_->client.up()) return Error{Errc::kUnavailable, "the cloud is away: the message is dropped"};
  impl_->client.send(std::move(message));
  return {};
}

void HubConnection::request(Message message, Milliseconds timeout, unique_function<void(Result<Message>)> done) {
  impl_->client.request(std::move(message), timeout, std::move(done));
}

void HubConnection::start() { impl_->client.start(); }
void HubConnection::stop() { impl_->client.stop(); }

}  // namespace v0
}  // namespace kubeedge
