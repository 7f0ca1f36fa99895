// How a kind's row of a Table is made, and reading objects for it. Only the table*.cpp files include this.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "kube/rest/table.h"

namespace kubeedge::kube::rest {

using Json = nlohmann::json;

struct Column {
  const char* name;
  const char* type;
  int priority;     // > 0: only with -o wide
  const char* format;
};
using Cells = Json (*)(const Json& object, std::int64_t now);

struct View {
  std::string_view group, kind;
  std::vector<Column> columns;
  Cells cells;
};

constexpr Column kName{"Name", "string", 0, "name"};
constexpr Column kAge{"Age", "string", 0, ""};

// In table_access.cpp: roles and their bindings, certificates, volumes, classes.
const std::vector<View>& access_views();
// In table_workloads.cpp: the kinds of apps and batch.
const std::vector<View>& workload_views();

inline const Json& at(const Json& object, std::initializer_list<std::string_view> path) {
  static const Json none;
  const Json* here = &object;
  for (const std::string_view part : path) {
    if (!here->is_object()) return none;
    const auto found = here->find(std::string(part));
    if (found == here->end()) return none;
    here = &*found;
  }
  return *here;
}

inline std::string text(const Json& object, std::initializer_list<std::string_view> path, std::string_view otherwise = "") {
  const Json& value = at(object, path);
  if (value.is_string() && !value.get_ref<const std::string&>().empty()) return value.get<std::string>();
  return value.is_number() || value.is_boolean() ? base::dump_json(value) : std::string(otherwise);
}

inline std::string since(const Json& time, std::int64_t now) {
  const auto then = time.is_string() ? base::from_rfc3339(time.get_ref<const std::string&>()) : std::nullopt;
  return then ? human_duration(now - *then) : "<unknown>";
}

inline std::string age(const Json& object, std::int64_t now) { return since(at(object, {"metadata", "creationTimestamp"}), now); }

}  // namespace kubeedge::kube::rest
