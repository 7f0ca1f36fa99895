// What a DELETE asks for, and what it makes of the object's finalizers. Pure.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "kube/rest/request.h"
#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

inline constexpr const char* kOrphanFinalizer = "orphan";
inline constexpr const char* kForegroundFinalizer = "foregroundDeletion";

struct DeleteOptions {
  std::optional<std::int64_t> grace;     // seconds
  std::string uid, resource_version;     // preconditions; "" = none
  std::string propagation;               // Background, Foreground, Orphan, or "" = as the kind has it
  bool dry_run = false;
};

// The query's and the body's (a DeleteOptions, or null), the body's coming first.
std::variant<DeleteOptions, Failure> delete_options(const Query& query, const Json& body);

// Writes the garbage collector's orders into `object`'s finalizers; whether that changed them.
bool order_propagation(const schema::Kind& kind, Json& object, const std::string& propagation);

}  // namespace kubeedge::kube::rest
