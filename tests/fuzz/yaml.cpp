// Both daemons' YAML files: whatever is in them, an answer and no exception; an error names the file.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "cloudcore/config.h"
#include "edgecore/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = memfd_create("config.yaml", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  for (const bool strict : {false, true}) {
    std::vector<std::string> warnings;
    cloudcore::Config cloud;
    const auto one = cloudcore::load_config(path, strict, cloud, warnings);
    edgecore::Config edge;
    const auto two = edgecore::load_config(path, strict, edge, warnings);
    if (!one && !one.error().message.starts_with(path)) std::abort();
    if (!two && !two.error().message.starts_with(path)) std::abort();
    for (const std::string& line : warnings)
      if (strict || !line.starts_with(path)) std::abort();
  }
  return 0;
}
