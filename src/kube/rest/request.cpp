#include "kube/rest/request.h"

#include "base/text.h"

namespace kubeedge::kube::rest {
namespace {

constexpr std::size_t kMaxPathBytes = 4096;

std::optional<std::string> query_decode(std::string_view text) {
  std::string plain{text};
  for (char& c : plain)
    if (c == '+') c = ' ';
  return base::percent_decode(plain);
}

bool truth(std::string_view text) { return text == "true" || text == "1"; }

}  // namespace

Result<std::optional<Target>> parse_target(std::string_view path) {
  if (path.size() > kMaxPathBytes) return base::error(Errc::kLimitExceeded, "the path is over {} bytes", kMaxPathBytes);
  std::vector<std::string> parts;
  for (const std::string& part : base::split(path, '/')) {
    if (part.empty()) continue;
    auto plain = base::percent_decode(part);
    if (!plain || !base::is_utf8(*plain) || *plain == "." || *plain == ".." || plain->find('/') != std::string::npos || plain->find('\0') != std::string::npos) {
      return base::error(Errc::kInvalidArgument, "invalid path segment \"{}\"", part.substr(0, 80));
    }
    parts.push_back(std::move(*plain));
  }
  Target target;
  std::size_t at = 0;
  if (parts.size() >= 2 && parts[0] == "api") {
    target.version = parts[1];
    at = 2;
  } else if (parts.size() >= 3 && parts[0] == "apis") {
    target.group = parts[1];
    target.version = parts[2];
    at = 3;
  } else {
    return std::optional<Target>();
  }
  if (at + 2 < parts.size() && parts[at] == "namespaces" && parts[at + 2] != "status" && parts[at + 2] != "finalize") {
    target.ns = parts[at + 1];
    at += 2;
  }
  if (at < parts.size()) target.plural = parts[at++];
  if (at < parts.size()) target.name = parts[at++];
  if (at < parts.size()) target.subresource = parts[at++];
  if (at < parts.size()) return base::error(Errc::kNotFound, "no such path");
  // A namespace itself lives "in" itself for selectors and authorization, but its key has no namespace.
  return std::optional<Target>(std::move(target));
}

Result<Query> parse_query(std::string_view query) {
  Query out;
  if (query.empty()) return out;
  for (const std::string& pair : base::split(query, '&')) {
    const auto equal = pair.find('=');
    const auto key = query_decode(pair.substr(0, equal));
    const auto value = query_decode(equal == std::string::npos ? "" : pair.substr(equal + 1));
    if (!key || !value || !base::is_utf8(*value)) return base::error(Errc::kInvalidArgument, "invalid query \"{}\"", pair.substr(0, 80));
    if (*key == "labelSelector") out.label_selector = *value;
    else if (*key == "fieldSelector") out.field_selector = *value;
    else if (*key == "resourceVersion") out.resource_version = *value;
    else if (*key == "resourceVersionMatch") out.resource_version_match = *value;
    else if (*key == "fieldValidation") out.field_validation = *value;
    else if (*key == "fieldManager") out.field_manager = *value;
    else if (*key == "force") out.force = truth(*value);
    else if (*key == "gracePeriodSeconds") out.grace_period = *value;
    else if (*key == "propagationPolicy") out.propagation = *value;
    else if (*key == "watch") out.watch = truth(*value);
    else if (*key == "allowWatchBookmarks") out.bookmarks = truth(*value);
    else if (*key == "sendInitialEvents") out.send_initial_events = truth(*value);
    else if (*key == "includeObject") out.include_object = *value;
    else if (*key == "continue") out.continue_token = *value;
    else if (*key == "dryRun") {
      if (*value != "All") return base::error(Errc::kInvalidArgument, "dryRun: Unsupported value: \"{}\": supported values: \"All\"", *value);
      out.dry_run = true;
    } else if (*key == "limit") {
      out.limit = base::to_int(*value);
      if (!out.limit) return base::error(Errc::kInvalidArgument, "limit: expected a number, found \"{}\"", value->substr(0, 40));
    }
  }
  if (!out.resource_version.empty() && !base::to_int(out.resource_version)) {
    return base::error(Errc::kInvalidArgument, "resourceVersion: Invalid value: \"{}\": must be a number", out.resource_version.substr(0, 40));
  }
  return out;
}

Accept parse_accept(std::string_view accept) {
  Accept out;
  if (accept.empty()) return out;
  out.json = false;
  bool decided = false;
  for (const std::string& entry : base::split(accept, ',')) {
    const bool any = entry.find("*/*") != std::string::npos || entry.find("application/*") != std::string::npos;
    if (entry.find("proto-openapi") != std::string::npos || entry.find("com.github.proto-openapi") != std::string::npos) out.openapi_protobuf = true;
    if (entry.find("application/json") == std::string::npos && !any) continue;
    out.json = true;
    if (decided) continue;
    if (entry.find("as=Table") != std::string::npos) {
      out.table = true;
      if (entry.find("v=v1beta1") != std::string::npos) out.table_version = "v1beta1";
      decided = true;
    } else if (entry.find("as=PartialObjectMetadata") != std::string::npos) {
      out.metadata_only = true;
      decided = true;
    } else if (entry.find("as=") == std::string::npos) {
      decided = true;  // plain JSON is preferred over what follows
    }
  }
  return out;
}

}  // namespace kubeedge::kube::rest
