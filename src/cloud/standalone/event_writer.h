// Kubernetes' Events as the controllers write them.
#pragma once

#include <string>

#include "base/text.h"
#include "cloud/standalone/json_at.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud {

inline const kube::Resource kEvents{"", "v1", "events"};

// What `component` has to say of `object`. `type`: Normal or Warning.
inline nlohmann::json event_of(const nlohmann::json& object, const char* type, const std::string& reason, const std::string& message, const char* component,
                               std::int64_t now_unix_s) {
  const std::string ns = json_text(object, {"metadata", "namespace"}), name = json_text(object, {"metadata", "name"}), now = base::rfc3339(now_unix_s);
  return {{"apiVersion", "v1"}, {"kind", "Event"}, {"metadata", {{"name", name + "." + base::random_hex(8)}, {"namespace", ns}}},
          {"involvedObject", {{"apiVersion", json_text(object, {"apiVersion"})}, {"kind", json_text(object, {"kind"})}, {"namespace", ns}, {"name", name},
                              {"uid", json_text(object, {"metadata", "uid"})}}},
          {"reason", reason}, {"message", message}, {"type", type}, {"count", 1}, {"firstTimestamp", now}, {"lastTimestamp", now}, {"source", {{"component", component}}}};
}

}  // namespace kubeedge::cloud
