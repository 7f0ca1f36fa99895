// Who a request writes as, and what server-side apply asks of it; managedFields itself is kube/patch/apply. Pure.
#pragma once

#include <optional>
#include <string>

#include "kube/patch/apply.h"
#include "kube/rest/object.h"
#include "kube/rest/request.h"

namespace kubeedge::kube::rest {

// The writer of a change of `kind` through `subresource`: the query's fieldManager, or the User-Agent's first part.
patch::Writer writer_of(const schema::Kind& kind, const std::string& subresource, const Query& query, const std::string& user_agent, std::int64_t now_unix_s);

// Whether the query's fieldManager and force suit the request.
std::optional<Failure> check_manager(const std::string& method, const Query& query, bool apply);

// The object that a server-side apply of `config` makes of `live` (null: there is none yet), with its managedFields, not yet settled.
Outcome applied(const WriteContext& context, const Json& live, const Json& config, const patch::Writer& writer, bool force);

}  // namespace kubeedge::kube::rest
