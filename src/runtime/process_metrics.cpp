#include "runtime/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

namespace kubeedge::runtime {

void collect_process(base::MetricsPage& page) {
  rusage used{};
  if (getrusage(RUSAGE_SELF, &used) == 0) {
    const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
    page.counter("process_cpu_seconds_total", "User and system CPU time", seconds(used.ru_utime) + seconds(used.ru_stime));
  }
  if (const std::unique_ptr<FILE, int (*)(FILE*)> statm{std::fopen("/proc/self/statm", "re"), &std::fclose}) {
    long all = 0, resident = 0;
    if (std::fscanf(statm.get(), "%ld %ld", &all, &resident) == 2) {
      page.gauge("process_resident_memory_bytes", "Resident memory", std::int64_t{resident} * sysconf(_SC_PAGESIZE));
      page.gauge("process_virtual_memory_bytes", "Virtual memory", std::int64_t{all} * sysconf(_SC_PAGESIZE));
    }
  }
  if (const std::unique_ptr<DIR, int (*)(DIR*)> folder{opendir("/proc/self/fd"), &closedir}) {
    std::int64_t open = -3;   // ".", ".." and the folder's own
    while (readdir(folder.get()) != nullptr) ++open;
    page.gauge("process_open_fds", "Open file descriptors", open);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) page.gauge("process_max_fds", "Limit of open file descriptors", static_cast<std::int64_t>(limit.rlim_cur));
}

}  // namespace kubeedge::runtime
