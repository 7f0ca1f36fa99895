// Building the causes of an Invalid answer, worded as Kubernetes words them; and reading JSON without caring what is there. Internal.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "kube/schema/schema.h"

#include "base/json.h"

namespace kubeedge::kube::schema {

class Causes {
 public:
  void required(const std::string& field, std::string_view detail = {}) { add(field, "FieldValueRequired", "Required value", detail); }
  void forbidden(const std::string& field, std::string_view detail) { add(field, "FieldValueForbidden", "Forbidden", detail); }
  void too_long(const std::string& field, std::size_t limit) {
    add(field, "FieldValueTooLong", "Too long", "may not be more than " + std::to_string(limit) + " bytes");
  }
  void too_many(const std::string& field, std::size_t has, std::int64_t limit) {
    add(field, "FieldValueTooMany", "Too many: " + std::to_string(has), "must have at most " + std::to_string(limit) + " items");
  }
  void invalid(const std::string& field, const Json& value, std::string_view detail) {
    add(field, "FieldValueInvalid", "Invalid value: " + shown(value), detail);
  }
  void invalid(const std::string& field, const Json& value, const std::vector<std::string>& details) {
    for (const auto& detail : details) invalid(field, value, detail);
  }
  // A value that Kubernetes prints without quotes.
  void invalid_raw(const std::string& field, std::string_view value, std::string_view detail) {
    add(field, "FieldValueInvalid", "Invalid value: " + std::string(value), detail);
  }
  void duplicate_raw(const std::string& field, std::string_view value, std::string_view detail) {
    add(field, "FieldValueDuplicate", "Duplicate value: " + std::string(value), detail);
  }
  void wrong_type(const std::string& field, std::string_view has, std::string_view detail) {
    add(field, "FieldValueTypeInvalid", "Invalid value: \"" + std::string(has) + "\"", detail);
  }
  void duplicate(const std::string& field, const Json& value) { add(field, "FieldValueDuplicate", "Duplicate value: " + shown(value), {}); }
  void not_found(const std::string& field, const Json& value) { add(field, "FieldValueNotFound", "Not found: " + shown(value), {}); }
  void unsupported(const std::string& field, const Json& value, const std::vector<std::string_view>& supported) { unsupported_raw(field, shown(value), supported); }
  void unsupported_raw(const std::string& field, const std::string& value, const std::vector<std::string_view>& supported) {
    std::string list = "supported values: ";
    for (const auto one : supported) list += (list.back() == ' ' ? "\"" : ", \"") + std::string(one) + "\"";
    add(field, "FieldValueNotSupported", "Unsupported value: " + value, list);
  }
  // One that was found in a part of the object; its field is told from the whole.
  void take_over(Cause cause) {
    if (causes_.size() < kMaxCauses) causes_.push_back(std::move(cause));
  }
  std::size_t size() const { return causes_.size(); }
  std::vector<Cause> take() { return std::move(causes_); }

 private:
  static std::string shown(const Json& value) {
    return value.is_null() ? "\"null\"" : base::dump_json(value);
  }
  void add(const std::string& field, std::string_view reason, std::string message, std::string_view detail) {
    if (causes_.size() >= kMaxCauses) return;
    if (!detail.empty()) message += ": " + std::string(detail);
    causes_.push_back({field, std::string(reason), std::move(message)});
  }
  static constexpr std::size_t kMaxCauses = 100;  // an answer that somebody reads
  std::vector<Cause> causes_;
};

// A member, or null.
inline const Json& at(const Json& object, std::string_view name) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}
// A member's array, or an empty one.
inline const Json& list_at(const Json& object, std::string_view name) {
  static const Json none = Json::array();
  const Json& value = at(object, name);
  return value.is_array() ? value : none;
}
// A member's text, or "".
inline const std::string& text_at(const Json& object, std::string_view name) {
  static const std::string none;
  const Json& value = at(object, name);
  return value.is_string() ? value.get_ref<const std::string&>() : none;
}
// A member's integer, or `otherwise`.
inline std::int64_t int_at(const Json& object, std::string_view name, std::int64_t otherwise = 0) {
  const Json& value = at(object, name);
  return value.is_number_integer() ? value.get<std::int64_t>() : otherwise;
}
inline bool true_at(const Json& object, std::string_view name) {
  const Json& value = at(object, name);
  return value.is_boolean() && value.get<bool>();
}
inline std::string child(const std::string& path, std::string_view name) { return path + "." + std::string(name); }
inline std::string child(const std::string& path, std::size_t index) { return path + "[" + std::to_string(index) + "]"; }
inline std::string key(const std::string& path, std::string_view name) { return path + "[" + std::string(name) + "]"; }

// In validate_pod.cpp.
void validate_pod(const Json& pod, Causes& causes);
void validate_pod_update(const Json& before, const Json& after, Causes& causes);
// In validate_rbac.cpp: the kinds of rbac.authorization.k8s.io.
void default_rbac(Json& object);
void validate_rbac(const Kind& kind, const Json& object, Causes& causes);
void validate_rbac_update(const Json& before, const Json& after, Causes& causes);
// In validate_workloads.cpp: the kinds of apps and batch.
void validate_workload(const Kind& kind, const Json& object, Causes& causes);
void validate_workload_update(const Kind& kind, const Json& before, const Json& after, Causes& causes);
// In validate.cpp: labels and the like, also of nodeSelector.
void validate_labels(const Json& labels, const std::string& path, Causes& causes);

}  // namespace kubeedge::kube::schema
