// DeviceTwin on the edge's loop: feeds TwinEngine, commits, then publishes and tells the cloud.
#pragma once

#include <memory>
#include <string_view>

#include <kubeedge/runtime.h>
#include <kubeedge/twin.h>

#include "edge/ports/cloud_link.h"
#include "edge/ports/meta_client.h"
#include "edge/ports/mqtt.h"
#include "store/store.h"

namespace kubeedge::edge {

// The tables of this module, for Store::open (upstream's DDL and our own ke_* tables).
std::string_view device_twin_schema();

struct DeviceTwinOptions {
  NodeId node;
  bool strict = false;   // upstream's narrow value pattern instead of any UTF-8 up to 4 KiB
};

// Wiring:
//   auto twin = DeviceTwin::create(runtime, store, link, {node});     // loads the tables; no other I/O
//   EventBus bus(runtime, store, *transport, link, *twin, {node});    // event_bus.h
//   twin->set_output(&bus);                                           // nullptr = no broker; API and cloud still work
//   hub: group "twin" messages -> twin->on_message; link changes -> twin->on_link; MetaManager's devices -> DeviceSink
//   twin->start();                                                    // after the handlers are registered
// `store` and `link` must outlive it. Lives on the runtime's executor.
class DeviceTwin final : public TwinInput, public DeviceSink, public MessageSink, public LinkObserver, public Twin {
 public:
  static Result<std::unique_ptr<DeviceTwin>> create(const Runtime& runtime, store::Store& store, CloudLink& link,
                                                    DeviceTwinOptions options);
  ~DeviceTwin() override;

  void set_output(TwinOutput* output);
  // Hands the deltas that stand in the store to on_desired handlers and to MQTT.
  void start();

  // TwinInput
  void on_mqtt(std::string_view topic, Bytes payload) override;
  void on_broker_up() override;
  // DeviceSink
  void on_device(Bytes device) override;
  void on_device_removed(const DeviceId& id) override;
  void on_device_model(Bytes model) override;
  // MessageSink: membership, cloud_updated, confirmations
  void on_message(Message message) override;
  // LinkObserver
  void on_link(bool up) override;
  // Twin
  void on_desired(unique_function<void(const DeviceId&, const TwinDelta&)> handler) override;
  void report(const DeviceId& device, const std::map<std::string, std::string>& values,
              unique_function<void(Result<TwinResult>)> done) override;
  Result<TwinResult> get(const DeviceId& device) const override;
  void set_state(const DeviceId& device, std::string state, unique_function<void(Result<void>)> done) override;

 private:
  struct Impl;
  explicit DeviceTwin(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
