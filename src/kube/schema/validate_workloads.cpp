// What kube-apiserver refuses of the kinds of apps and batch.
#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "kube/schema/causes.h"
#include "kube/schema/cron.h"
#include "kube/schema/label_selector.h"
#include "kube/schema/syntax.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::string_view kNegative = "must be greater than or equal to 0";
constexpr std::string_view kImmutable = "field is immutable";
constexpr std::size_t kMaxCronJobName = 52;       // the name of its jobs has room for a time

void not_negative(const Json& owner, const std::string& path, std::initializer_list<std::string_view> fields, Causes& causes) {
  for (const auto field : fields)
    if (const Json& value = at(owner, field); value.is_number_integer() && value.get<std::int64_t>() < 0)
      causes.invalid(child(path, field), value, kNegative);
}

// Maps and selectors as Go prints them.
std::string go_map(const Json& map) {
  if (!map.is_object()) return "map[string]string(nil)";
  std::string out;
  for (const auto& item : map.items()) out += (out.empty() ? "" : ", ") + base::dump_json(Json(item.key())) + ":" + base::dump_json(item.value());
  return "map[string]string{" + out + "}";
}

std::string go_selector(const Json& selector) {
  std::string expressions;
  for (const Json& one : list_at(selector, "matchExpressions")) {
    std::string values;
    for (const Json& value : list_at(one, "values")) values += (values.empty() ? "" : ", ") + base::dump_json(value);
    expressions += (expressions.empty() ? "" : ", ") + std::string("v1.LabelSelectorRequirement{Key:") + base::dump_json(Json(text_at(one, "key"))) +
                   ", Operator:" + base::dump_json(Json(text_at(one, "operator"))) + ", Values:[]string" +
                   (at(one, "values").is_array() ? "{" + values + "}" : "(nil)") + "}";
  }
  return "v1.LabelSelector{MatchLabels:" + go_map(at(selector, "matchLabels")) + ", MatchExpressions:[]v1.LabelSelectorRequirement" +
         (at(selector, "matchExpressions").is_array() ? "{" + expressions + "}" : "(nil)") + "}";
}

std::string go_int_or_string(const Json& value) {
  if (value.is_string()) return "intstr.IntOrString{Type:1, IntVal:0, StrVal:" + base::dump_json(value) + "}";
  return "intstr.IntOrString{Type:0, IntVal:" + base::dump_json(value) + ", StrVal:\"\"}";
}

void validate_selector(const Json& selector, const std::string& path, Causes& causes) {
  validate_labels(at(selector, "matchLabels"), child(path, "matchLabels"), causes);
  const Json& expressions = list_at(selector, "matchExpressions");
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    const std::string here = child(child(path, "matchExpressions"), i);
    const std::string& how = text_at(expressions[i], "operator");
    const bool any = list_at(expressions[i], "values").empty();
    if (how == "In" || how == "NotIn") {
      if (any) causes.required(child(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (how == "Exists" || how == "DoesNotExist") {
      if (!any) causes.forbidden(child(here, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      causes.invalid(child(here, "operator"), how, "not a valid selector operator");
    }
    causes.invalid(child(here, "key"), text_at(expressions[i], "key"), qualified_name(text_at(expressions[i], "key")));
  }
}

// `empty`: "deployment" and the like, as a selector of nothing is refused.
void validate_selection(const Json& spec, const std::string& path, std::string_view empty, Causes& causes) {
  const Json& selector = at(spec, "selector");
  // Of a DaemonSet Kubernetes has less to say.
  const bool brief = empty == "daemonset";
  const std::size_t before = causes.size();
  if (selector.is_object()) validate_selector(selector, child(path, "selector"), causes);
  else if (!brief) causes.required(child(path, "selector"));
  if (selector.is_object() && causes.size() > before) {
    if (!brief) causes.invalid_raw(child(path, "selector"), go_selector(selector), "invalid label selector");
    return;
  }
  if (selector.is_object() && selects_all(selector))
    return causes.invalid_raw(child(path, "selector"), go_selector(selector), "empty selector is invalid for " + std::string(empty));
  const Json& labels = at(at(at(spec, "template"), "metadata"), "labels");
  if (!selector.is_object() || !selects(selector, labels))
    causes.invalid_raw(child(path, "template.metadata.labels"), go_map(labels), "`selector` does not match template `labels`");
}

// A pod's rules, told of the template that holds it.
void validate_template(const Json& spec, const std::string& path, Causes& causes) {
  const Json& pod = at(spec, "template");
  validate_labels(at(at(pod, "metadata"), "labels"), child(path, "template.labels"), causes);
  Causes inner;
  validate_pod(pod, inner);
  for (Cause& cause : inner.take()) {
    cause.field = child(child(path, "template"), cause.field);
    causes.take_over(std::move(cause));
  }
}

void always_restarts(const Json& spec, const std::string& kind, Causes& causes) {
  const Json& pod = at(at(spec, "template"), "spec");
  if (const auto& policy = text_at(pod, "restartPolicy"); policy != "Always")
    causes.unsupported("spec.template.spec.restartPolicy", policy, {"Always"});
  if (!at(pod, "activeDeadlineSeconds").is_null())
    causes.forbidden("spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in " + kind + " is not Supported");
}

std::optional<std::int64_t> percent_of(const Json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  if (!text.ends_with('%') || text.size() < 2 || text.find_first_not_of("0123456789") != text.size() - 1) return std::nullopt;
  return base::to_int(std::string_view(text).substr(0, text.size() - 1));
}

// An absolute number or a percentage; what it says, 0 when it says nothing sensible.
std::int64_t validate_share(const Json& owner, const std::string& path, std::string_view field, bool most_all, Causes& causes) {
  const Json& value = at(owner, field);
  if (value.is_number_integer()) {
    not_negative(owner, path, {field}, causes);
    return value.get<std::int64_t>();
  }
  const auto percent = percent_of(value);
  if (!percent)
    causes.invalid_raw(child(path, field), go_int_or_string(value), "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
  else if (most_all && *percent > 100) causes.invalid_raw(child(path, field), go_int_or_string(value), "must not be greater than 100%");
  return percent.value_or(0);
}

void validate_deployment(const Json& spec, Causes& causes) {
  not_negative(spec, "spec", {"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"}, causes);
  validate_selection(spec, "spec", "deployment", causes);
  validate_template(spec, "spec", causes);
  always_restarts(spec, "ReplicaSet", causes);
  const Json& strategy = at(spec, "strategy");
  const auto& type = text_at(strategy, "type");
  const Json& rolling = at(strategy, "rollingUpdate");
  const std::string path = "spec.strategy.rollingUpdate";
  if (type == "Recreate") {
    if (!rolling.is_null()) causes.forbidden(path, "may not be specified when strategy `type` is 'Recreate'");
  } else if (type == "RollingUpdate") {
    const auto gone = validate_share(rolling, path, "maxUnavailable", true, causes);
    const auto more = validate_share(rolling, path, "maxSurge", false, causes);
    if (gone == 0 && more == 0) causes.invalid_raw(child(path, "maxUnavailable"), go_int_or_string(at(rolling, "maxUnavailable")), "may not be 0 when `maxSurge` is 0");
  } else {
    causes.unsupported_raw("spec.strategy", "apps.DeploymentStrategy{Type:" + base::dump_json(Json(type)) + ", RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}",
                           {"Recreate", "RollingUpdate"});
  }
  if (int_at(spec, "progressDeadlineSeconds", INT64_MAX) <= int_at(spec, "minReadySeconds"))
    causes.invalid("spec.progressDeadlineSeconds", at(spec, "progressDeadlineSeconds"), "must be greater than minReadySeconds");
}

void validate_replica_set(const Json& spec, Causes& causes) {
  not_negative(spec, "spec", {"replicas", "minReadySeconds"}, causes);
  validate_selection(spec, "spec", "deployment", causes);   // so Kubernetes says it
  validate_template(spec, "spec", causes);
  always_restarts(spec, "ReplicaSet", causes);
}

void validate_daemon_set(const Json& spec, Causes& causes) {
  not_negative(spec, "spec", {"minReadySeconds", "revisionHistoryLimit"}, causes);
  validate_selection(spec, "spec", "daemonset", causes);
  validate_template(spec, "spec", causes);
  always_restarts(spec, "DaemonSet", causes);
  const Json& strategy = at(spec, "updateStrategy");
  const auto& type = text_at(strategy, "type");
  if (type == "OnDelete") return;
  if (type != "RollingUpdate") {
    const std::string shown = "apps.DaemonSetUpdateStrategy{Type:" + base::dump_json(Json(type)) + ", RollingUpdate:(*apps.RollingUpdateDaemonSet)(nil)}";
    return causes.unsupported_raw("spec.updateStrategy", shown, {"RollingUpdate", "OnDelete"});
  }
  const Json& rolling = at(strategy, "rollingUpdate");
  const std::string path = "spec.updateStrategy.rollingUpdate";
  const auto gone = validate_share(rolling, path, "maxUnavailable", true, causes);
  const auto more = validate_share(rolling, path, "maxSurge", true, causes);
  if (gone != 0 && more != 0) causes.invalid_raw(child(path, "maxSurge"), go_int_or_string(at(rolling, "maxSurge")), "may not be set when maxUnavailable is non-zero");
  if (gone == 0 && more == 0) causes.required(child(path, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
}

// `stored`: a job itself, not the template of one.
void validate_job_spec(const Json& spec, const std::string& path, bool stored, Causes& causes) {
  not_negative(spec, path,
               {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"},
               causes);
  const auto& mode = text_at(spec, "completionMode");
  if (!mode.empty() && mode != "NonIndexed" && mode != "Indexed") causes.unsupported(child(path, "completionMode"), mode, {"NonIndexed", "Indexed"});
  if (mode == "Indexed") causes.forbidden(child(path, "completionMode"), "Indexed is not supported by this server");
  // Not carried out by the job controller: refused rather than passed over.
  for (const auto field : {"podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"})
    if (!at(spec, field).is_null()) causes.forbidden(child(path, field), "not supported by this server");
  if (const auto& policy = text_at(spec, "podReplacementPolicy"); !policy.empty() && policy != "Failed" && policy != "TerminatingOrFailed")
    causes.unsupported(child(path, "podReplacementPolicy"), policy, {"Failed", "TerminatingOrFailed"});
  validate_template(spec, path, causes);
  if (const auto& restart = text_at(at(at(spec, "template"), "spec"), "restartPolicy"); restart.empty() || restart == "Always")
    causes.required(child(path, "template.spec.restartPolicy"), "valid values: \"OnFailure\", \"Never\"");
  if (stored) validate_selection(spec, path, "", causes);
}

void validate_job(const Json& object, Causes& causes) {
  const Json& spec = at(object, "spec");
  const Json& metadata = at(object, "metadata");
  const Json& labels = at(at(at(spec, "template"), "metadata"), "labels");
  if (!true_at(spec, "manualSelector") && at(spec, "selector").is_object()) {
    const auto own = [&](std::string_view name, std::string_view value) {
      if (text_at(labels, name) != value)
        causes.invalid_raw("spec.template.metadata.labels", go_map(labels), "must be '" + std::string(value) + "'");
    };
    for (const auto name : {"controller-uid", "batch.kubernetes.io/controller-uid"}) own(name, text_at(metadata, "uid"));
    for (const auto name : {"job-name", "batch.kubernetes.io/job-name"}) own(name, text_at(metadata, "name"));
    const Json generated = {{"matchLabels", {{"batch.kubernetes.io/controller-uid", text_at(metadata, "uid")}}}};
    if (at(spec, "selector") != generated) causes.invalid_raw("spec.selector", go_selector(at(spec, "selector")), "`selector` not auto-generated");
  }
  validate_job_spec(spec, "spec", true, causes);
}

void validate_cron_job(const Json& object, Causes& causes) {
  const Json& spec = at(object, "spec");
  if (const auto& name = text_at(at(object, "metadata"), "name"); name.size() > kMaxCronJobName)
    causes.invalid("metadata.name", name, "must be no more than " + std::to_string(kMaxCronJobName) + " characters");
  const auto& schedule = text_at(spec, "schedule");
  if (schedule.empty()) causes.required("spec.schedule");
  else if (schedule.find("TZ") != std::string::npos) causes.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
  else if (const auto parsed = CronSchedule::parse(schedule); !parsed) causes.invalid("spec.schedule", schedule, parsed.error().message);
  // Schedules are in UTC; a table of zones is not shipped.
  if (const Json& zone = at(spec, "timeZone"); !zone.is_null() && zone != "UTC" && zone != "Etc/UTC")
    causes.invalid("spec.timeZone", zone, "only \"UTC\" and \"Etc/UTC\" are known to this server");
  not_negative(spec, "spec", {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}, causes);
  if (const auto& policy = text_at(spec, "concurrencyPolicy"); policy != "Allow" && policy != "Forbid" && policy != "Replace")
    causes.unsupported("spec.concurrencyPolicy", policy, {"Allow", "Forbid", "Replace"});
  validate_job_spec(at(at(spec, "jobTemplate"), "spec"), "spec.jobTemplate.spec", false, causes);
}

void validate_revision(const Json& object, Causes& causes) {
  if (int_at(object, "revision") < 0) causes.invalid("revision", at(object, "revision"), kNegative);
  if (!at(object, "data").is_object()) causes.required("data", "data is mandatory");
}

void same_selector(const Json& before, const Json& after, Causes& causes) {
  if (at(before, "selector") != at(after, "selector")) causes.invalid_raw("spec.selector", go_selector(at(after, "selector")), kImmutable);
}

void validate_job_update(const Json& before, const Json& after, const Json& status, Causes& causes) {
  same_selector(before, after, causes);
  for (const auto field : {"completions", "completionMode"})
    if (at(before, field) != at(after, field)) causes.invalid(child("spec", field), at(after, field), kImmutable);
  // Where it runs may change until it has started.
  Json template_before = at(before, "template"), template_after = at(after, "template");
  if (true_at(before, "suspend") && at(status, "startTime").is_null())
    for (Json* one : {&template_before, &template_after})
      for (const auto field : {"affinity", "nodeSelector", "tolerations", "schedulingGates"})
        if ((*one)["spec"].is_object()) (*one)["spec"].erase(field);
  if (template_before != template_after) causes.invalid_raw("spec.template", "core.PodTemplateSpec{...}", kImmutable);
}

}  // namespace

void validate_workload(const Kind& kind, const Json& object, Causes& causes) {
  const Json& spec = at(object, "spec");
  if (kind.kind == "Deployment") validate_deployment(spec, causes);
  else if (kind.kind == "ReplicaSet") validate_replica_set(spec, causes);
  else if (kind.kind == "DaemonSet") validate_daemon_set(spec, causes);
  else if (kind.kind == "Job") validate_job(object, causes);
  else if (kind.kind == "CronJob") validate_cron_job(object, causes);
  else validate_revision(object, causes);
}

void validate_workload_update(const Kind& kind, const Json& before, const Json& after, Causes& causes) {
  if (kind.kind == "Job") validate_job_update(at(before, "spec"), at(after, "spec"), at(before, "status"), causes);
  else if (kind.kind == "CronJob") return;   // all of it may change
  else if (kind.kind != "ControllerRevision") same_selector(at(before, "spec"), at(after, "spec"), causes);
  else if (at(before, "data") != at(after, "data")) causes.invalid_raw("data", "runtime.RawExtension{...}", kImmutable);
}

}  // namespace kubeedge::kube::schema
