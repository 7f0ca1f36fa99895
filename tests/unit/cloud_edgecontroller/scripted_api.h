// A Kubernetes API for the tests of the cloud's controllers: objects in memory, watches that follow them, calls that can
// be told to fail. Every answer and event is posted, as KubeClient promises.
#pragma once

#include <doctest/doctest.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "kube/client/kube_client.h"
#include "wire/message_codec.h"

// A failed check of a list of lines shows the lines.
template <>
struct doctest::StringMaker<std::vector<std::string>> {
  static String convert(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += "\n  " + line;
    return text.empty() ? "nothing" : text.c_str();
  }
};

namespace kubeedge::cloud_test {

using nlohmann::json;

class ScriptedApi final : public kube::KubeClient {
 public:
  struct Call {
    std::string verb, plural, ns, name, subresource;
    json body;
  };

  explicit ScriptedApi(asio::io_context& loop) : loop_(loop) {}

  std::vector<Call> calls;                                     // those that write, and gets
  std::map<std::string, std::deque<kube::ApiError>> failures;  // "create pods": each used once
  bool hold_lists = false;                                     // lists are not answered

  // The API's own change: told to whoever watches. A change that keeps the old resourceVersion, or has none, gets the next.
  json put(const std::string& plural, json object) {
    json& metadata = object["metadata"];
    const std::string key = key_of(metadata.value("namespace", ""), metadata.value("name", ""));
    auto& all = objects_[plural];
    const auto before = all.find(key);
    const json old = before == all.end() ? json() : before->second;
    const bool stale = old.is_object() && old["metadata"]["resourceVersion"] == metadata.value("resourceVersion", "") && old != object;
    if (stale || !metadata.contains("resourceVersion")) metadata["resourceVersion"] = std::to_string(++version_);
    if (!metadata.contains("uid")) metadata["uid"] = "uid-" + std::to_string(++made_);
    all[key] = object;
    tell(plural, old, object);
    return object;
  }
  void erase(const std::string& plural, const std::string& ns, const std::string& name) {
    auto& all = objects_[plural];
    const auto found = all.find(key_of(ns, name));
    if (found == all.end()) return;
    json last = found->second;
    all.erase(found);
    last["metadata"]["resourceVersion"] = std::to_string(++version_);
    tell(plural, last, json());
  }
  // An event out of turn, as a confused server would send it.
  void tell_deleted(const std::string& plural, const json& object) { tell(plural, object, json()); }

  const json* find(const std::string& plural, const std::string& ns, const std::string& name) const {
    const auto all = objects_.find(plural);
    if (all == objects_.end()) return nullptr;
    const auto found = all->second.find(key_of(ns, name));
    return found == all->second.end() ? nullptr : &found->second;
  }
  std::size_t size(const std::string& plural) const {
    const auto all = objects_.find(plural);
    return all == objects_.end() ? 0 : all->second.size();
  }
  std::size_t count(const std::string& verb, const std::string& plural) const {
    std::size_t count = 0;
    for (const Call& call : calls) count += call.verb == verb && call.plural == plural ? 1 : 0;
    return count;
  }
  void version(int next) { version_ = next - 1; }

  static kube::ApiError error(int code, const std::string& reason, const std::string& message) {
    kube::ApiError made;
    made.code = code;
    made.reason = reason;
    made.message = message;
    if (code != 0) {
      made.status =
          Bytes(json{{"metadata", json::object()}, {"status", "Failure"}, {"message", message}, {"reason", reason}, {"code", code}}.dump());
    }
    return made;
  }

  void get(const kube::Resource& resource, const std::string& ns, const std::string& name, Done<Bytes> done) override {
    call("get", resource, ns, name, "", {}, std::move(done), [&]() -> kube::ApiResult<Bytes> {
      if (const json* found = find(resource.plural, ns, name)) return Bytes(found->dump());
      return not_found(resource, name);
    });
  }
  void list(const kube::Resource& resource, kube::ListOptions options, Done<kube::ObjectList> done) override {
    if (hold_lists) return;
    if (auto& errors = failures["list " + resource.plural]; !errors.empty()) {
      asio::post(loop_, [done = std::make_shared<Done<kube::ObjectList>>(std::move(done)), error = errors.front()] { (*done)(error); });
      return errors.pop_front();
    }
    listed_[resource.plural + " " + options.label_selector] = events_.size();
    kube::ObjectList result{std::to_string(version_), {}};
    for (const auto& [key, object] : objects_[resource.plural])
      if (selected(object, options.label_selector)) result.items.emplace_back(object.dump());
    asio::post(loop_, [done = std::make_shared<Done<kube::ObjectList>>(std::move(done)), result] { (*done)(result); });
  }
  std::unique_ptr<kube::Watch> watch(const kube::Resource& resource, kube::ListOptions options, const std::string&,
                                     unique_function<void(kube::WatchEvent)> on_event, unique_function<void(kube::ApiError)>) override {
    auto follower = std::make_shared<Follower>(Follower{resource.plural, options.label_selector, std::move(on_event)});
    followers_.push_back(follower);
    // What happened since the list.
    for (std::size_t i = listed_[resource.plural + " " + options.label_selector]; i < events_.size(); ++i) tell(follower, events_[i]);
    return std::make_unique<Held>(std::move(follower));
  }
  void create(const kube::Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource, Bytes object,
              Done<Bytes> done) override {
    call("create", resource, ns, name, subresource, object, std::move(done), [&]() -> kube::ApiResult<Bytes> {
      json given = json::parse(object.view());
      if (subresource == "token") {
        given["status"] = {{"token", "eyJ.a.b"}, {"expirationTimestamp", "2023-11-14T22:13:20Z"}};
        return Bytes(given.dump());
      }
      if (find(resource.plural, ns, name) != nullptr)
        return error(409, "AlreadyExists", resource.plural + " \"" + name + "\" already exists");
      given["metadata"].erase("resourceVersion");
      return Bytes(put(resource.plural, given).dump());  // by the name in the body, as a real one does
    });
  }
  void update(const kube::Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource, Bytes object,
              Done<Bytes> done) override {
    call("update", resource, ns, name, subresource, object, std::move(done), [&]() -> kube::ApiResult<Bytes> {
      return change(resource, ns, name, [&](json& old) { old.merge_patch(json::parse(object.view())); });
    });
  }
  void patch(const kube::Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
             kube::PatchType, Bytes patch, Done<Bytes> done) override {
    call("patch", resource, ns, name, subresource, patch, std::move(done), [&]() -> kube::ApiResult<Bytes> {
      return change(resource, ns, name, [&](json& old) { old.merge_patch(json::parse(patch.view())); });
    });
  }
  void remove(const kube::Resource& resource, const std::string& ns, const std::string& name, Bytes options, Done<Bytes> done) override {
    call("remove", resource, ns, name, "", options, std::move(done), [&]() -> kube::ApiResult<Bytes> {
      const json* found = find(resource.plural, ns, name);
      if (found == nullptr) return not_found(resource, name);
      const json wanted = json::parse(options.view(), nullptr, false);
      const std::string uid = wanted.is_object() ? wanted.value("/preconditions/uid"_json_pointer, "") : "";
      if (!uid.empty() && uid != (*found)["metadata"]["uid"]) return error(409, "Conflict", "the UID in the precondition is another one");
      erase(resource.plural, ns, name);
      return Bytes("{}");
    });
  }

 private:
  struct Follower {
    std::string plural, selector;
    unique_function<void(kube::WatchEvent)> on_event;
  };
  struct Held final : kube::Watch {
    explicit Held(std::shared_ptr<Follower> f) : follower(std::move(f)) {}
    std::shared_ptr<Follower> follower;  // the only owner: destroying the watch ends it
  };

  static std::string key_of(const std::string& ns, const std::string& name) { return ns + "/" + name; }
  // "key=value", the one form that the controllers use.
  static bool selected(const json& object, const std::string& selector) {
    if (selector.empty()) return true;
    if (!object.is_object()) return false;
    const auto equals = selector.find('=');
    const json labels = object["metadata"].value("labels", json::object());
    return labels.contains(selector.substr(0, equals)) && labels[selector.substr(0, equals)] == selector.substr(equals + 1);
  }
  struct Event {
    std::string plural;
    json before, after;
  };
  void tell(const std::string& plural, const json& before, const json& after) {
    events_.push_back({plural, before, after});
    for (const auto& weak : followers_) tell(weak, events_.back());
  }
  void tell(const std::weak_ptr<Follower>& weak, const Event& event) {
    const auto follower = weak.lock();
    if (!follower || follower->plural != event.plural) return;
    const bool was = event.before.is_object() && selected(event.before, follower->selector),
               is = event.after.is_object() && selected(event.after, follower->selector);
    if (!was && !is) return;
    const auto type = !is ? kube::WatchEventType::kDeleted : was ? kube::WatchEventType::kModified : kube::WatchEventType::kAdded;
    asio::post(loop_, [weak, told = kube::WatchEvent{type, Bytes((event.after.is_object() ? event.after : event.before).dump())}] {
      if (const auto alive = weak.lock()) alive->on_event(told);
    });
  }

  template <class Act>
  void call(const std::string& verb, const kube::Resource& resource, const std::string& ns, const std::string& name,
            const std::string& subresource, const Bytes& body, Done<Bytes> done, Act act) {
    calls.push_back({verb, resource.plural, ns, name, subresource, json::parse(body.view(), nullptr, false)});
    auto& errors = failures[verb + " " + resource.plural];
    kube::ApiResult<Bytes> result = errors.empty() ? act() : kube::ApiResult<Bytes>(errors.front());
    if (!errors.empty()) errors.pop_front();
    asio::post(loop_, [done = std::make_shared<Done<Bytes>>(std::move(done)), result] { (*done)(result); });
  }
  template <class Edit>
  kube::ApiResult<Bytes> change(const kube::Resource& resource, const std::string& ns, const std::string& name, Edit edit) {
    const json* found = find(resource.plural, ns, name);
    if (found == nullptr) return not_found(resource, name);
    json changed = *found;
    edit(changed);
    changed["metadata"].erase("resourceVersion");
    return Bytes(put(resource.plural, changed).dump());
  }
  static kube::ApiError not_found(const kube::Resource& resource, const std::string& name) {
    const std::string what = resource.plural + (resource.group.empty() ? "" : "." + resource.group);
    kube::ApiError made = error(404, "NotFound", what + " \"" + name + "\" not found");
    json status = json::parse(made.status.view());
    status["details"] = {{"name", name}, {"kind", resource.plural}};
    if (!resource.group.empty()) status["details"]["group"] = resource.group;
    made.status = Bytes(status.dump());
    return made;
  }

  asio::io_context& loop_;
  std::map<std::string, std::map<std::string, json>> objects_;
  std::vector<std::weak_ptr<Follower>> followers_;
  std::vector<Event> events_;
  std::map<std::string, std::size_t> listed_;   // by plural and selector: the events that the last list knew
  int version_ = 0, made_ = 0;
};

// A recorded message of tests/golden/hub.
inline Message recorded(const std::string& name) {
  std::ifstream file(std::string(KE_GOLDEN_DIR) + "/hub/" + name + ".json");
  std::stringstream text;
  text << file.rdbuf();
  auto message = wire::decode(Bytes(text.str()));
  if (!message) throw std::runtime_error(name + ": " + message.error().message);
  return std::move(*message);
}
inline json content_of(const Message& message) { return json::parse(message.content.view()); }

// What an edge sends.
inline Message up(const std::string& operation, const std::string& resource, const json& content = nullptr) {
  Message message;
  message.id = wire::new_message_id();
  message.source = "edged";
  message.group = "meta";
  message.operation = operation;
  message.resource = resource;
  message.content = Bytes(content.dump());
  return message;
}

// A pod of the namespace default, bound to a node.
inline json pod(const std::string& name, const std::string& node, const json& spec = json::object()) {
  json made{{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", {{"name", name}, {"namespace", "default"}}}, {"spec", spec}};
  if (!node.empty()) made["spec"]["nodeName"] = node;
  return made;
}
inline json edge_node(const std::string& name) {
  return {{"apiVersion", "v1"},
          {"kind", "Node"},
          {"metadata", {{"name", name}, {"labels", {{"node-role.kubernetes.io/edge", ""}}}}},
          {"spec", json::object()}};
}
inline json config_map(const std::string& name, const std::string& value) {
  return {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", name}, {"namespace", "default"}}}, {"data", {{"k", value}}}};
}
inline json secret(const std::string& name, const std::string& value) {
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"metadata", {{"name", name}, {"namespace", "default"}}},
          {"data", {{"p", value}}},
          {"type", "Opaque"}};
}
inline json volume_of(const std::string& config) {
  return {{"volumes", json::array({{{"name", "v"}, {"configMap", {{"name", config}}}}})}};
}

}  // namespace kubeedge::cloud_test
