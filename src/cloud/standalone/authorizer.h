// Who may do what, until RBAC objects are evaluated: masters all, nodes their own, everyone else nothing.
#pragma once

#include <string>

#include "kube/rest/api_server.h"
#include "kube/rest/storage.h"

namespace kubeedge::cloud {

// The node's name when `user` is a node ("system:node:<name>" in group system:nodes); else "".
std::string node_of(const kube::UserInfo& user);

// `resource` is the plural, with or without its group in front ("core/pods"). `why` is set on a refusal.
bool authorize(const kube::Storage& storage, const kube::UserInfo& user, const std::string& verb, const std::string& resource,
               const std::string& subresource, const std::string& ns, const std::string& name, std::string& why);

}  // namespace kubeedge::cloud
