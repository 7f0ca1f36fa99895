// The three patch kinds of Kubernetes (server-side apply is not one of them yet). Pure.
#pragma once

#include <nlohmann/json.hpp>

#include <kubeedge/result.h>

#include "kube/schema/schema.h"

namespace kubeedge::kube::patch {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxJsonPatchOperations = 10'000;  // kube-apiserver's own limit

inline constexpr std::size_t kMaxJsonPatchCopyBytes = 3 * 1024 * 1024;  // all "copy" operations of one patch together

// RFC 6902, all of it or nothing. Errors name the operation that failed: kInvalidArgument = it makes no sense,
// kConflict = a test or a path did not hold, kLimitExceeded.
Result<Json> json_patch(const Json& document, const Json& operations);

// RFC 7386.
Json merge_patch(const Json& document, const Json& patch);

// Kubernetes' strategic merge patch: lists merge by the schema's keys; directives $patch, $retainKeys,
// $setElementOrder/<list>, $deleteFromPrimitiveList/<list>. `object` = the document's type, nullptr = unknown (maps merge,
// lists are replaced).
Result<Json> strategic_merge(const Json& document, const Json& patch, const schema::Object* object);

}  // namespace kubeedge::kube::patch
