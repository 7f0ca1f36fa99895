#include "kube/rest/review.h"

#include "base/text.h"

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
  Attributes wanted;
  wanted.verb = text(resource.is_object() ? resource : other, "verb");
  wanted.group = text(resource, "group");
  wanted.version = text(resource, "version");
  wanted.resource = text(resource, "resource");
  wanted.subresource = text(resource, "subresource");
  wanted.ns = text(resource, "namespace");
  wanted.name = text(resource, "name");
  wanted.path = text(other, "path");
  const Verdict verdict = hooks.authorize(user, wanted);
  Json status = {{"allowed", verdict.allowed}};
  if (!verdict.reason.empty()) status["reason"] = verdict.reason;
  return status;
}

Json user_json(const UserInfo& user) {
  Json out = {{"username", user.name}, {"groups", user.groups}};
  if (!user.uid.empty()) out["uid"] = user.uid;
  return out;
}

std::variant<Json, Failure> access_review(const schema::Kind& kind, Json body, const std::string& ns, const UserInfo& caller, const ApiServerHooks& hooks) {
  const Json spec = at(body, "spec");
  const Json resource = at(spec, "resourceAttributes");
  std::vector<schema::Cause> causes;
  if (resource.is_object() == at(spec, "nonResourceAttributes").is_object())
    causes.push_back({"spec.resourceAttributes", "FieldValueInvalid",
                      "Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified"});
  const bool self = kind.kind == "SelfSubjectAccessReview";
  const UserInfo asked{text(spec, "user"), texts(spec, "groups"), text(spec, "uid")};
  if (!self && asked.name.empty() && asked.groups.empty())
    causes.push_back({"spec.user", "FieldValueInvalid", "Invalid value: \"\": at least one of user or group must be specified"});
  if (!causes.empty()) return invalid(kind, "", causes);
  if (kind.namespaced && text(resource, "namespace") != ns)
    return bad_request(fmt::format("spec.resourceAttributes.namespace must match namespace: {}", ns));
  body["status"] = access_status(spec, self ? caller : asked, hooks);
  return body;
}

}  // namespace

std::variant<Json, Failure> review(const schema::Kind& kind, Json body, const std::string& ns, const UserInfo& caller, const ApiServerHooks& hooks) {
  const Json spec = at(body, "spec");
  body["metadata"] = {{"creationTimestamp", nullptr}};
  if (kind.namespaced) body["metadata"]["namespace"] = ns;
  if (kind.kind == "TokenReview") {
    if (text(spec, "token").empty()) return bad_request("token is required for TokenReview in authentication");
    body["status"] = token_status(spec, hooks);
  } else if (kind.kind == "SelfSubjectReview") {
    body["status"] = {{"userInfo", user_json(caller)}};
  } else if (kind.kind == "SelfSubjectRulesReview") {
    if (text(spec, "namespace").empty()) return bad_request("no namespace on request");
    body["status"] = hooks.rules_of(caller, text(spec, "namespace"));
  } else {
    return access_review(kind, std::move(body), ns, caller, hooks);
  }
  return body;
}

}  // namespace kubeedge::kube::rest
