// Filling in what an object does not say. Internal.
#pragma once

#include "kube/schema/causes.h"

namespace kubeedge::kube::schema {

inline void put(Json& object, std::string_view name, Json value) {
  if (at(object, name).is_null()) object[std::string(name)] = std::move(value);
}
inline void put_text(Json& object, std::string_view name, std::string_view value) {
  if (text_at(object, name).empty()) object[std::string(name)] = value;
}
inline void put_number(Json& object, std::string_view name, int value) {
  if (int_at(object, name) == 0) object[std::string(name)] = value;
}

// In defaults_workloads.cpp: the kinds of apps and batch. `created`: the object is new, not changed.
void default_workload(const Kind& kind, Json& object, bool created);

}  // namespace kubeedge::kube::schema
