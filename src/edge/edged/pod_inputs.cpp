#include "edge/edged/pod_inputs.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::edged {
namespace {

constexpr int kDefaultMode = 0644;

void need(std::map<ObjectRef, bool>& objects, bool secret, const Json& name, const Json& optional) {
  if (text(name).empty()) return;
  bool& required = objects[{secret, text(name)}];
  required = required || !flag(optional);
}

const char* kind_of(bool secret) { return secret ? "secret" : "configmap"; }

// A ConfigMap's or Secret's entries as bytes.
std::map<std::string, std::string> entries_of(const ObjectRef& ref, const Json& object) {
  std::map<std::string, std::string> out;
  const Json& plain = member(object, "data");
  if (plain.is_object())
    for (const auto& [key, value] : plain.items()) out[key] = ref.secret ? base::from_base64(text(value)).value_or("") : text(value);
  if (const Json& binary = member(object, "binaryData"); binary.is_object())
    for (const auto& [key, value] : binary.items()) out[key] = base::from_base64(text(value)).value_or("");
  return out;
}

Result<std::string> safe_path(const std::string& path) {
  const auto parts = base::split(path, '/');
  // A name that begins with ".." is the atomic writer's own ("..data").
  if (path.empty() || path.size() > 4096 || path.front() == '/' || path.starts_with("..") || std::find(parts.begin(), parts.end(), "..") != parts.end() || path.find('\0') != std::string::npos) {
    return base::error(Errc::kInvalidArgument, "volume path \"{}\" must be relative and without ..", path.substr(0, 80));
  }
  return path;
}

// Adds the entries of one source; `items` picks and renames them.
Result<void> add_object(std::vector<VolumeFile>& files, const ObjectRef& ref, bool optional, const Json& item_list, int mode, const PodInputs& inputs) {
  const auto found = inputs.objects.find(ref);
  if (found == inputs.objects.end()) {
    if (optional) return {};
    return base::error(Errc::kNotFound, "{} \"{}\" not found", kind_of(ref.secret), ref.name);
  }
  const auto entries = entries_of(ref, found->second);
  if (item_list.empty()) {
    for (const auto& [key, value] : entries) {
      auto path = safe_path(key);
      if (!path) return std::move(path).error();
      files.push_back({*path, value, mode});
    }
    return {};
  }
  for (const Json& item : item_list) {
    const std::string key = text(member(item, "key"));
    const auto entry = entries.find(key);
    if (entry == entries.end()) {
      if (optional) continue;
      return base::error(Errc::kNotFound, "{} \"{}\" references non-existent key: {}", kind_of(ref.secret), ref.name, key);
    }
    auto path = safe_path(text(member(item, "path")));
    if (!path) return std::move(path).error();
    files.push_back({*path, entry->second, static_cast<int>(number(member(item, "mode"), mode))});
  }
  return {};
}

Result<void> add_downward(std::vector<VolumeFile>& files, const Json& pod, const Json& item_list, int mode, const PodFacts& facts) {
  for (const Json& item : item_list) {
    auto path = safe_path(text(member(item, "path")));
    if (!path) return std::move(path).error();
    auto value = field_value(pod, text(member(item, "fieldRef", "fieldPath")), facts);
    if (!value) return std::move(value).error();
    files.push_back({*path, *value, static_cast<int>(number(member(item, "mode"), mode))});
  }
  return {};
}

std::string quoted_map(const Json& map) {
  std::string out;
  if (map.is_object())
    for (const auto& [key, value] : map.items()) out += (out.empty() ? "" : "\n") + key + "=" + base::dump_json(value);
  return out;
}

}  // namespace

std::map<ObjectRef, bool> environment_needs(const Json& container) {
  std::map<ObjectRef, bool> objects;
  for (const Json& from : items(member(container, "envFrom"))) {
    need(objects, false, member(from, "configMapRef", "name"), member(from, "configMapRef", "optional"));
    need(objects, true, member(from, "secretRef", "name"), member(from, "secretRef", "optional"));
  }
  for (const Json& variable : items(member(container, "env"))) {
    const Json& source = member(variable, "valueFrom");
    need(objects, false, member(source, "configMapKeyRef", "name"), member(source, "configMapKeyRef", "optional"));
    need(objects, true, member(source, "secretKeyRef", "name"), member(source, "secretKeyRef", "optional"));
  }
  return objects;
}

PodNeeds needs_of(const Json& pod) {
  PodNeeds needs;
  for (const char* list : {"initContainers", "containers"})
    for (const Json& container : items(member(spec(pod), list)))
      for (const auto& [ref, required] : environment_needs(container)) needs.objects[ref] = needs.objects[ref] || required;
  for (const Json& secret : items(member(spec(pod), "imagePullSecrets"))) need(needs.objects, true, member(secret, "name"), true);
  for (const Json& volume : items(member(spec(pod), "volumes"))) {
    const std::string name = text(member(volume, "name"));
    need(needs.objects, false, member(volume, "configMap", "name"), member(volume, "configMap", "optional"));
    need(needs.objects, true, member(volume, "secret", "secretName"), member(volume, "secret", "optional"));
    for (const Json& source : items(member(volume, "projected", "sources"))) {
      need(needs.objects, false, member(source, "configMap", "name"), member(source, "configMap", "optional"));
      need(needs.objects, true, member(source, "secret", "name"), member(source, "secret", "optional"));
      if (const Json& token = member(source, "serviceAccountToken"); token.is_object()) {
        needs.tokens.push_back({name, text(member(token, "path")), text(member(token, "audience")), number(member(token, "expirationSeconds"), 3600)});
      }
    }
  }
  return needs;
}

Result<std::string> field_value(const Json& pod, const std::string& path, const PodFacts& facts) {
  if (path == "metadata.name") return pod_name(pod);
  if (path == "metadata.namespace") return pod_namespace(pod);
  if (path == "metadata.uid") return pod_uid(pod);
  if (path == "spec.nodeName") return facts.node_name;
  if (path == "spec.serviceAccountName") return text(member(spec(pod), "serviceAccountName"), "default");
  if (path == "status.hostIP" || path == "status.hostIPs") return facts.host_ip;
  if (path == "status.podIP" || path == "status.podIPs") return facts.pod_ip;
  for (const char* map : {"labels", "annotations"}) {
    const std::string prefix = std::string("metadata.") + map;
    if (path == prefix) return quoted_map(member(pod, "metadata", map));
    if (path.starts_with(prefix + "['") && path.ends_with("']")) {
      return text(member(member(pod, "metadata", map), path.substr(prefix.size() + 2, path.size() - prefix.size() - 4).c_str()));
    }
  }
  return base::error(Errc::kInvalidArgument, "unsupported fieldPath: {}", path.substr(0, 120));
}

std::string expand(const std::string& input, const std::map<std::string, std::string>& values) {
  std::string out;
  for (std::size_t i = 0; i < input.size(); ++i) {
    if (input[i] != '$' || i + 1 == input.size()) {
      out += input[i];
      continue;
    }
    if (input[i + 1] == '$') {  // "$$" is a "$" that means nothing
      out += '$';
      ++i;
      continue;
    }
    const auto close = input[i + 1] == '(' ? input.find(')', i + 2) : std::string::npos;
    if (close == std::string::npos) {
      out += '$';
      continue;
    }
    const auto found = values.find(input.substr(i + 2, close - i - 2));
    out += found == values.end() ? input.substr(i, close - i + 1) : found->second;
    i = close;
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> environment(const Json& pod, const Json& container, const PodInputs& inputs, const PodFacts& facts) {
  std::vector<std::pair<std::string, std::string>> out;
  std::map<std::string, std::string> values;
  const auto set = [&](const std::string& name, const std::string& value) {
    out.erase(std::remove_if(out.begin(), out.end(), [&](const auto& old) { return old.first == name; }), out.end());
    out.emplace_back(name, value);
    values[name] = value;
  };
  for (const Json& from : items(member(container, "envFrom"))) {
    for (const bool secret : {false, true}) {
      const Json& source = member(from, secret ? "secretRef" : "configMapRef");
      if (!source.is_object()) continue;
      const ObjectRef ref{secret, text(member(source, "name"))};
      const auto found = inputs.objects.find(ref);
      if (found == inputs.objects.end()) {
        if (flag(member(source, "optional"))) continue;
        return base::error(Errc::kNotFound, "{} \"{}\" not found", kind_of(secret), ref.name);
      }
      for (const auto& [key, value] : entries_of(ref, found->second)) set(text(member(from, "prefix")) + key, value);
    }
  }
  for (const Json& variable : items(member(container, "env"))) {
    const std::string name = text(member(variable, "name"));
    const Json& source = member(variable, "valueFrom");
    if (!source.is_object()) {
      set(name, expand(text(member(variable, "value")), values));
      continue;
    }
    if (const Json& field = member(source, "fieldRef"); field.is_object()) {
      auto value = field_value(pod, text(member(field, "fieldPath")), facts);
      if (!value) return std::move(value).error();
      set(name, *value);
      continue;
    }
    const bool secret = member(source, "secretKeyRef").is_object();
    const Json& key_ref = member(source, secret ? "secretKeyRef" : "configMapKeyRef");
    const ObjectRef ref{secret, text(member(key_ref, "name"))};
    const std::string key = text(member(key_ref, "key"));
    const auto found = inputs.objects.find(ref);
    const bool optional = flag(member(key_ref, "optional"));
    if (found == inputs.objects.end()) {
      if (optional) continue;
      return base::error(Errc::kNotFound, "{} \"{}\" not found", kind_of(secret), ref.name);
    }
    const auto entries = entries_of(ref, found->second);
    const auto entry = entries.find(key);
    if (entry == entries.end()) {
      if (optional) continue;
      return base::error(Errc::kNotFound, "couldn't find key {} in {} {}/{}", key, secret ? "Secret" : "ConfigMap", pod_namespace(pod), ref.name);
    }
    set(name, entry->second);
  }
  set("KUBERNETES_SERVICE_HOST", "");
  set("KUBERNETES_SERVICE_PORT", "");
  return out;
}

Result<std::vector<VolumeFile>> volume_files(const Json& pod, const Json& volume, const PodInputs& inputs, const PodFacts& facts) {
  std::vector<VolumeFile> files;
  const auto mode_of = [](const Json& source) { return static_cast<int>(number(member(source, "defaultMode"), kDefaultMode)); };
  Result<void> added;
  if (const Json& map = member(volume, "configMap"); map.is_object()) {
    added = add_object(files, {false, text(member(map, "name"))}, flag(member(map, "optional")), items(member(map, "items")), mode_of(map), inputs);
  } else if (const Json& secret = member(volume, "secret"); secret.is_object()) {
    added = add_object(files, {true, text(member(secret, "secretName"))}, flag(member(secret, "optional")), items(member(secret, "items")), mode_of(secret), inputs);
  } else if (const Json& downward = member(volume, "downwardAPI"); downward.is_object()) {
    added = add_downward(files, pod, items(member(downward, "items")), mode_of(downward), facts);
  } else if (const Json& projected = member(volume, "projected"); projected.is_object()) {
    const int mode = mode_of(projected);
    for (const Json& source : items(member(projected, "sources"))) {
      for (const bool is_secret : {false, true}) {
        const Json& object = member(source, is_secret ? "secret" : "configMap");
        if (!object.is_object() || !added) continue;
        added = add_object(files, {is_secret, text(member(object, "name"))}, flag(member(object, "optional")), items(member(object, "items")), mode, inputs);
      }
      if (added && member(source, "downwardAPI").is_object()) added = add_downward(files, pod, items(member(source, "downwardAPI", "items")), mode, facts);
      if (const Json& token = member(source, "serviceAccountToken"); added && token.is_object()) {
        auto path = safe_path(text(member(token, "path")));
        if (!path) return std::move(path).error();
        const auto found = inputs.tokens.find(text(member(volume, "name")) + "/" + *path);
        if (found == inputs.tokens.end()) return base::error(Errc::kUnavailable, "no token for service account \"{}\" yet", text(member(spec(pod), "serviceAccountName"), "default"));
        // Readable by the container's user alone where it has one; root reads it anyway.
        files.push_back({*path, found->second, mode});
      }
      if (!added) break;
    }
  }
  if (!added) return std::move(added).error();
  return files;
}

}  // namespace kubeedge::edged
