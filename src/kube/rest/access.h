// What a request wants, in the words that Kubernetes' authorizers use, and how a refusal is put. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kube/rest/api_server.h"
#include "kube/rest/request.h"
#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

// `target` = nullptr: the path names no resource; `kind` = nullptr: one that we do not know. Kubernetes knows a namespace itself by its own name.
Attributes attributes_of(const ApiRequest& request, const Target* target, const schema::Kind* kind, const Query& query);

// What `as` in place of the user itself asks for, one after the other; and who it then is, with the groups that go without saying.
std::vector<Attributes> impersonation(const UserInfo& as);
UserInfo impersonated(UserInfo as);

Failure refused(const UserInfo& user, const Attributes& wanted, const std::string& why);

}  // namespace kubeedge::kube::rest
