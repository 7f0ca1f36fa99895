#include "kube/rest/review.h"

namespace kubeedge::kube::rest {
namespace {

Json at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() ? *found : Json();
}

std::string text(const Json& object, const char* key) {
  const Json value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::vector<std::string> texts(const Json& object, const char* key) {
  std::vector<std::string> out;
  for (const Json& item : at(object, key))
    if (item.is_string()) out.push_back(item.get<std::string>());
  return out;
}

Json token_status(const Json& spec, const ApiServerHooks& hooks) {
  const Result<TokenOwner> owner = hooks.review_token(text(spec, "token"), texts(spec, "audiences"));
  if (!owner) return {{"user", Json::object()}, {"error", owner.error().message}};
  Json user = {{"username", owner->user.name}, {"uid", owner->uid}, {"groups", owner->user.groups}};
  return {{"authenticated", true}, {"user", std::move(user)}, {"audiences", owner->audiences}};
}

Json access_status(const Json& spec, const UserInfo& user, const ApiServerHooks& hooks) {
  const Json resource = at(spec, "resourceAttributes"), other = at(spec, "nonResourceAttributes");
  const std::string verb = text(resource.is_object() ? resource : other, "verb");
  std::string why;
  const bool allowed = hooks.authorize(user, verb, text(resource, "resource"), text(resource, "subresource"), text(resource, "namespace"),
                                       text(resource, "name"), why);
  Json status = {{"allowed", allowed}};
  if (!why.empty()) status["reason"] = why;
  return status;
}

}  // namespace

std::variant<Json, Failure> review(const schema::Kind& kind, Json body, const UserInfo& caller, const ApiServerHooks& hooks) {
  const Json spec = at(body, "spec");
  body["metadata"] = {{"creationTimestamp", nullptr}};
  if (kind.kind == "TokenReview") {
    if (text(spec, "token").empty()) return bad_request("token is required for TokenReview in authentication");
    body["status"] = token_status(spec, hooks);
    return body;
  }
  if (at(spec, "resourceAttributes").is_object() == at(spec, "nonResourceAttributes").is_object())
    return invalid(kind, "", {{"spec.resourceAttributes", "FieldValueInvalid",
                               "Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified"}});
  const bool self = kind.kind == "SelfSubjectAccessReview";
  body["status"] = access_status(spec, self ? caller : UserInfo{text(spec, "user"), texts(spec, "groups")}, hooks);
  return body;
}

}  // namespace kubeedge::kube::rest
