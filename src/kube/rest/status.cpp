#include "kube/rest/status.h"

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

Json details_of(const schema::Kind& kind, const std::string& name) {
  Json details = {{"name", name}, {"kind", std::string(kind.plural)}};
  if (!kind.group.empty()) details["group"] = std::string(kind.group);
  return details;
}

Failure invalid_thing(std::string_view group, std::string_view kind, const std::string& name, const std::vector<schema::Cause>& causes) {
  std::string text;
  Json list = Json::array();
  for (const schema::Cause& cause : causes) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{}: {}", cause.field, cause.message);
    list.push_back({{"reason", cause.reason}, {"message", cause.message}, {"field", cause.field}});
  }
  if (causes.size() > 1) text = "[" + text + "]";
  Json details = {{"name", name}, {"kind", std::string(kind)}, {"causes", list}};
  if (!group.empty()) details["group"] = std::string(group);
  const std::string named = group.empty() ? std::string(kind) : fmt::format("{}.{}", kind, group);
  return {422, "Invalid", fmt::format("{} \"{}\" is invalid: {}", named, name, text), details};
}

}  // namespace

Json Failure::status() const {
  Json out = {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Json::object()}, {"status", "Failure"}, {"message", message}, {"code", code}};
  if (!reason.empty()) out["reason"] = reason;
  if (!details.is_null()) out["details"] = details;
  return out;
}

std::string go_quoted(const std::string& text) { return base::dump_json(Json(text)); }

std::string qualified(const schema::Kind& kind) {
  return kind.group.empty() ? std::string(kind.plural) : fmt::format("{}.{}", kind.plural, kind.group);
}

Failure not_found(const schema::Kind& kind, const std::string& name) {
  return {404, "NotFound", fmt::format("{} \"{}\" not found", qualified(kind), name), details_of(kind, name)};
}

Failure already_exists(const schema::Kind& kind, const std::string& name) {
  return {409, "AlreadyExists", fmt::format("{} \"{}\" already exists", qualified(kind), name), details_of(kind, name)};
}

Failure conflict(const schema::Kind& kind, const std::string& name, const std::string& why) {
  return {409, "Conflict", fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", qualified(kind), name, why), details_of(kind, name)};
}

Failure modified(const schema::Kind& kind, const std::string& name) {
  return conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again");
}

Failure forbidden(const std::string& message) { return {403, "Forbidden", message, Json()}; }

Failure forbidden_object(const std::string& group, const std::string& resource, const std::string& name, const std::string& why) {
  Json details = {{"kind", resource}};
  if (!group.empty()) details["group"] = group;
  if (!name.empty()) details["name"] = name;
  const std::string about = (group.empty() ? resource : resource + "." + group) + (name.empty() ? "" : " " + go_quoted(name));
  return {403, "Forbidden", fmt::format("{} is forbidden: {}", about, why), details};
}

Failure bad_request(const std::string& message) { return {400, "BadRequest", message, Json()}; }

Failure invalid(const schema::Kind& kind, const std::string& name, const std::vector<schema::Cause>& causes) {
  return invalid_thing(kind.group, kind.kind, name, causes);
}

Failure invalid_request(const std::string& options_kind, const std::vector<schema::Cause>& causes) {
  return invalid_thing("meta.k8s.io", options_kind, "", causes);
}

Failure expired(const std::string& message) { return {410, "Expired", message, Json()}; }
Failure unsupported_media_type(const std::string& message) { return {415, "UnsupportedMediaType", message, Json()}; }
Failure method_not_allowed(const std::string& message) { return {405, "MethodNotAllowed", message, Json()}; }
Failure too_large(std::size_t limit) { return {413, "RequestEntityTooLarge", fmt::format("Request entity too large: limit is {}", limit), Json()}; }
Failure internal(const std::string& message) { return {500, "InternalError", "Internal error occurred: " + message, Json()}; }
Failure path_not_found() { return {404, "NotFound", "the server could not find the requested resource", Json::object()}; }

Json success(const schema::Kind& kind, const std::string& name, const std::string& uid) {
  Json details = details_of(kind, name);
  details["uid"] = uid;
  return {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Json::object()}, {"status", "Success"}, {"details", details}};
}

}  // namespace kubeedge::kube::rest
