// ServiceBus: HTTP calls between the cloud and servers on the node (devices.md 6).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <kubeedge/runtime.h>
#include <kubeedge/service_bus.h>

#include "edge/ports/cloud_link.h"
#include "store/store.h"

namespace kubeedge::edge {

inline constexpr std::size_t kMaxServiceCalls = 64;                       // to servers at once; one more is answered 503
inline constexpr std::size_t kMaxTargetUrls = 1'000;                      // that rules opened for apps
inline constexpr std::size_t kMaxAppConnections = 256;
inline constexpr std::size_t kMaxAppBuffers = 16 * 1024 * 1024;           // bodies that are arriving, all together

// The table of this module, for Store::open (upstream's DDL).
std::string_view service_bus_schema();

// Gets the cloud's messages of source "router_servicebus". Disabled it answers calls with 503 and opens no port.
// Lives on the runtime's executor; `store` and `link` must outlive it.
class ServiceBus final : public MessageSink {
 public:
  // Errors: an entry of allowed_targets, the CA file.
  static Result<std::unique_ptr<ServiceBus>> create(const Runtime& runtime, store::Store& store, CloudLink& link, ServiceBusOptions options);
  ~ServiceBus() override;

  // Reads target_urls; the local server opens if there is one.
  Result<void> start();
  void stop();
  void on_message(Message message) override;
  std::uint16_t port() const;   // of the local server; 0 while it is closed

 private:
  struct Impl;
  explicit ServiceBus(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
