// The scale subresource: an autoscaling/v1 Scale as a view of a workload. Pure.
#pragma once

#include "kube/rest/object.h"

namespace kubeedge::kube::rest {

const schema::Kind& scale_kind();
Json scale_of(const Json& workload);
// `current` with the replicas that `scale` wants; its name and resourceVersion, where it says them, are checked with the write.
Outcome rescaled(const Json& current, const Json& scale);

}  // namespace kubeedge::kube::rest
