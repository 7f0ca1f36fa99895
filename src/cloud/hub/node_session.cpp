#include "cloud/hub/node_session.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "wire/validated_json.h"

namespace kubeedge::cloud {

namespace {

std::string type_of(const std::string& resource) {
  const auto parts = base::split(resource, '/');
  return parts.size() > 1 ? parts[1] : std::string();
}

}  // namespace

bool needs_ack(const Message& message) {
  // Upstream tests substrings of the whole path; a Go cloud that takes the node over expects the same answers.
  for (const char* part : {"podlist", "membership", "twin/cloud_updated", "serviceaccounttoken", "k8s/ca.crt"})
    if (message.resource.find(part) != std::string::npos) return false;
  const std::string& op = message.operation;
  if (op == "createvolume" || op == "deletevolume" || op == "controllerpublishvolume" || op == "controllerunpublishvolume") return false;
  if (op == "applicationResponse" || message.group == "user" || message.group == "twin") return false;
  if (message.source == "taskmanager" || message.source == "nodeupgradejobcontroller") return false;
  if (op == "response" && message.content.view() == "\"OK\"") return false;
  if (op == "response" && message.content.view().starts_with("{\"ErrStatus\"")) return false;
  if (message.source == "edgecontroller") {
    const std::string type = type_of(message.resource);
    if (type == "node" && op != "update") return false;
    if (type == "lease" || type == "nodepatch" || type == "podpatch" || type == "podstatus" || type == "certificatesigningrequest") return false;
    if (type == "pod" && op == "response") return false;
  }
  return true;
}

ObjectKey object_key(const Message& message) {
  ObjectKey key;
  key.deletion = message.operation == "delete";
  const auto parts = base::split(message.resource, '/');
  if (!parts.empty()) key.ns = parts[0];
  if (parts.size() > 2) key.name = parts[2];
  auto json = wire::ValidatedJson::parse(message.content);
  if (!json || !json->is_object()) return key;
  key.uid = json->string_at({"metadata", "uid"}).value_or("");
  key.api_version = json->string_at({"apiVersion"}).value_or("");
  key.kind = json->string_at({"kind"}).value_or("");
  key.terminating = json->string_at({"metadata", "deletionTimestamp"}).has_value();
  return key;
}

std::uint64_t version_number(const std::string& resource_version) {
  std::uint64_t number = 0;
  const auto* end = resource_version.data() + resource_version.size();
  const auto [stop, error] = std::from_chars(resource_version.data(), end, number);
  return error == std::errc() && stop == end ? number : 0;
}

NodeSession::NodeSession(SessionOptions options, Milliseconds now) : options_(options), last_keepalive_(now) {}

void NodeSession::begin(Milliseconds now) {
  begun_ = true;
  pump(now);
}

bool NodeSession::enqueue(Message message, Milliseconds now) {
  if (!needs_ack(message)) {
    sends_.push_back(std::move(message));
    return true;
  }
  if (message.operation == "response") {
    // Each answers a request of its own: never coalesced, never behind the objects.
    launch(std::move(message), {}, true, now);
    return true;
  }
  ObjectKey key = object_key(message);
  if (key.uid.empty() && !key.deletion) return false;
  if (message.resource_version.empty() && !key.deletion && !key.terminating) return false;
  const std::string slot = key.uid.empty() ? message.resource : key.uid;
  key.uid = slot;

  for (auto& waiting : queue_) {
    if (waiting.key.uid != slot) continue;
    ++counters_.coalesced;
    const bool stale = !key.deletion && (waiting.key.deletion || version_number(waiting.message.resource_version) >= version_number(message.resource_version));
    if (stale) return true;
    // An insert that never left stays an insert: the edge has not seen the object yet.
    if (waiting.message.operation == "insert" && message.operation == "update") message.operation = "insert";
    waiting = Waiting{std::move(message), std::move(key)};
    pump(now);
    return true;
  }
  for (const auto& [id, flight] : flights_) {
    if (flight.uid != slot) continue;
    const bool newer = version_number(flight.message.resource_version) < version_number(message.resource_version);
    if (flight.message.operation == "delete" || (!key.deletion && !newer)) return true;   // under way already
  }
  if (queue_.size() >= options_.max_queued) {
    overflowed_ = true;
    return false;
  }
  queue_.push_back(Waiting{std::move(message), std::move(key)});
  pump(now);
  return true;
}

std::optional<Message> NodeSession::on_ack(const MessageId& parent, Milliseconds now) {
  const auto found = flights_.find(parent.str());
  if (found == flights_.end()) return std::nullopt;
  Message message = std::move(found->second.message);
  flights_.erase(found);
  ++counters_.acknowledged;
  pump(now);
  return message;
}

void NodeSession::on_time(Milliseconds now) {
  std::vector<const Flight*> again;
  for (auto it = flights_.begin(); it != flights_.end();) {
    Flight& flight = it->second;
    if (flight.resend_at > now) {
      ++it;
      continue;
    }
    const bool overtaken = !flight.answer && std::any_of(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.key.uid == flight.uid; });
    if (overtaken) {
      it = flights_.erase(it);   // its successor says it all
      continue;
    }
    flight.resend_at = now + options_.resend_after;
    again.push_back(&flight);
    ++it;
  }
  std::sort(again.begin(), again.end(), [](const Flight* a, const Flight* b) { return a->number < b->number; });
  for (const Flight* flight : again) sends_.push_back(flight->message);
  counters_.resent += again.size();
  pump(now);
}

Milliseconds NodeSession::next_deadline() const {
  Milliseconds next = last_keepalive_ + options_.keepalive;
  for (const auto& [id, flight] : flights_) next = std::min(next, flight.resend_at);
  return next;
}

std::vector<Message> NodeSession::take_sends() { return std::exchange(sends_, {}); }

bool NodeSession::resource_in_flight(const std::string& resource) const {
  return std::any_of(flights_.begin(), flights_.end(),
                     [&](const auto& entry) { return !entry.second.answer && entry.second.message.resource == resource; });
}

void NodeSession::pump(Milliseconds now) {
  if (!begun_) return;
  const auto objects = [this] {
    return static_cast<std::size_t>(std::count_if(flights_.begin(), flights_.end(), [](const auto& e) { return !e.second.answer; }));
  };
  std::size_t flying = objects();
  // The same name in turn, whatever the UID: a delete of the old object never overtakes the insert of the new one.
  std::vector<std::string> passed;
  for (auto it = queue_.begin(); it != queue_.end() && flying < options_.window && passed.size() < options_.window;) {
    const std::string& resource = it->message.resource;
    if (resource_in_flight(resource) || std::find(passed.begin(), passed.end(), resource) != passed.end()) {
      passed.push_back(resource);
      ++it;
      continue;
    }
    Waiting next = std::move(*it);
    it = queue_.erase(it);
    launch(std::move(next.message), std::move(next.key.uid), false, now);
    ++flying;
  }
}

void NodeSession::launch(Message message, std::string uid, bool answer, Milliseconds now) {
  sends_.push_back(message);
  std::string id = message.id.str();
  flights_[std::move(id)] = Flight{std::move(message), std::move(uid), answer, now + options_.resend_after, ++launched_};
}

}  // namespace kubeedge::cloud
