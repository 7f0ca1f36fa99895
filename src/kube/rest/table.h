// Tables: what `kubectl get` prints. Pure.
#pragma once

#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {

// A meta.k8s.io Table of `objects`. `include` = None, Metadata or Object (the query's includeObject).
// `with_columns` = false for the later events of a watch.
nlohmann::json table(const schema::Kind& kind, std::span<const nlohmann::json> objects, const std::string& version, const std::string& include,
                     const std::string& resource_version, std::int64_t now_unix_s, bool with_columns);

// "5s", "3m", "2d4h": as kubectl shows ages.
std::string human_duration(std::int64_t seconds);

}  // namespace kubeedge::kube::rest
