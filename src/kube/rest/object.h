// What the server does to an object's metadata between a client's words and the store. Pure.
#pragma once

#include <string>
#include <variant>

#include <nlohmann/json.hpp>

#include "kube/rest/status.h"
#include "kube/schema/schema.h"

namespace kubeedge::kube::rest {

using Outcome = std::variant<Json, Failure>;

// Facts of one write.
struct WriteContext {
  const schema::Kind& kind;
  std::string ns, name;             // from the path; name is "" for create
  std::string field_validation;     // Strict, Warn, Ignore or ""
  std::int64_t now_unix_s = 0;
  bool must_name_version = false;   // PUT of a custom object or a Lease: no write without a resourceVersion
};

// Parses a body as `kind`: JSON, right apiVersion and kind (filled in where absent), unknown fields out (or refused).
Outcome decode_object(const WriteContext& context, std::string_view body);

// A new object: names, uid, times, defaults, validation. `uid`, `suffix` are random.
// A pod takes its service account's imagePullSecrets, and its word on the token, where it has none of its own.
// Returns whether spec.automountServiceAccountToken is the account's word: it is not stored with the pod.
bool borrow_from_account(Json& pod, const Json& account);

Outcome prepare_create(const WriteContext& context, Json object, const std::string& uid, const std::string& suffix);

// A changed object: `next` is what the client wants in place of `current`, through `subresource` ("" or "status").
// Restores what clients may not change, bumps the generation, validates.
Outcome prepare_update(const WriteContext& context, const Json& current, Json next, const std::string& subresource);

// {"metadata": {...}} access that never throws.
std::string meta(const Json& object, const char* field);
bool terminating(const Json& object);
bool has_finalizers(const Json& object);
// The object as clients that want only metadata get it.
Json partial_metadata(const Json& object);

// The stored text: `object` with metadata.resourceVersion = revision.
std::string with_revision(Json object, std::uint64_t revision);

}  // namespace kubeedge::kube::rest
