#include "edge/node/node_facts.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/text.h"

namespace kubeedge::edge {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  while (!line.empty() && (line.back() == ' ' || line.back() == '\n' || line.back() == '\0')) line.pop_back();
  return line;
}

std::int64_t meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key + ":")) continue;
    std::istringstream rest(line.substr(key.size() + 1));
    std::int64_t kib = 0;
    rest >> kib;
    return kib;
  }
  return 0;
}

std::string os_name() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string name = line.substr(12);
    if (name.size() >= 2 && name.front() == '"') name = name.substr(1, name.size() - 2);
    return name;
  }
  return "Linux";
}

// Go's and Kubernetes' word for the machine.
std::string go_architecture(const std::string& machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine.starts_with("arm")) return "arm";
  if (machine == "i686" || machine == "i386") return "386";
  return machine;
}

}  // namespace

NodeFacts read_node_facts(const std::string& data_dir) {
  NodeFacts facts;
  facts.cpus = std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  facts.memory_kib = meminfo("MemTotal");
  facts.memory_available_kib = meminfo("MemAvailable");
  struct statvfs disk{};
  if (statvfs(data_dir.c_str(), &disk) == 0) {
    facts.disk_bytes = static_cast<std::int64_t>(disk.f_blocks * disk.f_frsize);
    facts.disk_free_bytes = static_cast<std::int64_t>(disk.f_bavail * disk.f_frsize);
  }
  facts.pids_max = base::to_int(first_line("/proc/sys/kernel/pid_max")).value_or(0);
  struct sysinfo system{};
  if (sysinfo(&system) == 0) facts.pids_used = system.procs;
  facts.machine_id = first_line("/etc/machine-id");
  facts.system_uuid = first_line("/sys/class/dmi/id/product_uuid");
  if (facts.system_uuid.empty()) facts.system_uuid = facts.machine_id;
  facts.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  facts.os_image = os_name();
  utsname names{};
  if (uname(&names) == 0) {
    facts.kernel = names.release;
    facts.architecture = go_architecture(names.machine);
  }
  return facts;
}

}  // namespace kubeedge::edge
