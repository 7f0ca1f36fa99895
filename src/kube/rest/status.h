// metav1.Status: how the API server says no. Pure.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {

using Json = nlohmann::json;

struct Failure {
  int code = 500;
  std::string reason;      // NotFound, Conflict, Invalid ...
  std::string message;
  Json details;            // null = none
  Json status() const;     // the whole Status object
};

// Text as Go's %q writes it.
std::string go_quoted(const std::string& text);

// `resource` = "pods" or "devices.devices.kubeedge.io", as kube-apiserver names it in its texts.
std::string qualified(const schema::Kind& kind);

Failure not_found(const schema::Kind& kind, const std::string& name);
Failure already_exists(const schema::Kind& kind, const std::string& name);
Failure conflict(const schema::Kind& kind, const std::string& name, const std::string& why);
Failure modified(const schema::Kind& kind, const std::string& name);   // the usual 409
Failure forbidden(const std::string& message);
// 403 about one object, or about a resource where `name` is empty.
Failure forbidden_object(const std::string& group, const std::string& resource, const std::string& name, const std::string& why);
Failure bad_request(const std::string& message);
Failure invalid(const schema::Kind& kind, const std::string& name, const std::vector<schema::Cause>& causes);
// 422 about a request's own words: "ListOptions", "PatchOptions" ...
Failure invalid_request(const std::string& options_kind, const std::vector<schema::Cause>& causes);
Failure expired(const std::string& message);
Failure unsupported_media_type(const std::string& message);
Failure method_not_allowed(const std::string& message);
Failure too_large(std::size_t limit);
Failure internal(const std::string& message);
Failure path_not_found();

// The Status of a deletion that took place at once.
Json success(const schema::Kind& kind, const std::string& name, const std::string& uid);

}  // namespace kubeedge::kube::rest
