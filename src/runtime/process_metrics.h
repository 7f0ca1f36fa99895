// This process as Prometheus' client libraries name it: CPU time, memory, descriptors, start.
#pragma once

#include "base/metrics.h"

namespace kubeedge::runtime {

// Reads /proc/self; what cannot be read is left out.
void collect_process(base::MetricsPage& page);

}  // namespace kubeedge::runtime
