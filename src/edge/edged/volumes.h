// A pod's folders and volumes on disk. Blocking: runs on the blocking executor only.
#pragma once

#include <string>
#include <vector>

#include <kubeedge/result.h>

#include "edge/edged/pod_inputs.h"

namespace kubeedge::edged {

// <root>/pods/<uid>/volumes/kubernetes.io~configmap/<name> and its kin.
std::string pod_folder(const std::string& root, const std::string& uid);
// Where a volume's content is: for mounts. hostPath: the path itself.
std::string volume_path(const std::string& root, const Json& pod, const Json& volume);

// Makes the folders of the pod and brings every volume to the state of `inputs`. Idempotent: what a running container
// has mounted is changed by an atomic swap of ..data, and only where its content differs.
// All volumes are tried; the first error is given back.
Result<void> prepare_volumes(const std::string& root, const Json& pod, const PodInputs& inputs, const PodFacts& facts);

// Binds `sub` of `volume` at `target` (made as a folder or a file): a container then mounts `target`, which no later change
// of a link in the volume can turn into another place. A folder is made where nothing is. kPermissionDenied: it leads out
// of the volume.
Result<void> bind_sub_path(const std::string& volume, const std::string& sub, const std::string& target);

// Unmounts and removes all of the pod's folders.
Result<void> remove_volumes(const std::string& root, const std::string& uid);
// The pod's log folder, whatever its name and namespace were.
void remove_logs(const std::string& logs_dir, const std::string& uid);
// Uids of the pods that have folders.
std::vector<std::string> pods_on_disk(const std::string& root);

// Folders and files around one container start.
Result<void> make_folder(const std::string& path, int mode = 0755);
Result<void> write_file(const std::string& path, const std::string& content, int mode);
std::string read_start(const std::string& path, std::size_t limit);
// The text of the last lines of a log in CRI's format, without times and stream names.
std::string log_tail(const std::string& path, std::size_t max_bytes, std::size_t max_lines);
void remove_tree(const std::string& path);

}  // namespace kubeedge::edged
