#include "cloud/standalone/service_account_tokens.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "pki/pki.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

// The value at a path of keys, or null.
const json& at(const json& object, std::initializer_list<const char*> path) {
  static const json kNull;
  const json* now = &object;
  for (const char* key : path) {
    if (!now->is_object()) return kNull;
    const auto found = now->find(key);
    if (found == now->end()) return kNull;
    now = &*found;
  }
  return *now;
}

std::string text(const json& value) { return value.is_string() ? value.get<std::string>() : std::string(); }
std::int64_t number(const json& value) { return value.is_number() ? value.get<std::int64_t>() : 0; }

std::string uid_of(const kube::Storage& storage, const char* resource, const std::string& ns, const std::string& name) {
  const auto object = storage.get({resource, ns, name});
  return object ? text(at(base::parse_json(object->json), {"metadata", "uid"})) : std::string();
}

}  // namespace

ServiceAccountTokens::ServiceAccountTokens(const kube::Storage& storage, const Clock& clock, std::string key_sec1_der)
    : storage_(storage), clock_(clock), key_(std::move(key_sec1_der)) {}

Result<Bytes> ServiceAccountTokens::issue(const std::string& ns, const std::string& account, const Bytes& account_object, const Bytes& request) const {
  json answer = base::parse_json(request);
  if (!answer.is_object()) return base::error(Errc::kInvalidArgument, "the TokenRequest is not a JSON object");
  const std::int64_t now = clock_.unix_ms() / 1000;
  const json wanted = at(answer, {"spec", "expirationSeconds"});
  const std::int64_t seconds = wanted.is_number_integer() ? wanted.get<std::int64_t>() : kDefaultSeconds;
  if (seconds < kLeastSeconds) return base::error(Errc::kInvalidArgument, "spec.expirationSeconds: {} is less than {}", seconds, kLeastSeconds);
  json audiences = at(answer, {"spec", "audiences"});
  if (!audiences.is_array() || audiences.empty()) audiences = json::array({kIssuer});
  json bound = {{"namespace", ns},
                {"serviceaccount", {{"name", account}, {"uid", text(at(base::parse_json(account_object), {"metadata", "uid"}))}}}};
  const json reference = at(answer, {"spec", "boundObjectRef"});
  if (reference.is_object()) {
    const std::string kind = text(at(reference, {"kind"})), name = text(at(reference, {"name"})), uid = text(at(reference, {"uid"}));
    if (kind != "Pod") return base::error(Errc::kInvalidArgument, "spec.boundObjectRef.kind: {} is not supported, only Pod", kind);
    const std::string real = uid_of(storage_, "core/pods", ns, name);
    if (real.empty()) return base::error(Errc::kNotFound, "spec.boundObjectRef: pod {}/{} does not exist", ns, name);
    if (!uid.empty() && uid != real) return base::error(Errc::kConflict, "spec.boundObjectRef: pod {}/{} has uid {}, not {}", ns, name, real, uid);
    bound["pod"] = {{"name", name}, {"uid", real}};
  }
  const std::int64_t expires = now + std::min(seconds, kMostSeconds);
  const json claims = {{"aud", audiences}, {"exp", expires}, {"iat", now}, {"iss", kIssuer}, {"jti", base::uuid4()},
                       {"kubernetes.io", bound}, {"nbf", now}, {"sub", "system:serviceaccount:" + ns + ":" + account}};
  Result<std::string> jwt = pki::sign_jwt_es256(base::dump_json(claims), key_);
  if (!jwt) return std::move(jwt).error();
  answer["apiVersion"] = "authentication.k8s.io/v1";
  answer["kind"] = "TokenRequest";
  if (!answer["metadata"].is_object()) answer["metadata"] = json::object();
  answer["metadata"]["name"] = account;
  answer["metadata"]["namespace"] = ns;
  answer["metadata"]["creationTimestamp"] = base::rfc3339(now);
  if (!answer["spec"].is_object()) answer["spec"] = json::object();
  answer["spec"]["audiences"] = audiences;
  answer["spec"]["expirationSeconds"] = expires - now;
  answer["status"] = {{"token", *jwt}, {"expirationTimestamp", base::rfc3339(expires)}};
  return Bytes(base::dump_json(answer));
}

Result<kube::TokenOwner> ServiceAccountTokens::check(std::string_view jwt, const std::vector<std::string>& audiences) const {
  Result<std::string> text_of_claims = pki::verify_jwt_es256(jwt, key_);
  if (!text_of_claims) return std::move(text_of_claims).error();
  const json claims = base::parse_json(*text_of_claims);
  const std::int64_t now = clock_.unix_ms() / 1000;
  if (number(at(claims, {"exp"})) <= now || number(at(claims, {"nbf"})) > now) return base::error(Errc::kUnauthenticated, "the token is not valid now");
  kube::TokenOwner owner;
  for (const json& audience : at(claims, {"aud"}))
    if (std::find(audiences.begin(), audiences.end(), text(audience)) != audiences.end()) owner.audiences.push_back(text(audience));
  if (owner.audiences.empty()) return base::error(Errc::kUnauthenticated, "the token is for another audience");
  const json& bound = at(claims, {"kubernetes.io"});
  const std::string ns = text(at(bound, {"namespace"})), account = text(at(bound, {"serviceaccount", "name"}));
  owner.uid = uid_of(storage_, "core/serviceaccounts", ns, account);
  if (owner.uid.empty() || owner.uid != text(at(bound, {"serviceaccount", "uid"}))) return base::error(Errc::kUnauthenticated, "the token's service account is gone");
  if (const json& pod = at(bound, {"pod"}); pod.is_object() && uid_of(storage_, "core/pods", ns, text(at(pod, {"name"}))) != text(at(pod, {"uid"})))
    return base::error(Errc::kUnauthenticated, "the token's pod is gone");
  owner.user = {"system:serviceaccount:" + ns + ":" + account, {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}};
  return owner;
}

}  // namespace kubeedge::cloud
