// What kube-apiserver refuses of a Pod, as far as people meet it: the runtime on the edge reads the rest and says so in an event.
#include <algorithm>
#include <map>
#include <set>

#include "kube/schema/causes.h"
#include "base/json.h"
#include "kube/schema/syntax.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::int64_t kMaxInt32 = 2147483647;
constexpr std::string_view kPortRange = "must be between 1 and 65535, inclusive";

void one_of(const Json& owner, const std::string& path, std::string_view field, const std::vector<std::string_view>& allowed,
            Causes& causes) {
  const auto& value = text_at(owner, field);
  if (!value.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end())
    causes.unsupported(child(path, field), value, allowed);
}

bool steps_back(std::string_view path) {
  for (;;) {
    const auto slash = path.find('/');
    if (path.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
}

void validate_items(const Json& source, const std::string& path, Causes& causes) {
  const Json& items = list_at(source, "items");
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string here = child(child(path, "items"), i);
    if (text_at(items[i], "key").empty()) causes.required(child(here, "key"));
    const auto& to = text_at(items[i], "path");
    if (to.empty()) causes.required(child(here, "path"));
    else if (to.starts_with('/')) causes.invalid(child(here, "path"), to, "must be a relative path");
    else if (steps_back(to)) causes.invalid(child(here, "path"), to, "must not contain '..'");
    else if (to.starts_with("..")) causes.invalid(child(here, "path"), to, "must not start with '..'");
  }
  const auto mode = int_at(source, "defaultMode");
  if (mode < 0 || mode > 0777)
    causes.invalid(child(path, "defaultMode"), mode, "must be a number between 0 and 0777 (octal), both inclusive");
}

void validate_volume(const Json& volume, const std::string& path, Causes& causes) {
  std::size_t kinds = 0;
  for (const auto& item : volume.items()) {
    if (item.key() == "name" || item.value().is_null()) continue;
    if (++kinds > 1) causes.forbidden(child(path, item.key()), "may not specify more than 1 volume type");
  }
  if (kinds == 0) causes.required(path, "must specify a volume type");
  if (const Json& host = at(volume, "hostPath"); host.is_object()) {
    const std::string here = child(path, "hostPath");
    const auto& to = text_at(host, "path");
    if (to.empty()) causes.required(child(here, "path"));
    else if (steps_back(to)) causes.invalid(child(here, "path"), to, "must not contain '..'");
    one_of(host, here, "type", {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"},
           causes);
  }
  if (const Json& secret = at(volume, "secret"); secret.is_object()) {
    if (text_at(secret, "secretName").empty()) causes.required(child(child(path, "secret"), "secretName"));
    validate_items(secret, child(path, "secret"), causes);
  }
  if (const Json& map = at(volume, "configMap"); map.is_object()) {
    if (text_at(map, "name").empty()) causes.required(child(child(path, "configMap"), "name"));
    validate_items(map, child(path, "configMap"), causes);
  }
  if (const Json& claim = at(volume, "persistentVolumeClaim"); claim.is_object() && text_at(claim, "claimName").empty())
    causes.required(child(child(path, "persistentVolumeClaim"), "claimName"));
  if (const Json& projected = at(volume, "projected"); projected.is_object()) {
    const std::string here = child(path, "projected");
    const Json& sources = list_at(projected, "sources");
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const std::string source = child(child(here, "sources"), i);
      for (const auto kind : {"secret", "configMap"}) {
        const Json& what = at(sources[i], kind);
        if (!what.is_object()) continue;
        if (text_at(what, "name").empty()) causes.required(child(child(source, kind), "name"));
        validate_items(what, child(source, kind), causes);
      }
      if (const Json& token = at(sources[i], "serviceAccountToken"); token.is_object()) {
        const auto seconds = int_at(token, "expirationSeconds", 3600);
        const std::string field = child(child(source, "serviceAccountToken"), "expirationSeconds");
        if (seconds < 600) causes.invalid(field, seconds, "may not specify a duration less than 10 minutes");
        if (seconds > (std::int64_t{1} << 32)) causes.invalid(field, seconds, "may not specify a duration larger than 2^32 seconds");
        if (text_at(token, "path").empty()) causes.required(child(here, "path"));  // where Kubernetes says it is
      }
    }
  }
}

// The names of the volumes that a container may mount.
std::set<std::string> validate_volumes(const Json& spec, Causes& causes) {
  std::set<std::string> names;
  const Json& volumes = list_at(spec, "volumes");
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    const std::string path = child("spec.volumes", i);
    const auto& name = text_at(volumes[i], "name");
    const auto errors = causes.size();
    if (volumes[i].is_object()) validate_volume(volumes[i], path, causes);
    if (name.empty()) causes.required(child(path, "name"));
    else causes.invalid(child(path, "name"), name, dns1123_label(name));
    if (names.contains(name)) causes.duplicate(child(path, "name"), name);
    if (causes.size() == errors) names.insert(name);  // what is wrong cannot be mounted
  }
  return names;
}

void validate_ports(const Json& container, const std::string& path, Causes& causes) {
  const Json& ports = list_at(container, "ports");
  std::set<std::string> names;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string here = child(child(path, "ports"), i);
    if (const auto& name = text_at(ports[i], "name"); !name.empty()) {
      const auto errors = port_name(name);
      causes.invalid(child(here, "name"), name, errors);
      if (errors.empty() && !names.insert(name).second) causes.duplicate(child(here, "name"), name);
    }
    const auto port = int_at(ports[i], "containerPort");
    if (port == 0) causes.required(child(here, "containerPort"));
    else if (port < 1 || port > 65535) causes.invalid(child(here, "containerPort"), port, kPortRange);
    const auto host = int_at(ports[i], "hostPort");
    if (host < 0 || host > 65535) causes.invalid(child(here, "hostPort"), host, kPortRange);
    one_of(ports[i], here, "protocol", {"SCTP", "TCP", "UDP"}, causes);
  }
}

void validate_field_ref(const Json& field, const std::string& path, Causes& causes) {
  const auto& what = text_at(field, "fieldPath");
  if (what.empty()) return causes.required(child(path, "fieldPath"));
  static const std::vector<std::string_view> kFields{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
      "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"};
  const bool one_key = what.ends_with("']") && (what.starts_with("metadata.labels['") || what.starts_with("metadata.annotations['"));
  if (one_key) return;
  if (what == "metadata.labels" || what == "metadata.annotations") return causes.unsupported(child(path, "fieldPath"), what, kFields);
  if (std::find(kFields.begin(), kFields.end(), what) == kFields.end())
    causes.invalid(child(path, "fieldPath"), what, "error converting fieldPath: field label not supported: " + what);
}

void validate_env(const Json& container, const std::string& path, Causes& causes) {
  const Json& env = list_at(container, "env");
  for (std::size_t i = 0; i < env.size(); ++i) {
    const std::string here = child(child(path, "env"), i);
    const auto& name = text_at(env[i], "name");
    if (name.empty()) causes.required(child(here, "name"));
    else causes.invalid(child(here, "name"), name, env_var_name(name));
    const Json& from = at(env[i], "valueFrom");
    if (!from.is_object()) continue;
    const std::string source = child(here, "valueFrom");
    std::size_t kinds = 0;
    for (const auto kind : {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"}) {
      const Json& what = at(from, kind);
      if (!what.is_object()) continue;
      ++kinds;
      const std::string_view which = kind;
      if (which == "fieldRef") validate_field_ref(what, child(source, kind), causes);
      else if (which == "resourceFieldRef") {
        if (text_at(what, "resource").empty()) causes.required(child(child(source, kind), "resource"));
      } else {
        causes.invalid(child(child(source, kind), "name"), text_at(what, "name"), dns1123_subdomain(text_at(what, "name")));
        if (text_at(what, "key").empty()) causes.required(child(child(source, kind), "key"));
        else causes.invalid(child(child(source, kind), "key"), text_at(what, "key"), config_map_key(text_at(what, "key")));
      }
    }
    if (kinds == 0) causes.invalid(source, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
    else if (!text_at(env[i], "value").empty()) causes.invalid(source, "", "may not be specified when `value` is not empty");
    else if (kinds > 1) causes.invalid(source, "", "may not have more than one field specified at a time");
  }
  const Json& all = list_at(container, "envFrom");
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string here = child(child(path, "envFrom"), i);
    std::size_t kinds = 0;
    for (const auto kind : {"configMapRef", "secretRef"}) {
      if (!at(all[i], kind).is_object()) continue;
      ++kinds;
      if (text_at(at(all[i], kind), "name").empty()) causes.required(child(child(here, kind), "name"));
    }
    if (const auto& prefix = text_at(all[i], "prefix"); !prefix.empty())
      causes.invalid(child(here, "prefix"), prefix, env_var_name(prefix));
    if (kinds == 0) causes.invalid(child(path, "envFrom"), "", "must specify one of: `configMapRef` or `secretRef`");
    else if (kinds > 1) causes.invalid(child(path, "envFrom"), "", "may not have more than one field specified at a time");
  }
}

void validate_mounts(const Json& container, const std::string& path, const std::set<std::string>& volumes, Causes& causes) {
  const Json& mounts = list_at(container, "volumeMounts");
  std::set<std::string> places;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const std::string here = child(child(path, "volumeMounts"), i);
    const auto& name = text_at(mounts[i], "name");
    const auto& place = text_at(mounts[i], "mountPath");
    if (name.empty()) causes.required(child(here, "name"));
    if (!volumes.contains(name)) causes.not_found(child(here, "name"), name);
    if (place.empty()) causes.required(child(here, "mountPath"));
    if (!places.insert(place).second) causes.invalid(child(here, "mountPath"), place, "must be unique");
    for (const auto field : {"subPath", "subPathExpr"}) {
      const auto& part = text_at(mounts[i], field);
      const std::string where = child(child(path, "volumeMounts"), field);
      if (part.starts_with('/')) causes.invalid(where, part, "must be a relative path");
      else if (steps_back(part)) causes.invalid(where, part, "must not contain '..'");
    }
  }
}

// May be promised more often than there is.
bool countable(std::string_view resource) { return resource == "cpu" || resource == "memory" || resource == "ephemeral-storage"; }

void validate_resources(const Json& container, const std::string& path, Causes& causes) {
  const Json& resources = at(container, "resources");
  const Json& limits = at(resources, "limits");
  const Json& requests = at(resources, "requests");
  const std::string here = child(path, "resources");
  const auto each = [&](const Json& list, const char* which) {
    if (!list.is_object()) return;
    for (const auto& item : list.items()) {
      const std::string field = key(child(here, which), item.key());
      const auto errors = qualified_name(item.key());
      for (const auto& error : errors) causes.invalid_raw(field, item.key(), error);
      if (item.key().find('/') == std::string::npos && !countable(item.key()) && !item.key().starts_with("hugepages-")) {
        if (errors.empty()) causes.invalid_raw(field, item.key(), "must be a standard resource type or fully qualified");
        causes.invalid_raw(field, item.key(), "must be a standard resource for containers");
      }
      const auto amount = quantity_number(item.value());
      if (amount && *amount < 0) causes.invalid(field, item.value(), "must be greater than or equal to 0");
    }
  };
  each(limits, "limits");
  each(requests, "requests");
  if (!limits.is_object() || !requests.is_object()) return;
  for (const auto& item : requests.items()) {
    const auto limit = limits.find(item.key());
    if (limit == limits.end()) continue;
    const auto want = quantity_number(item.value()), most = quantity_number(*limit);
    if (!want || !most) continue;
    const auto text = [](const Json& value) {
      return canonical_quantity(value).value_or(value.is_string() ? value.get<std::string>() : base::dump_json(value));
    };
    if (*want != *most && !countable(item.key()))
      causes.invalid(child(here, "requests"), text(item.value()), "must be equal to " + item.key() + " limit of " + text(*limit));
    else if (*want > *most)
      causes.invalid(child(here, "requests"), text(item.value()),
                     "must be less than or equal to " + item.key() + " limit of " + text(*limit));
  }
}

void validate_handler(const Json& handler, const std::string& path, std::string_view none, Causes& causes) {
  std::size_t kinds = 0;
  for (const auto kind : {"exec", "httpGet", "tcpSocket", "grpc", "sleep"}) {
    const Json& what = at(handler, kind);
    if (!what.is_object()) continue;
    const std::string here = child(path, kind);
    const std::string_view which = kind;
    if (++kinds > 1) {
      causes.forbidden(here, "may not specify more than 1 handler type");
      continue;
    }
    if (which == "exec" && list_at(what, "command").empty()) causes.required(child(here, "command"));
    if (which == "httpGet" || which == "tcpSocket" || which == "grpc") {
      const Json& port = at(what, "port");
      if (port.is_string()) causes.invalid(child(here, "port"), port, port_name(port.get_ref<const std::string&>()));
      else if (const auto number = int_at(what, "port"); number < 1 || number > 65535)
        causes.invalid(child(here, "port"), number, kPortRange);
    }
    if (which == "httpGet") one_of(what, here, "scheme", {"HTTP", "HTTPS"}, causes);
  }
  if (kinds == 0) causes.required(path, none);
}

void validate_probes(const Json& container, const std::string& path, Causes& causes) {
  for (const auto probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    const Json& what = at(container, probe);
    if (!what.is_object()) continue;
    const std::string here = child(path, probe);
    validate_handler(what, here, "must specify a handler type", causes);
    for (const auto number : {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"})
      if (int_at(what, number) < 0) causes.invalid(child(here, number), int_at(what, number), "must be greater than or equal to 0");
    if (std::string_view(probe) != "readinessProbe" && int_at(what, "successThreshold", 1) != 1)
      causes.invalid(child(here, "successThreshold"), int_at(what, "successThreshold"), "must be 1");
  }
  const Json& lifecycle = at(container, "lifecycle");
  for (const auto hook : {"postStart", "preStop"})
    if (at(lifecycle, hook).is_object())
      validate_handler(at(lifecycle, hook), child(child(path, "lifecycle"), hook), "must specify a handler type", causes);
}

void validate_ids(const Json& context, const std::string& path, Causes& causes) {
  constexpr std::string_view kRange = "must be between 0 and 2147483647, inclusive";
  for (const auto field : {"fsGroup", "runAsUser", "runAsGroup"})
    if (const auto id = int_at(context, field); id < 0 || id > kMaxInt32) causes.invalid(child(path, field), id, kRange);
  const Json& groups = list_at(context, "supplementalGroups");
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (const auto id = groups[i].is_number_integer() ? groups[i].get<std::int64_t>() : 0; id < 0 || id > kMaxInt32)
      causes.invalid(child(child(path, "supplementalGroups"), i), id, kRange);
  if (true_at(context, "privileged") && at(context, "allowPrivilegeEscalation") == false)
    causes.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
}

void validate_node_terms(const Json& affinity, Causes& causes) {
  constexpr auto kHard = "requiredDuringSchedulingIgnoredDuringExecution";
  const Json& selector = at(at(affinity, "nodeAffinity"), kHard);
  if (!selector.is_object()) return;
  const std::string path = std::string("spec.affinity.nodeAffinity.") + kHard + ".nodeSelectorTerms";
  const Json& terms = list_at(selector, "nodeSelectorTerms");
  if (terms.empty()) causes.required(path, "must have at least one node selector term");
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const Json& rules = list_at(terms[i], "matchExpressions");
    for (std::size_t j = 0; j < rules.size(); ++j) {
      const std::string here = child(child(child(path, i), "matchExpressions"), j);
      const auto& how = text_at(rules[j], "operator");
      const Json& values = list_at(rules[j], "values");
      if (how == "In" || how == "NotIn") {
        if (values.empty()) causes.required(child(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
      } else if (how == "Exists" || how == "DoesNotExist") {
        if (!values.empty()) causes.forbidden(child(here, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      } else if (how == "Gt" || how == "Lt") {
        if (values.size() != 1) causes.required(child(here, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
      } else {
        causes.invalid(child(here, "operator"), how, "not a valid selector operator");
      }
      causes.invalid(child(here, "key"), text_at(rules[j], "key"), qualified_name(text_at(rules[j], "key")));
      for (std::size_t k = 0; k < values.size(); ++k)
        if (values[k].is_string())
          causes.invalid(child(child(here, "values"), k), values[k], label_value(values[k].get_ref<const std::string&>()));
    }
  }
}

void validate_spread(const Json& spec, Causes& causes) {
  const Json& all = list_at(spec, "topologySpreadConstraints");
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string path = child("spec.topologySpreadConstraints", i);
    if (const auto skew = int_at(all[i], "maxSkew"); skew <= 0) causes.invalid(child(path, "maxSkew"), skew, "must be greater than zero");
    if (text_at(all[i], "topologyKey").empty()) causes.required(child(path, "topologyKey"), "can not be empty");
    const auto& otherwise = text_at(all[i], "whenUnsatisfiable");
    if (otherwise != "DoNotSchedule" && otherwise != "ScheduleAnyway")
      causes.unsupported(child(path, "whenUnsatisfiable"), otherwise, {"DoNotSchedule", "ScheduleAnyway"});
  }
}

void validate_names(const Json& spec, Causes& causes) {
  constexpr std::string_view kNoIp = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
  const Json& aliases = list_at(spec, "hostAliases");
  for (std::size_t i = 0; i < aliases.size(); ++i) {
    const std::string path = child("spec.hostAliases", i);
    if (!is_ip(text_at(aliases[i], "ip"))) causes.invalid(child(path, "ip"), text_at(aliases[i], "ip"), kNoIp);
    const Json& names = list_at(aliases[i], "hostnames");
    for (std::size_t j = 0; j < names.size(); ++j)
      if (names[j].is_string())
        causes.invalid(child(child(path, "hostnames"), j), names[j], dns1123_subdomain(names[j].get_ref<const std::string&>()));
  }
  const Json& dns = at(spec, "dnsConfig");
  const Json& servers = list_at(dns, "nameservers");
  if (text_at(spec, "dnsPolicy") == "None") {
    if (dns.is_null()) causes.required("spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (servers.empty())
      causes.required("spec.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
  for (std::size_t i = 0; i < servers.size(); ++i)
    if (servers[i].is_string() && !is_ip(servers[i].get_ref<const std::string&>()))
      causes.invalid(child("spec.dnsConfig.nameservers", i), servers[i], kNoIp);
  const Json& gates = list_at(spec, "readinessGates");
  for (std::size_t i = 0; i < gates.size(); ++i)
    causes.invalid(child(child("spec.readinessGates", i), "conditionType"), text_at(gates[i], "conditionType"),
                   qualified_name(text_at(gates[i], "conditionType")));
}

void validate_container(const Json& container, const std::string& path, const std::set<std::string>& volumes, Causes& causes) {
  const auto& name = text_at(container, "name");
  const auto& image = text_at(container, "image");
  if (name.empty()) causes.required(child(path, "name"));
  else causes.invalid(child(path, "name"), name, dns1123_label(name));
  if (image.empty()) causes.required(child(path, "image"));
  else if (image.front() == ' ' || image.back() == ' ')
    causes.invalid(child(path, "image"), image, "must not have leading or trailing whitespace");
  one_of(container, path, "terminationMessagePolicy", {"File", "FallbackToLogsOnError"}, causes);
  validate_ports(container, path, causes);
  validate_env(container, path, causes);
  validate_mounts(container, path, volumes, causes);
  one_of(container, path, "imagePullPolicy", {"Always", "IfNotPresent", "Never"}, causes);
  validate_resources(container, path, causes);
  validate_probes(container, path, causes);
  validate_ids(at(container, "securityContext"), child(path, "securityContext"), causes);
}

// Two containers of one pod on one port of the host.
void validate_host_ports(const Json& containers, const std::string& list, Causes& causes) {
  std::set<std::string> taken;
  for (std::size_t i = 0; i < containers.size(); ++i) {
    const Json& ports = list_at(containers[i], "ports");
    for (std::size_t j = 0; j < ports.size(); ++j) {
      const auto port = int_at(ports[j], "hostPort");
      if (port == 0) continue;
      const auto& protocol = text_at(ports[j], "protocol");
      const std::string id = (protocol.empty() ? "TCP" : protocol) + "/" + text_at(ports[j], "hostIP") + "/" + std::to_string(port);
      if (!taken.insert(id).second) causes.duplicate(child(child(child(child(list, i), "ports"), j), "hostPort"), id);
    }
  }
}

void validate_tolerations(const Json& spec, Causes& causes) {
  const Json& tolerations = list_at(spec, "tolerations");
  for (std::size_t i = 0; i < tolerations.size(); ++i) {
    const std::string path = child("spec.tolerations", i);
    const Json& one = tolerations[i];
    const auto& name = text_at(one, "key");
    const auto& how = text_at(one, "operator");
    const auto& effect = text_at(one, "effect");
    if (!name.empty()) causes.invalid(child(path, "key"), name, qualified_name(name));
    else if (how != "Exists")
      causes.invalid(child(path, "operator"), how,
                     "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (!at(one, "tolerationSeconds").is_null() && effect != "NoExecute")
      causes.invalid(child(path, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (how == "Exists" && !text_at(one, "value").empty())
      causes.invalid(child(path, "operator"), text_at(one, "value"), "value must be empty when `operator` is 'Exists'");
    one_of(one, path, "operator", {"Equal", "Exists"}, causes);
    one_of(one, path, "effect", {"NoSchedule", "PreferNoSchedule", "NoExecute"}, causes);
  }
}

}  // namespace

void validate_pod(const Json& pod, Causes& causes) {
  const Json& spec = at(pod, "spec");
  const auto volumes = validate_volumes(spec, causes);
  const Json& containers = list_at(spec, "containers");
  if (containers.empty()) causes.required("spec.containers");
  std::set<std::string> names;
  for (std::size_t i = 0; i < containers.size(); ++i) {
    const std::string path = child("spec.containers", i);
    validate_container(containers[i], path, volumes, causes);
    if (!names.insert(text_at(containers[i], "name")).second) causes.duplicate(child(path, "name"), text_at(containers[i], "name"));
    if (!at(containers[i], "restartPolicy").is_null())
      causes.forbidden(child(path, "restartPolicy"), "may not be set for non-init containers");
  }
  validate_host_ports(containers, "spec.containers", causes);
  const Json& first = list_at(spec, "initContainers");
  for (std::size_t i = 0; i < first.size(); ++i) {
    const std::string path = child("spec.initContainers", i);
    validate_container(first[i], path, volumes, causes);
    one_of(first[i], path, "restartPolicy", {"Always"}, causes);
    if (!names.insert(text_at(first[i], "name")).second) causes.duplicate(child(path, "name"), text_at(first[i], "name"));
    if (text_at(first[i], "restartPolicy") == "Always") continue;
    for (const auto field : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"})
      if (!at(first[i], field).is_null())
        causes.forbidden(child(path, field), "may not be set for init containers without restartPolicy=Always");
  }
  if (true_at(spec, "hostNetwork")) {
    for (std::size_t i = 0; i < containers.size(); ++i) {
      const Json& ports = list_at(containers[i], "ports");
      for (std::size_t j = 0; j < ports.size(); ++j)
        if (const auto host = int_at(ports[j], "hostPort"); host != 0 && host != int_at(ports[j], "containerPort"))
          causes.invalid(child(child(child(child("spec.containers", i), "ports"), j), "hostPort"), host,
                         "must match `containerPort` when `hostNetwork` is true");
    }
  }
  one_of(spec, "spec", "restartPolicy", {"Always", "OnFailure", "Never"}, causes);
  one_of(spec, "spec", "dnsPolicy", {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"}, causes);
  validate_labels(at(spec, "nodeSelector"), "spec.nodeSelector", causes);
  for (const auto field : {"serviceAccountName", "nodeName"})
    if (const auto& name = text_at(spec, field); !name.empty()) causes.invalid(child("spec", field), name, dns1123_subdomain(name));
  if (const Json& seconds = at(spec, "activeDeadlineSeconds"); seconds.is_number_integer()) {
    const auto value = seconds.get<std::int64_t>();
    if (value < 1 || value > kMaxInt32) causes.invalid("spec.activeDeadlineSeconds", value, "must be between 1 and 2147483647, inclusive");
  }
  for (const auto field : {"hostname", "subdomain"})
    if (const auto& name = text_at(spec, field); !name.empty()) causes.invalid(child("spec", field), name, dns1123_label(name));
  validate_tolerations(spec, causes);
  one_of(spec, "spec", "preemptionPolicy", {"PreemptLowerPriority", "Never"}, causes);
  validate_ids(at(spec, "securityContext"), "spec.securityContext", causes);
  if (true_at(spec, "shareProcessNamespace") && true_at(spec, "hostPID"))
    causes.invalid("spec.securityContext.shareProcessNamespace", true, "ShareProcessNamespace and HostPID cannot both be enabled");
  validate_names(spec, causes);
  validate_node_terms(at(spec, "affinity"), causes);
  validate_spread(spec, causes);
  // They come through a subresource of their own, which this server has not.
  if (!list_at(spec, "ephemeralContainers").empty()) causes.forbidden("spec.ephemeralContainers", "cannot be set on create");
}

void validate_pod_update(const Json& before, const Json& after, Causes& causes) {
  const Json& old_spec = at(before, "spec");
  const Json& new_spec = at(after, "spec");
  if (old_spec == new_spec || !new_spec.is_object()) return;
  Json changed = new_spec;  // with everything put back that may change
  for (const auto list : {"containers", "initContainers"}) {
    const Json& old_list = list_at(old_spec, list);
    if (old_list.size() != list_at(new_spec, list).size())
      return causes.forbidden(child("spec", list), "pod updates may not add or remove containers");
    for (std::size_t i = 0; i < old_list.size(); ++i)
      if (changed[list][i].is_object() && old_list[i].contains("image")) changed[list][i]["image"] = old_list[i]["image"];
  }
  const auto put_back = [&](const char* field) {
    if (const Json& old = at(old_spec, field); old.is_null()) changed.erase(field);
    else changed[field] = old;
  };
  const Json& deadline = at(new_spec, "activeDeadlineSeconds");
  const Json& old_deadline = at(old_spec, "activeDeadlineSeconds");
  if (deadline.is_number_integer()) {
    const auto value = deadline.get<std::int64_t>();
    if (value < 0 || value > kMaxInt32)
      return causes.invalid("spec.activeDeadlineSeconds", value, "must be between 0 and 2147483647, inclusive");
    if (old_deadline.is_number_integer() && old_deadline.get<std::int64_t>() < value)
      return causes.invalid("spec.activeDeadlineSeconds", value, "must be less than or equal to previous value");
  } else if (!old_deadline.is_null()) {
    causes.invalid("spec.activeDeadlineSeconds", nullptr, "must not update from a positive integer to nil value");
  }
  put_back("activeDeadlineSeconds");
  for (const auto& old : list_at(old_spec, "tolerations")) {
    const auto same = [&](Json other) {
      Json mine = old;
      mine.erase("tolerationSeconds");
      other.erase("tolerationSeconds");
      return mine == other;
    };
    const Json& now = list_at(new_spec, "tolerations");
    if (std::none_of(now.begin(), now.end(), same)) {
      causes.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
      break;
    }
  }
  put_back("tolerations");
  const Json& gates = list_at(old_spec, "schedulingGates");
  for (const auto& gate : list_at(new_spec, "schedulingGates"))
    if (std::find(gates.begin(), gates.end(), gate) == gates.end())
      causes.forbidden("spec.schedulingGates", "only deletion is allowed, but found new scheduling gate '" + text_at(gate, "name") + "'");
  put_back("schedulingGates");
  if (int_at(old_spec, "terminationGracePeriodSeconds") < 0 && int_at(new_spec, "terminationGracePeriodSeconds") == 1)
    put_back("terminationGracePeriodSeconds");
  if (changed != old_spec)
    causes.forbidden("spec",
                     "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
                     "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
                     "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
}

}  // namespace kubeedge::kube::schema
