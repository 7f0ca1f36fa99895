// Defaults of the kinds of apps and batch, and what a new Job is given to tell its pods from others'.
#include "kube/schema/defaulting.h"

namespace kubeedge::kube::schema {
namespace {

constexpr int kRevisionHistory = 10;
constexpr int kProgressSeconds = 600;
constexpr int kBackoffLimit = 6;
constexpr int kMaxInt32 = 2147483647;
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

// The pods of a job are told from others by labels that name it.
void own_selector(Json& object) {
  const Json& metadata = object["metadata"];
  const std::string uid = text_at(metadata, "uid"), name = text_at(metadata, "name");
  Json& spec = object["spec"];
  Json& labels = spec["template"]["metadata"]["labels"];
  if (!labels.is_object()) labels = Json::object();
  for (const auto key : {"job-name", "batch.kubernetes.io/job-name"}) put(labels, key, name);
  for (const auto key : {"controller-uid", "batch.kubernetes.io/controller-uid"}) put(labels, key, uid);
  if (!at(spec, "selector").is_object()) spec["selector"] = Json::object();
  put(spec["selector"]["matchLabels"], "batch.kubernetes.io/controller-uid", uid);
}

void default_job(Json& object, bool created) {
  Json& spec = object["spec"];
  if (at(spec, "parallelism").is_null() && at(spec, "completions").is_null()) spec["completions"] = 1;
  put(spec, "parallelism", 1);
  put(spec, "backoffLimit", at(spec, "backoffLimitPerIndex").is_null() ? kBackoffLimit : kMaxInt32);
  put_text(spec, "completionMode", "NonIndexed");
  put(spec, "suspend", false);
  put_text(spec, "podReplacementPolicy", at(spec, "podFailurePolicy").is_null() ? "TerminatingOrFailed" : "Failed");
  put(spec, "manualSelector", false);
  if (created && !true_at(spec, "manualSelector")) own_selector(object);
  const Json labels = at(at(at(spec, "template"), "metadata"), "labels");
  if (labels.is_object() && !labels.empty() && at(object["metadata"], "labels").empty()) object["metadata"]["labels"] = labels;
}

void default_cron_job(Json& spec) {
  put_text(spec, "concurrencyPolicy", "Allow");
  put(spec, "suspend", false);
  put(spec, "successfulJobsHistoryLimit", 3);
  put(spec, "failedJobsHistoryLimit", 1);
}

}  // namespace

void default_workload(const Kind& kind, Json& object, bool created) {
  if (!at(object, "spec").is_object()) return;
  if (kind.kind == "Deployment") default_deployment(object["spec"]);
  else if (kind.kind == "DaemonSet") default_daemon_set(object);
  else if (kind.kind == "Job") default_job(object, created);
  else if (kind.kind == "CronJob") default_cron_job(object["spec"]);
  else put(object["spec"], "replicas", 1);
}

}  // namespace kubeedge::kube::schema
