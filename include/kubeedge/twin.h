// Device twins inside the edge process: the same engine that answers the MQTT topics (devices.md 3).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include <kubeedge/resource.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

class Runtime;

// Property -> wanted value, for properties whose reported value differs.
using TwinDelta = std::map<std::string, std::string>;

struct TwinProperty {
  std::optional<std::string> expected;
  std::optional<std::string> actual;
  std::string type = "string";
};
using TwinResult = std::map<std::string, TwinProperty>;

// Lives on the edge's loop: call it there, it calls back there.
class Twin {
 public:
  virtual ~Twin() = default;
  // Each delta as it arises, and once at start for every device that has one.
  virtual void on_desired(unique_function<void(const DeviceId&, const TwinDelta&)> handler) = 0;
  // Reports values; `done` after they are durable. kNotFound: the device is not known here.
  virtual void report(const DeviceId& device, const std::map<std::string, std::string>& values,
                      unique_function<void(Result<TwinResult>)> done) = 0;
  virtual Result<TwinResult> get(const DeviceId& device) const = 0;
  virtual void set_state(const DeviceId& device, std::string state, unique_function<void(Result<void>)> done) = 0;
};

// The twins of one node with a file of their own: no cloud, no broker. Devices are what the program says they are.
// Lives on the runtime's executor; the file is one process's.
class TwinStore {
 public:
  // Opens or makes the file (0600). kIo names it.
  static Result<TwinStore> open(const Runtime& runtime, const std::string& file, NodeId node);
  TwinStore(TwinStore&&) noexcept;
  TwinStore& operator=(TwinStore&&) noexcept;
  ~TwinStore();

  // A Device (devices.kubeedge.io/v1beta1) as JSON: known from now on, also after a restart; its spec.properties[].desired are
  // wished for.
  void set_device(std::string device);
  void remove_device(const DeviceId& device);
  // After the handlers are set: tells what stands in the file.
  void start();
  Twin& twin();

 private:
  struct Impl;
  explicit TwinStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace v0
}  // namespace kubeedge
