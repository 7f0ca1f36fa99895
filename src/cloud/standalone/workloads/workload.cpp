#include "cloud/standalone/workloads/workload.h"

#include "base/text.h"
#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

constexpr std::string_view kSafe = "bcdfghjklmnpqrstvwxz2456789";   // Kubernetes' own alphabet for names: no words come of it
constexpr std::size_t kHashSize = 10;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

// The merge patch (RFC 7386) that makes `after` of `before`; null where they are the same.
json difference(const json& before, const json& after) {
  if (before == after) return nullptr;
  if (!before.is_object() || !after.is_object()) return after;
  json out = json::object();
  for (const auto& item : before.items())
    if (!after.contains(item.key())) out[item.key()] = nullptr;
  for (const auto& item : after.items()) {
    const auto found = before.find(item.key());
    if (found == before.end()) out[item.key()] = item.value();
    else if (*found != item.value()) out[item.key()] = difference(*found, item.value());
  }
  return out;
}

}  // namespace

void Plan::create(const kube::Resource& resource, json body, Note note) {
  const std::string ns = meta_text(body, "namespace"), name = meta_text(body, "name");
  actions.push_back({Action::Verb::kCreate, resource, ns, name, std::move(body), std::move(note)});
}

void Plan::patch(const kube::Resource& resource, const json& object, json body, Note note) {
  body["metadata"]["uid"] = meta_text(object, "uid");   // of another of the same name the server refuses it
  actions.push_back({Action::Verb::kPatch, resource, meta_text(object, "namespace"), meta_text(object, "name"), std::move(body), std::move(note)});
}

void Plan::remove(const kube::Resource& resource, const std::string& ns, const std::string& name, const std::string& uid, Note note) {
  const json options = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", "Background"}, {"preconditions", {{"uid", uid}}}};
  actions.push_back({Action::Verb::kDelete, resource, ns, name, options, std::move(note)});
}

void Plan::status(const kube::Resource& resource, const json& before, const json& after) {
  json body = json::object();
  if (json change = difference(json_at(before, {"status"}), json_at(after, {"status"})); !change.is_null()) body["status"] = std::move(change);
  if (json change = difference(json_at(before, {"metadata", "annotations"}), json_at(after, {"metadata", "annotations"})); !change.is_null())
    body["metadata"]["annotations"] = std::move(change);
  if (body.empty()) return;
  body["metadata"]["uid"] = meta_text(before, "uid");
  actions.push_back({Action::Verb::kStatus, resource, meta_text(before, "namespace"), meta_text(before, "name"), std::move(body), {}});
}

std::int64_t int_at(const json& object, std::initializer_list<const char*> path, std::int64_t otherwise) {
  const json& value = json_at(object, path);
  return value.is_number_integer() ? value.get<std::int64_t>() : otherwise;
}

std::string meta_text(const json& object, const char* field) { return json_text(object, {"metadata", field}); }
bool deleting(const json& object) { return !json_at(object, {"metadata", "deletionTimestamp"}).is_null(); }
std::int64_t created_at(const json& object) { return base::from_rfc3339(meta_text(object, "creationTimestamp")).value_or(0); }
std::string annotation(const json& object, const std::string& name) { return json_text(object, {"metadata", "annotations", name.c_str()}); }

void set_count(json& status, const char* field, std::int64_t value) {
  if (value == 0) status.erase(field);
  else status[field] = value;
}

std::int64_t share_of(const json& value, std::int64_t total, bool round_up) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  const std::string text = json_text(value);
  const auto percent = text.ends_with('%') ? base::to_int(std::string_view(text).substr(0, text.size() - 1)) : std::nullopt;
  return percent ? (total * *percent + (round_up ? 99 : 0)) / 100 : 0;
}

const json* condition(const json& status, std::string_view type) {
  const json& all = json_at(status, {"conditions"});
  if (!all.is_array()) return nullptr;
  const auto found = std::find_if(all.begin(), all.end(), [&](const json& one) { return json_text(one, {"type"}) == type; });
  return found == all.end() ? nullptr : &*found;
}

void set_condition(json& status, const char* type, const char* truth, const std::string& reason, const std::string& message, std::int64_t now, bool touch) {
  const std::string time = base::rfc3339(now);
  json next = {{"type", type}, {"status", truth}, {"reason", reason}, {"message", message}, {"lastUpdateTime", time}, {"lastTransitionTime", time}};
  json& all = status["conditions"];
  if (!all.is_array()) all = json::array();
  for (json& before : all) {
    if (json_text(before, {"type"}) != type) continue;
    const bool same = json_text(before, {"status"}) == truth;
    if (same && json_text(before, {"reason"}) == reason && json_text(before, {"message"}) == message && !touch) return;
    if (same) next["lastTransitionTime"] = json_at(before, {"lastTransitionTime"});
    before = std::move(next);
    return;
  }
  all.push_back(std::move(next));
}

void drop_condition(json& status, std::string_view type) {
  if (condition(status, type) == nullptr) return;
  json& all = status["conditions"];
  all.erase(std::remove_if(all.begin(), all.end(), [&](const json& one) { return json_text(one, {"type"}) == type; }), all.end());
  if (all.empty()) status.erase("conditions");
}

json owner_reference(const json& parent) {
  return {{"apiVersion", json_text(parent, {"apiVersion"})}, {"kind", json_text(parent, {"kind"})}, {"name", meta_text(parent, "name")},
          {"uid", meta_text(parent, "uid")}, {"controller", true}, {"blockOwnerDeletion", true}};
}

json pod_of(const json& parent, const json& pod_template, const std::string& name) {
  json metadata = {{"namespace", meta_text(parent, "namespace")}, {"ownerReferences", json::array({owner_reference(parent)})}};
  for (const char* field : {"labels", "annotations", "finalizers"})
    if (const json& value = json_at(pod_template, {"metadata", field}); !value.empty()) metadata[field] = value;
  if (name.empty()) metadata["generateName"] = meta_text(parent, "name") + "-";
  else metadata["name"] = name;
  return {{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", std::move(metadata)}, {"spec", json_at(pod_template, {"spec"})}};
}

std::string template_hash(const json& pod_template, std::int64_t collisions) {
  std::uint64_t hash = fnv1a(base::dump_json(pod_template) + (collisions > 0 ? std::to_string(collisions) : ""));
  std::string out;
  for (; out.size() < kHashSize; hash /= kSafe.size()) out += kSafe[hash % kSafe.size()];
  return out;
}

}  // namespace kubeedge::cloud::workloads
