// Defaults of the kinds of apps.
#include "kube/schema/defaulting.h"

namespace kubeedge::kube::schema {
namespace {

constexpr int kRevisionHistory = 10;
constexpr int kProgressSeconds = 600;
constexpr std::string_view kDaemonGeneration = "deprecated.daemonset.template.generation";

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

void default_daemon_set(Json& object) {
  Json& spec = object["spec"];
  Json& strategy = spec["updateStrategy"];
  put_text(strategy, "type", "RollingUpdate");
  if (text_at(strategy, "type") == "RollingUpdate") {
    put(strategy, "rollingUpdate", Json::object());
    put(strategy["rollingUpdate"], "maxUnavailable", 1);
    put(strategy["rollingUpdate"], "maxSurge", 0);
  } else if (at(strategy, "rollingUpdate").is_object()) {   // of no use then, and written out all the same
    for (const auto field : {"maxUnavailable", "maxSurge"}) put(strategy["rollingUpdate"], field, 0);
  }
  put(spec, "revisionHistoryLimit", kRevisionHistory);
  put_text(object["metadata"]["annotations"], kDaemonGeneration, "1");
}

}  // namespace

void default_workload(const Kind& kind, Json& object) {
  if (!at(object, "spec").is_object()) return;
  if (kind.kind == "Deployment") default_deployment(object["spec"]);
  else if (kind.kind == "DaemonSet") default_daemon_set(object);
  else put(object["spec"], "replicas", 1);
}

}  // namespace kubeedge::kube::schema
