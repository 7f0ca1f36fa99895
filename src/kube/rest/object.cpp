#include "kube/rest/object.h"

#include "base/json.h"
#include "base/text.h"
#include "kube/rest/body.h"

namespace kubeedge::kube::rest {
namespace {

constexpr std::size_t kMaxGeneratedPrefix = 58;  // a name is at most 63 characters where it matters

Json& metadata_of(Json& object) {
  Json& metadata = object["metadata"];
  if (!metadata.is_object()) metadata = Json::object();
  return metadata;
}

Failure cannot_handle(const schema::Kind& kind, const std::string& why) {
  return bad_request(fmt::format("{} in version \"{}\" cannot be handled as a {}: {}", kind.kind, kind.version, kind.kind, why));
}

// The kinds whose metadata.generation counts the changes of what is wanted.
bool counts_generations(const schema::Kind& kind) { return kind.custom || ((kind.group == "apps" || kind.group == "batch") && kind.status); }

// After defaults: whether a workload wants something else than before.
void count_generation(const schema::Kind& kind, const Json& before, Json& after) {
  const auto part = [](const Json& object, const char* path) { return object.value(Json::json_pointer(path), Json()); };
  const bool changed = part(before, "/spec") != part(after, "/spec") ||
                       (kind.kind == "Deployment" && part(before, "/metadata/annotations") != part(after, "/metadata/annotations"));
  if (changed) after["metadata"]["generation"] = before["metadata"].value("generation", std::int64_t{1}) + 1;
  if (kind.kind != "DaemonSet") return;
  // The generation of its template alone is an annotation that no writer may set.
  constexpr const char* kTemplateGeneration = "deprecated.daemonset.template.generation";
  const Json last = part(before, (std::string("/metadata/annotations/") + kTemplateGeneration).c_str());
  const std::int64_t count = last.is_string() ? base::to_int(last.get<std::string>()).value_or(1) : 1;
  after["metadata"]["annotations"][kTemplateGeneration] = std::to_string(count + (part(before, "/spec/template") == part(after, "/spec/template") ? 0 : 1));
}

// Types, defaults, rules: for new and changed objects alike.
Outcome settle(const WriteContext& context, Json object, const std::string& suffix) {
  if (const std::string wrong = schema::type_error(context.kind, object); !wrong.empty()) return cannot_handle(context.kind, wrong);
  schema::apply_defaults(context.kind, object, suffix);
  if (const auto causes = schema::validate(context.kind, object); !causes.empty()) return invalid(context.kind, meta(object, "name"), causes);
  return object;
}

}  // namespace

std::string meta(const Json& object, const char* field) {
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return "";
  const auto found = metadata->find(field);
  return found != metadata->end() && found->is_string() ? found->get<std::string>() : "";
}

bool terminating(const Json& object) { return !meta(object, "deletionTimestamp").empty(); }

bool has_finalizers(const Json& object) {
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return false;
  const auto found = metadata->find("finalizers");
  return found != metadata->end() && found->is_array() && !found->empty();
}

Json partial_metadata(const Json& object) {
  return {{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}, {"metadata", object.value("metadata", Json::object())}};
}

bool borrow_from_account(Json& pod, const Json& account) {
  const auto spec = pod.find("spec");
  if (spec == pod.end() || !spec->is_object()) return false;
  if (const auto secrets = account.find("imagePullSecrets"); secrets != account.end() && !spec->contains("imagePullSecrets")) (*spec)["imagePullSecrets"] = *secrets;
  const auto automount = account.find("automountServiceAccountToken");
  if (automount == account.end() || spec->contains("automountServiceAccountToken")) return false;
  (*spec)["automountServiceAccountToken"] = *automount;
  return true;
}

std::string with_revision(Json object, std::uint64_t revision) {
  metadata_of(object)["resourceVersion"] = std::to_string(revision);
  return base::dump_json(object);
}

Outcome decode_object(const WriteContext& context, std::string_view body) {
  const bool strict = context.field_validation == "Strict";
  std::vector<std::string> complaints;
  Outcome parsed = parse_body(body, strict ? &complaints : nullptr);
  if (std::holds_alternative<Failure>(parsed)) return parsed;
  Json object = std::get<Json>(std::move(parsed));
  if (!object.is_object()) return bad_request(fmt::format("the body is not an object but {}", object.type_name()));
  const std::string api_version = context.kind.api_version();
  const auto same = [&](const char* key, std::string_view wanted) {
    const auto found = object.find(key);
    if (found == object.end() || *found == "") object[key] = std::string(wanted);
    return object[key] == std::string(wanted);
  };
  if (!same("apiVersion", api_version) || !same("kind", context.kind.kind)) {
    return bad_request(fmt::format("the API version or kind in the data ({}, {}) does not match the expected ({}, {})", base::dump_json(object["apiVersion"]), base::dump_json(object["kind"]),
                                   api_version, context.kind.kind));
  }
  if (object.contains("metadata") && !object["metadata"].is_object() && !object["metadata"].is_null()) return cannot_handle(context.kind, "metadata is not an object");
  const std::vector<std::string> unknown = schema::prune_unknown(context.kind, object);
  complaints.insert(complaints.end(), unknown.begin(), unknown.end());
  if (strict && !complaints.empty()) return cannot_handle(context.kind, fmt::format("strict decoding error: {}", fmt::join(complaints, ", ")));
  return object;
}

Outcome prepare_create(const WriteContext& context, Json object, const std::string& uid, const std::string& suffix) {
  const schema::Kind& kind = context.kind;
  Json& metadata = metadata_of(object);
  if (const std::string version = meta(object, "resourceVersion"); !version.empty() && version != "0") {
    return bad_request("resourceVersion should not be set on objects to be created");
  }
  if (meta(object, "name").empty() && !meta(object, "generateName").empty()) {
    metadata["name"] = meta(object, "generateName").substr(0, kMaxGeneratedPrefix) + suffix;
  }
  const std::string ns = meta(object, "namespace");
  if (kind.namespaced) {
    if (!ns.empty() && ns != context.ns) {
      return bad_request(fmt::format("the namespace of the provided object does not match the namespace sent on the request ({} and {})", ns, context.ns));
    }
    metadata["namespace"] = context.ns;
  } else {
    metadata.erase("namespace");
  }
  for (const char* field : {"selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "generation"}) metadata.erase(field);
  metadata["uid"] = uid;
  metadata["creationTimestamp"] = base::rfc3339(context.now_unix_s);
  if (counts_generations(kind)) metadata["generation"] = 1;
  // A status is set through its subresource; nodes bring theirs along, as kubelets do.
  if (kind.status && kind.kind != "Node") object.erase("status");
  return settle(context, std::move(object), suffix);
}

Outcome prepare_update(const WriteContext& context, const Json& current, Json next, const std::string& subresource) {
  const schema::Kind& kind = context.kind;
  if (!next.is_object()) return bad_request("the result is not an object");
  if (const std::string name = meta(next, "name"); name != context.name) {
    return bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})", name, context.name));
  }
  const std::string uid = meta(next, "uid");
  if (!uid.empty() && uid != meta(current, "uid")) {
    return conflict(kind, context.name, fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid, meta(current, "uid")));
  }
  if (const std::string version = meta(next, "resourceVersion"); !version.empty() && version != "0" && version != meta(current, "resourceVersion")) {
    return modified(kind, context.name);
  }
  if (context.must_name_version && meta(next, "resourceVersion").empty()) {
    return invalid(kind, context.name, {{"metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0x0: must be specified for an update"}});
  }
  next["apiVersion"] = current.value("apiVersion", Json());
  next["kind"] = current.value("kind", Json());

  const Json& old_metadata = current["metadata"];
  Json& metadata = metadata_of(next);
  const auto keep = [](Json& into, const Json& from, const char* field) {
    if (const auto found = from.find(field); found != from.end()) {
      into[field] = *found;
    } else {
      into.erase(field);
    }
  };
  metadata.erase("selfLink");
  for (const char* field : {"namespace", "uid", "creationTimestamp", "generateName", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"}) {
    keep(metadata, old_metadata, field);
  }
  if (subresource == "status") {
    if (kind.custom) {
      const Json status = next.value("status", Json());
      next = current;
      if (status.is_null()) next.erase("status"); else next["status"] = status;
    } else {
      keep(next, current, "spec");
    }
  } else {
    if (kind.status) keep(next, current, "status");
    if (kind.custom) {
      const auto body = [](Json object) {
        object.erase("metadata");
        object.erase("status");
        return object;
      };
      if (body(next) != body(current)) next["metadata"]["generation"] = current["metadata"].value("generation", 1) + 1;
    }
  }
  Outcome settled = settle(context, std::move(next), "");
  if (Json* object = std::get_if<Json>(&settled); object != nullptr && subresource.empty()) {
    if (!kind.custom && counts_generations(kind)) count_generation(kind, current, *object);
    if (const auto causes = schema::validate_update(kind, current, *object); !causes.empty()) return invalid(kind, context.name, causes);
  }
  return settled;
}

}  // namespace kubeedge::kube::rest
