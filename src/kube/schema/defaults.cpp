// Objects as kube-apiserver v1.32 would store them: the form its encoder writes, its defaults, and what its usual admission plugins add.
#include <algorithm>
#include <array>
#include <map>

#include "base/text.h"
#include "kube/schema/defaulting.h"
#include "kube/schema/syntax.h"

namespace kubeedge::kube::schema {
namespace {

constexpr std::string_view kCore = "io.k8s.api.core.v1.";
constexpr std::string_view kTokenPlace = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::string_view kTokenVolume = "kube-api-access-";
constexpr int kTokenSeconds = 3607;     // an hour and a bit: a mark of the admission plugin's own tokens
constexpr int kVolumeMode = 0644;
constexpr int kTolerationSeconds = 300;
constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
constexpr std::string_view kUnreachable = "node.kubernetes.io/unreachable";
constexpr std::string_view kOfflineLabel = "app-offline.kubeedge.io";

std::string_view pull_policy(std::string_view image) {
  const auto digest = image.find('@');
  const auto name = image.substr(0, digest);
  const auto slash = name.rfind('/');
  const auto last = slash == std::string_view::npos ? name : name.substr(slash + 1);
  const auto colon = last.rfind(':');
  const bool latest = colon == std::string_view::npos ? digest == std::string_view::npos : last.substr(colon + 1) == "latest";
  return latest ? "Always" : "IfNotPresent";
}

using Hook = void (*)(Json&);

// Defaults of one object wherever it stands, by its name in core/v1.
Hook hook_of(std::string_view name) {
  static const std::map<std::string_view, Hook> kHooks = {
      {"Volume", [](Json& o) { if (o.size() <= (o.contains("name") ? 1U : 0U)) o["emptyDir"] = Json::object(); }},
      {"Container", [](Json& o) {
         put_text(o, "imagePullPolicy", pull_policy(text_at(o, "image")));
         put_text(o, "terminationMessagePath", "/dev/termination-log");
         put_text(o, "terminationMessagePolicy", "File");
       }},
      {"ContainerPort", [](Json& o) { put_text(o, "protocol", "TCP"); }},
      {"EndpointPort", [](Json& o) { put_text(o, "protocol", "TCP"); }},
      {"Probe", [](Json& o) {
         put_number(o, "timeoutSeconds", 1);
         put_number(o, "periodSeconds", 10);
         put_number(o, "successThreshold", 1);
         put_number(o, "failureThreshold", 3);
       }},
      {"GRPCAction", [](Json& o) { put(o, "service", ""); }},
      {"HTTPGetAction", [](Json& o) {
         put_text(o, "path", "/");
         put_text(o, "scheme", "HTTP");
       }},
      {"ObjectFieldSelector", [](Json& o) { put_text(o, "apiVersion", "v1"); }},
      {"HostPathVolumeSource", [](Json& o) { put(o, "type", ""); }},
      {"SecretVolumeSource", [](Json& o) { put(o, "defaultMode", kVolumeMode); }},
      {"ConfigMapVolumeSource", [](Json& o) { put(o, "defaultMode", kVolumeMode); }},
      {"DownwardAPIVolumeSource", [](Json& o) { put(o, "defaultMode", kVolumeMode); }},
      {"ProjectedVolumeSource", [](Json& o) { put(o, "defaultMode", kVolumeMode); }},
      {"ServiceAccountTokenProjection", [](Json& o) { put(o, "expirationSeconds", 3600); }},
      {"PodSpec", [](Json& o) {
         put_text(o, "dnsPolicy", "ClusterFirst");
         put_text(o, "restartPolicy", "Always");
         put(o, "securityContext", Json::object());
         put(o, "terminationGracePeriodSeconds", 30);
         if (int_at(o, "terminationGracePeriodSeconds") < 0) o["terminationGracePeriodSeconds"] = 1;
         put_text(o, "schedulerName", "default-scheduler");
         // The old name of the field and the new say the same.
         if (const std::string account = text_at(o, "serviceAccountName"); !account.empty()) o["serviceAccount"] = account;
         else if (const std::string old = text_at(o, "serviceAccount"); !old.empty()) o["serviceAccountName"] = old;
       }},
  };
  if (!name.starts_with(kCore)) return nullptr;
  const std::string_view own = name.substr(kCore.size());
  const auto found = kHooks.find(own == "EphemeralContainer" ? "Container" : own);
  return found == kHooks.end() ? nullptr : found->second;
}

void normalize(const Object& what, Json& object);

Json empty_value(const Field& field) {
  if (field.shape != Shape::kSingle) return nullptr;
  switch (field.type) {
    case Type::kString: return "";
    case Type::kInteger:
    case Type::kNumber:
    case Type::kIntOrString: return 0;
    case Type::kBoolean: return false;
    case Type::kQuantity: return "0";
    case Type::kObject: return Json::object();
    default: return nullptr;
  }
}

bool is_empty(const Json& value) {
  return value.is_null() || value == "" || value == 0 || value == false || (value.is_structured() && value.empty());
}

void normalize_value(const Field& field, Json& value) {
  if (field.type == Type::kObject) return normalize(*field.object, value);
  if (field.type == Type::kQuantity) {
    if (!value.is_string() && !value.is_number()) return;
    if (auto text = canonical_quantity(value)) value = std::move(*text);
  } else if ((field.type == Type::kTime || field.type == Type::kMicroTime) && value.is_string()) {
    if (auto text = canonical_time(value.get_ref<const std::string&>(), field.type == Type::kMicroTime)) value = std::move(*text);
  }
}

// The form that Kubernetes' encoder writes: empty values dropped or filled in as the field's Go type has it, quantities and times in one
// spelling.
void normalize(const Object& what, Json& object) {
  if (!object.is_object()) return;
  for (const Field& field : what.fields) {
    const auto found = object.find(field.name);
    const bool there = found != object.end();
    if (field.empty == Empty::kWrite) {
      if (!there || found->is_null()) object[std::string(field.name)] = empty_value(field);
    } else if (there && (found->is_null() || (field.empty == Empty::kDrop && is_empty(*found)))) {
      object.erase(found);
    }
  }
  if (const Hook hook = hook_of(what.name)) hook(object);
  for (auto it = object.begin(); it != object.end(); ++it) {
    const Field* field = what.find(it.key());
    if (field == nullptr) continue;
    if (field->shape == Shape::kSingle) {
      normalize_value(*field, *it);
    } else if (it->is_structured()) {
      Field element = *field;
      element.shape = Shape::kSingle;
      for (auto& value : *it) {
        if (value.is_null()) value = empty_value(element);
        normalize_value(element, value);
      }
    }
  }
}

// A null is no value in a custom object, unless its place may hold anything.
void drop_nulls(const Object& what, Json& object) {
  if (!object.is_object()) return;
  for (const Field& field : what.fields) {
    const auto found = object.find(field.name);
    if (found == object.end()) continue;
    if (found->is_null()) {
      object.erase(found);
    } else if (field.type == Type::kObject && field.shape == Shape::kSingle) {
      drop_nulls(*field.object, *found);
    } else if (field.type == Type::kObject && found->is_structured()) {
      for (auto& value : *found) drop_nulls(*field.object, value);
    }
  }
}

void requests_from_limits(Json& container) {
  const Json limits = at(at(container, "resources"), "limits");
  if (!limits.is_object()) return;
  Json& requests = container["resources"]["requests"];
  if (!requests.is_object()) requests = Json::object();
  for (const auto& item : limits.items())
    if (!requests.contains(item.key())) requests[item.key()] = item.value();
}

void host_ports(Json& container) {
  if (!list_at(container, "ports").empty())
    for (auto& port : container["ports"])
      if (port.is_object() && int_at(port, "containerPort") != 0 && int_at(port, "hostPort") == 0) port["hostPort"] = port["containerPort"];
}

// Applied to containers and init containers.
template <class Fn>
void each_container(Json& spec, Fn fn) {
  for (const auto list : {"containers", "initContainers"})
    if (!list_at(spec, list).empty())
      for (auto& container : spec[list])
        if (container.is_object()) fn(container);
}

// An app that is marked so stays where it is while its node is out of sight; KubeEdge's admission webhook does the same.
void tolerate_offline(Json& pod) {
  if (text_at(at(at(pod, "metadata"), "labels"), kOfflineLabel) != "autonomy") return;
  Json& spec = pod["spec"];
  const Json always = {{"key", kUnreachable}, {"operator", "Exists"}};
  const Json& all = list_at(spec, "tolerations");
  if (std::find(all.begin(), all.end(), always) == all.end()) spec["tolerations"].push_back(always);
}

void default_tolerations(Json& spec) {
  for (const auto taint : {kNotReady, kUnreachable}) {
    const Json& all = list_at(spec, "tolerations");
    const bool there = std::any_of(all.begin(), all.end(), [&](const Json& one) {
      const auto& name = text_at(one, "key");
      const auto& effect = text_at(one, "effect");
      return (name.empty() || name == taint) && (effect.empty() || effect == "NoExecute");
    });
    if (!there)
      spec["tolerations"].push_back(
          {{"key", taint}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", kTolerationSeconds}});
  }
}

// What the ServiceAccount admission plugin mounts: a token of the pod's own, the cluster's CA, the namespace.
void mount_token(Json& spec, std::string_view random5) {
  if (at(spec, "automountServiceAccountToken") == false) return;
  std::string name;
  for (const auto& volume : list_at(spec, "volumes")) {
    if (!text_at(volume, "name").starts_with(kTokenVolume)) continue;
    name = text_at(volume, "name");
    break;
  }
  const bool there = !name.empty();
  if (!there) name = std::string(kTokenVolume) + std::string(random5);
  bool used = false;
  each_container(spec, [&](Json& container) {
    const Json& mounts = list_at(container, "volumeMounts");
    if (std::any_of(mounts.begin(), mounts.end(), [](const Json& mount) { return text_at(mount, "mountPath") == kTokenPlace; })) return;
    container["volumeMounts"].push_back({{"name", name}, {"readOnly", true}, {"mountPath", kTokenPlace}});
    used = true;
  });
  if (there || !used) return;
  const Json place = {{"path", "namespace"}, {"fieldRef", {{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}}};
  const Json root = {{"key", "ca.crt"}, {"path", "ca.crt"}};
  Json sources = Json::array();
  sources.push_back({{"serviceAccountToken", {{"expirationSeconds", kTokenSeconds}, {"path", "token"}}}});
  sources.push_back({{"configMap", {{"name", "kube-root-ca.crt"}, {"items", Json::array({root})}}}});
  sources.push_back({{"downwardAPI", {{"items", Json::array({place})}}}});
  spec["volumes"].push_back({{"name", name}, {"projected", {{"sources", std::move(sources)}, {"defaultMode", kVolumeMode}}}});
}

std::string_view qos_class(const Json& spec) {
  constexpr std::array<std::string_view, 2> kCounted{"cpu", "memory"};
  std::map<std::string_view, double> requests, limits;
  bool guaranteed = true;
  for (const auto list : {"containers", "initContainers"}) {
    for (const auto& container : list_at(spec, list)) {
      std::size_t limited = 0;
      for (const auto name : kCounted) {
        const auto request = quantity_number(at(at(at(container, "resources"), "requests"), name)).value_or(0);
        const auto limit = quantity_number(at(at(at(container, "resources"), "limits"), name)).value_or(0);
        if (request > 0) requests[name] += request;
        if (limit > 0) limits[name] += limit;
        limited += limit > 0 ? 1 : 0;
      }
      guaranteed = guaranteed && limited == kCounted.size();
    }
  }
  if (requests.empty() && limits.empty()) return "BestEffort";
  return guaranteed && requests == limits ? "Guaranteed" : "Burstable";
}

void default_pod(Json& pod, std::string_view random5) {
  Json& spec = pod["spec"];
  if (!spec.is_object()) return;
  each_container(spec, requests_from_limits);
  put(spec, "enableServiceLinks", true);
  if (true_at(spec, "hostNetwork")) each_container(spec, host_ports);
  const bool mirror = !text_at(at(at(pod, "metadata"), "annotations"), "kubernetes.io/config.mirror").empty();
  if (!mirror) {
    std::string account = text_at(spec, "serviceAccountName");
    if (account.empty()) account = text_at(spec, "serviceAccount");
    if (account.empty()) account = "default";
    spec["serviceAccountName"] = account;
    spec["serviceAccount"] = account;
    if (!random5.empty()) mount_token(spec, random5);  // admission of new pods only
  }
  const auto& priority = text_at(spec, "priorityClassName");
  put(spec, "priority", priority == "system-node-critical" ? 2000001000 : priority == "system-cluster-critical" ? 2000000000 : 0);
  put(spec, "preemptionPolicy", "PreemptLowerPriority");
  if (!random5.empty()) tolerate_offline(pod);
  default_tolerations(spec);
  put_text(pod["status"], "phase", "Pending");
  if (!list_at(spec, "schedulingGates").empty())
    put(pod["status"], "conditions",
        Json::array({{{"type", "PodScheduled"},
                      {"status", "False"},
                      {"reason", "SchedulingGated"},
                      {"message", "Scheduling is blocked due to non-empty scheduling gates"},
                      {"lastProbeTime", nullptr},
                      {"lastTransitionTime", at(pod["metadata"], "creationTimestamp")}}}));
  put_text(pod["status"], "qosClass", qos_class(spec));
}

void default_secret(Json& secret) {
  put_text(secret, "type", "Opaque");
  const Json plain = at(secret, "stringData");
  secret.erase("stringData");
  if (!plain.is_object() || plain.empty()) return;
  put(secret, "data", Json::object());
  for (const auto& item : plain.items())
    if (item.value().is_string()) secret["data"][item.key()] = base::base64(item.value().get_ref<const std::string&>());
}

void default_namespace(Json& space) {
  Json& metadata = space["metadata"];
  if (const std::string name = text_at(metadata, "name"); !name.empty()) metadata["labels"]["kubernetes.io/metadata.name"] = name;
  // A namespace that goes away loses its finalizers one by one: they must not come back.
  if (at(metadata, "deletionTimestamp").is_null()) put(space["spec"], "finalizers", Json::array({"kubernetes"}));
  put_text(space["status"], "phase", "Active");
}

void default_node(Json& node) {
  Json& spec = node["spec"];
  if (!text_at(spec, "podCIDR").empty()) put(spec, "podCIDRs", Json::array({text_at(spec, "podCIDR")}));
  else if (!list_at(spec, "podCIDRs").empty()) spec["podCIDR"] = spec["podCIDRs"][0];
  if (const Json capacity = at(at(node, "status"), "capacity"); capacity.is_object()) put(node["status"], "allocatable", capacity);
}

void default_service(Json& service) {
  Json& spec = service["spec"];
  put_text(spec, "type", "ClusterIP");
  put_text(spec, "sessionAffinity", "None");
  if (text_at(spec, "sessionAffinity") == "None") spec.erase("sessionAffinityConfig");
  else put(spec, "sessionAffinityConfig", Json{{"clientIP", {{"timeoutSeconds", 10800}}}});
  const bool outside = text_at(spec, "type") == "NodePort" || text_at(spec, "type") == "LoadBalancer";
  if (!list_at(spec, "ports").empty()) {
    for (auto& port : spec["ports"]) {
      if (!port.is_object()) continue;
      put_text(port, "protocol", "TCP");
      const Json& target = at(port, "targetPort");
      if (target.is_null() || target == 0 || target == "") port["targetPort"] = at(port, "port");
    }
  }
  if (outside) put_text(spec, "externalTrafficPolicy", "Cluster");
  if (text_at(spec, "type") != "ExternalName") put_text(spec, "internalTrafficPolicy", "Cluster");
  if (text_at(spec, "type") == "LoadBalancer") put(spec, "allocateLoadBalancerNodePorts", true);
  if (text_at(spec, "clusterIP") == "None") {
    put(spec, "clusterIPs", Json::array({"None"}));
    put(spec, "ipFamilies", Json::array({"IPv4"}));
    put_text(spec, "ipFamilyPolicy", "SingleStack");
  }
}

}  // namespace

void apply_defaults(const Kind& kind, Json& object, std::string_view random5) {
  if (!object.is_object()) return;
  if (kind.custom) {
    // The schema of a custom kind has hardly a default; only its metadata is decoded and written again by Kubernetes.
    drop_nulls(*kind.object, object);
    const Field* metadata = kind.object->find("metadata");
    if (metadata != nullptr && at(object, "metadata").is_object()) {
      normalize(*metadata->object, object["metadata"]);
      if (!kind.namespaced) object["metadata"].erase("namespace");
    }
    if (kind.kind == "Device" && at(at(object, "spec"), "deviceModelRef").is_object()) put(object["spec"]["deviceModelRef"], "name", "");
    return;
  }
  normalize(*kind.object, object);
  if (!kind.namespaced) object["metadata"].erase("namespace");
  if (kind.group.empty()) {
    if (kind.kind == "Pod") default_pod(object, random5);
    else if (kind.kind == "Secret") default_secret(object);
    else if (kind.kind == "Namespace") default_namespace(object);
    else if (kind.kind == "Node") default_node(object);
    else if (kind.kind == "Service") default_service(object);
  } else if (kind.group == "apps" || kind.group == "batch") {
    default_workload(kind, object, !random5.empty());
  } else if (kind.group == "rbac.authorization.k8s.io") {
    default_rbac(object);
  } else if (kind.kind == "TokenRequest" && at(object, "spec").is_object()) {
    put(object["spec"], "expirationSeconds", 3600);
  }
}

}  // namespace kubeedge::kube::schema
