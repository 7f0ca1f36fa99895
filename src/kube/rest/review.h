// Questions that are answered at once and never stored: whose token is this, and who may do what. Pure.
#pragma once

#include <variant>

#include "kube/rest/api_server.h"
#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

// `body` was decoded as `kind`, one of schema::reviews(); the same with its status comes back. `ns` is the path's.
std::variant<Json, Failure> review(const schema::Kind& kind, Json body, const std::string& ns, const UserInfo& caller, const ApiServerHooks& hooks);

}  // namespace kubeedge::kube::rest
