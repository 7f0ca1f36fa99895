// The objects that a pod is made of besides itself: ConfigMaps, Secrets, tokens; and the environment made from them.
// Plain logic, no I/O.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <kubeedge/result.h>

#include "edge/edged/json_view.h"

namespace kubeedge::edged {

struct ObjectRef {
  bool secret = false;
  std::string name;
  auto operator<=>(const ObjectRef&) const = default;
};

// A projected service-account token: one for each volume source.
struct TokenNeed {
  std::string volume, path;        // which file of which volume
  std::string audience;            // "" = the API server's
  std::int64_t expiration_s = 3600;
};

struct PodNeeds {
  std::map<ObjectRef, bool> objects;     // -> required by at least one reference (false: all are optional)
  std::vector<TokenNeed> tokens;
};

// What volumes, environments and pull secrets name.
PodNeeds needs_of(const Json& pod);
// A container's own part of it: only what its environment needs.
std::map<ObjectRef, bool> environment_needs(const Json& container);

// What was fetched.
struct PodInputs {
  std::map<ObjectRef, Json> objects;
  std::map<std::string, std::string> tokens;   // "volume/path" -> token
};

struct PodFacts {
  std::string node_name, host_ip, pod_ip;
};

// A field of the pod as downwardAPI and fieldRef name it ("metadata.name", "metadata.labels['x']", "status.podIP" ...).
Result<std::string> field_value(const Json& pod, const std::string& path, const PodFacts& facts);

// The environment in order; KUBERNETES_SERVICE_HOST and _PORT come last and empty (edge-node 4.5). An error names the
// missing object or key: CreateContainerConfigError.
Result<std::vector<std::pair<std::string, std::string>>> environment(const Json& pod, const Json& container, const PodInputs& inputs, const PodFacts& facts);

// $(NAME) -> value; $$(NAME) -> $(NAME); unknown names stay.
std::string expand(const std::string& text, const std::map<std::string, std::string>& values);

// One file of a volume.
struct VolumeFile {
  std::string path;      // relative, checked: no "..", not absolute
  std::string content;
  int mode = 0644;
};
// The files of a configMap, secret, downwardAPI or projected volume. An error names what is missing.
Result<std::vector<VolumeFile>> volume_files(const Json& pod, const Json& volume, const PodInputs& inputs, const PodFacts& facts);

}  // namespace kubeedge::edged
