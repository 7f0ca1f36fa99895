#include "kube/rest/scale.h"

#include "base/json_member.h"
#include "kube/schema/label_selector.h"

namespace kubeedge::kube::rest {
namespace {

using base::member;

std::int64_t number(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

}  // namespace

const schema::Kind& scale_kind() {
  static const schema::Kind& kind = *schema::find_kind("autoscaling", "v1", "Scale");
  return kind;
}

Json scale_of(const Json& workload) {
  Json metadata = Json::object();
  for (const char* field : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (const Json& value = member(member(workload, "metadata"), field); !value.is_null()) metadata[field] = value;
  Json status = {{"replicas", number(member(workload, "status"), "replicas")}};
  if (const Json& selector = member(member(workload, "spec"), "selector"); !schema::selects_all(selector)) status["selector"] = schema::selector_text(selector);
  Json spec = Json::object();
  if (const std::int64_t replicas = number(member(workload, "spec"), "replicas"); replicas != 0) spec["replicas"] = replicas;
  return {{"kind", "Scale"}, {"apiVersion", "autoscaling/v1"}, {"metadata", std::move(metadata)}, {"spec", std::move(spec)}, {"status", std::move(status)}};
}

Outcome rescaled(const Json& current, const Json& scale) {
  if (!scale.is_object()) return bad_request("the result is not an object");
  if (const std::string wrong = schema::type_error(scale_kind(), scale); !wrong.empty())
    return bad_request("Scale in version \"v1\" cannot be handled as a Scale: " + wrong);
  const std::int64_t replicas = number(member(scale, "spec"), "replicas");
  if (replicas < 0)
    return invalid(scale_kind(), meta(current, "name"),
                   {{"spec.replicas", "FieldValueInvalid", "Invalid value: " + std::to_string(replicas) + ": must be greater than or equal to 0"}});
  Json next = current;
  next["spec"]["replicas"] = replicas;
  for (const char* field : {"name", "resourceVersion", "uid"})
    if (const std::string text = meta(scale, field); !text.empty()) next["metadata"][field] = text;
  return next;
}

}  // namespace kubeedge::kube::rest
