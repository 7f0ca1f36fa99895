// Defaults of the kinds of apps.
#include "kube/schema/defaulting.h"

namespace kubeedge::kube::schema {
namespace {

constexpr int kRevisionHistory = 10;
constexpr int kProgressSeconds = 600;

void default_deployment(Json& spec) {
  put(spec, "replicas", 1);
  Json& strategy = spec["strategy"];
  put_text(strategy, "type", "RollingUpdate");
  if (text_at(strategy, "type") == "RollingUpdate") {
    put(strategy, "rollingUpdate", Json::object());
    put(strategy["rollingUpdate"], "maxUnavailable", "25%");
    put(strategy["rollingUpdate"], "maxSurge", "25%");
  }
  put(spec, "revisionHistoryLimit", kRevisionHistory);
  put(spec, "progressDeadlineSeconds", kProgressSeconds);
}

}  // namespace

void default_workload(const Kind& kind, Json& object) {
  if (!at(object, "spec").is_object()) return;
  if (kind.kind == "Deployment") default_deployment(object["spec"]);
  else put(object["spec"], "replicas", 1);
}

}  // namespace kubeedge::kube::schema
