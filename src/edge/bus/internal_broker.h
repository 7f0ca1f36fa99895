// mqttMode 0: a mosquitto that belongs to this edge, started and watched by it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <kubeedge/mqtt.h>
#include <kubeedge/runtime.h>

#include "base/metrics.h"

namespace kubeedge::edge {

struct InternalBrokerOptions {
  MqttOptions mqtt;       // where it listens, who may log in; with "ssl://" its own certificate is the clients', too
  std::string folder;     // absolute; configuration, passwords and what it keeps for clients that are away
  std::string program;    // "" = mosquitto of PATH, or of the sbin folders
};

// Runs while the edge runs. One that was left behind by a killed edge is taken over where its configuration is still the same, so that
// apps keep their connections; stop() ends it in order, which saves what it keeps. Lives on the runtime's executor.
class InternalBroker {
 public:
  static constexpr Milliseconds kFirstPause{1'000}, kMaxPause{30'000};   // before it is started again; doubled each time
  static constexpr Milliseconds kSettled{60'000};                       // it ran so long: the next end is a new one
  static constexpr Milliseconds kStopPatience{5'000};                   // before kill -9

  // kNotFound: there is no mosquitto; kPermissionDenied, kInvalidArgument: see broker_config.h. Starts nothing.
  static Result<std::unique_ptr<InternalBroker>> create(const Runtime& runtime, InternalBrokerOptions options);
  ~InternalBroker();

  void start();
  void stop(unique_function<void()> done);
  // Why it does not run; "" = it does.
  std::string failure() const;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  explicit InternalBroker(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edge
