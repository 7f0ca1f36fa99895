// A request's path, query and Accept header, understood. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <kubeedge/result.h>

#include "kube/rest/api_server.h"
#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {

// /api/v1/namespaces/NS/pods/NAME/status and its kin.
struct Target {
  std::string group, version;
  std::string ns;               // "" = cluster scope or all namespaces
  std::string plural;           // "" = a discovery path: /api/v1, /apis/G/V
  std::string name, subresource;
};

// nullopt: no resource path (for example /version). Segments are percent-decoded; "..", "." and "/" in a name are refused.
Result<std::optional<Target>> parse_target(std::string_view path);

struct Query {
  std::string label_selector, field_selector, resource_version, resource_version_match, field_validation, field_manager, grace_period, propagation;
  std::optional<bool> force;    // of a server-side apply
  bool watch = false, bookmarks = false, dry_run = false, send_initial_events = false;
  std::string include_object;
  std::optional<std::int64_t> limit;
  std::string continue_token;
};
Result<Query> parse_query(std::string_view query);

struct Accept {
  bool table = false;
  bool metadata_only = false;   // as=PartialObjectMetadata(List)
  std::string table_version = "v1";
  std::string include_object = "Metadata";   // of a Table's rows (the query's includeObject): None, Metadata, Object
  bool openapi_protobuf = false;
  bool json = true;             // false: only forms that we do not speak (406)
};
Accept parse_accept(std::string_view accept);

}  // namespace kubeedge::kube::rest
