#include <algorithm>
#include <cmath>
#include <functional>

#include "base/json.h"
#include "base/text.h"
#include "kube/schema/causes.h"
#include "kube/schema/syntax.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::string_view kPortRange = "must be between 1 and 65535, inclusive";
constexpr std::size_t kMaxAnnotations = 256 * 1024;
constexpr std::size_t kMaxData = 1024 * 1024;  // of a ConfigMap or Secret

using NameRule = std::vector<std::string> (*)(std::string_view);

NameRule name_rule(const Kind& kind) {
  if (kind.group.empty()) {
    if (kind.kind == "Namespace") return dns1123_label;
    if (kind.kind == "Service") return dns1035_label;
    if (kind.kind == "Event") return path_segment;
  }
  if (kind.group == "rbac.authorization.k8s.io") return path_segment;
  return dns1123_subdomain;
}

// A prefix may end in the dash that the generated part follows.
std::string without_dash(const std::string& prefix) {
  return prefix.size() > 1 && prefix.ends_with('-') ? prefix.substr(0, prefix.size() - 2) + "a" : prefix;
}

constexpr std::string_view kNoFinalizer = "name is neither a standard finalizer name nor is it fully qualified";

// Kubernetes' own, or one with a domain.
bool standard_finalizer(const std::string& name) {
  return name.find('/') != std::string::npos || name == "kubernetes" || name == "orphan" || name == "foregroundDeletion";
}

void validate_owners(const Json& owners, Causes& causes) {
  const std::string path = "metadata.ownerReferences";
  std::string controller;
  for (const auto& owner : owners) {
    for (const auto name : {"apiVersion", "kind", "name", "uid"})
      if (text_at(owner, name).empty())
        causes.invalid(child(path, name), "",
                       (name == std::string_view("apiVersion") ? "version" : std::string(name)) + " must not be empty");
    if (!true_at(owner, "controller")) continue;
    const std::string who = text_at(owner, "kind") + "/" + text_at(owner, "name");
    if (!controller.empty())
      causes.invalid(path, owners,
                     "Only one reference can have Controller set to true. Found \"true\" in references for " + controller + " and " + who);
    controller = who;
  }
}

void validate_metadata(const Kind& kind, const Json& metadata, Causes& causes) {
  const NameRule rule = name_rule(kind);
  const auto& name = text_at(metadata, "name");
  if (const auto& prefix = text_at(metadata, "generateName"); !prefix.empty())
    causes.invalid("metadata.generateName", prefix, rule(without_dash(prefix)));
  if (name.empty()) causes.required("metadata.name", "name or generateName is required");
  else causes.invalid("metadata.name", name, rule(name));
  const auto& space = text_at(metadata, "namespace");
  if (kind.namespaced) {  // of others apply_defaults has removed it, as Kubernetes does
    if (space.empty()) causes.required("metadata.namespace");
    else causes.invalid("metadata.namespace", space, dns1123_label(space));
  }
  validate_labels(at(metadata, "labels"), "metadata.labels", causes);
  if (const Json& annotations = at(metadata, "annotations"); annotations.is_object()) {
    std::size_t size = 0;
    for (const auto& item : annotations.items()) {
      causes.invalid("metadata.annotations", item.key(), qualified_name(base::lower(item.key())));
      size += item.key().size() + (item.value().is_string() ? item.value().get_ref<const std::string&>().size() : 0);
    }
    if (size > kMaxAnnotations) causes.too_long("metadata.annotations", kMaxAnnotations);
  }
  validate_owners(list_at(metadata, "ownerReferences"), causes);
  const Json& finalizers = list_at(metadata, "finalizers");
  for (std::size_t i = 0; i < finalizers.size(); ++i) {
    if (!finalizers[i].is_string()) continue;
    const auto& finalizer = finalizers[i].get_ref<const std::string&>();
    causes.invalid("metadata.finalizers", finalizer, qualified_name(finalizer));
    if (!kind.custom && !standard_finalizer(finalizer)) causes.invalid(child("metadata.finalizers", i), finalizer, kNoFinalizer);
  }
}

std::size_t decoded_size(const Json& value) {
  if (!value.is_string()) return 0;
  const std::string_view text = value.get_ref<const std::string&>();
  const auto padding = text.ends_with("==") ? 2U : text.ends_with('=') ? 1U : 0U;
  return text.size() / 4 * 3 - std::min<std::size_t>(padding, text.size() / 4 * 3);
}

void validate_config_map(const Json& object, Causes& causes) {
  const Json& data = at(object, "data");
  const Json& binary = at(object, "binaryData");
  std::size_t size = 0;
  if (data.is_object()) {
    for (const auto& item : data.items()) {
      causes.invalid(key("data", item.key()), item.key(), config_map_key(item.key()));
      if (binary.is_object() && binary.contains(item.key()))
        causes.invalid(key("data", item.key()), item.key(), "duplicate of key present in binaryData");
      size += item.value().is_string() ? item.value().get_ref<const std::string&>().size() : 0;
    }
  }
  if (binary.is_object()) {
    for (const auto& item : binary.items()) {
      causes.invalid(key("binaryData", item.key()), item.key(), config_map_key(item.key()));
      size += decoded_size(item.value());
    }
  }
  if (size > kMaxData) causes.too_long("", kMaxData);
}

void validate_secret(const Json& object, Causes& causes) {
  const Json& data = at(object, "data");
  std::size_t size = 0;
  if (data.is_object()) {
    for (const auto& item : data.items()) {
      causes.invalid(key("data", item.key()), item.key(), config_map_key(item.key()));
      size += decoded_size(item.value());
    }
  }
  if (size > kMaxData) causes.too_long("data", kMaxData);
  const auto& type = text_at(object, "type");
  const auto has = [&](const char* name) { return data.is_object() && data.contains(name); };
  // The content of a secret is in no message.
  const auto json_content = [&](const char* name) {
    if (!has(name)) return causes.required(key("data", name));
    const auto plain = base::from_base64(text_at(data, name));
    if (!plain || !base::parse_json(*plain).is_object())
      causes.invalid(key("data", name), "<secret contents redacted>", "invalid character in the content: a JSON object is expected");
  };
  if (type == "kubernetes.io/service-account-token") {
    constexpr auto kAnnotation = "kubernetes.io/service-account.name";
    if (text_at(at(at(object, "metadata"), "annotations"), kAnnotation).empty()) causes.required(key("metadata.annotations", kAnnotation));
  } else if (type == "kubernetes.io/dockercfg") {
    json_content(".dockercfg");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    json_content(".dockerconfigjson");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!has("username") && !has("password")) {
      causes.required(key("data", "username"));
      causes.required(key("data", "password"));
    }
  } else if (type == "kubernetes.io/ssh-auth") {
    if (text_at(data, "ssh-privatekey").empty()) causes.required(key("data", "ssh-privatekey"));
  } else if (type == "kubernetes.io/tls") {
    for (const auto name : {"tls.crt", "tls.key"})
      if (!has(name)) causes.required(key("data", name));
  }
}

void validate_namespace(const Json& object, Causes& causes) {
  for (const auto& finalizer : list_at(at(object, "spec"), "finalizers")) {
    if (!finalizer.is_string()) continue;
    const auto& name = finalizer.get_ref<const std::string&>();
    causes.invalid("spec.finalizers", name, qualified_name(name));
    if (!standard_finalizer(name)) causes.invalid("spec.finalizers", name, kNoFinalizer);
  }
}

void validate_node(const Json& object, Causes& causes) {
  const Json& taints = list_at(at(object, "spec"), "taints");
  const std::string path = "metadata.taints";  // where Kubernetes says it is
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < taints.size(); ++i) {
    const Json& taint = taints[i];
    const auto& name = text_at(taint, "key");
    const auto& effect = text_at(taint, "effect");
    causes.invalid(child(child(path, i), "key"), name, qualified_name(name));
    const auto values = label_value(text_at(taint, "value"));
    if (!values.empty()) {
      std::string all;
      for (const auto& one : values) all += (all.empty() ? "" : ";") + one;
      causes.invalid(child(child(path, i), "value"), text_at(taint, "value"), all);
    }
    if (effect.empty()) causes.required(child(child(path, i), "effect"));
    else if (effect != "NoSchedule" && effect != "PreferNoSchedule" && effect != "NoExecute")
      causes.unsupported(child(child(path, i), "effect"), effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"});
    const std::string id = name + "\n" + effect;
    if (std::find(seen.begin(), seen.end(), id) != seen.end())
      causes.duplicate_raw(child(path, i),
                           "core.Taint{Key:" + base::dump_json(Json(name)) + ", Value:" + base::dump_json(Json(text_at(taint, "value"))) +
                               ", Effect:" + base::dump_json(Json(effect)) + ", TimeAdded:<nil>}",
                           "taints must be unique by key and effect pair");
    seen.push_back(id);
  }
  const Json& cidrs = list_at(at(object, "spec"), "podCIDRs");
  for (std::size_t i = 0; i < cidrs.size(); ++i)
    if (!cidrs[i].is_string() || !is_cidr(cidrs[i].get_ref<const std::string&>()))
      causes.invalid(child("spec.podCIDRs", i), cidrs[i], "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
  for (const auto list : {"capacity", "allocatable"}) {
    const Json& resources = at(at(object, "status"), list);
    if (!resources.is_object()) continue;
    for (const auto& item : resources.items())
      if (quantity_number(item.value()).value_or(0) < 0)
        causes.invalid(child(child("status", list), item.key()), item.value(), "must be greater than or equal to 0");
  }
}

void validate_endpoint_address(const Json& address, const std::string& path, Causes& causes) {
  const auto& ip = text_at(address, "ip");
  if (!is_ip(ip)) {
    causes.invalid(child(path, "ip"), ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    causes.invalid(child(path, "ip"), ip, "must be a valid IP address");
  } else if (ip == "0.0.0.0" || ip == "::") {
    causes.invalid(child(path, "ip"), ip, "may not be unspecified (" + ip + ")");
  } else if (ip.starts_with("127.") || ip == "::1") {
    causes.invalid(child(path, "ip"), ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
  } else if (ip.starts_with("169.254.") || ip.starts_with("fe80:")) {
    causes.invalid(child(path, "ip"), ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  }
  if (const auto& host = text_at(address, "hostname"); !host.empty()) causes.invalid(child(path, "hostname"), host, dns1123_label(host));
  if (const auto& node = text_at(address, "nodeName"); !node.empty())
    causes.invalid(child(path, "nodeName"), node, dns1123_subdomain(node));
}

void validate_endpoints(const Json& object, Causes& causes) {
  const Json& subsets = list_at(object, "subsets");
  for (std::size_t i = 0; i < subsets.size(); ++i) {
    const std::string path = child("subsets", i);
    if (list_at(subsets[i], "addresses").empty() && list_at(subsets[i], "notReadyAddresses").empty())
      causes.required(path, "must specify `addresses` or `notReadyAddresses`");
    for (const auto list : {"addresses", "notReadyAddresses"})
      for (std::size_t j = 0; j < list_at(subsets[i], list).size(); ++j)
        validate_endpoint_address(list_at(subsets[i], list)[j], child(child(path, list), j), causes);
    const Json& ports = list_at(subsets[i], "ports");
    for (std::size_t j = 0; j < ports.size(); ++j) {
      const std::string here = child(child(path, "ports"), j);
      const auto& name = text_at(ports[j], "name");
      if (!name.empty()) causes.invalid(child(here, "name"), name, dns1123_label(name));
      else if (ports.size() > 1) causes.required(child(here, "name"));
      if (const auto port = int_at(ports[j], "port"); port < 1 || port > 65535) causes.invalid(child(here, "port"), port, kPortRange);
      const auto& protocol = text_at(ports[j], "protocol");
      if (!protocol.empty() && protocol != "TCP" && protocol != "UDP" && protocol != "SCTP")
        causes.unsupported(child(here, "protocol"), protocol, {"SCTP", "TCP", "UDP"});
    }
  }
}

void validate_event(const Json& object, Causes& causes) {
  const auto& space = text_at(at(object, "metadata"), "namespace");
  const auto& about = text_at(at(object, "involvedObject"), "namespace");
  const bool recent = !text_at(object, "eventTime").empty();
  const bool fits = about.empty() ? space.empty() || space == "default" || (recent && space == "kube-system") : recent || space == about;
  if (!fits) causes.invalid("involvedObject.namespace", about, "does not match event.namespace");
  if (!recent) return;
  const auto& controller = text_at(object, "reportingComponent");
  if (controller.empty()) causes.required("reportingComponent");
  causes.invalid("reportingComponent", controller, qualified_name(controller));
  if (text_at(object, "reportingInstance").empty()) causes.required("reportingInstance");
  if (text_at(object, "action").empty()) causes.required("action");
  if (text_at(object, "reason").empty()) causes.required("reason");
}

void validate_service(const Json& object, Causes& causes) {
  const Json& spec = at(object, "spec");
  const auto& type = text_at(spec, "type");
  const Json& ports = list_at(spec, "ports");
  const bool headless = text_at(spec, "clusterIP") == "None";
  if (ports.empty() && !headless && type != "ExternalName") causes.required("spec.ports");
  if (type == "ExternalName" && text_at(spec, "externalName").empty()) causes.required("spec.externalName");
  std::vector<std::string> names, pairs;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const std::string path = child("spec.ports", i);
    const auto& name = text_at(ports[i], "name");
    if (name.empty()) {
      if (ports.size() > 1) causes.required(child(path, "name"));
    } else {
      causes.invalid(child(path, "name"), name, dns1123_label(name));
      if (std::find(names.begin(), names.end(), name) != names.end()) causes.duplicate(child(path, "name"), name);
      names.push_back(name);
    }
    const auto port = int_at(ports[i], "port");
    if (port < 1 || port > 65535) causes.invalid(child(path, "port"), port, kPortRange);
    const Json& target = at(ports[i], "targetPort");
    if (target.is_string()) causes.invalid(child(path, "targetPort"), target, port_name(target.get_ref<const std::string&>()));
    else if (const auto number = int_at(ports[i], "targetPort"); number < 1 || number > 65535)
      causes.invalid(child(path, "targetPort"), number, kPortRange);
    const auto& protocol = text_at(ports[i], "protocol");
    if (!protocol.empty() && protocol != "TCP" && protocol != "UDP" && protocol != "SCTP")
      causes.unsupported(child(path, "protocol"), protocol, {"SCTP", "TCP", "UDP"});
    const std::string pair = std::to_string(port) + "/" + protocol;
    if (std::find(pairs.begin(), pairs.end(), pair) != pairs.end()) causes.duplicate(path, Json{{"port", port}, {"protocol", protocol}});
    pairs.push_back(pair);
  }
  validate_labels(at(spec, "selector"), "spec.selector", causes);
  const auto& affinity = text_at(spec, "sessionAffinity");
  if (!affinity.empty() && affinity != "None" && affinity != "ClientIP")
    causes.unsupported("spec.sessionAffinity", affinity, {"ClientIP", "None"});
  if (!type.empty() && type != "ClusterIP" && type != "NodePort" && type != "LoadBalancer" && type != "ExternalName")
    causes.unsupported("spec.type", type, {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"});
}

void validate_lease(const Json& object, Causes& causes) {
  const Json& spec = at(object, "spec");
  if (const Json& seconds = at(spec, "leaseDurationSeconds"); seconds.is_number_integer() && seconds.get<std::int64_t>() <= 0)
    causes.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0");
  if (const Json& count = at(spec, "leaseTransitions"); count.is_number_integer() && count.get<std::int64_t>() < 0)
    causes.invalid("spec.leaseTransitions", count, "must be greater than or equal to 0");
}

// --- kinds of our own: types, required fields and enums from the table, worded as a CRD's schema is.

std::string_view schema_type(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  return value.is_number_integer() ? "integer" : "number";
}

std::string_view wanted_type(const Field& field) {
  if (field.shape == Shape::kArray) return "array";
  if (field.shape == Shape::kMap) return "object";
  switch (field.type) {
    case Type::kObject: return "object";
    case Type::kInteger: return "integer";
    case Type::kNumber: return "number";
    case Type::kBoolean: return "boolean";
    case Type::kAny:
    case Type::kIntOrString: return "";
    default: return "string";
  }
}

bool fits(std::string_view wanted, const Json& value) {
  if (wanted.empty()) return true;
  if (wanted == "number") return value.is_number();
  if (wanted == "integer" && value.is_number_float()) return std::floor(value.get<double>()) == value.get<double>();
  return wanted == schema_type(value);
}

std::vector<std::string_view> enum_list(std::string_view values) {
  std::vector<std::string_view> out;
  for (std::size_t from = 0; from <= values.size();) {
    const auto bar = std::min(values.find('|', from), values.size());
    out.push_back(values.substr(from, bar - from));
    from = bar + 1;
  }
  return out;
}

void validate_custom(const Object& what, const Json& object, const std::string& path, Causes& causes);

void validate_value(const Field& field, const Json& value, const std::string& path, Causes& causes) {
  const auto wanted = wanted_type(field);
  if (!fits(wanted, value)) {
    const std::string has(schema_type(value));
    causes.wrong_type(path, has, path + " in body must be of type " + std::string(wanted) + ": \"" + has + "\"");
    if (!field.enum_values.empty()) causes.unsupported(path, value, enum_list(field.enum_values));
    return;
  }
  if (field.shape != Shape::kSingle) {
    Field element = field;
    element.shape = Shape::kSingle;
    if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i) validate_value(element, value[i], child(path, i), causes);
    } else {
      for (const auto& item : value.items()) validate_value(element, item.value(), child(path, item.key()), causes);
    }
    return;
  }
  if (field.type == Type::kObject) return validate_custom(*field.object, value, path, causes);
  if (!field.enum_values.empty()) {
    const auto allowed = enum_list(field.enum_values);
    const auto& text = value.get_ref<const std::string&>();
    if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) causes.unsupported(path, value, allowed);
  }
}

void validate_custom(const Object& what, const Json& object, const std::string& path, Causes& causes) {
  for (const Field& field : what.fields) {
    const auto found = object.find(field.name);
    if (path.empty() && (field.name == "metadata" || field.name == "kind" || field.name == "apiVersion")) continue;
    const std::string here = path.empty() ? std::string(field.name) : child(path, field.name);
    if (found != object.end()) validate_value(field, *found, here, causes);
    else if (field.required) causes.required(here);
  }
}

void unchanged(const Json& before, const Json& after, std::string_view name, Causes& causes) {
  if (at(before, name) != at(after, name)) causes.invalid("metadata." + std::string(name), at(after, name), "field is immutable");
}

void immutable_data(const Json& before, const Json& after, std::initializer_list<std::string_view> fields, Causes& causes) {
  if (!true_at(before, "immutable")) return;
  constexpr std::string_view kWhy = "field is immutable when `immutable` is set";
  if (!true_at(after, "immutable")) causes.forbidden("immutable", kWhy);
  for (const auto field : fields)
    if (at(before, field) != at(after, field)) causes.forbidden(std::string(field), kWhy);
}

}  // namespace

void validate_labels(const Json& labels, const std::string& path, Causes& causes) {
  if (!labels.is_object()) return;
  for (const auto& item : labels.items()) {
    causes.invalid(path, item.key(), qualified_name(item.key()));
    if (item.value().is_string()) causes.invalid(path, item.value(), label_value(item.value().get_ref<const std::string&>()));
  }
}

std::vector<Cause> validate(const Kind& kind, const Json& object) {
  Causes causes;
  // Events are checked for their namespace alone, beside what a path can carry.
  validate_metadata(kind, at(object, "metadata"), causes);
  if (kind.custom) {
    validate_custom(*kind.object, object, "", causes);
  } else if (kind.group.empty()) {
    if (kind.kind == "Pod") validate_pod(object, causes);
    else if (kind.kind == "ConfigMap") validate_config_map(object, causes);
    else if (kind.kind == "Secret") validate_secret(object, causes);
    else if (kind.kind == "Namespace") validate_namespace(object, causes);
    else if (kind.kind == "Node") validate_node(object, causes);
    else if (kind.kind == "Event") validate_event(object, causes);
    else if (kind.kind == "Service") validate_service(object, causes);
    else if (kind.kind == "Endpoints") validate_endpoints(object, causes);
  } else if (kind.kind == "Lease") {
    validate_lease(object, causes);
  } else if (kind.group == "apps" || kind.group == "batch") {
    validate_workload(kind, object, causes);
  } else if (kind.group == "rbac.authorization.k8s.io") {
    validate_rbac(kind, object, causes);
  }
  return causes.take();
}

std::vector<Cause> validate_update(const Kind& kind, const Json& before, const Json& after) {
  Causes causes;
  const Json& old_metadata = at(before, "metadata");
  const Json& new_metadata = at(after, "metadata");
  if (!at(old_metadata, "deletionTimestamp").is_null()) {
    const Json& old_finalizers = list_at(old_metadata, "finalizers");
    std::string added;
    for (const auto& finalizer : list_at(new_metadata, "finalizers"))
      if (std::find(old_finalizers.begin(), old_finalizers.end(), finalizer) == old_finalizers.end())
        added += (added.empty() ? "" : ", ") + base::dump_json(finalizer);
    if (!added.empty())
      causes.forbidden("metadata.finalizers",
                       "no new finalizers can be added if the object is being deleted, found new finalizers []string{" + added + "}");
  }
  for (const auto field : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"})
    unchanged(old_metadata, new_metadata, field, causes);
  if (kind.group.empty()) {
    if (kind.kind == "Pod") {
      validate_pod_update(before, after, causes);
    } else if (kind.kind == "Secret") {
      if (at(before, "type") != at(after, "type")) causes.invalid("type", at(after, "type"), "field is immutable");
      immutable_data(before, after, {"data"}, causes);
    } else if (kind.kind == "ConfigMap") {
      immutable_data(before, after, {"data", "binaryData"}, causes);
    } else if (kind.kind == "Node") {
      const Json& old_spec = at(before, "spec");
      const Json& new_spec = at(after, "spec");
      if (!list_at(old_spec, "podCIDRs").empty() && at(old_spec, "podCIDRs") != at(new_spec, "podCIDRs"))
        causes.forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
      if (!text_at(old_spec, "providerID").empty() && at(old_spec, "providerID") != at(new_spec, "providerID"))
        causes.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
    }
  } else if (kind.group == "apps" || kind.group == "batch") {
    validate_workload_update(kind, before, after, causes);
  } else if (kind.group == "rbac.authorization.k8s.io") {
    validate_rbac_update(before, after, causes);
  }
  return causes.take();
}

}  // namespace kubeedge::kube::schema
