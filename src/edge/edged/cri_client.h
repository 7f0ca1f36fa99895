// The calls of CRI v1 that Edged makes, in its own types. cri.pb.h and the gRPC channel are seen by cri_client.cpp only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "edge/edged/json_view.h"
#include "edge/edged/observed.h"

namespace kubeedge::edged {

// Labels and annotations that kubelet writes and every tool reads (edge-node 4.5).
inline constexpr const char* kPodName = "io.kubernetes.pod.name";
inline constexpr const char* kPodNamespace = "io.kubernetes.pod.namespace";
inline constexpr const char* kPodUid = "io.kubernetes.pod.uid";
inline constexpr const char* kContainerName = "io.kubernetes.container.name";
inline constexpr const char* kRestartCount = "io.kubernetes.container.restartCount";
inline constexpr const char* kContainerHash = "io.kubernetes.container.hash";
inline constexpr const char* kTerminationPath = "io.kubernetes.container.terminationMessagePath";
inline constexpr const char* kTerminationPolicy = "io.kubernetes.container.terminationMessagePolicy";
inline constexpr const char* kGracePeriod = "io.kubernetes.pod.terminationGracePeriod";
inline constexpr const char* kSpecImage = "libkubeedge.io/image";

struct SandboxSpec {
  const Json* pod = nullptr;
  std::uint32_t attempt = 0;
  std::string log_directory;
};

struct ContainerMount {
  std::string container_path, host_path;
  bool readonly = false;
  int propagation = 0;
};

struct ContainerSpec {
  const Json* pod = nullptr;
  const Json* container = nullptr;
  int restart_count = 0;
  std::string image;                 // what ImageStatus or PullImage said
  std::vector<std::string> command, args;
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<ContainerMount> mounts;
  std::string log_path;              // relative to the sandbox's log directory
  std::string hash;
};

struct PullAuth {
  std::string username, password;    // never logged
};

// One pod as a list shows it: enough to see whether something changed.
struct PodSummary {
  std::string ns, name, uid;
  std::map<std::string, int> states; // sandbox and container ids -> state
  auto operator<=>(const PodSummary&) const = default;
};

// Lives on the runtime's executor; callbacks are posted. Deadlines: kQuick for look-ups, longer for what starts things.
class CriClient {
 public:
  CriClient(const Runtime& runtime, const std::string& endpoint);
  ~CriClient();

  template <class T> using Done = unique_function<void(Result<T>)>;
  // "containerd", "1.6.20"; and whether runtime and network are ready (`why` when not).
  struct Version { std::string name, version; bool ready = false; std::string why; };
  void version(Done<Version> done);
  void list(Done<std::map<std::string, PodSummary>> done);           // by uid
  void observe(const std::string& uid, Done<ObservedPod> done);
  struct Image { std::string id; std::optional<std::int64_t> uid; std::string user; };   // whom its containers run as: a number or a name
  void image_status(const std::string& image, Done<Image> done);     // kNotFound when it is not here
  void pull(const std::string& image, PullAuth auth, Done<std::string> done);
  void run_sandbox(const SandboxSpec& spec, Done<std::string> done);
  void stop_sandbox(const std::string& id, Done<void> done);
  void remove_sandbox(const std::string& id, Done<void> done);
  void create_container(const std::string& sandbox_id, const SandboxSpec& sandbox, const ContainerSpec& spec, Done<std::string> done);
  void start_container(const std::string& id, Done<void> done);
  void stop_container(const std::string& id, std::int64_t grace_s, Done<void> done);
  void remove_container(const std::string& id, Done<void> done);
  struct ExecResult { int exit_code = 0; std::string output; };      // stdout, then stderr
  void exec(const std::string& id, const std::vector<std::string>& command, Milliseconds timeout, Done<ExecResult> done);
  // Where the runtime serves the stream, once: "http://127.0.0.1:34567/exec/TOKEN".
  struct Streams { bool in = false, out = false, err = false, tty = false; };
  void exec_url(const std::string& id, const std::vector<std::string>& command, Streams streams, Done<std::string> done);
  void attach_url(const std::string& id, Streams streams, Done<std::string> done);
  void port_forward_url(const std::string& sandbox_id, Done<std::string> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::edged
