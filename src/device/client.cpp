// The public faces: a Client is a Driver and, where it has one, a loop; properties and devices are names for it.
#include <kubeedge/device.h>

#include <cstdio>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include "device/driver.h"

namespace kubeedge {
inline namespace v0 {
namespace device {

namespace {

Error gone() { return {Errc::kCancelled, "the device client is gone"}; }

}  // namespace

void AnyProperty::report(Value value, Done done) {
  std::map<std::string, Value> one;
  one.emplace(name_, std::move(value));
  if (const auto driver = driver_.lock()) driver->report(device_, one, std::move(done));
  else if (done) done(gone());
}

void AnyProperty::on_desired(unique_function<void(Value)> handler) {
  if (const auto driver = driver_.lock()) driver->watch(device_, name_, type_, std::move(handler));
}

void AnyProperty::too_wide(std::int64_t wished) {
  if (const auto driver = driver_.lock())
    driver->trouble({Errc::kInvalidArgument, "device " + device_.str() + " " + name_ + ": " + std::to_string(wished) + " is wished for: the app's integer is smaller"});
}

AnyProperty Device::property(std::string name, Type type) {
  if (const auto driver = driver_.lock()) driver->declare(id_, name, type);
  return AnyProperty(driver_, id_, std::move(name), type);
}

void Device::report(std::map<std::string, Value> values, Done done) {
  if (const auto driver = driver_.lock()) driver->report(id_, values, std::move(done));
  else if (done) done(gone());
}

void Device::get(unique_function<void(Result<TwinResult>)> done) {
  if (const auto driver = driver_.lock()) driver->get(id_, std::move(done));
  else done(gone());
}

void Device::set_state(State state, Done done) {
  if (const auto driver = driver_.lock()) driver->set_state(id_, state, std::move(done));
  else if (done) done(gone());
}

struct Client::Loop {
  explicit Loop(Logger* logger) : runtime(io.get_executor(), logger ? *logger : stderr_logger(LogLevel::kWarning)) {}
  asio::io_context io{1};
  Runtime runtime;
};

Client::Client(ClientOptions options) : loop_(std::make_unique<Loop>(options.logger)) {
  driver_ = std::make_shared<Driver>(loop_->runtime, std::move(options), paho);
}

Client::Client(const Runtime& runtime, ClientOptions options) : driver_(std::make_shared<Driver>(runtime, std::move(options), paho)) {}

Client::~Client() { driver_->close(); }

Device Client::device(std::string ns, std::string name) { return Device(driver_, {std::move(ns), std::move(name)}); }
void Client::every(Milliseconds period, unique_function<void()> call) { driver_->every(period, std::move(call)); }
void Client::on_connection(unique_function<void(bool, const std::string&)> handler) { driver_->on_connection(std::move(handler)); }
void Client::on_error(unique_function<void(const Error&)> handler) { driver_->on_error(std::move(handler)); }
Result<void> Client::start() { return driver_->start(); }
void Client::post(unique_function<void()> call) { driver_->post(std::move(call)); }
std::size_t Client::unacknowledged() const { return driver_->unacknowledged(); }

void Client::stop(unique_function<void()> done) {
  driver_->stop([loop = loop_.get(), done = std::move(done)]() mutable {
    if (done) done();
    if (loop) loop->io.stop();
  });
}

int Client::run() {
  Result<void> started = loop_ ? start() : Result<void>(Error{Errc::kInvalidArgument, "run() is for a client with a loop of its own"});
  if (!started) {
    std::fprintf(stderr, "device client: %s\n", started.error().message.c_str());
    return 1;
  }
  asio::signal_set signals(loop_->io, SIGINT, SIGTERM);
  signals.async_wait([this](const auto& failed, int) {
    if (!failed) stop();
  });
  const auto busy = asio::make_work_guard(loop_->io);
  loop_->io.run();
  return 0;
}

}  // namespace device
}  // namespace v0
}  // namespace kubeedge
