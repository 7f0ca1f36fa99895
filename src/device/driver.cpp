#include "device/driver.h"

#include <algorithm>

#include "base/text.h"
#include "device/value.h"
#include "mqtt/paho_transport.h"

namespace kubeedge::device {
namespace {

// Both ways: what gets no answer is asked for again, wishes are repeated. A PUBACK of ours would keep the next publication back
// until the broker's TCP acknowledges it (Paho leaves Nagle on): 68 ms a round trip against 0.5.
constexpr int kQos = 0;
constexpr Milliseconds kMinPeriod{1};

Error gone() { return {Errc::kCancelled, "the device client has stopped"}; }

}  // namespace

std::unique_ptr<mqtt::Transport> paho(const Runtime& runtime, const ClientOptions& options) {
  MqttOptions mqtt;
  mqtt.server = options.broker;
  mqtt.username = options.username;
  mqtt.password = options.password;
  mqtt.ca_file = options.ca_file;
  mqtt.certificate_file = options.certificate_file;
  mqtt.private_key_file = options.private_key_file;
  return mqtt::paho_transport(runtime, std::move(mqtt), options.client_id);
}

Driver::Driver(const Runtime& runtime, ClientOptions options, const TransportFactory& transport)
    : options_(std::move(options)), core_(base::random_hex(6)) {
  if (options_.client_id.empty()) options_.client_id = "kubeedge-app-" + base::random_hex(6);
  live_.emplace(Live{runtime, transport(runtime, options_), runtime::Timer(runtime), runtime::Timer(runtime), {}, {}});
}

Result<void> Driver::start() {
  if (!live_ || stopping_) return gone();
  if (started_) return {};
  if (Result<void> good = mqtt::check_server(options_.broker); !good) return good;
  started_ = true;
  mqtt::Transport::Handlers handlers;
  handlers.on_message = [weak = weak_from_this()](const std::string& topic, const Bytes& payload, int, const std::function<void()>& acknowledge) {
    if (acknowledge) acknowledge();
    const auto self = weak.lock();
    if (!self || !self->live_ || payload.size() > mqtt::kMaxPayloadBytes) return;
    self->core_.on_message(topic, payload.view(), self->live_->now());
    self->flush();
  };
  handlers.on_state = [weak = weak_from_this()](bool connected, const std::string& why) {
    const auto self = weak.lock();
    if (!self || !self->live_) return;
    base::log(self->live_->runtime.log(), connected ? LogLevel::kInfo : LogLevel::kWarning, "device", "{}", why);
    if (connected) self->core_.connected(self->live_->now());
    else self->core_.disconnected();
    self->flush();
    if (self->on_connection_) self->on_connection_(connected, why);
  };
  live_->busy.emplace(live_->runtime.executor());
  live_->transport->start(std::move(handlers));
  for (auto& ticker : live_->tickers) schedule(*ticker, Milliseconds{0});
  return {};
}

void Driver::stop(unique_function<void()> done) {
  if (!live_) {
    if (done) done();
    return;
  }
  stopping_ = true;
  stopped_ = std::move(done);
  for (auto& ticker : live_->tickers) ticker->timer.cancel();
  const bool wait = started_ && core_.unacknowledged() > 0;
  live_->flush.start(wait ? kFlushTimeout : Milliseconds{0}, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->finish();
  });
}

void Driver::finish() {
  if (!live_) return;
  live_->flush.cancel();
  live_->transport->stop();
  live_->busy.reset();
  core_.disconnected();
  deliver_all();
  for (auto answers = std::exchange(answers_, {}); auto& [token, done] : answers)
    if (live_) done(gone());
  for (auto gets = std::exchange(gets_, {}); auto& [token, done] : gets)
    if (live_) done(gone());
  if (auto done = std::exchange(stopped_, nullptr)) done();
}

void Driver::close() {
  deliveries_.clear();
  live_.reset();
}

void Driver::every(Milliseconds period, unique_function<void()> call) {
  if (!live_ || stopping_) return;
  live_->tickers.push_back(std::make_unique<Ticker>(Ticker{std::max(period, kMinPeriod), Milliseconds{0}, std::move(call), runtime::Timer(live_->runtime)}));
  if (started_) schedule(*live_->tickers.back(), Milliseconds{0});
}

void Driver::schedule(Ticker& ticker, Milliseconds after) {
  ticker.timer.start(after, [weak = weak_from_this(), one = &ticker] {
    const auto self = weak.lock();
    if (self && self->live_) self->tick(*one);
  });
}

void Driver::tick(Ticker& ticker) {
  const Milliseconds now = live_->now().steady;
  ticker.next = ticker.next.count() == 0 ? now + ticker.period : std::max(ticker.next + ticker.period, now);
  schedule(ticker, ticker.next - now);
  auto call = std::move(ticker.call);
  call();
  if (live_) ticker.call = std::move(call);   // else it has ended the client, and the ticker with it
}

void Driver::post(unique_function<void()> call) {
  if (live_) runtime::post(live_->runtime, std::move(call));
}

// ---------------------------------------------------------------------------------------------------------------
// The app's calls

Result<Driver::Property*> Driver::property(const DeviceId& device, const std::string& name, Type type) {
  if (Result<void> good = check_device(device); !good) return good.error();
  if (Result<void> good = check_property(name); !good) return good.error().in("device " + device.str());
  auto& known = properties_[device];
  if (const auto it = known.find(name); it != known.end()) {
    if (it->second.type == type) return &it->second;
    return base::error(Errc::kInvalidArgument, "device {} {}: is declared as {}, not as {}", device.str(), name, to_string(it->second.type), to_string(type));
  }
  if (known.size() >= kMaxPropertiesPerDevice || properties_.size() > kMaxDevices)
    return base::error(Errc::kLimitExceeded, "device {}: more than {} properties, or {} devices", device.str(), kMaxPropertiesPerDevice, kMaxDevices);
  return &known.emplace(name, Property{type, {}}).first->second;
}

void Driver::declare(const DeviceId& device, const std::string& name, Type type) {
  if (auto found = property(device, name, type); !found) trouble(found.error());
}

void Driver::report(const DeviceId& device, const std::map<std::string, Value>& values, Done done) {
  if (!live_ || stopping_) return fail(std::move(done), gone());
  std::map<std::string, TwinClient::Item> items;
  for (const auto& [name, value] : values) {
    const auto declared = properties_.find(device);
    const auto known = declared == properties_.end() ? std::map<std::string, Property>::iterator{} : declared->second.find(name);
    const bool is_known = declared != properties_.end() && known != declared->second.end();
    const Type type = is_known ? known->second.type : static_cast<Type>(value.index());
    if (auto found = property(device, name, type); !found) return fail(std::move(done), found.error());
    auto text = encode(value, type);
    if (!text) return fail(std::move(done), text.error().in(fmt::format("device {} {}", device.str(), name)));
    items[name] = {std::move(*text), twin_type(type)};
  }
  if (items.empty()) return fail(std::move(done), base::error(Errc::kInvalidArgument, "device {}: a report of nothing", device.str()));
  const Token token = wait_for(std::move(done));
  if (Result<void> taken = core_.report(device, items, token, live_->now()); !taken) deliveries_.push_back(Answered{token, taken.error()});
  flush();
}

void Driver::watch(const DeviceId& device, const std::string& name, Type type, unique_function<void(Value)> handler) {
  if (!live_ || stopping_) return;
  auto found = property(device, name, type);
  if (!found) return trouble(found.error());
  (*found)->handlers.push_back(std::move(handler));
  if (Result<void> taken = core_.watch(device, name, live_->now()); !taken) trouble(taken.error());
  flush();
}

void Driver::get(const DeviceId& device, unique_function<void(Result<TwinResult>)> done) {
  if (!live_ || stopping_) return done(gone());
  const Token token = ++tokens_;
  gets_[token] = std::move(done);
  Result<void> taken = check_device(device);
  if (taken) taken = core_.get(device, token, live_->now());
  if (!taken) deliveries_.push_back(Got{token, taken.error()});
  flush();
}

void Driver::set_state(const DeviceId& device, State state, Done done) {
  if (!live_ || stopping_) return fail(std::move(done), gone());
  if (Result<void> good = check_device(device); !good) return fail(std::move(done), good.error());
  const Token token = wait_for(std::move(done));
  if (Result<void> taken = core_.set_state(device, to_string(state), token, live_->now()); !taken) deliveries_.push_back(Answered{token, taken.error()});
  flush();
}

Token Driver::wait_for(Done done) {
  if (!done) return 0;
  answers_[++tokens_] = std::move(done);
  return tokens_;
}

void Driver::fail(Done done, Error error) {
  if (!live_ || stopping_) {   // no loop to tell it on
    if (done) done(std::move(error));
    return;
  }
  const Token token = wait_for(std::move(done));
  if (token == 0) return trouble(std::move(error));
  deliveries_.push_back(Answered{token, std::move(error)});
  flush();
}

void Driver::trouble(Error error) {
  if (!live_) return;
  deliveries_.push_back(Trouble{std::move(error)});
  flush();
}

// ---------------------------------------------------------------------------------------------------------------
// What the core wants

void Driver::flush() {
  if (!live_) return;
  for (Action& action : core_.take_actions()) {
    if (const auto* subscribe = std::get_if<SubscribeTo>(&action)) live_->transport->subscribe(subscribe->filter, kQos);
    else if (auto* publish = std::get_if<Publish>(&action)) live_->transport->publish(publish->topic, Bytes(std::move(publish->payload)), kQos);
    else deliveries_.push_back(std::move(action));
  }
  arm();
  const bool flushed = stopping_ && stopped_ && core_.unacknowledged() == 0;
  if ((deliveries_.empty() && !flushed) || posted_) return;
  posted_ = true;
  runtime::post(live_->runtime, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->posted_ = false;
    self->deliver_all();
    if (self->stopping_ && self->stopped_ && self->core_.unacknowledged() == 0) self->finish();
  });
}

void Driver::deliver_all() {
  const auto self = shared_from_this();   // a handler may let the client go
  for (auto todo = std::exchange(deliveries_, {}); !todo.empty() && live_; todo.pop_front()) deliver(todo.front());
}

void Driver::deliver(Action& action) {
  if (auto* answered = std::get_if<Answered>(&action)) {
    auto node = answers_.extract(answered->token);
    if (!node.empty()) return node.mapped()(answered->error ? Result<void>(std::move(*answered->error)) : Result<void>());
    if (answered->error) action = Trouble{std::move(*answered->error)};
  }
  if (auto* got = std::get_if<Got>(&action)) {
    auto node = gets_.extract(got->token);
    if (!node.empty()) node.mapped()(std::move(got->twin));
  }
  if (const auto* wish = std::get_if<Wished>(&action)) return wished(*wish);
  if (const auto* trouble = std::get_if<Trouble>(&action)) {
    if (on_error_) return on_error_(trouble->error);
    base::log(live_->runtime.log(), LogLevel::kWarning, "device", "{}", trouble->error.message);
  }
}

void Driver::wished(const Wished& wish) {
  auto& property = properties_[wish.device].at(wish.property);
  auto value = decode(wish.value, property.type);
  if (!value) return trouble(base::error(Errc::kInvalidArgument, "device {} {}: \"{}\" is wished for: {}", wish.device.str(), wish.property, wish.value.substr(0, 80), value.error().message));
  for (std::size_t i = 0; i < property.handlers.size() && live_; ++i) property.handlers[i](*value);
}

// A timer that is early looks again: most messages only move the deadline on.
void Driver::arm() {
  const auto wake = core_.wake();
  if (!wake || (live_->wake.running() && armed_ && *armed_ <= *wake)) return;
  armed_ = wake;
  live_->wake.start(std::max(*wake - live_->now().steady, Milliseconds{0}), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->live_) return;
    self->core_.tick(self->live_->now());
    self->flush();
  });
}

}  // namespace kubeedge::device
