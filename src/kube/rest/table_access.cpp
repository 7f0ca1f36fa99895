// Tables of roles and their bindings, certificate requests, volumes and classes.
#include "kube/rest/table_view.h"

namespace kubeedge::kube::rest {
namespace {

constexpr Column column(const char* name, int priority = 0) { return {name, "string", priority, ""}; }

Json role_cells(const Json& o, std::int64_t) { return Json::array({text(o, {"metadata", "name"}), text(o, {"metadata", "creationTimestamp"})}); }

Json binding_cells(const Json& o, std::int64_t now) {
  std::string users, groups, accounts;
  const auto add = [](std::string& list, const std::string& one) { list += (list.empty() ? "" : ", ") + one; };
  const Json& subjects = at(o, {"subjects"});
  for (const Json& subject : subjects.is_array() ? subjects : Json::array()) {
    const std::string kind = text(subject, {"kind"}), name = text(subject, {"name"});
    if (kind == "User") add(users, name);
    if (kind == "Group") add(groups, name);
    if (kind == "ServiceAccount") add(accounts, text(subject, {"namespace"}) + "/" + name);
  }
  return Json::array({text(o, {"metadata", "name"}), text(o, {"roleRef", "kind"}) + "/" + text(o, {"roleRef", "name"}), age(o, now), users, groups, accounts});
}

std::string request_state(const Json& o) {
  bool approved = false, denied = false, failed = false;
  const Json& conditions = at(o, {"status", "conditions"});
  for (const Json& condition : conditions.is_array() ? conditions : Json::array()) {
    const std::string type = text(condition, {"type"});
    approved = approved || type == "Approved";
    denied = denied || type == "Denied";
    failed = failed || type == "Failed";
  }
  return std::string(denied ? "Denied" : approved ? "Approved" : "Pending") + (failed ? ",Failed" : "") +
         (text(o, {"status", "certificate"}).empty() ? "" : ",Issued");
}

Json request_cells(const Json& o, std::int64_t now) {
  const Json& seconds = at(o, {"spec", "expirationSeconds"});
  return Json::array({text(o, {"metadata", "name"}), age(o, now), text(o, {"spec", "signerName"}, "<none>"), text(o, {"spec", "username"}),
                      seconds.is_number_integer() ? human_duration(seconds.get<std::int64_t>()) : "<none>", request_state(o)});
}

// ReadWriteOnce -> RWO.
std::string access_modes(const Json& modes) {
  std::string out;
  for (const auto& [name, brief] : {std::pair("ReadWriteOnce", "RWO"), {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}})
    for (const Json& mode : modes.is_array() ? modes : Json::array())
      if (mode == name) out += (out.empty() ? "" : ",") + std::string(brief);
  return out;
}

std::string volume_phase(const Json& o) {
  return at(o, {"metadata", "deletionTimestamp"}).is_null() ? text(o, {"status", "phase"}) : "Terminating";
}

Json volume_cells(const Json& o, std::int64_t now) {
  const bool claimed = at(o, {"spec", "claimRef"}).is_object();
  return Json::array({text(o, {"metadata", "name"}), text(o, {"spec", "capacity", "storage"}, "0"), access_modes(at(o, {"spec", "accessModes"})),
                      text(o, {"spec", "persistentVolumeReclaimPolicy"}), volume_phase(o),
                      claimed ? text(o, {"spec", "claimRef", "namespace"}) + "/" + text(o, {"spec", "claimRef", "name"}) : "",
                      text(o, {"spec", "storageClassName"}), text(o, {"spec", "volumeAttributesClassName"}, "<unset>"), text(o, {"status", "reason"}), age(o, now),
                      text(o, {"spec", "volumeMode"}, "<unset>")});
}

Json claim_cells(const Json& o, std::int64_t now) {
  const bool bound = !text(o, {"spec", "volumeName"}).empty();
  return Json::array({text(o, {"metadata", "name"}), volume_phase(o), text(o, {"spec", "volumeName"}), bound ? text(o, {"status", "capacity", "storage"}, "0") : "",
                      bound ? access_modes(at(o, {"status", "accessModes"})) : "", text(o, {"spec", "storageClassName"}),
                      text(o, {"spec", "volumeAttributesClassName"}, "<unset>"), age(o, now), text(o, {"spec", "volumeMode"}, "<unset>")});
}

Json storage_class_cells(const Json& o, std::int64_t now) {
  const bool standard = text(o, {"metadata", "annotations", "storageclass.kubernetes.io/is-default-class"}) == "true";
  return Json::array({text(o, {"metadata", "name"}) + (standard ? " (default)" : ""), text(o, {"provisioner"}), text(o, {"reclaimPolicy"}, "Delete"),
                      text(o, {"volumeBindingMode"}, "Immediate"), at(o, {"allowVolumeExpansion"}) == true, age(o, now)});
}

Json priority_class_cells(const Json& o, std::int64_t now) {
  const Json& value = at(o, {"value"});
  return Json::array({text(o, {"metadata", "name"}), value.is_number() ? value : Json(0), at(o, {"globalDefault"}) == true, age(o, now), text(o, {"preemptionPolicy"})});
}

}  // namespace

const std::vector<View>& access_views() {
  static const std::vector<Column> role = {kName, column("Created At")};
  static const std::vector<Column> binding = {kName, column("Role"), kAge, column("Users", 1), column("Groups", 1), column("ServiceAccounts", 1)};
  static const std::vector<View> all = {
      {"rbac.authorization.k8s.io", "Role", role, role_cells},
      {"rbac.authorization.k8s.io", "ClusterRole", role, role_cells},
      {"rbac.authorization.k8s.io", "RoleBinding", binding, binding_cells},
      {"rbac.authorization.k8s.io", "ClusterRoleBinding", binding, binding_cells},
      {"certificates.k8s.io", "CertificateSigningRequest",
       {kName, kAge, column("SignerName"), column("Requestor"), column("RequestedDuration"), column("Condition")}, request_cells},
      {"", "PersistentVolume",
       {kName, column("Capacity"), column("Access Modes"), column("Reclaim Policy"), column("Status"), column("Claim"), column("StorageClass"),
        column("VolumeAttributesClass"), column("Reason"), kAge, column("VolumeMode", 1)},
       volume_cells},
      {"", "PersistentVolumeClaim",
       {kName, column("Status"), column("Volume"), column("Capacity"), column("Access Modes"), column("StorageClass"), column("VolumeAttributesClass"), kAge,
        column("VolumeMode", 1)},
       claim_cells},
      {"storage.k8s.io", "StorageClass",
       {kName, column("Provisioner"), column("ReclaimPolicy"), column("VolumeBindingMode"), column("AllowVolumeExpansion"), kAge}, storage_class_cells},
      {"scheduling.k8s.io", "PriorityClass",
       {kName, {"Value", "integer", 0, ""}, {"Global-Default", "boolean", 0, ""}, kAge, column("PreemptionPolicy", 1)}, priority_class_cells},
      {"", "LimitRange", {kName, column("Created At")}, role_cells},
  };
  return all;
}

}  // namespace kubeedge::kube::rest
