// What a program says of its hub, checked and completed.
#pragma once

#include <kubeedge/edge_hub.h>

#include "edge/hub/edge_hub.h"

namespace kubeedge::edge {

// Makes data_dir. kInvalidArgument: the node name, no cloud, or a server that is no host:port.
Result<HubOptions> hub_options(const EdgeHubOptions& options);

}  // namespace kubeedge::edge
