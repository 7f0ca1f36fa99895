// OpenAPI v2 of all kinds, derived from the table: what `kubectl apply` and `explain` ask for. Pure.
#pragma once

#include <string>

namespace kubeedge::kube::schema {

// Serialized gnostic openapi.v2.Document: application/com.github.proto-openapi.spec.v2@v1.0+protobuf.
std::string openapi_v2_protobuf(const std::string& git_version);
std::string openapi_v2_json(const std::string& git_version);

}  // namespace kubeedge::kube::schema
