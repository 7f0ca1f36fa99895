// What both daemons set for their process before anything else.
#pragma once

#include <malloc.h>

#include <csignal>

namespace daemons {

// Blocks from here on come from and go back to the system one by one: else glibc keeps the room of the largest message ever seen.
inline constexpr int kLargeBlockBytes = 256 * 1024;

inline void prepare_process() {
  std::signal(SIGPIPE, SIG_IGN);
  mallopt(M_MMAP_THRESHOLD, kLargeBlockBytes);
}

}  // namespace daemons
