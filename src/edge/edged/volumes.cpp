#include "edge/edged/volumes.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

// The group that fsGroup gives to a pod's volumes; -1 = none.
gid_t group_of(const Json& pod) {
  const Json& group = member(spec(pod), "securityContext", "fsGroup");
  return group.is_number_integer() ? static_cast<gid_t>(number(group)) : static_cast<gid_t>(-1);
}
constexpr gid_t kNoGroup = static_cast<gid_t>(-1);

bool same_content(const std::string& folder, const std::vector<VolumeFile>& files, gid_t group) {
  struct stat facts{};
  if (::lstat((folder + "/" + kData).c_str(), &facts) != 0) return false;
  std::size_t found = 0;
  std::error_code wrong;
  for (fs::recursive_directory_iterator at(folder + "/" + kData + "/", wrong), end; !wrong && at != end; at.increment(wrong)) found += at->is_regular_file() ? 1 : 0;
  if (wrong || found != files.size()) return false;
  return std::all_of(files.begin(), files.end(), [&](const VolumeFile& file) {
    const std::string path = folder + "/" + kData + "/" + file.path;
    struct stat of{};
    return ::stat(path.c_str(), &of) == 0 && static_cast<int>(of.st_mode & 07777) == file.mode && (group == kNoGroup || of.st_gid == group) && static_cast<std::size_t>(of.st_size) == file.content.size() &&
           read_all(path) == file.content;
  });
}

// Writes `files` into a new folder beside ..data and makes ..data name it, in one rename.
Result<void> swap_data(const std::string& folder, const std::vector<VolumeFile>& files, gid_t group) {
  const std::string stamp = ".." + base::random_hex(8);
  const std::string fresh = folder + "/" + stamp;
  if (Result<void> made = make_folder(fresh); !made) return made;
  for (const VolumeFile& file : files) {
    const std::string path = fresh + "/" + file.path;
    if (Result<void> made = make_folder(path.substr(0, path.rfind('/'))); !made) return made;
    if (Result<void> written = write_file(path, file.content, file.mode); !written) return written;
    if (group != kNoGroup && ::chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) return failed(path, errno);
  }
  const std::string next = folder + "/..data_tmp";
  ::unlink(next.c_str());
  if (::symlink(stamp.c_str(), next.c_str()) != 0) return failed(next, errno);
  if (::rename(next.c_str(), (folder + "/" + kData).c_str()) != 0) return failed(folder + "/" + kData, errno);
  return {};
}

// Kubernetes' atomic writer: a container sees all of the old or all of the new. What a kill left half-done goes too.
Result<void> write_atomically(const std::string& folder, std::vector<VolumeFile> files, gid_t group) {
  if (group != kNoGroup)
    for (VolumeFile& file : files) file.mode |= 0440;   // the group may read, as kubelet lets it
  if (Result<void> made = make_folder(folder); !made) return made;
  if (!same_content(folder, files, group))
    if (Result<void> swapped = swap_data(folder, files, group); !swapped) return swapped;
  // The visible names point through ..data.
  std::set<std::string> wanted = {kData};
  for (const VolumeFile& file : files) wanted.insert(file.path.substr(0, file.path.find('/')));
  std::error_code wrong;
  for (const std::string& name : wanted) {
    const std::string link = folder + "/" + name;
    if (fs::symlink_status(link, wrong).type() != fs::file_type::not_found) continue;
    if (::symlink((std::string(kData) + "/" + name).c_str(), link.c_str()) != 0) return failed(link, errno);
  }
  wanted.insert(fs::read_symlink(folder + "/" + kData, wrong).string());
  std::vector<std::string> stale;
  for (fs::directory_iterator at(folder, wrong), end; !wrong && at != end; at.increment(wrong))
    if (!wanted.contains(at->path().filename().string())) stale.push_back(at->path().string());
  for (const std::string& path : stale) remove_tree(path);
  return {};
}

struct Fd {
  int fd = -1;
  explicit Fd(int number) : fd(number) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    const int kept = errno;
    if (fd >= 0) ::close(fd);
    errno = kept;
  }
};

// Mount points below `folder`, the innermost first.
std::vector<std::string> mounts_below(const std::string& folder) {
  std::vector<std::string> mounts;
  std::ifstream table("/proc/self/mounts");
  for (std::string device, place, rest; table >> device >> place && std::getline(table, rest);)
    if (place.starts_with(folder + "/")) mounts.push_back(place);
  std::sort(mounts.rbegin(), mounts.rend());
  return mounts;
}

bool is_tmpfs(const std::string& path) {
  struct statfs facts{};
  return ::statfs(path.c_str(), &facts) == 0 && facts.f_type == kTmpfsMagic;
}

Result<void> make_empty_dir(const std::string& folder, const Json& source, gid_t group) {
  if (Result<void> made = make_folder(folder, 0777); !made) return made;
  const auto open_to_all = [&]() -> Result<void> {
    if (group != kNoGroup && ::chown(folder.c_str(), static_cast<uid_t>(-1), group) != 0) return failed(folder, errno);
    ::chmod(folder.c_str(), group == kNoGroup ? 0777 : 02777);   // what is made in it gets the group too
    return {};
  };
  if (text(member(source, "medium")) != "Memory" || is_tmpfs(folder)) return open_to_all();
  std::string options = "mode=0777";
  if (const auto limit = bytes_of(text(member(source, "sizeLimit")))) options += fmt::format(",size={}", *limit);
  if (::mount("tmpfs", folder.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) return failed("mounting tmpfs at " + folder, errno);
  return open_to_all();
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
      done = make_empty_dir(path, member(volume, "emptyDir"), group_of(pod));
    } else {
      auto files = volume_files(pod, volume, inputs, facts);
      // What was written once outlives its object: a container may restart without a cloud, or with its ConfigMap deleted.
      if (!files && fs::exists(path + "/" + kData)) continue;
      done = files ? write_atomically(path, std::move(*files), group_of(pod)) : Result<void>(std::move(files).error());
    }
    if (!done && first) first = done.error().in("volume \"" + text(member(volume, "name")) + "\"");
  }
  return first;
}

Result<void> bind_sub_path(const std::string& volume, const std::string& sub, const std::string& target) {
  const Fd root{::open(volume.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (root.fd < 0) return failed(volume, errno);
  // The kernel itself keeps the walk below `root`, whatever a container does to the links meanwhile.
  const auto beneath = [&](const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    return Fd{static_cast<int>(::syscall(SYS_openat2, root.fd, path.c_str(), &how, sizeof how))};
  };
  const auto refused = [&](int number) {
    if (number == EXDEV) return base::error(Errc::kPermissionDenied, "subPath \"{}\" leads out of its volume", sub.substr(0, 80));
    return failed("subPath \"" + sub.substr(0, 80) + "\"", number);
  };
  struct stat facts{};
  ::fstat(root.fd, &facts);
  std::string made = ".";
  for (const std::string& part : base::split(sub, '/')) {
    const std::string next = made + "/" + part;
    if (beneath(next).fd < 0) {
      if (errno != ENOENT) return refused(errno);
      const Fd parent = beneath(made);
      if (parent.fd < 0 || ::mkdirat(parent.fd, part.c_str(), facts.st_mode & 0777) != 0) return refused(errno);
    }
    made = next;
  }
  if (sub.empty() || sub.front() == '/') return base::error(Errc::kInvalidArgument, "subPath \"{}\" must be relative", sub.substr(0, 80));
  const Fd found = beneath(made);
  if (found.fd < 0) return refused(errno);
  if (::fstat(found.fd, &facts) != 0) return refused(errno);

  while (::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {}   // of the container's former start
  ::unlink(target.c_str());
  ::rmdir(target.c_str());
  if (Result<void> parent = make_folder(target.substr(0, target.rfind('/'))); !parent) return parent;
  if (Result<void> place = S_ISDIR(facts.st_mode) ? make_folder(target) : write_file(target, "", 0644); !place) return place;
  const std::string source = fmt::format("/proc/self/fd/{}", found.fd);
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) return failed("binding " + target, errno);
  return {};
}

Result<void> remove_volumes(const std::string& root, const std::string& uid) {
  if (uid.empty() || uid.front() == '.' || uid.find('/') != std::string::npos) return base::error(Errc::kInvalidArgument, "bad pod uid");
  const std::string folder = pod_folder(root, uid);
  for (const std::string& place : mounts_below(folder))
    if (::umount2(place.c_str(), UMOUNT_NOFOLLOW) != 0 && ::umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) return failed("unmounting " + place, errno);
  // Removing through a mount would remove what is the host's.
  if (const auto left = mounts_below(folder); !left.empty()) return base::error(Errc::kIo, "{} is still mounted", left.front());
  std::error_code wrong;
  fs::remove_all(folder, wrong);
  if (wrong) return base::error(Errc::kIo, "removing {}: {}", folder, wrong.message());
  return {};
}

void remove_logs(const std::string& logs_dir, const std::string& uid) {
  if (uid.empty()) return;
  std::error_code wrong;
  std::vector<std::string> folders;
  for (fs::directory_iterator at(logs_dir, wrong), end; !wrong && at != end; at.increment(wrong))
    if (at->path().filename().string().ends_with("_" + uid)) folders.push_back(at->path().string());
  for (const std::string& folder : folders) remove_tree(folder);
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
  if (made) ::chmod(path.c_str(), static_cast<mode_t>(mode));   // whatever the umask
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

std::string log_tail(const std::string& path, std::size_t max_bytes, std::size_t max_lines) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  // Room for the times and stream names before the lines' text.
  const auto size = static_cast<std::size_t>(std::max<std::streamoff>(0, file.tellg()));
  const std::size_t wanted = std::min(size, max_bytes + max_lines * 64);
  file.seekg(static_cast<std::streamoff>(size - wanted));
  std::string raw(wanted, '\0');
  file.read(raw.data(), static_cast<std::streamsize>(wanted));
  std::vector<std::string> lines = base::split(raw, '\n');
  if (wanted < size && !lines.empty()) lines.erase(lines.begin());   // cut in the middle
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.size() > max_lines) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(max_lines));
  std::string out;
  for (const std::string& line : lines) {   // "2026-11-25T10:00:00.1Z stdout F text"
    std::size_t at = 0;
    for (int word = 0; word < 3 && at != std::string::npos; ++word) at = line.find(' ', at == 0 ? 0 : at + 1);
    if (at != std::string::npos) out += line.substr(at + 1) + "\n";
  }
  return out.size() > max_bytes ? out.substr(out.size() - max_bytes) : out;
}

void remove_tree(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

}  // namespace kubeedge::edged
