// A device's app in a process of its own: typed properties, reported and wanted values, over the MQTT broker beside the edge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <kubeedge/clock.h>
#include <kubeedge/log.h>
#include <kubeedge/resource.h>
#include <kubeedge/result.h>
#include <kubeedge/twin.h>
#include <kubeedge/unique_function.h>

namespace kubeedge {
inline namespace v0 {

class Runtime;

namespace device {

// On the wire every value is text: decimal numbers, true or false, UTF-8, base64url for bytes; at most kMaxValueBytes of it.
using Blob = std::vector<std::byte>;
using Value = std::variant<std::int64_t, double, bool, std::string, Blob>;
enum class Type : std::uint8_t { kInt, kDouble, kBool, kString, kBytes };   // in the order of Value

enum class State : std::uint8_t { kOk, kOnline, kOffline, kUnhealthy, kUnknown };

inline constexpr std::size_t kMaxValueBytes = 4096;         // the edge's own limit
inline constexpr std::size_t kMaxDevices = 10'000;          // of one Client
inline constexpr std::size_t kMaxPropertiesPerDevice = 1'000;
inline constexpr std::size_t kMaxWaiting = 65'536;          // answers that one Client waits for
inline constexpr Milliseconds kGetTimeout{10'000};
inline constexpr Milliseconds kFlushTimeout{2'000};         // how long stop() waits for what is not yet acknowledged

struct ClientOptions {
  std::string broker = "tcp://127.0.0.1:1883";   // or ssl://host:port
  std::string client_id{};                       // "" = one is made up
  std::string username{}, password{};            // never logged
  std::string ca_file{}, certificate_file{}, private_key_file{};
  Logger* logger = nullptr;                      // nullptr = warnings to standard error; must outlive the Client
};

using Done = unique_function<void(Result<void>)>;

class Driver;

// A property whose type is known at run time. Cheap to copy; may outlive its Client (its calls then fail with kCancelled).
class AnyProperty {
 public:
  AnyProperty(std::weak_ptr<Driver> driver, DeviceId device, std::string name, Type type)
      : driver_(std::move(driver)), device_(std::move(device)), name_(std::move(name)), type_(type) {}
  // `done`: ok once this value, or a newer one of the same property, is durable at the edge. Until then the newest value is
  // kept and sent again, over restarts of broker and edge; older ones that were not sent are passed over.
  // kInvalidArgument: wrong type or too long, or the edge refused it. kLimitExceeded: the value is taken, but more than
  // kMaxWaiting answers are awaited. Without `done` errors go to Client::on_error.
  void report(Value value, Done done = nullptr);
  // Called once for each value that is wished for: as it changes, what was wished for while this app was away, and at the
  // start also one that an earlier run had reported as reached. A value that is no `type` goes to Client::on_error instead.
  void on_desired(unique_function<void(Value)> handler);
  const std::string& name() const { return name_; }

 private:
  template <class T>
  friend class Property;
  void too_wide(std::int64_t wished);   // to Client::on_error
  std::weak_ptr<Driver> driver_;   // the Client's: a handler may hold properties without keeping its own Client alive
  DeviceId device_;
  std::string name_;
  Type type_;
};

// The same with a type of C++: an integer, double, bool, std::string or Blob.
template <class T>
class Property {
 public:
  static constexpr Type type() {
    if constexpr (std::is_same_v<T, bool>) return Type::kBool;
    else if constexpr (std::is_integral_v<T>) return Type::kInt;
    else if constexpr (std::is_floating_point_v<T>) return Type::kDouble;
    else if constexpr (std::is_same_v<T, std::string>) return Type::kString;
    else {
      static_assert(std::is_same_v<T, Blob>, "a property is an integer, double, bool, std::string or Blob");
      return Type::kBytes;
    }
  }

  explicit Property(AnyProperty any) : any_(std::move(any)) {}
  void report(T value, Done done = nullptr) { any_.report(wide(std::move(value)), std::move(done)); }
  template <class Handler>
  void on_desired(Handler handler) {
    any_.on_desired([handler = std::move(handler), any = any_](Value value) mutable {
      auto& wide = *std::get_if<Wide>(&value);
      if constexpr (std::is_same_v<Wide, std::int64_t> && !std::is_same_v<T, std::int64_t>) {
        if (!std::in_range<T>(wide)) return any.too_wide(wide);
      }
      handler(static_cast<T>(std::move(wide)));
    });
  }
  const std::string& name() const { return any_.name(); }

 private:
  using Wide = std::variant_alternative_t<static_cast<std::size_t>(type()), Value>;
  static Value wide(T value) {
    if constexpr (std::is_same_v<Wide, std::int64_t>) {
      // Too large for the wire's int64: what cannot be said is refused as a text of a wrong type would be.
      if (!std::in_range<std::int64_t>(value)) return std::string("an integer beyond 64 bits");
    }
    return Value(static_cast<Wide>(std::move(value)));
  }
  AnyProperty any_;
};

// One device as the cloud names it. Cheap to copy.
class Device {
 public:
  Device(std::weak_ptr<Driver> driver, DeviceId id) : driver_(std::move(driver)), id_(std::move(id)) {}
  const DeviceId& id() const { return id_; }

  // Declares the property. To declare it again with another type is an error of each call on the second one.
  template <class T>
  Property<T> property(std::string name) { return Property<T>(property(std::move(name), Property<T>::type())); }
  AnyProperty property(std::string name, Type type);

  // Several values in one message; `done` is ok once all of them are durable. A value of a property that was declared is
  // checked against its type, one of any other declares it. A value that is wrong refuses all of them.
  void report(std::map<std::string, Value> values, Done done = nullptr);
  // The twin as the edge has it now. kNotFound: no such device there; kUnavailable: no answer within kGetTimeout.
  void get(unique_function<void(Result<TwinResult>)> done);
  // Kept and sent again like a value; an edge gives no answer for a device that it does not know (yet).
  void set_state(State state, Done done = nullptr);

 private:
  std::weak_ptr<Driver> driver_;
  DeviceId id_;
};

// Thread rule: lives on one loop, its own or the caller's; every call but post() is made there (or before the loop runs),
// and handlers run there. Destroyed without stop(), it forgets who waits.
class Client {
 public:
  explicit Client(ClientOptions options = {});                     // a loop of its own: run()
  Client(const Runtime& runtime, ClientOptions options);           // the caller's loop: start(), stop()
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Device device(std::string ns, std::string name);
  // At once when the client starts, then at this pace; a late turn is left out, never made up for.
  void every(Milliseconds period, unique_function<void()> call);
  // `why` is one line that names the broker.
  void on_connection(unique_function<void(bool connected, const std::string& why)> handler);
  // Errors that nobody else was told; they are logged where no handler is set.
  void on_error(unique_function<void(const Error&)> handler);

  // kInvalidArgument: the options. A broker that is away is no error: it is tried for ever, at most 2 s apart.
  Result<void> start();
  // Waits up to kFlushTimeout for what is not acknowledged, disconnects; what is still waited for ends with kCancelled.
  void stop(unique_function<void()> done = nullptr);
  // start(), then the loop, until stop() or SIGINT or SIGTERM. 0, or 1 after a line on standard error.
  int run();
  // From any thread: runs `call` on the loop.
  void post(unique_function<void()> call);

  // Properties and states whose newest value the edge has not confirmed.
  std::size_t unacknowledged() const;

 private:
  struct Loop;
  std::unique_ptr<Loop> loop_;
  std::shared_ptr<Driver> driver_;
};

}  // namespace device
}  // namespace v0
}  // namespace kubeedge
