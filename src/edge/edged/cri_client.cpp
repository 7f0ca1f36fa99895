#include "edge/edged/cri_client.h"

#include <algorithm>

#include <unistd.h>

#include <cri.pb.h>

#include "base/text.h"
#include "edge/edged/pod_status.h"
#include "net/grpc.h"

namespace kubeedge::edged {
namespace {

namespace cri = ::runtime::v1;

constexpr Milliseconds kQuick{10'000};
constexpr Milliseconds kStart{240'000};      // a sandbox waits for CNI, a container for its snapshot
constexpr Milliseconds kPull{1'800'000};
constexpr std::int64_t kMinShares = 2;
constexpr std::int64_t kPeriodUs = 100'000;

// Paths that a container must not see or change; kubelet's default list.
constexpr const char* kMasked[] = {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                                   "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};
constexpr const char* kReadonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

std::string runtime_method(const char* name) { return std::string("/runtime.v1.RuntimeService/") + name; }
std::string image_method(const char* name) { return std::string("/runtime.v1.ImageService/") + name; }

void set_namespaces(cri::NamespaceOption* options, const Json& pod) {
  options->set_network(flag(member(spec(pod), "hostNetwork")) ? cri::NODE : cri::POD);
  options->set_pid(flag(member(spec(pod), "hostPID")) ? cri::NODE : flag(member(spec(pod), "shareProcessNamespace")) ? cri::POD : cri::CONTAINER);
  options->set_ipc(flag(member(spec(pod), "hostIPC")) ? cri::NODE : cri::POD);
}

// The container's setting, else the pod's.
const Json& security(const Json& pod, const Json& container, const char* field) {
  const Json& own = member(container, "securityContext", field);
  return own.is_null() ? member(spec(pod), "securityContext", field) : own;
}

void set_seccomp(cri::SecurityProfile* profile, const Json& wanted, bool privileged) {
  const std::string type = text(member(wanted, "type"));
  profile->set_profile_type(cri::SecurityProfile::Unconfined);
  if (privileged) return;
  if (type == "RuntimeDefault") profile->set_profile_type(cri::SecurityProfile::RuntimeDefault);
  if (type == "Localhost") {
    profile->set_profile_type(cri::SecurityProfile::Localhost);
    profile->set_localhost_ref(text(member(wanted, "localhostProfile")));
  }
}

// supplementalGroups, and the group of the pod's volumes.
std::vector<std::int64_t> groups_of(const Json& pod) {
  const Json& context = member(spec(pod), "securityContext");
  std::vector<std::int64_t> out;
  if (member(context, "fsGroup").is_number_integer()) out.push_back(number(member(context, "fsGroup")));
  for (const Json& group : items(member(context, "supplementalGroups"))) out.push_back(number(group));
  return out;
}

bool any_privileged(const Json& pod) {
  for (const char* list : {"initContainers", "containers"})
    for (const Json& container : items(member(spec(pod), list)))
      if (flag(member(container, "securityContext", "privileged"))) return true;
  return false;
}

cri::PodSandboxConfig sandbox_config(const SandboxSpec& wanted) {
  const Json& pod = *wanted.pod;
  cri::PodSandboxConfig config;
  auto* metadata = config.mutable_metadata();
  metadata->set_name(pod_name(pod));
  metadata->set_uid(pod_uid(pod));
  metadata->set_namespace_(pod_namespace(pod));
  metadata->set_attempt(wanted.attempt);
  config.set_log_directory(wanted.log_directory);
  const bool host_network = flag(member(spec(pod), "hostNetwork"));
  if (!host_network) config.set_hostname(text(member(spec(pod), "hostname"), pod_name(pod)).substr(0, 63));
  auto& labels = *config.mutable_labels();
  if (const Json& own = member(pod, "metadata", "labels"); own.is_object())
    for (const auto& [key, value] : own.items()) labels[key] = text(value);
  labels[kPodName] = pod_name(pod);
  labels[kPodNamespace] = pod_namespace(pod);
  labels[kPodUid] = pod_uid(pod);
  if (const Json& own = member(pod, "metadata", "annotations"); own.is_object())
    for (const auto& [key, value] : own.items()) (*config.mutable_annotations())[key] = text(value);
  if (!host_network) {
    for (const Json& container : items(member(spec(pod), "containers"))) {
      for (const Json& port : items(member(container, "ports"))) {
        if (number(member(port, "hostPort")) == 0) continue;
        auto* mapping = config.add_port_mappings();
        const std::string protocol = text(member(port, "protocol"), "TCP");
        mapping->set_protocol(protocol == "UDP" ? cri::UDP : protocol == "SCTP" ? cri::SCTP : cri::TCP);
        mapping->set_container_port(static_cast<std::int32_t>(number(member(port, "containerPort"))));
        mapping->set_host_port(static_cast<std::int32_t>(number(member(port, "hostPort"))));
        mapping->set_host_ip(text(member(port, "hostIP")));
      }
    }
  }
  if (const Json& dns = member(spec(pod), "dnsConfig"); dns.is_object()) {
    auto* into = config.mutable_dns_config();
    for (const Json& server : items(member(dns, "nameservers"))) into->add_servers(text(server));
    for (const Json& search : items(member(dns, "searches"))) into->add_searches(text(search));
    for (const Json& option : items(member(dns, "options"))) {
      const std::string value = text(member(option, "value"));
      into->add_options(text(member(option, "name")) + (value.empty() ? "" : ":" + value));
    }
  }
  auto* context = config.mutable_linux()->mutable_security_context();
  set_namespaces(context->mutable_namespace_options(), pod);
  context->set_privileged(any_privileged(pod));
  const Json& of_pod = member(spec(pod), "securityContext");
  if (member(of_pod, "runAsUser").is_number()) context->mutable_run_as_user()->set_value(number(member(of_pod, "runAsUser")));
  if (member(of_pod, "runAsGroup").is_number()) context->mutable_run_as_group()->set_value(number(member(of_pod, "runAsGroup")));
  for (const std::int64_t group : groups_of(pod)) context->add_supplemental_groups(group);
  set_seccomp(context->mutable_seccomp(), Json{{"type", "RuntimeDefault"}}, context->privileged());
  return config;
}

// kubelet's oom_score_adj by QoS class.
std::int64_t oom_score(const Json& pod, const Json& container) {
  const std::string qos = qos_class(pod);
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort") return 1000;
  const auto request = bytes_of(text(member(member(member(container, "resources"), "requests"), "memory"))).value_or(0);
  const std::int64_t page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES);
  const std::int64_t score = 1000 - 1000 * request / std::max<std::int64_t>(1, page * pages);
  return std::clamp<std::int64_t>(score, 3, 999);
}

void set_resources(cri::LinuxContainerResources* into, const Json& pod, const Json& container) {
  const Json& resources = member(container, "resources");
  const auto limit = milli(text(member(member(resources, "limits"), "cpu")));
  const auto request = milli(text(member(member(resources, "requests"), "cpu")));
  into->set_cpu_shares(std::max(kMinShares, request.value_or(limit.value_or(0)) * 1024 / 1000));
  if (limit && *limit > 0) {
    into->set_cpu_period(kPeriodUs);
    into->set_cpu_quota(std::max<std::int64_t>(1000, *limit * kPeriodUs / 1000));
  }
  if (const auto memory = bytes_of(text(member(member(resources, "limits"), "memory")))) into->set_memory_limit_in_bytes(*memory);
  into->set_oom_score_adj(oom_score(pod, container));
}

void set_security(cri::LinuxContainerSecurityContext* into, const Json& pod, const Json& container) {
  const bool privileged = flag(member(container, "securityContext", "privileged"));
  into->set_privileged(privileged);
  set_namespaces(into->mutable_namespace_options(), pod);
  if (const Json& user = security(pod, container, "runAsUser"); user.is_number()) into->mutable_run_as_user()->set_value(number(user));
  if (const Json& group = security(pod, container, "runAsGroup"); group.is_number()) into->mutable_run_as_group()->set_value(number(group));
  for (const std::int64_t group : groups_of(pod)) into->add_supplemental_groups(group);
  into->set_readonly_rootfs(flag(member(container, "securityContext", "readOnlyRootFilesystem")));
  into->set_no_new_privs(member(container, "securityContext", "allowPrivilegeEscalation") == false);
  const Json& capabilities = member(container, "securityContext", "capabilities");
  for (const Json& name : items(member(capabilities, "add"))) into->mutable_capabilities()->add_add_capabilities(text(name));
  for (const Json& name : items(member(capabilities, "drop"))) into->mutable_capabilities()->add_drop_capabilities(text(name));
  set_seccomp(into->mutable_seccomp(), security(pod, container, "seccompProfile"), privileged);
  if (privileged) return;
  for (const char* path : kMasked) into->add_masked_paths(path);
  for (const char* path : kReadonly) into->add_readonly_paths(path);
}

cri::ContainerConfig container_config(const ContainerSpec& wanted) {
  const Json& pod = *wanted.pod;
  const Json& container = *wanted.container;
  const std::string name = text(member(container, "name"));
  cri::ContainerConfig config;
  config.mutable_metadata()->set_name(name);
  config.mutable_metadata()->set_attempt(static_cast<std::uint32_t>(wanted.restart_count));
  config.mutable_image()->set_image(wanted.image);
  for (const std::string& part : wanted.command) config.add_command(part);
  for (const std::string& part : wanted.args) config.add_args(part);
  config.set_working_dir(text(member(container, "workingDir")));
  for (const auto& [key, value] : wanted.environment) {
    auto* variable = config.add_envs();
    variable->set_key(key);
    variable->set_value(value);
  }
  for (const ContainerMount& mount : wanted.mounts) {
    auto* into = config.add_mounts();
    into->set_container_path(mount.container_path);
    into->set_host_path(mount.host_path);
    into->set_readonly(mount.readonly);
    into->set_propagation(static_cast<cri::MountPropagation>(mount.propagation));
  }
  auto& labels = *config.mutable_labels();
  labels[kPodName] = pod_name(pod);
  labels[kPodNamespace] = pod_namespace(pod);
  labels[kPodUid] = pod_uid(pod);
  labels[kContainerName] = name;
  auto& annotations = *config.mutable_annotations();
  annotations[kContainerHash] = wanted.hash;
  annotations[kRestartCount] = std::to_string(wanted.restart_count);
  annotations[kTerminationPath] = text(member(container, "terminationMessagePath"), "/dev/termination-log");
  annotations[kTerminationPolicy] = text(member(container, "terminationMessagePolicy"), "File");
  annotations[kGracePeriod] = std::to_string(number(member(spec(pod), "terminationGracePeriodSeconds"), 30));
  annotations[kSpecImage] = text(member(container, "image"));
  config.set_log_path(wanted.log_path);
  config.set_stdin(flag(member(container, "stdin")));
  config.set_stdin_once(flag(member(container, "stdinOnce")));
  config.set_tty(flag(member(container, "tty")));
  set_resources(config.mutable_linux()->mutable_resources(), pod, container);
  set_security(config.mutable_linux()->mutable_security_context(), pod, container);
  return config;
}

std::string at(const google::protobuf::Map<std::string, std::string>& map, const char* key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

ObservedContainer observed(const cri::ContainerStatus& status) {
  ObservedContainer out;
  out.id = status.id();
  out.name = at(status.labels(), kContainerName);
  if (out.name.empty()) out.name = status.metadata().name();
  out.restart_count = static_cast<int>(base::to_int(at(status.annotations(), kRestartCount)).value_or(status.metadata().attempt()));
  switch (status.state()) {
    case cri::CONTAINER_CREATED: out.state = ObservedContainer::State::kCreated; break;
    case cri::CONTAINER_RUNNING: out.state = ObservedContainer::State::kRunning; break;
    case cri::CONTAINER_EXITED: out.state = ObservedContainer::State::kExited; break;
    default: out.state = ObservedContainer::State::kUnknown;
  }
  out.created_ns = status.created_at();
  out.started_ns = status.started_at();
  out.finished_ns = status.finished_at();
  out.exit_code = status.exit_code();
  out.reason = status.reason();
  out.message = status.message();
  out.image = status.image().image();
  out.image_id = status.image_ref();
  out.spec_image = at(status.annotations(), kSpecImage);
  return out;
}

}  // namespace

struct CriClient::Impl : std::enable_shared_from_this<CriClient::Impl> {
  Impl(const Runtime& runtime, std::string socket) : channel(runtime, std::move(socket)) {}
  net::GrpcChannel channel;

  template <class Answer, class Request>
  void call(std::string method, const Request& request, Milliseconds deadline, unique_function<void(Result<Answer>)> done) {
    channel.call(std::move(method), request.SerializeAsString(), deadline, [done = std::move(done)](Result<std::string> bytes) mutable {
      if (!bytes) return done(std::move(bytes).error());
      Answer answer;
      if (!answer.ParseFromString(*bytes)) return done(base::error(Errc::kInternal, "the container runtime's answer is not the expected message"));
      done(std::move(answer));
    });
  }

  template <class Answer, class Request>
  void plain(std::string method, const Request& request, Milliseconds deadline, Done<void> done) {
    call<Answer>(std::move(method), request, deadline, [done = std::move(done)](Result<Answer> answer) mutable {
      if (answer) {
        done({});
      } else {
        done(std::move(answer).error());
      }
    });
  }

  // ---- observe: sandboxes, then containers, then each container's status and the newest sandbox's addresses
  struct Look {
    ObservedPod pod;
    std::size_t waiting = 0;
    std::optional<Error> failed;
    Done<ObservedPod> done;
  };
  using LookPtr = std::shared_ptr<Look>;
  std::map<std::string, ObservedContainer> ended;         // exited containers do not change any more
  std::map<std::string, std::vector<std::string>> addresses;   // of ready sandboxes

  void observe(const std::string& uid, Done<ObservedPod> done) {
    auto look = std::make_shared<Look>();
    look->done = std::move(done);
    cri::ListPodSandboxRequest request;
    (*request.mutable_filter()->mutable_label_selector())[kPodUid] = uid;
    call<cri::ListPodSandboxResponse>(runtime_method("ListPodSandbox"), request, kQuick, [self = shared_from_this(), look, uid](Result<cri::ListPodSandboxResponse> answer) {
      if (!answer) return look->done(std::move(answer).error());
      for (const auto& sandbox : answer->items())
        look->pod.sandboxes.push_back({sandbox.id(), sandbox.metadata().attempt(), sandbox.state() == cri::SANDBOX_READY, sandbox.created_at(), {}});
      std::sort(look->pod.sandboxes.begin(), look->pod.sandboxes.end(), [](const auto& a, const auto& b) { return a.created_ns > b.created_ns; });
      self->list_containers(look, uid);
    });
  }

  void list_containers(const LookPtr& look, const std::string& uid) {
    cri::ListContainersRequest request;
    (*request.mutable_filter()->mutable_label_selector())[kPodUid] = uid;
    call<cri::ListContainersResponse>(runtime_method("ListContainers"), request, kQuick, [self = shared_from_this(), look](Result<cri::ListContainersResponse> answer) {
      if (!answer) return look->done(std::move(answer).error());
      look->waiting = 1;
      for (const auto& container : answer->containers()) self->container_status(look, container.id(), container.pod_sandbox_id());
      if (!look->pod.sandboxes.empty() && look->pod.sandboxes.front().ready) self->sandbox_status(look, look->pod.sandboxes.front().id);
      self->looked(look);
    });
  }

  void container_status(const LookPtr& look, const std::string& id, const std::string& sandbox_id) {
    if (const auto known = ended.find(id); known != ended.end()) {
      look->pod.containers.push_back(known->second);
      return;
    }
    ++look->waiting;
    cri::ContainerStatusRequest request;
    request.set_container_id(id);
    call<cri::ContainerStatusResponse>(runtime_method("ContainerStatus"), request, kQuick, [self = shared_from_this(), look, id, sandbox_id](Result<cri::ContainerStatusResponse> answer) {
      if (answer) {
        ObservedContainer one = observed(answer->status());
        one.sandbox_id = sandbox_id;
        if (one.state == ObservedContainer::State::kExited) self->ended[id] = one;
        look->pod.containers.push_back(std::move(one));
      } else if (answer.error().code != Errc::kNotFound) {  // removed in between: simply not there
        look->failed = answer.error();
      }
      self->looked(look);
    });
  }

  void sandbox_status(const LookPtr& look, const std::string& id) {
    if (const auto known = addresses.find(id); known != addresses.end()) {
      look->pod.sandboxes.front().ips = known->second;
      return;
    }
    ++look->waiting;
    cri::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id(id);
    call<cri::PodSandboxStatusResponse>(runtime_method("PodSandboxStatus"), request, kQuick, [self = shared_from_this(), look, id](Result<cri::PodSandboxStatusResponse> answer) {
      if (answer) {
        std::vector<std::string> ips;
        if (!answer->status().network().ip().empty()) ips.push_back(answer->status().network().ip());
        for (const auto& more : answer->status().network().additional_ips()) ips.push_back(more.ip());
        self->addresses[id] = ips;
        look->pod.sandboxes.front().ips = std::move(ips);
      } else {
        look->failed = answer.error();
      }
      self->looked(look);
    });
  }

  void looked(const LookPtr& look) {
    if (--look->waiting > 0) return;
    if (look->failed) return look->done(std::move(*look->failed));
    std::sort(look->pod.containers.begin(), look->pod.containers.end(), [](const auto& a, const auto& b) { return a.created_ns > b.created_ns; });
    look->done(std::move(look->pod));
  }
};

CriClient::CriClient(const Runtime& runtime, const std::string& endpoint)
    : impl_(std::make_shared<Impl>(runtime, endpoint.starts_with("unix://") ? endpoint.substr(7) : endpoint)) {}
CriClient::~CriClient() = default;

void CriClient::version(Done<Version> done) {
  impl_->call<cri::VersionResponse>(runtime_method("Version"), cri::VersionRequest(), kQuick, [impl = impl_, done = std::move(done)](Result<cri::VersionResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    Version out{answer->runtime_name(), answer->runtime_version(), false, ""};
    if (out.version.starts_with('v')) out.version.erase(0, 1);
    // Debian's version has its own tail ("1.6.20~ds1"): Kubernetes shows the number.
    out.version = out.version.substr(0, out.version.find_first_of("~+ "));
    impl->call<cri::StatusResponse>(runtime_method("Status"), cri::StatusRequest(), kQuick, [out, done = std::move(done)](Result<cri::StatusResponse> status) mutable {
      if (!status) return done(std::move(status).error());
      out.ready = true;
      for (const auto& condition : status->status().conditions()) {
        if (condition.status()) continue;
        out.ready = false;
        out.why = fmt::format("container runtime {} not ready: {} reason:{} message:{}", condition.type() == "NetworkReady" ? "network" : "is", condition.type(), condition.reason(),
                              condition.message());
      }
      done(std::move(out));
    });
  });
}

void CriClient::list(Done<std::map<std::string, PodSummary>> done) {
  impl_->call<cri::ListPodSandboxResponse>(runtime_method("ListPodSandbox"), cri::ListPodSandboxRequest(), kQuick, [impl = impl_, done = std::move(done)](Result<cri::ListPodSandboxResponse> sandboxes) mutable {
    if (!sandboxes) return done(std::move(sandboxes).error());
    std::map<std::string, PodSummary> out;
    const auto entry = [&out](const auto& labels) -> PodSummary* {
      const std::string uid = at(labels, kPodUid);
      if (uid.empty()) return nullptr;  // not a pod of a kubelet
      PodSummary& pod = out[uid];
      pod.uid = uid;
      pod.ns = at(labels, kPodNamespace);
      pod.name = at(labels, kPodName);
      return &pod;
    };
    for (const auto& sandbox : sandboxes->items())
      if (PodSummary* pod = entry(sandbox.labels())) pod->states[sandbox.id()] = sandbox.state();
    impl->call<cri::ListContainersResponse>(runtime_method("ListContainers"), cri::ListContainersRequest(), kQuick,
                                            [out = std::move(out), done = std::move(done)](Result<cri::ListContainersResponse> containers) mutable {
      if (!containers) return done(std::move(containers).error());
      for (const auto& container : containers->containers()) {
        const std::string uid = at(container.labels(), kPodUid);
        if (uid.empty()) continue;
        PodSummary& pod = out[uid];
        pod.uid = uid;
        pod.ns = at(container.labels(), kPodNamespace);
        pod.name = at(container.labels(), kPodName);
        pod.states[container.id()] = container.state();
      }
      done(std::move(out));
    });
  });
}

void CriClient::observe(const std::string& uid, Done<ObservedPod> done) { impl_->observe(uid, std::move(done)); }

void CriClient::exec(const std::string& id, const std::vector<std::string>& command, Milliseconds timeout, Done<ExecResult> done) {
  cri::ExecSyncRequest request;
  request.set_container_id(id);
  for (const std::string& part : command) request.add_cmd(part);
  request.set_timeout(std::max<std::int64_t>(1, timeout.count() / 1000));
  impl_->call<cri::ExecSyncResponse>(runtime_method("ExecSync"), request, timeout + kQuick, [done = std::move(done)](Result<cri::ExecSyncResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    done(ExecResult{answer->exit_code(), answer->stdout() + answer->stderr()});
  });
}

namespace {

unique_function<void(Result<cri::StreamResponse>)> url_of(CriClient::Done<std::string> done) {
  return [done = std::move(done)](Result<cri::StreamResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    done(answer->url());
  };
}

}  // namespace

void CriClient::exec_url(const std::string& id, const std::vector<std::string>& command, Streams streams, Done<std::string> done) {
  cri::ExecRequest request;
  request.set_container_id(id);
  for (const std::string& part : command) request.add_cmd(part);
  request.set_tty(streams.tty);
  request.set_stdin(streams.in);
  request.set_stdout(streams.out);
  request.set_stderr(streams.err);
  impl_->call<cri::StreamResponse>(runtime_method("Exec"), request, kQuick, url_of(std::move(done)));
}

void CriClient::attach_url(const std::string& id, Streams streams, Done<std::string> done) {
  cri::AttachRequest request;
  request.set_container_id(id);
  request.set_tty(streams.tty);
  request.set_stdin(streams.in);
  request.set_stdout(streams.out);
  request.set_stderr(streams.err);
  impl_->call<cri::StreamResponse>(runtime_method("Attach"), request, kQuick, url_of(std::move(done)));
}

void CriClient::port_forward_url(const std::string& sandbox_id, Done<std::string> done) {
  cri::PortForwardRequest request;
  request.set_pod_sandbox_id(sandbox_id);
  impl_->call<cri::StreamResponse>(runtime_method("PortForward"), request, kQuick, url_of(std::move(done)));
}

void CriClient::image_status(const std::string& image, Done<Image> done) {
  cri::ImageStatusRequest request;
  request.mutable_image()->set_image(image);
  impl_->call<cri::ImageStatusResponse>(image_method("ImageStatus"), request, kQuick, [image, done = std::move(done)](Result<cri::ImageStatusResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    if (!answer->has_image()) return done(base::error(Errc::kNotFound, "image \"{}\" is not present", image));
    Image out{answer->image().id(), std::nullopt, answer->image().username()};
    if (answer->image().has_uid()) out.uid = answer->image().uid().value();
    done(std::move(out));
  });
}

void CriClient::pull(const std::string& image, PullAuth auth, Done<std::string> done) {
  cri::PullImageRequest request;
  request.mutable_image()->set_image(image);
  if (!auth.username.empty()) {
    request.mutable_auth()->set_username(auth.username);
    request.mutable_auth()->set_password(auth.password);
  }
  impl_->call<cri::PullImageResponse>(image_method("PullImage"), request, kPull, [done = std::move(done)](Result<cri::PullImageResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    done(answer->image_ref());
  });
}

void CriClient::run_sandbox(const SandboxSpec& wanted, Done<std::string> done) {
  cri::RunPodSandboxRequest request;
  *request.mutable_config() = sandbox_config(wanted);
  impl_->call<cri::RunPodSandboxResponse>(runtime_method("RunPodSandbox"), request, kStart, [done = std::move(done)](Result<cri::RunPodSandboxResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    done(answer->pod_sandbox_id());
  });
}

void CriClient::stop_sandbox(const std::string& id, Done<void> done) {
  cri::StopPodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  impl_->plain<cri::StopPodSandboxResponse>(runtime_method("StopPodSandbox"), request, kStart, std::move(done));
}

void CriClient::remove_sandbox(const std::string& id, Done<void> done) {
  impl_->addresses.erase(id);
  cri::RemovePodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  impl_->plain<cri::RemovePodSandboxResponse>(runtime_method("RemovePodSandbox"), request, kStart, std::move(done));
}

void CriClient::create_container(const std::string& sandbox_id, const SandboxSpec& sandbox, const ContainerSpec& wanted, Done<std::string> done) {
  cri::CreateContainerRequest request;
  request.set_pod_sandbox_id(sandbox_id);
  *request.mutable_config() = container_config(wanted);
  *request.mutable_sandbox_config() = sandbox_config(sandbox);
  impl_->call<cri::CreateContainerResponse>(runtime_method("CreateContainer"), request, kStart, [done = std::move(done)](Result<cri::CreateContainerResponse> answer) mutable {
    if (!answer) return done(std::move(answer).error());
    done(answer->container_id());
  });
}

void CriClient::start_container(const std::string& id, Done<void> done) {
  cri::StartContainerRequest request;
  request.set_container_id(id);
  impl_->plain<cri::StartContainerResponse>(runtime_method("StartContainer"), request, kStart, std::move(done));
}

void CriClient::stop_container(const std::string& id, std::int64_t grace_s, Done<void> done) {
  cri::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(grace_s);
  impl_->plain<cri::StopContainerResponse>(runtime_method("StopContainer"), request, Milliseconds{(grace_s + 60) * 1000}, std::move(done));
}

void CriClient::remove_container(const std::string& id, Done<void> done) {
  impl_->ended.erase(id);
  cri::RemoveContainerRequest request;
  request.set_container_id(id);
  impl_->plain<cri::RemoveContainerResponse>(runtime_method("RemoveContainer"), request, kStart, std::move(done));
}

}  // namespace kubeedge::edged
