#include "kube/rest/table.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "kube/rest/table_view.h"

namespace kubeedge::kube::rest {
namespace {

// A pod's STATUS as kubectl users know it: the reason that explains it best.
Json pod_cells(const Json& pod, std::int64_t now) {
  std::string reason = text(pod, {"status", "reason"}, text(pod, {"status", "phase"}));
  const Json& specs = at(pod, {"spec", "containers"});
  const Json& statuses = at(pod, {"status", "containerStatuses"});
  const Json& init_statuses = at(pod, {"status", "initContainerStatuses"});
  std::size_t ready = 0;
  std::int64_t restarts = 0;
  std::string last_restart;
  const auto restarted = [&](const Json& status) {
    const Json& count = at(status, {"restartCount"});
    restarts += count.is_number_integer() ? count.get<std::int64_t>() : 0;
    last_restart = std::max(last_restart, text(status, {"lastState", "terminated", "finishedAt"}));
  };
  const auto ended = [&](const Json& state, const std::string& prefix) {
    std::string why = text(state, {"terminated", "reason"});
    if (why.empty()) {
      const std::string signal = text(state, {"terminated", "signal"});
      why = signal.empty() || signal == "0" ? "ExitCode:" + text(state, {"terminated", "exitCode"}, "0") : "Signal:" + signal;
    }
    reason = prefix + why;
  };
  bool initializing = false;
  std::size_t number = 0;
  for (const Json& status : init_statuses.is_array() ? init_statuses : Json::array()) {
    restarted(status);
    const Json& state = at(status, {"state"});
    const std::size_t index = number++;
    if (at(state, {"terminated", "exitCode"}) == 0) continue;
    if (!at(state, {"terminated"}).is_null()) {
      ended(state, "Init:");
    } else if (const std::string why = text(state, {"waiting", "reason"}); !why.empty() && why != "PodInitializing") {
      reason = "Init:" + why;
    } else {
      reason = fmt::format("Init:{}/{}", index, init_statuses.size());
    }
    initializing = true;
    break;
  }
  if (!initializing) {
    restarts = 0;
    last_restart.clear();
    bool running = false;
    for (std::size_t i = statuses.is_array() ? statuses.size() : 0; i-- > 0;) {
      const Json& status = statuses[i];
      restarted(status);
      const Json& state = at(status, {"state"});
      if (const std::string why = text(state, {"waiting", "reason"}); !why.empty()) {
        reason = why;
      } else if (!at(state, {"terminated"}).is_null()) {
        ended(state, "");
      } else if (at(status, {"ready"}) == true && !at(state, {"running"}).is_null()) {
        running = true;
        ++ready;
      }
    }
    if (reason == "Completed" && running) reason = ready > 0 ? "Running" : "NotReady";
  }
  if (!at(pod, {"metadata", "deletionTimestamp"}).is_null()) reason = text(pod, {"status", "reason"}) == "NodeLost" ? "Unknown" : "Terminating";
  std::string restart_text = std::to_string(restarts);
  if (restarts > 0 && !last_restart.empty()) restart_text += fmt::format(" ({} ago)", since(Json(last_restart), now));
  return Json::array({text(pod, {"metadata", "name"}), fmt::format("{}/{}", ready, specs.is_array() ? specs.size() : 0), reason, restart_text, age(pod, now),
                      text(pod, {"status", "podIP"}, "<none>"), text(pod, {"spec", "nodeName"}, "<none>"), text(pod, {"status", "nominatedNodeName"}, "<none>"), "<none>"});
}

Json node_cells(const Json& node, std::int64_t now) {
  std::string status = "Unknown";
  for (const Json& condition : at(node, {"status", "conditions"}).is_array() ? at(node, {"status", "conditions"}) : Json::array())
    if (text(condition, {"type"}) == "Ready") status = text(condition, {"status"}) == "True" ? "Ready" : "NotReady";
  if (at(node, {"spec", "unschedulable"}) == true) status += ",SchedulingDisabled";
  std::vector<std::string> roles;
  constexpr std::string_view kRole = "node-role.kubernetes.io/";
  if (const Json& labels = at(node, {"metadata", "labels"}); labels.is_object()) {
    for (const auto& [key, value] : labels.items())
      if (key.starts_with(kRole) && key.size() > kRole.size()) roles.push_back(key.substr(kRole.size()));
  }
  std::sort(roles.begin(), roles.end());
  std::string internal = "<none>", external = "<none>";
  for (const Json& address : at(node, {"status", "addresses"}).is_array() ? at(node, {"status", "addresses"}) : Json::array()) {
    if (text(address, {"type"}) == "InternalIP" && internal == "<none>") internal = text(address, {"address"});
    if (text(address, {"type"}) == "ExternalIP" && external == "<none>") external = text(address, {"address"});
  }
  return Json::array({text(node, {"metadata", "name"}), status, roles.empty() ? std::string("<none>") : fmt::format("{}", fmt::join(roles, ",")), age(node, now),
                      text(node, {"status", "nodeInfo", "kubeletVersion"}), internal, external, text(node, {"status", "nodeInfo", "osImage"}, "<unknown>"),
                      text(node, {"status", "nodeInfo", "kernelVersion"}, "<unknown>"), text(node, {"status", "nodeInfo", "containerRuntimeVersion"}, "<unknown>")});
}

Json event_cells(const Json& event, std::int64_t now) {
  std::string seen = text(event, {"lastTimestamp"}, text(event, {"eventTime"}, text(event, {"firstTimestamp"})));
  return Json::array({seen.empty() ? "<unknown>" : since(Json(seen), now), text(event, {"type"}), text(event, {"reason"}),
                      base::lower(text(event, {"involvedObject", "kind"})) + "/" + text(event, {"involvedObject", "name"}), text(event, {"involvedObject", "fieldPath"}),
                      text(event, {"source", "component"}, text(event, {"reportingComponent"})), text(event, {"message"}), text(event, {"count"}, "1"),
                      text(event, {"metadata", "name"})});
}

std::size_t size_of(const Json& value) { return value.is_object() || value.is_array() ? value.size() : 0; }

const std::vector<View>& views() {
  static const std::vector<View> all = {
      {"", "Pod",
       {kName, {"Ready", "string", 0, ""}, {"Status", "string", 0, ""}, {"Restarts", "string", 0, ""}, kAge, {"IP", "string", 1, ""}, {"Node", "string", 1, ""},
        {"Nominated Node", "string", 1, ""}, {"Readiness Gates", "string", 1, ""}},
       pod_cells},
      {"", "Node",
       {kName, {"Status", "string", 0, ""}, {"Roles", "string", 0, ""}, kAge, {"Version", "string", 0, ""}, {"Internal-IP", "string", 1, ""}, {"External-IP", "string", 1, ""},
        {"OS-Image", "string", 1, ""}, {"Kernel-Version", "string", 1, ""}, {"Container-Runtime", "string", 1, ""}},
       node_cells},
      {"", "Event",
       {{"Last Seen", "string", 0, ""}, {"Type", "string", 0, ""}, {"Reason", "string", 0, ""}, {"Object", "string", 0, ""}, {"Subobject", "string", 1, ""},
        {"Source", "string", 1, ""}, {"Message", "string", 0, ""}, {"Count", "integer", 1, ""}, {"Name", "string", 1, "name"}},
       event_cells},
      {"", "Namespace", {kName, {"Status", "string", 0, ""}, kAge},
       [](const Json& o, std::int64_t now) { return Json::array({text(o, {"metadata", "name"}), text(o, {"status", "phase"}), age(o, now)}); }},
      {"", "ConfigMap", {kName, {"Data", "string", 0, ""}, kAge},
       [](const Json& o, std::int64_t now) { return Json::array({text(o, {"metadata", "name"}), size_of(at(o, {"data"})) + size_of(at(o, {"binaryData"})), age(o, now)}); }},
      {"", "Secret", {kName, {"Type", "string", 0, ""}, {"Data", "string", 0, ""}, kAge},
       [](const Json& o, std::int64_t now) { return Json::array({text(o, {"metadata", "name"}), text(o, {"type"}), size_of(at(o, {"data"})), age(o, now)}); }},
      {"", "ServiceAccount", {kName, {"Secrets", "string", 0, ""}, kAge},
       [](const Json& o, std::int64_t now) { return Json::array({text(o, {"metadata", "name"}), size_of(at(o, {"secrets"})), age(o, now)}); }},
      {"coordination.k8s.io", "Lease", {kName, {"Holder", "string", 0, ""}, kAge},
       [](const Json& o, std::int64_t now) { return Json::array({text(o, {"metadata", "name"}), text(o, {"spec", "holderIdentity"}), age(o, now)}); }},
  };
  return all;
}

const View& view_of(const schema::Kind& kind) {
  static const View plain = {"", "", {kName, kAge}, [](const Json& o, std::int64_t now) { return Json::array({text(o, {"metadata", "name"}), age(o, now)}); }};
  for (const auto* part : {&views(), &access_views(), &workload_views()})
    for (const View& view : *part)
      if (view.group == kind.group && view.kind == kind.kind) return view;
  return plain;
}

}  // namespace

std::string human_duration(std::int64_t seconds) {
  if (seconds < -1) return "<invalid>";
  seconds = std::max<std::int64_t>(0, seconds);
  const std::int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (minutes < 10) return seconds % 60 == 0 ? fmt::format("{}m", minutes) : fmt::format("{}m{}s", minutes, seconds % 60);
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) return minutes % 60 == 0 ? fmt::format("{}h", hours) : fmt::format("{}h{}m", hours, minutes % 60);
  if (hours < 48) return fmt::format("{}h", hours);
  if (hours < 192) return hours % 24 == 0 ? fmt::format("{}d", days) : fmt::format("{}d{}h", days, hours % 24);
  if (days < 730) return fmt::format("{}d", days);
  const std::int64_t years = days / 365;
  if (days < 2920) return days % 365 == 0 ? fmt::format("{}y", years) : fmt::format("{}y{}d", years, days % 365);
  return fmt::format("{}y", years);
}

Json table(const schema::Kind& kind, std::span<const Json> objects, const std::string& version, const std::string& include, const std::string& resource_version,
           std::int64_t now_unix_s, bool with_columns) {
  const View& view = view_of(kind);
  Json columns = Json::array();
  if (with_columns) {
    for (const Column& column : view.columns)
      columns.push_back({{"name", column.name}, {"type", column.type}, {"format", column.format}, {"description", ""}, {"priority", column.priority}});
  }
  Json rows = Json::array();
  for (const Json& object : objects) {
    Json row = {{"cells", view.cells(object, now_unix_s)}};
    if (include == "Object") {
      row["object"] = object;
    } else if (include != "None") {
      row["object"] = {{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/" + version}, {"metadata", object.value("metadata", Json::object())}};
    }
    rows.push_back(std::move(row));
  }
  Json metadata = Json::object();
  if (!resource_version.empty()) metadata["resourceVersion"] = resource_version;
  return {{"kind", "Table"}, {"apiVersion", "meta.k8s.io/" + version}, {"metadata", metadata}, {"columnDefinitions", with_columns ? columns : Json()}, {"rows", rows}};
}

}  // namespace kubeedge::kube::rest
