// Questions that are answered at once and never stored: whose token is this, and who may do what. Pure.
#pragma once

#include <variant>

#include "kube/rest/api_server.h"
#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

// `body` is a TokenReview, SelfSubjectAccessReview or SubjectAccessReview that was decoded as `kind`; the same with its status comes back.
std::variant<Json, Failure> review(const schema::Kind& kind, Json body, const UserInfo& caller, const ApiServerHooks& hooks);

}  // namespace kubeedge::kube::rest
