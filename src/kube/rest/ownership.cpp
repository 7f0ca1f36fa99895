#include "kube/rest/ownership.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

constexpr std::size_t kMaxManagerBytes = 128;

bool printable(const std::string& text) {
  return base::is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// What a write through one door never changes: the main one keeps the status, a status's keeps the rest.
patch::FieldSet kept_fields(const schema::Kind& kind, const std::string& subresource) {
  patch::FieldSet out;
  if (subresource == "status") {
    out.insert_member(patch::member_element("spec"));
    if (kind.custom) out.insert_member(patch::member_element("metadata"));
  } else if (kind.status) {
    out.insert_member(patch::member_element("status"));
  }
  return out;
}

Failure apply_conflict(const std::vector<patch::Conflict>& conflicts) {
  Json causes = Json::array();
  for (const patch::Conflict& conflict : conflicts)
    causes.push_back({{"reason", "FieldManagerConflict"}, {"message", "conflict with " + conflict.manager}, {"field", patch::path_text(conflict.path)}});
  return {409, "Conflict", patch::conflict_message(conflicts), {{"causes", std::move(causes)}}};
}

}  // namespace

patch::Writer writer_of(const schema::Kind& kind, const std::string& subresource, const Query& query, const std::string& user_agent, std::int64_t now_unix_s) {
  std::string manager = query.field_manager.empty() ? user_agent.substr(0, user_agent.find('/')) : query.field_manager;
  if (manager.size() > kMaxManagerBytes) manager.resize(kMaxManagerBytes);
  if (!printable(manager)) manager.clear();
  return {std::move(manager), kind.api_version(), subresource, base::rfc3339(now_unix_s), kept_fields(kind, subresource)};
}

std::optional<Failure> check_manager(const std::string& method, const Query& query, bool apply) {
  std::vector<schema::Cause> causes;
  if (query.force && !apply) causes.push_back({"force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch"});
  if (apply && query.field_manager.empty()) causes.push_back({"fieldManager", "FieldValueRequired", "Required value: is required for apply patch"});
  if (query.field_manager.size() > kMaxManagerBytes)
    causes.push_back({"fieldManager", "FieldValueTooLong", fmt::format("Too long: may not be more than {} bytes", kMaxManagerBytes)});
  else if (!printable(query.field_manager))
    causes.push_back({"fieldManager", "FieldValueInvalid", fmt::format("Invalid value: {}: should only contain printable characters", go_quoted(query.field_manager))});
  if (causes.empty()) return std::nullopt;
  return invalid_request(method == "POST" ? "CreateOptions" : method == "PUT" ? "UpdateOptions" : "PatchOptions", causes);
}

Outcome applied(const WriteContext& context, const Json& live, const Json& config, const patch::Writer& writer, bool force) {
  if (const std::string name = meta(config, "name"); name != context.name)
    return bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})", name, context.name));
  const Json blank = {{"apiVersion", context.kind.api_version()}, {"kind", std::string(context.kind.kind)}};
  patch::Applied out = patch::apply(*context.kind.object, blank, live.is_null() ? blank : live, config, writer, force);
  if (const auto* conflicts = std::get_if<std::vector<patch::Conflict>>(&out)) return apply_conflict(*conflicts);
  if (const auto* refused = std::get_if<patch::Refused>(&out)) {
    if (refused->why == patch::Refused::Why::kBadRequest) return bad_request(refused->message);
    return Failure{500, "", fmt::format("failed to create typed patch object ({}/{}; {}/{}, Kind={}): {}", context.ns, context.name, context.kind.group, context.kind.version,
                                             context.kind.kind, refused->message), Json()};
  }
  return std::get<Json>(std::move(out));
}

}  // namespace kubeedge::kube::rest
