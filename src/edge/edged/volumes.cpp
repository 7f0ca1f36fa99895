#include "edge/edged/volumes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "edge/edged/pod_status.h"

namespace kubeedge::edged {
namespace fs = std::filesystem;
namespace {

constexpr long kTmpfsMagic = 0x01021994;
constexpr const char* kData = "..data";

Error failed(const std::string& what, int number) { return base::error(Errc::kIo, "{}: {}", what, std::strerror(number)); }

const char* plugin_of(const Json& volume) {
  static constexpr std::pair<const char*, const char*> kPlugins[] = {{"emptyDir", "kubernetes.io~empty-dir"}, {"configMap", "kubernetes.io~configmap"},
                                                                     {"secret", "kubernetes.io~secret"},      {"projected", "kubernetes.io~projected"},
                                                                     {"downwardAPI", "kubernetes.io~downward-api"}};
  for (const auto& [key, plugin] : kPlugins)
    if (!member(volume, key).is_null()) return plugin;
  return nullptr;
}

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool same_content(const std::string& folder, const std::vector<VolumeFile>& files) {
  struct stat facts{};
  if (::lstat((folder + "/" + kData).c_str(), &facts) != 0) return false;
  std::size_t found = 0;
  std::error_code wrong;
  for (fs::recursive_directory_iterator at(folder + "/" + kData + "/", wrong), end; !wrong && at != end; at.increment(wrong)) found += at->is_regular_file() ? 1 : 0;
  if (wrong || found != files.size()) return false;
  return std::all_of(files.begin(), files.end(), [&](const VolumeFile& file) {
    const std::string path = folder + "/" + kData + "/" + file.path;
    struct stat of{};
    return ::stat(path.c_str(), &of) == 0 && static_cast<int>(of.st_mode & 07777) == file.mode && static_cast<std::size_t>(of.st_size) == file.content.size() &&
           read_all(path) == file.content;
  });
}

// Kubernetes' atomic writer: a new timestamped folder, then one rename of ..data, then the old folder goes. A container
// sees all of the old or all of the new.
Result<void> write_atomically(const std::string& folder, const std::vector<VolumeFile>& files) {
  if (Result<void> made = make_folder(folder); !made) return made;
  if (same_content(folder, files)) return {};
  const std::string stamp = ".." + base::random_hex(8);
  const std::string fresh = folder + "/" + stamp;
  if (Result<void> made = make_folder(fresh); !made) return made;
  for (const VolumeFile& file : files) {
    const std::string path = fresh + "/" + file.path;
    if (Result<void> made = make_folder(path.substr(0, path.rfind('/'))); !made) return made;
    if (Result<void> written = write_file(path, file.content, file.mode); !written) return written;
  }
  char old[4096] = {};
  const ssize_t size = ::readlink((folder + "/" + kData).c_str(), old, sizeof old - 1);
  const std::string next = folder + "/..data_tmp";
  ::unlink(next.c_str());
  if (::symlink(stamp.c_str(), next.c_str()) != 0) return failed(next, errno);
  if (::rename(next.c_str(), (folder + "/" + kData).c_str()) != 0) return failed(folder + "/" + kData, errno);
  // The visible names point through ..data; those whose first part is gone go.
  std::set<std::string> wanted;
  for (const VolumeFile& file : files) wanted.insert(file.path.substr(0, file.path.find('/')));
  for (const std::string& name : wanted) {
    const std::string link = folder + "/" + name;
    struct stat facts{};
    if (::lstat(link.c_str(), &facts) == 0) continue;
    if (::symlink((std::string(kData) + "/" + name).c_str(), link.c_str()) != 0) return failed(link, errno);
  }
  std::error_code wrong;
  for (fs::directory_iterator at(folder, wrong), end; !wrong && at != end; at.increment(wrong)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with("..") && !wanted.contains(name)) ::unlink(at->path().c_str());
  }
  if (size > 0) remove_tree(folder + "/" + std::string(old, static_cast<std::size_t>(size)));
  return {};
}

bool is_tmpfs(const std::string& path) {
  struct statfs facts{};
  return ::statfs(path.c_str(), &facts) == 0 && facts.f_type == kTmpfsMagic;
}

Result<void> make_empty_dir(const std::string& folder, const Json& source) {
  if (Result<void> made = make_folder(folder, 0777); !made) return made;
  ::chmod(folder.c_str(), 0777);
  if (text(member(source, "medium")) != "Memory" || is_tmpfs(folder)) return {};
  std::string options = "mode=0777";
  if (const auto limit = bytes_of(text(member(source, "sizeLimit")))) options += fmt::format(",size={}", *limit);
  if (::mount("tmpfs", folder.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) return failed("mounting tmpfs at " + folder, errno);
  return {};
}

Result<void> check_host_path(const Json& source) {
  const std::string path = text(member(source, "path"));
  const std::string type = text(member(source, "type"));
  if (path.empty() || path.front() != '/') return base::error(Errc::kInvalidArgument, "hostPath \"{}\" is not absolute", path.substr(0, 80));
  struct stat facts{};
  const bool there = ::stat(path.c_str(), &facts) == 0;
  const auto wrong = [&](const char* what) { return base::error(Errc::kInvalidArgument, "hostPath type check failed: {} is not a {}", path, what); };
  if (type.empty()) return {};
  if (type == "DirectoryOrCreate") return there ? (S_ISDIR(facts.st_mode) ? Result<void>() : wrong("directory")) : make_folder(path);
  if (type == "FileOrCreate") return there ? (S_ISREG(facts.st_mode) ? Result<void>() : wrong("file")) : write_file(path, "", 0644);
  if (type == "Directory") return there && S_ISDIR(facts.st_mode) ? Result<void>() : wrong("directory");
  if (type == "File") return there && S_ISREG(facts.st_mode) ? Result<void>() : wrong("file");
  if (type == "Socket") return there && S_ISSOCK(facts.st_mode) ? Result<void>() : wrong("socket file");
  if (type == "CharDevice") return there && S_ISCHR(facts.st_mode) ? Result<void>() : wrong("character device");
  if (type == "BlockDevice") return there && S_ISBLK(facts.st_mode) ? Result<void>() : wrong("block device");
  return base::error(Errc::kInvalidArgument, "hostPath type \"{}\" is unknown", type.substr(0, 40));
}

}  // namespace

std::string pod_folder(const std::string& root, const std::string& uid) { return root + "/pods/" + uid; }

std::string volume_path(const std::string& root, const Json& pod, const Json& volume) {
  if (const Json& host = member(volume, "hostPath"); host.is_object()) return text(member(host, "path"));
  const char* plugin = plugin_of(volume);
  return fmt::format("{}/volumes/{}/{}", pod_folder(root, pod_uid(pod)), plugin == nullptr ? "unknown" : plugin, text(member(volume, "name")));
}

Result<void> prepare_volumes(const std::string& root, const Json& pod, const PodInputs& inputs, const PodFacts& facts) {
  const std::string folder = pod_folder(root, pod_uid(pod));
  for (const char* part : {"/volumes", "/containers", "/plugins"})
    if (Result<void> made = make_folder(folder + part); !made) return made;
  Result<void> first;
  for (const Json& volume : items(member(spec(pod), "volumes"))) {
    const std::string path = volume_path(root, pod, volume);
    Result<void> done;
    if (!member(volume, "hostPath").is_null()) {
      done = check_host_path(member(volume, "hostPath"));
    } else if (!member(volume, "emptyDir").is_null() || plugin_of(volume) == nullptr) {
      done = make_empty_dir(path, member(volume, "emptyDir"));
    } else {
      auto files = volume_files(pod, volume, inputs, facts);
      done = files ? write_atomically(path, *files) : Result<void>(std::move(files).error());
    }
    if (!done && first) first = done.error().in("volume \"" + text(member(volume, "name")) + "\"");
  }
  return first;
}

Result<void> remove_volumes(const std::string& root, const std::string& uid) {
  if (uid.empty() || uid.find('/') != std::string::npos) return base::error(Errc::kInvalidArgument, "bad pod uid");
  const std::string folder = pod_folder(root, uid);
  std::vector<std::string> mounts;
  std::ifstream table("/proc/self/mounts");
  for (std::string device, place, rest; table >> device >> place && std::getline(table, rest);)
    if (place.starts_with(folder + "/")) mounts.push_back(place);
  std::sort(mounts.rbegin(), mounts.rend());
  for (const std::string& place : mounts)
    if (::umount2(place.c_str(), 0) != 0 && ::umount2(place.c_str(), MNT_DETACH) != 0) return failed("unmounting " + place, errno);
  std::error_code wrong;
  fs::remove_all(folder, wrong);
  if (wrong) return base::error(Errc::kIo, "removing {}: {}", folder, wrong.message());
  return {};
}

std::vector<std::string> pods_on_disk(const std::string& root) {
  std::vector<std::string> out;
  std::error_code wrong;
  for (fs::directory_iterator at(root + "/pods", wrong), end; !wrong && at != end; at.increment(wrong)) out.push_back(at->path().filename().string());
  return out;
}

Result<void> make_folder(const std::string& path, int mode) {
  std::error_code wrong;
  const bool made = fs::create_directories(path, wrong);
  if (wrong) return base::error(Errc::kIo, "{}: {}", path, wrong.message());
  if (made && mode != 0755) ::chmod(path.c_str(), static_cast<mode_t>(mode));
  return {};
}

Result<void> write_file(const std::string& path, const std::string& content, int mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed(path, errno);
  std::size_t written = 0;
  while (written < content.size()) {
    const ssize_t count = ::write(fd, content.data() + written, content.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int number = errno;
      ::close(fd);
      return failed(path, number);
    }
    written += static_cast<std::size_t>(count);
  }
  ::fchmod(fd, static_cast<mode_t>(mode));
  ::close(fd);
  return {};
}

std::string read_start(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  std::string out(limit, '\0');
  file.read(out.data(), static_cast<std::streamsize>(limit));
  out.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, file.gcount())));
  return out;
}

void remove_tree(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

}  // namespace kubeedge::edged
