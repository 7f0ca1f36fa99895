#include "cloud/standalone/workloads/pod_view.h"

#include <algorithm>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/workloads/claims.h"
#include "cloud/standalone/workloads/job.h"

namespace kubeedge::cloud::workloads {
namespace {

using nlohmann::json;

std::int64_t time_of(const json& value) { return base::from_rfc3339(json_text(value)).value_or(0); }

// The one node that a daemon's pod asks for.
std::string wanted_node(const json& pod) {
  const json& terms = json_at(pod, {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"});
  if (!terms.is_array() || terms.empty()) return "";
  const json& fields = json_at(terms[0], {"matchFields"});
  if (!fields.is_array() || fields.size() != 1 || json_text(fields[0], {"key"}) != "metadata.name") return "";
  const json& values = json_at(fields[0], {"values"});
  return values.is_array() && values.size() == 1 ? json_text(values[0]) : "";
}

}  // namespace

std::string PodView::label(const char* name) const { return json_text(base::parse_json(labels), {name}); }

PodView view_of_pod(const json& pod) {
  PodView out;
  out.ns = json_text(pod, {"metadata", "namespace"});
  out.name = json_text(pod, {"metadata", "name"});
  out.uid = json_text(pod, {"metadata", "uid"});
  out.owner = controller_uid(json_at(pod, {"metadata", "ownerReferences"}));
  out.version = static_cast<std::uint64_t>(base::to_int(json_text(pod, {"metadata", "resourceVersion"})).value_or(0));
  out.node = json_text(pod, {"spec", "nodeName"});
  out.bound = !out.node.empty();
  if (!out.bound) out.node = wanted_node(pod);
  out.phase = json_text(pod, {"status", "phase"});
  if (const json& labels = json_at(pod, {"metadata", "labels"}); labels.is_object()) out.labels = base::dump_json(labels);
  out.deleting = !json_at(pod, {"metadata", "deletionTimestamp"}).is_null();
  out.created = time_of(json_at(pod, {"metadata", "creationTimestamp"}));
  out.counted = json_text(pod, {"metadata", "annotations", kCountedAnnotation}) == "true";
  out.deletion_cost = base::to_int(json_text(pod, {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"})).value_or(0);
  if (const json& conditions = json_at(pod, {"status", "conditions"}); conditions.is_array())
    for (const json& one : conditions)
      if (json_text(one, {"type"}) == "Ready" && json_text(one, {"status"}) == "True") {
        out.ready = true;
        out.ready_since = time_of(json_at(one, {"lastTransitionTime"}));
      }
  if (const json& containers = json_at(pod, {"status", "containerStatuses"}); containers.is_array())
    for (const json& one : containers) {
      if (const json& count = json_at(one, {"restartCount"}); count.is_number_integer()) out.restarts += count.get<std::int64_t>();
      out.finished = std::max(out.finished, time_of(json_at(one, {"state", "terminated", "finishedAt"})));
    }
  return out;
}

}  // namespace kubeedge::cloud::workloads
