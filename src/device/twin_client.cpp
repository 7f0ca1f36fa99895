#include "device/twin_client.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::device {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPrefix = "$hw/events/device/";
constexpr Milliseconds kAskAgain{2'000};

std::string topic(const DeviceId& id, std::string_view rest) { return fmt::format("{}{}/{}/{}", kPrefix, id.ns, id.name, rest); }

const Json* member(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto it = json.find(key);
  return it == json.end() ? nullptr : &*it;
}

std::string text_at(const Json& json, const char* key) {
  const Json* found = member(json, key);
  return found && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t number_at(const Json& json, const char* key, std::int64_t otherwise) {
  const Json* found = member(json, key);
  return found && found->is_number_integer() ? found->get<std::int64_t>() : otherwise;
}

// A side of a twin: {"value":..,"metadata":{"timestamp":..}}; one without a value is absent (devices.md 12, trap 27).
std::optional<std::string> side_value(const Json& twin, const char* side) {
  const Json* found = member(twin, side);
  const Json* value = found ? member(*found, "value") : nullptr;
  return value && value->is_string() ? std::optional(value->get<std::string>()) : std::nullopt;
}

std::int64_t side_time(const Json& twin, const char* side) {
  const Json* found = member(twin, side);
  const Json* metadata = found ? member(*found, "metadata") : nullptr;
  return metadata ? number_at(*metadata, "timestamp", 0) : 0;
}

TwinResult twin_result(const Json& twins) {
  TwinResult out;
  for (const auto& [name, twin] : twins.items()) {
    if (!twin.is_object()) continue;
    TwinProperty& property = out[name];
    property.expected = side_value(twin, "expected");
    property.actual = side_value(twin, "actual");
    const Json* metadata = member(twin, "metadata");
    if (metadata && !text_at(*metadata, "type").empty()) property.type = text_at(*metadata, "type");
  }
  return out;
}

Json base_message(const std::string& event_id, TwinClientTime now) { return Json{{"event_id", event_id}, {"timestamp", now.unix_ms}}; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// What the app says

Result<TwinClient::Entry*> TwinClient::entry(const DeviceId& id) {
  const auto it = entries_.find(id);
  if (it != entries_.end()) return &it->second;
  if (entries_.size() >= kMaxDevices) return base::error(Errc::kLimitExceeded, "device {}: more than {} devices in one client", id.str(), kMaxDevices);
  Entry& made = entries_[id];
  made.id = id;
  for (const char* rest : {"twin/update/result", "twin/update/delta", "twin/get/result", "state/update/result"})
    actions_.push_back(SubscribeTo{topic(id, rest)});
  return &made;
}

// The value is taken all the same: it is the answer that is not followed.
bool TwinClient::may_wait(Token token) {
  if (token == 0) return false;
  if (waiters_.size() + questions_ < kMaxWaiting) return true;
  actions_.push_back(Answered{token, base::error(Errc::kLimitExceeded, "more than {} answers are awaited: this one is not followed, its value is kept", kMaxWaiting)});
  return false;
}

Result<void> TwinClient::report(const DeviceId& id, const std::map<std::string, Item>& values, Token token, TwinClientTime now) {
  auto found = entry(id);
  if (!found) return found.error();
  Entry& device = **found;
  std::size_t more = 0;
  for (const auto& [name, item] : values) more += !device.pending.contains(name);
  if (device.pending.size() + more > kMaxPropertiesPerDevice)
    return base::error(Errc::kLimitExceeded, "device {}: more than {} properties", id.str(), kMaxPropertiesPerDevice);
  const std::uint64_t generation = ++generation_;
  const bool waits = !values.empty() && may_wait(token);
  if (waits) waiters_[generation] = {token, values.size(), std::nullopt};
  for (const auto& [name, item] : values) {
    Pending& pending = device.pending[name];
    if (pending.generation == 0) ++unacknowledged_;
    pending.item = item;
    pending.generation = generation;
    if (waits) pending.reports.push_back(generation);
  }
  pump(device, now);
  return {};
}

Result<void> TwinClient::set_state(const DeviceId& id, std::string state, Token token, TwinClientTime now) {
  auto found = entry(id);
  if (!found) return found.error();
  Entry& device = **found;
  if (device.wanted_state.empty()) ++unacknowledged_;
  device.wanted_state = std::move(state);
  device.state_generation = ++generation_;
  if (may_wait(token)) {
    waiters_[generation_] = {token, 1, std::nullopt};
    device.state_reports.push_back(generation_);
  }
  pump(device, now);
  return {};
}

Result<void> TwinClient::get(const DeviceId& id, Token token, TwinClientTime now) {
  auto found = entry(id);
  if (!found) return found.error();
  if (waiters_.size() + questions_ >= kMaxWaiting) return base::error(Errc::kLimitExceeded, "more than {} answers are awaited", kMaxWaiting);
  ++questions_;
  (*found)->questions[next_id()] = {token, now.steady + kGetTimeout, now.steady};
  pump(**found, now);
  return {};
}

Result<void> TwinClient::watch(const DeviceId& id, const std::string& property, TwinClientTime now) {
  auto found = entry(id);
  if (!found) return found.error();
  if ((*found)->watched.size() >= kMaxPropertiesPerDevice)
    return base::error(Errc::kLimitExceeded, "device {}: more than {} properties", id.str(), kMaxPropertiesPerDevice);
  (*found)->watched.insert(property);
  (*found)->wants_document = true;
  pump(**found, now);
  return {};
}

std::vector<Token> TwinClient::everyone_waiting() const {
  std::vector<Token> out;
  for (const auto& [generation, waiter] : waiters_) out.push_back(waiter.token);
  for (const auto& [id, device] : entries_)
    for (const auto& [event, question] : device.questions) out.push_back(question.token);
  return out;
}

// ---------------------------------------------------------------------------------------------------------------
// What is sent, and when again

void TwinClient::start(Lane& lane, TwinClientTime now) {
  lane.under_way = true;
  lane.due = now.steady + lane.wait;
}

void TwinClient::pause(Lane& lane, TwinClientTime now) {
  lane.under_way = false;
  lane.paused = true;
  lane.due = now.steady + lane.wait;
  lane.wait = std::min(lane.wait * 2, kMaxResend);
}

// Free to send; a silence or a pause that is over makes it so.
bool TwinClient::ready(Lane& lane, TwinClientTime now) {
  if (!lane.under_way && !lane.paused) return true;
  if (lane.due > now.steady) return false;
  if (lane.under_way) lane.wait = std::min(lane.wait * 2, kMaxResend);
  lane.under_way = lane.paused = false;
  return true;
}

void TwinClient::connected(TwinClientTime now) {
  connected_ = true;
  for (auto& [id, device] : entries_) {
    for (Lane* lane : {&device.update, &device.state, &device.document}) lane->calm();
    device.sent.clear();   // their results went by while we were away
    device.wants_document = !device.watched.empty();
    for (auto& [event, question] : device.questions) question.again = now.steady;
    pump(device, now);
  }
}

void TwinClient::tick(TwinClientTime now) {
  while (!wakes_.empty() && wakes_.begin()->first <= now.steady) {
    pump(*wakes_.begin()->second, now);   // moves what is due
  }
}

void TwinClient::pump(Entry& device, TwinClientTime now) {
  expire_questions(device, now);
  if (connected_) {
    for (auto& [event, question] : device.questions) {
      if (question.again > now.steady) continue;
      question.again = now.steady + kAskAgain;
      ask(device, event, now);
    }
    // Asked of each lane, also where nothing waits: a deadline that is over must not wake us for ever.
    if (ready(device.document, now) && device.wants_document) {
      device.document_id = next_id();
      start(device.document, now);
      ask(device, device.document_id, now);
    }
    if (ready(device.state, now) && !device.wanted_state.empty()) send_state(device, now);
    if (ready(device.update, now) && !device.pending.empty()) send_update(device, now);
  }
  rearm(device);
}

void TwinClient::ask(Entry& device, const std::string& event_id, TwinClientTime now) {
  actions_.push_back(Publish{topic(device.id, "twin/get"), base::dump_json(base_message(event_id, now))});
}

void TwinClient::send_state(Entry& device, TwinClientTime now) {
  Json message = base_message(next_id(), now);
  message["state"] = device.wanted_state;
  device.sent_state = device.wanted_state;
  device.sent_state_generation = device.state_generation;
  start(device.state, now);
  actions_.push_back(Publish{topic(device.id, "state/update"), base::dump_json(message)});
}

// Oldest reports first, so that none waits for ever where not all fit.
void TwinClient::send_update(Entry& device, TwinClientTime now) {
  std::vector<std::pair<std::uint64_t, const std::string*>> order;
  for (const auto& [name, pending] : device.pending) order.emplace_back(pending.generation, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });

  Sent sent{next_id(), {}};
  Json twins = Json::object();
  std::size_t bytes = 0;
  for (const auto& [generation, name] : order) {
    const Item& item = device.pending[*name].item;
    bytes += name->size() + item.value.size();
    if (!sent.properties.empty() && (bytes > kMaxUpdateBytes || device.one_by_one)) break;
    twins[*name] = Json{{"actual", {{"value", item.value}}}, {"metadata", {{"type", item.twin_type}}}};
    sent.properties[*name] = generation;
  }
  Json message = base_message(sent.event_id, now);
  message["twin"] = std::move(twins);
  if (device.sent.size() >= kMaxRemembered) device.sent.pop_front();
  device.sent.push_back(std::move(sent));
  start(device.update, now);
  actions_.push_back(Publish{topic(device.id, "twin/update"), base::dump_json(message)});
}

std::optional<Milliseconds> TwinClient::wake() const {
  if (wakes_.empty()) return std::nullopt;
  return wakes_.begin()->first;
}

void TwinClient::rearm(Entry& device) {
  std::optional<Milliseconds> next;
  const auto consider = [&](Milliseconds when) { next = next ? std::min(*next, when) : when; };
  if (connected_) {
    for (const Lane* lane : {&device.update, &device.state, &device.document})
      if (lane->under_way || lane->paused) consider(lane->due);
  }
  for (const auto& [event, question] : device.questions) consider(connected_ ? std::min(question.deadline, question.again) : question.deadline);
  if (next == device.wake) return;
  if (device.wake) wakes_.erase({*device.wake, &device});
  if (next) wakes_.insert({*next, &device});
  device.wake = next;
}

void TwinClient::expire_questions(Entry& device, TwinClientTime now) {
  for (auto it = device.questions.begin(); it != device.questions.end();) {
    if (it->second.deadline > now.steady) {
      ++it;
      continue;
    }
    actions_.push_back(Got{it->second.token, base::error(Errc::kUnavailable, "device {}: no answer from the edge within {} s", device.id.str(), kGetTimeout.count() / 1000)});
    --questions_;
    it = device.questions.erase(it);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// What the edge says

void TwinClient::on_message(std::string_view topic, std::string_view payload, TwinClientTime now) {
  if (!topic.starts_with(kPrefix)) return;
  const auto part = base::split(topic.substr(kPrefix.size()), '/');
  if (part.size() < 4) return;
  const auto it = entries_.find(DeviceId{part[0], part[1]});
  if (it == entries_.end()) return;
  Entry& device = it->second;
  const std::string_view rest = topic.substr(kPrefix.size() + part[0].size() + part[1].size() + 2);
  if (rest == "twin/update/result") on_update_result(device, payload, now);
  else if (rest == "twin/update/delta") on_delta(device, payload);
  else if (rest == "twin/get/result") on_get_result(device, payload, now);
  else if (rest == "state/update/result") on_state_result(device, payload);
  pump(device, now);
}

void TwinClient::on_update_result(Entry& device, std::string_view payload, TwinClientTime now) {
  const Json json = base::parse_json(payload);
  const std::string event_id = text_at(json, "event_id");
  const auto it = std::find_if(device.sent.begin(), device.sent.end(), [&](const Sent& sent) { return sent.event_id == event_id; });
  if (it == device.sent.end()) return;   // another app's, or too late
  const bool newest = std::next(it) == device.sent.end();
  const Sent sent = std::move(*it);
  device.sent.erase(it);
  const std::int64_t code = number_at(json, "code", 200);
  if (code == 404 || code >= 500) {      // time may mend it
    if (!std::exchange(device.told_unknown, true))
      actions_.push_back(Trouble{base::error(Errc::kUnavailable, "device {}: the edge answers {} {}: its values are kept and sent again", device.id.str(), code, text_at(json, "reason"))});
    if (newest) pause(device.update, now);
    return;
  }
  device.told_unknown = false;
  if (newest) device.update.calm();
  const Json* taken = member(json, "twin");
  if (code != 200 && !taken && sent.properties.size() > 1) {   // refused as a whole, as upstream's edge does
    device.one_by_one = true;
    return;
  }
  for (const auto& [name, generation] : sent.properties) {
    std::optional<Error> error;
    if (code != 200 && !(taken && member(*taken, name.c_str())))
      error = base::error(Errc::kInvalidArgument, "device {} {}: {}", device.id.str(), name, text_at(json, "reason"));
    settle_property(device, name, generation, error);
  }
  if (device.pending.empty()) device.one_by_one = false;
}

void TwinClient::settle_property(Entry& device, const std::string& name, std::uint64_t up_to, const std::optional<Error>& error) {
  const auto it = device.pending.find(name);
  if (it == device.pending.end()) return;
  const bool told = settle(it->second.reports, up_to, error);
  if (error && !told) actions_.push_back(Trouble{*error});
  if (it->second.generation > up_to) return;   // a newer value is on its way
  device.pending.erase(it);
  --unacknowledged_;
}

// Whether anyone waited.
bool TwinClient::settle(std::vector<std::uint64_t>& reports, std::uint64_t up_to, const std::optional<Error>& error) {
  const auto end = std::upper_bound(reports.begin(), reports.end(), up_to);
  for (auto it = reports.begin(); it != end; ++it) {
    Waiter& waiter = waiters_[*it];
    if (error && !waiter.error) waiter.error = error;
    if (--waiter.open > 0) continue;
    actions_.push_back(Answered{waiter.token, std::move(waiter.error)});
    waiters_.erase(*it);
  }
  const bool anyone = end != reports.begin();
  reports.erase(reports.begin(), end);
  return anyone;
}

// The edge makes a new event_id, so the answer is known by the state it names (devices.md 3.9).
void TwinClient::on_state_result(Entry& device, std::string_view payload) {
  const Json json = base::parse_json(payload);
  const Json* named = member(json, "device");
  if (!device.state.under_way || !named || text_at(*named, "state") != device.sent_state) return;
  device.state.calm();
  settle(device.state_reports, device.sent_state_generation, std::nullopt);
  if (device.state_generation != device.sent_state_generation) return;
  device.wanted_state.clear();
  --unacknowledged_;
}

void TwinClient::on_get_result(Entry& device, std::string_view payload, TwinClientTime now) {
  const Json json = base::parse_json(payload);
  const std::string event_id = text_at(json, "event_id");
  const std::int64_t code = number_at(json, "code", 200);
  const Json* twins = member(json, "twin");
  if (const auto it = device.questions.find(event_id); it != device.questions.end()) {
    const Token token = it->second.token;
    device.questions.erase(it);
    --questions_;
    if (code == 200 && twins && twins->is_object()) actions_.push_back(Got{token, twin_result(*twins)});
    else actions_.push_back(Got{token, base::error(code == 404 ? Errc::kNotFound : Errc::kInternal, "device {}: {} {}", device.id.str(), code, text_at(json, "reason"))});
    return;
  }
  if (event_id != device.document_id || !device.wants_document) return;
  if (code != 200 || !twins || !twins->is_object()) return pause(device.document, now);
  device.document.calm();
  device.wants_document = false;
  for (const auto& name : device.watched) {
    const Json* twin = member(*twins, name.c_str());
    const auto expected = twin ? side_value(*twin, "expected") : std::nullopt;
    if (expected && !expected->empty()) wish(device, name, {*expected, side_time(*twin, "expected")});
  }
}

void TwinClient::on_delta(Entry& device, std::string_view payload) {
  const Json json = base::parse_json(payload);
  const Json* delta = member(json, "delta");
  const Json* twins = member(json, "twin");
  if (!delta || !delta->is_object()) return;
  for (const auto& [name, value] : delta->items()) {
    if (!value.is_string() || !device.watched.contains(name)) continue;
    const Json* twin = twins ? member(*twins, name.c_str()) : nullptr;
    wish(device, name, {value.get<std::string>(), twin ? side_time(*twin, "expected") : 0});
  }
}

// The edge repeats its deltas; the time of the wish tells a new one of the same value.
void TwinClient::wish(Entry& device, const std::string& property, Wish wish) {
  const auto [it, fresh] = device.wishes.try_emplace(property, wish);
  if (!fresh && it->second == wish) return;
  actions_.push_back(Wished{device.id, property, wish.value});
  it->second = std::move(wish);
}

}  // namespace kubeedge::device
