// One device client on its loop: moves what TwinClient wants between the broker, the timers and the app's handlers.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include <kubeedge/device.h>
#include <asio/executor_work_guard.hpp>
#include <kubeedge/runtime.h>

#include "device/twin_client.h"
#include "mqtt/transport.h"
#include "runtime/timer.h"

namespace kubeedge::device {

using TransportFactory = std::function<std::unique_ptr<mqtt::Transport>(const Runtime&, const ClientOptions&)>;

// The real one. `options` has a client id by then.
std::unique_ptr<mqtt::Transport> paho(const Runtime& runtime, const ClientOptions& options);

// Handlers run on the loop and never inside a call of the app. close() ends all that stands on the loop; a handler that is
// running may hold the Driver a little longer.
class Driver : public std::enable_shared_from_this<Driver> {
 public:
  Driver(const Runtime& runtime, ClientOptions options, const TransportFactory& transport);

  Result<void> start();
  void stop(unique_function<void()> done);
  void close();
  void every(Milliseconds period, unique_function<void()> call);
  void on_connection(unique_function<void(bool, const std::string&)> handler) { on_connection_ = std::move(handler); }
  void on_error(unique_function<void(const Error&)> handler) { on_error_ = std::move(handler); }
  void post(unique_function<void()> call);
  std::size_t unacknowledged() const { return core_.unacknowledged(); }

  void declare(const DeviceId& device, const std::string& name, Type type);
  void report(const DeviceId& device, const std::map<std::string, Value>& values, Done done);
  void watch(const DeviceId& device, const std::string& name, Type type, unique_function<void(Value)> handler);
  void get(const DeviceId& device, unique_function<void(Result<TwinResult>)> done);
  void set_state(const DeviceId& device, State state, Done done);
  void trouble(Error error);

 private:
  struct Property {
    Type type;
    std::deque<unique_function<void(Value)>> handlers;   // deque: adding one moves none
  };
  struct Ticker {
    Milliseconds period, next{0};
    unique_function<void()> call;
    runtime::Timer timer;
  };
  // What stands on the loop.
  struct Live {
    Runtime runtime;
    std::unique_ptr<mqtt::Transport> transport;
    runtime::Timer wake, flush;
    std::vector<std::unique_ptr<Ticker>> tickers;
    std::optional<asio::executor_work_guard<asio::any_io_executor>> busy;   // Paho waits on threads of its own: the loop must not run out
    TwinClientTime now() const { return {runtime.clock().unix_ms(), runtime.clock().steady()}; }
  };

  Result<Property*> property(const DeviceId& device, const std::string& name, Type type);
  Token wait_for(Done done);
  void fail(Done done, Error error);
  void flush();
  void deliver(Action& action);
  void deliver_all();
  void wished(const Wished& wish);
  void arm();
  void tick(Ticker& ticker);
  void schedule(Ticker& ticker, Milliseconds after);
  void finish();

  std::optional<Live> live_;
  ClientOptions options_;
  TwinClient core_;
  std::map<DeviceId, std::map<std::string, Property>> properties_;
  std::map<Token, Done> answers_;
  std::map<Token, unique_function<void(Result<TwinResult>)>> gets_;
  Token tokens_ = 0;
  std::deque<Action> deliveries_;              // bounded by what the core holds
  bool posted_ = false;                        // deliver_all() is on its way
  std::optional<Milliseconds> armed_;
  unique_function<void(bool, const std::string&)> on_connection_;
  unique_function<void(const Error&)> on_error_;
  unique_function<void()> stopped_;
  bool started_ = false, stopping_ = false;
};

}  // namespace kubeedge::device
