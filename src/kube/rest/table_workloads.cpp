// Tables of the kinds of apps and batch.
#include "kube/rest/table_view.h"
#include "kube/schema/label_selector.h"

namespace kubeedge::kube::rest {
namespace {

constexpr Column column(const char* name, int priority = 0) { return {name, "string", priority, ""}; }
constexpr Column number(const char* name) { return {name, "integer", 0, ""}; }

std::int64_t count(const Json& object, std::initializer_list<std::string_view> path) {
  const Json& value = at(object, path);
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

std::string ready_of(const Json& o) { return fmt::format("{}/{}", count(o, {"status", "readyReplicas"}), count(o, {"spec", "replicas"})); }

// Of a pod template's containers: their names, their images.
std::string containers(const Json& pod_template, std::string_view field) {
  std::string out;
  const Json& all = at(pod_template, {"spec", "containers"});
  for (const Json& one : all.is_array() ? all : Json::array()) out += (out.empty() ? "" : ",") + text(one, {field});
  return out;
}

void add_wide(Json& cells, const Json& spec) {
  const Json& pod = at(spec, {"template"});
  for (const auto field : {"name", "image"}) cells.push_back(containers(pod, field));
  cells.push_back(schema::selector_text(at(spec, {"selector"})));
}

Json deployment_cells(const Json& o, std::int64_t now) {
  Json out = Json::array({text(o, {"metadata", "name"}), ready_of(o), count(o, {"status", "updatedReplicas"}), count(o, {"status", "availableReplicas"}), age(o, now)});
  add_wide(out, at(o, {"spec"}));
  return out;
}

Json replica_set_cells(const Json& o, std::int64_t now) {
  Json out = Json::array({text(o, {"metadata", "name"}), count(o, {"spec", "replicas"}), count(o, {"status", "replicas"}), count(o, {"status", "readyReplicas"}), age(o, now)});
  add_wide(out, at(o, {"spec"}));
  return out;
}

Json daemon_set_cells(const Json& o, std::int64_t now) {
  std::string nodes;
  if (const Json& selector = at(o, {"spec", "template", "spec", "nodeSelector"}); selector.is_object())
    for (const auto& item : selector.items()) nodes += (nodes.empty() ? "" : ",") + item.key() + "=" + text(selector, {item.key()});
  Json out = Json::array({text(o, {"metadata", "name"})});
  for (const auto field : {"desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"}) out.push_back(count(o, {"status", field}));
  out.push_back(nodes.empty() ? "<none>" : nodes);
  out.push_back(age(o, now));
  add_wide(out, at(o, {"spec"}));
  return out;
}

Json revision_cells(const Json& o, std::int64_t now) {
  std::string controller = "<none>";
  const Json& owners = at(o, {"metadata", "ownerReferences"});
  for (const Json& owner : owners.is_array() ? owners : Json::array()) {
    if (at(owner, {"controller"}) != true) continue;
    const std::string version = text(owner, {"apiVersion"});
    const auto slash = version.find('/');
    controller = base::lower(text(owner, {"kind"})) + (slash == std::string::npos ? "" : "." + version.substr(0, slash)) + "/" + text(owner, {"name"});
  }
  return Json::array({text(o, {"metadata", "name"}), controller, count(o, {"revision"}), age(o, now)});
}

std::string job_status(const Json& o) {
  const auto is = [&](std::string_view type) {
    const Json& conditions = at(o, {"status", "conditions"});
    for (const Json& one : conditions.is_array() ? conditions : Json::array())
      if (text(one, {"type"}) == type) return text(one, {"status"}) == "True";
    return false;
  };
  if (is("Complete")) return "Complete";
  if (is("Failed")) return "Failed";
  if (!at(o, {"metadata", "deletionTimestamp"}).is_null()) return "Terminating";
  if (is("Suspended")) return "Suspended";
  return is("FailureTarget") ? "FailureTarget" : "Running";
}

Json job_cells(const Json& o, std::int64_t now) {
  const std::int64_t done = count(o, {"status", "succeeded"}), parallel = count(o, {"spec", "parallelism"});
  std::string completions = fmt::format("{}/1", done);
  if (!at(o, {"spec", "completions"}).is_null()) completions = fmt::format("{}/{}", done, count(o, {"spec", "completions"}));
  else if (parallel > 1) completions += fmt::format(" of {}", parallel);
  std::string took;
  if (const auto begun = base::from_rfc3339(text(o, {"status", "startTime"})))
    took = human_duration(base::from_rfc3339(text(o, {"status", "completionTime"})).value_or(now) - *begun);
  Json out = Json::array({text(o, {"metadata", "name"}), job_status(o), completions, took, age(o, now)});
  add_wide(out, at(o, {"spec"}));
  return out;
}

Json cron_job_cells(const Json& o, std::int64_t now) {
  const Json& active = at(o, {"status", "active"});
  const Json& last = at(o, {"status", "lastScheduleTime"});
  Json out = Json::array({text(o, {"metadata", "name"}), text(o, {"spec", "schedule"}), text(o, {"spec", "timeZone"}, "<none>"),
                          at(o, {"spec", "suspend"}) == true ? "True" : "False", active.is_array() ? active.size() : 0,
                          last.is_string() ? since(last, now) : "<none>", age(o, now)});
  add_wide(out, at(o, {"spec", "jobTemplate", "spec"}));
  return out;
}

}  // namespace

const std::vector<View>& workload_views() {
  static const Column names = column("Containers", 1), images = column("Images", 1), selector = column("Selector", 1);
  static const std::vector<View> all = {
      {"apps", "Deployment", {kName, column("Ready"), column("Up-to-date"), column("Available"), kAge, names, images, selector}, deployment_cells},
      {"apps", "ReplicaSet", {kName, number("Desired"), number("Current"), number("Ready"), kAge, names, images, selector}, replica_set_cells},
      {"apps", "DaemonSet",
       {kName, number("Desired"), number("Current"), number("Ready"), number("Up-to-date"), number("Available"), column("Node Selector"), kAge, names, images, selector},
       daemon_set_cells},
      {"apps", "ControllerRevision", {kName, column("Controller"), column("Revision"), kAge}, revision_cells},
      {"batch", "Job", {kName, column("Status"), column("Completions"), column("Duration"), kAge, names, images, selector}, job_cells},
      {"batch", "CronJob",
       {kName, column("Schedule"), column("Timezone"), {"Suspend", "boolean", 0, ""}, number("Active"), column("Last Schedule"), kAge, names, images, selector},
       cron_job_cells},
  };
  return all;
}

}  // namespace kubeedge::kube::rest
