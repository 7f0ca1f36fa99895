#include "kube/rest/deletion.h"

#include <algorithm>

#include "base/json_member.h"
#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

using base::member;
using base::text_of;

bool has(const Json& list, std::string_view name) { return std::find(list.begin(), list.end(), Json(name)) != list.end(); }

}  // namespace

std::variant<DeleteOptions, Failure> delete_options(const Query& query, const Json& body) {
  DeleteOptions out;
  out.dry_run = query.dry_run;
  out.propagation = query.propagation;
  if (!query.grace_period.empty()) {
    out.grace = base::to_int(query.grace_period);
    if (!out.grace) return bad_request("gracePeriodSeconds: expected a number");
  }
  if (!body.is_null() && !body.is_object()) return bad_request("DeleteOptions: the body is not a JSON object");
  if (const Json& grace = member(body, "gracePeriodSeconds"); grace.is_number_integer()) out.grace = grace.get<std::int64_t>();
  if (const Json& dry = member(body, "dryRun"); dry.is_array() && !dry.empty()) out.dry_run = true;
  if (const std::string policy = text_of(body, "propagationPolicy"); !policy.empty()) out.propagation = policy;
  // The old way to say it, that kubectl 1.19 and older used.
  if (const Json& orphan = member(body, "orphanDependents"); orphan.is_boolean()) {
    if (!out.propagation.empty()) return bad_request("orphanDependents and deletionPropagation cannot be both set");
    out.propagation = orphan.get<bool>() ? "Orphan" : "Background";
  }
  const Json& conditions = member(body, "preconditions");
  out.uid = text_of(conditions, "uid");
  out.resource_version = text_of(conditions, "resourceVersion");
  if (out.grace && *out.grace < 0) return bad_request("gracePeriodSeconds: must not be negative");
  if (!out.propagation.empty() && out.propagation != "Background" && out.propagation != "Foreground" && out.propagation != "Orphan")
    return bad_request(fmt::format("propagationPolicy: Unsupported value: {}: supported values: \"Background\", \"Foreground\", \"Orphan\"", go_quoted(out.propagation)));
  return out;
}

bool order_propagation(const schema::Kind& kind, Json& object, const std::string& propagation) {
  const Json before = member(member(object, "metadata"), "finalizers");
  const Json old = before.is_array() ? before : Json::array();
  // Who says nothing gets what was ordered before; of a Job the pods stay, as Kubernetes has it since batch/v1 began.
  const bool job = kind.group == "batch" && kind.kind == "Job" && !has(old, kForegroundFinalizer);
  const bool orphan = propagation.empty() ? has(old, kOrphanFinalizer) || job : propagation == "Orphan";
  const bool foreground = propagation.empty() ? !orphan && has(old, kForegroundFinalizer) : propagation == "Foreground";
  Json now = Json::array();
  for (const Json& finalizer : old)
    if (finalizer != kOrphanFinalizer && finalizer != kForegroundFinalizer) now.push_back(finalizer);
  if (orphan) now.push_back(kOrphanFinalizer);
  if (foreground) now.push_back(kForegroundFinalizer);
  const auto sorted = [](Json list) {
    std::sort(list.begin(), list.end());
    return list;
  };
  if (sorted(now) == sorted(old)) return false;
  if (now.empty()) object["metadata"].erase("finalizers");
  else object["metadata"]["finalizers"] = std::move(now);
  return true;
}

}  // namespace kubeedge::kube::rest
