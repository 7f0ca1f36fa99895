// Volumes on a real file system: atomic updates, modes, what lies outside stays outside.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "edge/edged/volumes.h"
#include "observed_builder.h"

namespace kubeedge::edged {
namespace {
namespace fs = std::filesystem;

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/ke-volumes.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
};

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return file ? std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()} : "(none)";
}
int mode(const std::string& path) {
  struct stat facts{};
  return ::stat(path.c_str(), &facts) == 0 ? static_cast<int>(facts.st_mode & 07777) : -1;
}
ino_t inode(const std::string& path) {
  struct stat facts{};
  return ::stat(path.c_str(), &facts) == 0 ? facts.st_ino : 0;
}
// Mounting needs a privilege that a build machine may lack.
bool may_mount() {
  const Folder folder;
  if (::mount("tmpfs", folder.path.c_str(), "tmpfs", 0, nullptr) != 0) return false;
  ::umount(folder.path.c_str());
  return true;
}

Json pod_with(const std::string& volumes) {
  Json pod = pod_of("Always", {"a"});
  pod["spec"]["volumes"] = parsed(volumes);
  return pod;
}
PodInputs conf(const std::string& data) {
  PodInputs out;
  out.objects[{false, "conf"}] = {{"data", parsed(data)}};
  return out;
}

TEST_CASE("a configMap volume: files behind ..data, an update swaps them, what is gone goes") {
  const Folder root;
  const Json pod = pod_with(R"([{"name":"v","configMap":{"name":"conf"}}])");
  const std::string volume = root.path + "/pods/u1/volumes/kubernetes.io~configmap/v";
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1","gone":"x"})"), {}));
  CHECK(volume_path(root.path, pod, pod["spec"]["volumes"][0]) == volume);
  CHECK(read(volume + "/a") == "1");
  CHECK(read(volume + "/gone") == "x");
  CHECK(mode(volume + "/a") == 0644);
  CHECK(fs::read_symlink(volume + "/a") == "..data/a");
  const ino_t mounted = inode(volume);
  const fs::path first = fs::read_symlink(volume + "/..data");

  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1","gone":"x"})"), {}));
  CHECK(fs::read_symlink(volume + "/..data") == first);   // nothing differs: nothing is touched

  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"2","b":"3"})"), {}));
  CHECK(read(volume + "/a") == "2");
  CHECK(read(volume + "/b") == "3");
  CHECK(inode(volume) == mounted);                         // a running container has this folder mounted
  CHECK_FALSE(fs::exists(volume + "/" + first.string()));
  CHECK(fs::symlink_status(volume + "/gone").type() == fs::file_type::not_found);
}

TEST_CASE("a container that reads while the volume changes sees all of the old or all of the new") {
  const Folder root;
  const Json pod = pod_with(R"([{"name":"v","configMap":{"name":"conf"}}])");
  const std::string volume = root.path + "/pods/u1/volumes/kubernetes.io~configmap/v";
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"0","b":"0"})"), {}));
  std::atomic<bool> stop{false};
  int torn = 0, looks = 0;
  std::thread reader([&] {
    while (!stop) {
      // As Kubernetes tells programs to read: resolve ..data once, then the files in it.
      std::error_code failed;
      const fs::path current = fs::read_symlink(volume + "/..data", failed);
      const std::string a = read(volume + "/" + current.string() + "/a"), b = read(volume + "/" + current.string() + "/b");
      if (a == "(none)" || b == "(none)") continue;  // it was swapped in between: one looks again
      ++looks;
      torn += a != b ? 1 : 0;
    }
  });
  for (int round = 1; round <= 200; ++round) {
    const std::string value = std::to_string(round);
    REQUIRE(prepare_volumes(root.path, pod, conf(Json{{"a", value}, {"b", value}}.dump()), {}));
  }
  stop = true;
  reader.join();
  CHECK(torn == 0);
  CHECK(looks > 0);
  CHECK(read(volume + "/b") == "200");
}

TEST_CASE("an update that was cut off by a kill is completed by the next one") {
  const Folder root;
  const Json pod = pod_with(R"([{"name":"v","configMap":{"name":"conf"}}])");
  const std::string volume = root.path + "/pods/u1/volumes/kubernetes.io~configmap/v";
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1"})"), {}));
  // Killed after the new folder was written, and once more after ..data_tmp was made.
  fs::create_directory(volume + "/..0123456789abcdef");
  std::ofstream(volume + "/..0123456789abcdef/a") << "half";
  fs::create_symlink("..0123456789abcdef", volume + "/..data_tmp");
  CHECK(read(volume + "/a") == "1");
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"2"})"), {}));
  CHECK(read(volume + "/a") == "2");
  int hidden = 0;
  for (const auto& entry : fs::directory_iterator(volume)) hidden += entry.path().filename().string().starts_with("..") ? 1 : 0;
  CHECK(hidden == 2);   // ..data and the folder it names: nothing is left over
  // Killed between the swap and the visible name.
  fs::remove(volume + "/a");
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"2"})"), {}));
  CHECK(read(volume + "/a") == "2");
}

TEST_CASE("modes, sub-folders and a Secret in memory") {
  const Folder root;
  Json pod = pod_with(R"([{"name":"v","configMap":{"name":"conf","defaultMode":288,"items":[{"key":"a","path":"x/y/a"},{"key":"b","path":"b","mode":493}]}}])");
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1","b":"2"})"), {}));
  const std::string volume = root.path + "/pods/u1/volumes/kubernetes.io~configmap/v";
  CHECK(read(volume + "/x/y/a") == "1");
  CHECK(mode(volume + "/x/y/a") == 0440);
  CHECK(mode(volume + "/b") == 0755);
  // A changed mode alone is a change too.
  pod["spec"]["volumes"][0]["configMap"]["items"][1]["mode"] = 0600;
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1","b":"2"})"), {}));
  CHECK(mode(volume + "/b") == 0600);
}

TEST_CASE("an emptyDir is kept: prepared again it has what was written into it") {
  const Folder root;
  const Json pod = pod_with(R"([{"name":"v","emptyDir":{}}])");
  const std::string volume = root.path + "/pods/u1/volumes/kubernetes.io~empty-dir/v";
  REQUIRE(prepare_volumes(root.path, pod, {}, {}));
  CHECK(mode(volume) == 0777);
  std::ofstream(volume + "/file") << "mine";
  REQUIRE(prepare_volumes(root.path, pod, {}, {}));
  CHECK(read(volume + "/file") == "mine");
}

TEST_CASE("an emptyDir in memory is a tmpfs of its size, mounted once, gone with the pod") {
  if (!may_mount()) return;
  const Folder root;
  const Json pod = pod_with(R"([{"name":"v","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}}])");
  const std::string volume = root.path + "/pods/u1/volumes/kubernetes.io~empty-dir/v";
  REQUIRE(prepare_volumes(root.path, pod, {}, {}));
  std::ofstream(volume + "/file") << "mine";
  REQUIRE(prepare_volumes(root.path, pod, {}, {}));
  CHECK(read(volume + "/file") == "mine");
  std::ofstream(volume + "/big") << std::string(2 << 20, 'x');
  CHECK(fs::file_size(volume + "/big") < (2U << 20));
  REQUIRE(remove_volumes(root.path, "u1"));
  CHECK_FALSE(fs::exists(root.path + "/pods/u1"));
  CHECK(read("/proc/self/mounts").find(root.path) == std::string::npos);
}

TEST_CASE("all volumes are tried; the first error names its volume") {
  const Folder root;
  const Json pod = pod_with(R"([{"name":"bad","configMap":{"name":"none"}},{"name":"good","configMap":{"name":"conf"}}])");
  const Result<void> done = prepare_volumes(root.path, pod, conf(R"({"a":"1"})"), {});
  REQUIRE_FALSE(done);
  CHECK(done.error().message == "volume \"bad\": configmap \"none\" not found");
  CHECK(read(root.path + "/pods/u1/volumes/kubernetes.io~configmap/good/a") == "1");
}

TEST_CASE("what was written once outlives its object: a container may restart with its ConfigMap deleted (C70)") {
  const Folder root;
  const Json pod = pod_with(R"([{"name":"v","configMap":{"name":"conf"}}])");
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1"})"), {}));
  CHECK(prepare_volumes(root.path, pod, {}, {}));
  CHECK(read(root.path + "/pods/u1/volumes/kubernetes.io~configmap/v/a") == "1");
}

TEST_CASE("the end of a container's log, as its termination message") {
  const Folder root;
  const std::string log = root.path + "/0.log";
  CHECK(log_tail(log, 100, 10).empty());
  std::ofstream(log) << "2026-11-25T10:00:00.1Z stdout F one\n2026-11-25T10:00:00.2Z stderr F two words\nnonsense\n2026-11-25T10:00:00.3Z stdout P three\n";
  CHECK(log_tail(log, 100, 10) == "one\ntwo words\nthree\n");
  CHECK(log_tail(log, 100, 1) == "three\n");
  CHECK(log_tail(log, 4, 10) == "ree\n");
}

TEST_CASE("a pod's logs go by its uid, others stay") {
  const Folder root;
  fs::create_directories(root.path + "/default_p_u1/c");
  fs::create_directories(root.path + "/default_p_u12");
  remove_logs(root.path, "u1");
  remove_logs(root.path, "");
  CHECK_FALSE(fs::exists(root.path + "/default_p_u1"));
  CHECK(fs::exists(root.path + "/default_p_u12"));
}

TEST_CASE("fsGroup: volumes belong to the group, files are its to read, what is made in an emptyDir is its too") {
  if (::geteuid() != 0) return;
  const Folder root;
  Json pod = pod_with(R"([{"name":"v","configMap":{"name":"conf","defaultMode":256}},{"name":"e","emptyDir":{}}])");
  pod["spec"]["securityContext"]["fsGroup"] = 4321;
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1"})"), {}));
  const std::string file = root.path + "/pods/u1/volumes/kubernetes.io~configmap/v/a", empty = root.path + "/pods/u1/volumes/kubernetes.io~empty-dir/e";
  struct stat facts{};
  REQUIRE(::stat(file.c_str(), &facts) == 0);
  CHECK(facts.st_gid == 4321);
  CHECK(mode(file) == 0440);
  const ino_t written = inode(file);
  REQUIRE(prepare_volumes(root.path, pod, conf(R"({"a":"1"})"), {}));
  CHECK(inode(file) == written);   // unchanged: not written again
  REQUIRE(::stat(empty.c_str(), &facts) == 0);
  CHECK(facts.st_gid == 4321);
  CHECK(mode(empty) == 02777);
}

TEST_CASE("hostPath types") {
  const Folder root;
  const std::string host = root.path + "/host";
  const auto prepare = [&](const std::string& type, const std::string& name) {
    Json pod = pod_with(R"([{"name":"v","hostPath":{}}])");
    pod["spec"]["volumes"][0]["hostPath"] = {{"path", host + name}, {"type", type}};
    return prepare_volumes(root.path + "/kubelet", pod, {}, {});
  };
  CHECK_FALSE(prepare("Directory", ""));
  CHECK(prepare("DirectoryOrCreate", ""));
  CHECK(fs::is_directory(host));
  CHECK(prepare("Directory", ""));
  CHECK_FALSE(prepare("File", "/f"));
  CHECK(prepare("FileOrCreate", "/f"));
  CHECK(fs::is_regular_file(host + "/f"));
  CHECK(prepare("File", "/f"));
  CHECK_FALSE(prepare("Socket", "/f"));
  CHECK_FALSE(prepare("BlockDevice", "/f"));
  CHECK_FALSE(prepare("CharDevice", "/f"));
  CHECK_FALSE(prepare("DirectoryOrCreate", "/f"));
  CHECK_FALSE(prepare("Nonsense", "/f"));
  CHECK(prepare("", "/f"));
}

TEST_CASE("a pod's folders go; what a hostPath named stays; a bad uid removes nothing") {
  const Folder root;
  const std::string host = root.path + "/host";
  fs::create_directory(host);
  std::ofstream(host + "/keep") << "mine";
  Json pod = pod_with(R"([{"name":"h","hostPath":{}},{"name":"e","emptyDir":{}}])");
  pod["spec"]["volumes"][0]["hostPath"]["path"] = host;
  REQUIRE(prepare_volumes(root.path + "/kubelet", pod, {}, {}));
  // A container left a link out of its volume: the link goes, not what it points to.
  fs::create_directory_symlink(host, root.path + "/kubelet/pods/u1/volumes/kubernetes.io~empty-dir/e/link");
  CHECK(pods_on_disk(root.path + "/kubelet") == std::vector<std::string>{"u1"});
  for (const char* bad : {"", ".", "..", "../..", "a/b"}) {
    CAPTURE(bad);
    CHECK_FALSE(remove_volumes(root.path + "/kubelet", bad));
  }
  REQUIRE(remove_volumes(root.path + "/kubelet", "u1"));
  CHECK(pods_on_disk(root.path + "/kubelet").empty());
  CHECK(read(host + "/keep") == "mine");
  CHECK(remove_volumes(root.path + "/kubelet", "u1"));   // again: nothing to do
}

TEST_CASE("subPath: the folder or file inside the volume, bound where no later change of a link can move it") {
  if (!may_mount()) return;
  const Folder root;
  const std::string volume = root.path + "/volume", bound = root.path + "/pods/u1/volume-subpaths/v/a/0";
  fs::create_directories(volume + "/there");
  std::ofstream(volume + "/there/file") << "inside";
  REQUIRE(bind_sub_path(volume, "there", bound));
  CHECK(read(bound + "/file") == "inside");
  REQUIRE(bind_sub_path(volume, "there/file", bound));    // a restart with another one: the old goes first
  CHECK(read(bound) == "inside");
  REQUIRE(bind_sub_path(volume, "new/er", bound));
  CHECK(fs::is_directory(volume + "/new/er"));
  CHECK(fs::is_directory(bound));
  // A file through ..data, as in a configMap volume.
  fs::create_directory(volume + "/..2026");
  std::ofstream(volume + "/..2026/key") << "value";
  fs::create_symlink("..2026", volume + "/..data");
  fs::create_symlink("..data/key", volume + "/key");
  REQUIRE(bind_sub_path(volume, "key", bound));
  CHECK(read(bound) == "value");
  REQUIRE(remove_volumes(root.path, "u1"));
  CHECK(read(volume + "/there/file") == "inside");        // only the mounts and their places went
  CHECK(read("/proc/self/mounts").find(root.path) == std::string::npos);
}

TEST_CASE("subPath: nothing outside the volume is reached or made") {
  const Folder root;
  const std::string volume = root.path + "/volume", outside = root.path + "/volume2", bound = root.path + "/pods/u1/volume-subpaths/v/a/0";
  fs::create_directories(volume);
  fs::create_directories(outside);
  fs::create_directory_symlink(outside, volume + "/out");
  fs::create_directory_symlink("../volume2", volume + "/dots");
  for (const char* bad : {"../volume2", "/etc", "a/../../volume2", "out", "out/made", "dots", "dots/made"}) {
    CAPTURE(bad);
    CHECK_FALSE(bind_sub_path(volume, bad, bound));
  }
  CHECK(fs::is_empty(outside));
}

}  // namespace
}  // namespace kubeedge::edged
