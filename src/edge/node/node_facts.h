// What the machine is: read from /proc, /sys, /etc and uname. I/O; the rest of this folder is plain logic.
#pragma once

#include <cstdint>
#include <string>

namespace kubeedge::edge {

struct NodeFacts {
  int cpus = 1;
  std::int64_t memory_kib = 0;
  std::int64_t disk_bytes = 0;          // of the file system that holds data_dir
  std::int64_t disk_free_bytes = 0;
  std::int64_t memory_available_kib = 0;
  std::int64_t pids_max = 0, pids_used = 0;
  std::string machine_id, system_uuid, boot_id, kernel, os_image, architecture;   // "amd64"
};

NodeFacts read_node_facts(const std::string& data_dir);

}  // namespace kubeedge::edge
