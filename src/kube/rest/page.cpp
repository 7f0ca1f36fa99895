#include "kube/rest/page.h"

#include "base/json.h"
#include "base/json_member.h"
#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

constexpr std::size_t kMaxTokenBytes = 2048;
constexpr std::string_view kTokenVersion = "meta.k8s.io/v1";

Failure bad_token(const std::string& why) { return bad_request("continue key is not valid: " + why); }

Failure invalid_options(const std::string& field, const std::string& reason, const std::string& message) {
  return invalid_request("ListOptions", {{field, reason, message}});
}

}  // namespace

std::string PageToken::text() const {
  return base::base64url(base::dump_json(Json{{"v", kTokenVersion}, {"rv", revision}, {"ns", ns}, {"start", name}}));
}

std::variant<PageToken, Failure> PageToken::parse(const std::string& text) {
  if (text.size() > kMaxTokenBytes) return bad_token(fmt::format("it is over {} bytes", kMaxTokenBytes));
  const auto plain = base::from_base64(text);
  if (!plain) return bad_token("it is not base64");
  const Json token = base::parse_json(*plain);
  if (!token.is_object()) return bad_token("it holds no object");
  if (base::text_of(token, "v") != kTokenVersion) return bad_token("server does not recognize this encoded version");
  const auto revision = token.find("rv");
  if (revision == token.end() || !revision->is_number_unsigned() || revision->get<std::uint64_t>() == 0) return bad_token("incorrect encoded start resourceVersion");
  PageToken out{revision->get<std::uint64_t>(), base::text_of(token, "ns"), base::text_of(token, "start")};
  if (out.name.empty()) return bad_token("it names no object");
  return out;
}

std::optional<Failure> check_list(const Query& query, std::uint64_t current) {
  const std::string& match = query.resource_version_match;
  constexpr const char* kForbidden = "FieldValueForbidden";
  if (query.limit && *query.limit < 0) return invalid_options("limit", "FieldValueInvalid", fmt::format("Invalid value: {}: must be greater than or equal to 0", *query.limit));
  if (query.send_initial_events) return invalid_options("sendInitialEvents", kForbidden, "Forbidden: sendInitialEvents is forbidden for list");
  if (!query.continue_token.empty() && !query.resource_version.empty()) return bad_request("specifying resource version is not allowed when using continue");
  if (!match.empty()) {
    const char* field = "resourceVersionMatch";
    if (query.resource_version.empty()) return invalid_options(field, kForbidden, "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (match != "Exact" && match != "NotOlderThan")
      return invalid_options(field, "FieldValueNotSupported", fmt::format("Unsupported value: {}: supported values: \"Exact\", \"NotOlderThan\", \"\"", go_quoted(match)));
    if (match == "Exact" && query.resource_version == "0") return invalid_options(field, kForbidden, "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  }
  const auto wanted = static_cast<std::uint64_t>(base::to_int(query.resource_version).value_or(0));
  if (wanted > current) {
    return Failure{504, "Timeout", fmt::format("Timeout: Too large resource version: {}, current: {}", wanted, current),
                   {{"causes", Json::array({{{"reason", "ResourceVersionTooLarge"}, {"message", "Too large resource version"}}})}, {"retryAfterSeconds", 1}}};
  }
  // Old states are not kept.
  if (wanted != 0 && wanted < current && match == "Exact") return expired("The provided resource version is too old: only the current state is kept here");
  return std::nullopt;
}

}  // namespace kubeedge::kube::rest
