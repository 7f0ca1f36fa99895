// Reading Kubernetes objects without surprises: every accessor takes any JSON and never throws.
#pragma once

#include <string>

#include "base/json.h"
#include "base/json_member.h"

namespace kubeedge::edged {

using Json = nlohmann::json;

using base::member;
inline const Json& member(const Json& object, const char* outer, const char* inner) { return member(member(object, outer), inner); }

inline std::string text(const Json& value, std::string otherwise = "") { return value.is_string() ? value.get<std::string>() : std::move(otherwise); }
inline bool flag(const Json& value, bool otherwise = false) { return value.is_boolean() ? value.get<bool>() : otherwise; }
inline std::int64_t number(const Json& value, std::int64_t otherwise = 0) { return value.is_number_integer() ? value.get<std::int64_t>() : otherwise; }

// The list, or an empty one.
inline const Json& items(const Json& value) {
  static const Json none = Json::array();
  return value.is_array() ? value : none;
}


// A pod's own names.
inline std::string pod_name(const Json& pod) { return text(member(pod, "metadata", "name")); }
inline std::string pod_namespace(const Json& pod) { return text(member(pod, "metadata", "namespace"), "default"); }
inline std::string pod_uid(const Json& pod) { return text(member(pod, "metadata", "uid")); }
inline const Json& spec(const Json& pod) { return member(pod, "spec"); }

}  // namespace kubeedge::edged
