#include "cloud/standalone/workloads/revisions.h"

#include <algorithm>

#include "base/json.h"
#include "cloud/standalone/json_at.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

constexpr std::int64_t kHistoryLimit = 10;   // Kubernetes' default

json data_of(const json& parent) {
  json pod_template = json_at(parent, {"spec", "template"});
  pod_template["$patch"] = "replace";   // `kubectl rollout undo` sends it as it is
  return {{"spec", {{"template", std::move(pod_template)}}}};
}

std::int64_t number_of(const json& revision) { return int_at(revision, {"revision"}); }
std::string hash_of(const json& revision) { return json_text(revision, {"metadata", "labels", kRevisionLabel}); }

}  // namespace

History settle_history(const State& state, std::int64_t collisions, Plan& plan) {
  const json data = data_of(state.parent);
  const json* found = nullptr;
  std::int64_t newest = 0;
  for (const json& one : state.children) {
    newest = std::max(newest, number_of(one));
    if (json_at(one, {"data"}) == data && (found == nullptr || number_of(one) > number_of(*found))) found = &one;
  }
  if (found != nullptr) {
    const bool last = number_of(*found) == newest;
    if (!last) plan.patch(kRevisions, *found, {{"revision", newest + 1}});
    return {hash_of(*found), last, false};
  }
  const std::string hash = template_hash(json_at(state.parent, {"spec", "template"}), collisions), name = meta_text(state.parent, "name") + "-" + hash;
  if (state.taken.contains(name)) return {hash, false, true};
  json labels = json_at(state.parent, {"spec", "template", "metadata", "labels"});
  labels[kRevisionLabel] = hash;
  json metadata = {{"name", name}, {"namespace", meta_text(state.parent, "namespace")}, {"labels", std::move(labels)}, {"ownerReferences", json::array({owner_reference(state.parent)})}};
  if (const json& annotations = json_at(state.parent, {"metadata", "annotations"}); !annotations.empty()) metadata["annotations"] = annotations;
  plan.create(kRevisions, {{"apiVersion", "apps/v1"}, {"kind", "ControllerRevision"}, {"metadata", std::move(metadata)}, {"data", data}, {"revision", newest + 1}}, {});
  return {hash, false, false};
}

void trim_history(const State& state, const std::string& hash, Plan& plan) {
  const auto in_use = [&](const json& revision) {
    const std::string its = hash_of(revision);
    return its == hash || std::any_of(state.pods.begin(), state.pods.end(), [&](const PodView& pod) { return pod.label(kRevisionLabel) == its; });
  };
  std::vector<const json*> old;
  for (const json& one : state.children)
    if (!in_use(one) && !deleting(one)) old.push_back(&one);
  std::sort(old.begin(), old.end(), [](const json* a, const json* b) { return number_of(*a) < number_of(*b); });
  const auto limit = static_cast<std::size_t>(int_at(state.parent, {"spec", "revisionHistoryLimit"}, kHistoryLimit));
  for (std::size_t i = 0; i + limit < old.size(); ++i)
    plan.remove(kRevisions, meta_text(*old[i], "namespace"), meta_text(*old[i], "name"), meta_text(*old[i], "uid"));
}

}  // namespace kubeedge::cloud::workloads
