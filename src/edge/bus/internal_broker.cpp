#include "edge/bus/internal_broker.h"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "edge/bus/broker_config.h"
#include "mqtt/server.h"
#include "runtime/files.h"
#include "runtime/process.h"
#include "runtime/timer.h"

namespace kubeedge::edge {
namespace {

constexpr std::size_t kMaxPasswdEntry = 16 * 1024;
constexpr std::size_t kMaxReason = 300;   // of mosquitto's last line

Result<std::string> find_program(const std::string& wanted) {
  if (!wanted.empty()) return ::access(wanted.c_str(), X_OK) == 0 ? Result<std::string>(wanted) : base::error(Errc::kNotFound, "{}: {}", wanted, std::strerror(errno));
  const char* path = std::getenv("PATH");
  for (const auto& folder : base::split((path ? std::string(path) : "") + ":/usr/local/sbin:/usr/sbin:/usr/bin", ':'))
    if (const std::string file = folder + "/mosquitto"; !folder.empty() && ::access(file.c_str(), X_OK) == 0) return file;
  return base::error(Errc::kNotFound, "modules.eventBus.mqttMode 0 needs mosquitto, which is neither in PATH nor in /usr/sbin");
}

// Whom a mosquitto that root starts becomes.
struct Account {
  std::string name;   // "" = as we are
  uid_t uid = 0;
  gid_t gid = 0;
};

Result<Account> account() {
  if (::geteuid() != 0) return Account{};
  for (const char* name : {"mosquitto", "nobody"}) {
    passwd entry{}, *found = nullptr;
    std::string buffer(kMaxPasswdEntry, '\0');
    if (::getpwnam_r(name, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return Account{name, entry.pw_uid, entry.pw_gid};
  }
  return base::error(Errc::kNotFound, "internal broker: there is neither a user mosquitto nor nobody to run it as");
}

std::string last_line(const std::string& file) {
  const auto text = runtime::read_text_file(file);
  std::string line;
  if (!text) return line;
  for (const auto& one : base::split(*text, '\n'))
    if (!one.empty()) line = one;
  const auto colon = line.find(": ");   // after mosquitto's time stamp
  return line.substr(colon == std::string::npos ? 0 : colon + 2, kMaxReason);
}

// What the blocking thread does.
class Preparation {
 public:
  struct Running {
    runtime::ProcessHandle process;
    bool taken_over = false;
  };

  Preparation(InternalBrokerOptions options, std::string program) : options_(std::move(options)), program_(std::move(program)) {}

  Result<Running> run() {
    auto who = account();
    if (!who) return std::move(who).error();
    account_ = std::move(*who);
    const auto before = runtime::read_text_file(path(kBrokerConfigFile));
    auto config = broker_config(options_.mqtt, options_.folder, account_.name);
    if (!config) return std::move(config).error();
    if (Result<void> written = write(*config); !written) return std::move(written).error();
    if (auto old = left_behind()) {
      if (before && *before == *config) {
        old->signal(SIGHUP);   // it reads the passwords again
        return Running{std::move(*old), true};
      }
      old->signal(SIGTERM);
      if (!old->ended_within(InternalBroker::kStopPatience)) old->signal(SIGKILL);
      (void)old->ended_within(InternalBroker::kStopPatience);
    }
    auto started = runtime::start_process({program_, "-c", path(kBrokerConfigFile)}, path(kBrokerLogFile));
    if (!started) return std::move(started).error();
    if (Result<void> noted = runtime::write_secret_file(path(kBrokerPidFile), std::to_string(started->pid())); !noted) return std::move(noted).error();
    return Running{std::move(*started), false};
  }

 private:
  std::string path(std::string_view name) const { return fmt::format("{}/{}", options_.folder, name); }

  Result<void> write(const std::string& config) {
    if (Result<void> made = runtime::make_folder(options_.folder); !made) return made;
    if (Result<void> given = give(options_.folder, 0700); !given) return given;
    if (Result<void> open = reachable(); !open) return open;
    if (Result<void> written = put(kBrokerConfigFile, config); !written) return written;
    const MqttOptions& mqtt = options_.mqtt;
    if (!mqtt.username.empty()) {
      auto line = broker_password(mqtt.username, mqtt.password, base::random_hex(kSaltBytes / 2));
      if (!line) return std::move(line).error();
      if (Result<void> written = put(kBrokerPasswordFile, *line); !written) return written;
    }
    if (!mqtt.server.starts_with("ssl://")) return {};
    // Copies: mosquitto reads them as its own user.
    const std::array<std::pair<std::string, std::string_view>, 3> copies{{{mqtt.ca_file, kBrokerCaFile}, {mqtt.certificate_file, kBrokerCertificateFile}, {mqtt.private_key_file, kBrokerKeyFile}}};
    for (const auto& [from, name] : copies) {
      auto text = runtime::read_text_file(from);
      if (!text) return text.error().in("internal broker with TLS (eventBusTLS)");
      if (Result<void> written = put(name, *text); !written) return written;
    }
    return {};
  }

  // For mosquitto's user, through folders that are not its own.
  Result<void> reachable() const {
    if (account_.name.empty()) return {};
    for (std::string above = options_.folder.substr(0, options_.folder.rfind('/')); !above.empty(); above.resize(above.rfind('/'))) {
      struct stat facts {};
      if (::stat(above.c_str(), &facts) != 0) return base::error(Errc::kIo, "{}: {}", above, std::strerror(errno));
      if ((facts.st_mode & S_IXOTH) == 0 && facts.st_uid != account_.uid)
        return base::error(Errc::kPermissionDenied, "internal broker: user {} cannot reach {}: chmod o+x {}", account_.name, options_.folder, above);
    }
    return {};
  }

  Result<void> put(std::string_view name, const std::string& text) {
    if (Result<void> written = runtime::write_secret_file(path(name), text); !written) return written;
    return give(path(name), 0600);
  }

  Result<void> give(const std::string& file, mode_t mode) {
    if (::chmod(file.c_str(), mode) != 0 || (!account_.name.empty() && ::chown(file.c_str(), account_.uid, account_.gid) != 0))
      return base::error(Errc::kIo, "{}: {}", file, std::strerror(errno));
    return {};
  }

  // The broker of an edge that was killed. A process number may belong to somebody else by now.
  std::optional<runtime::ProcessHandle> left_behind() const {
    const auto noted = runtime::read_text_file(path(kBrokerPidFile));
    const auto pid = noted ? base::to_int(*noted) : std::nullopt;
    if (!pid) return std::nullopt;
    auto process = runtime::open_process(static_cast<pid_t>(*pid));
    if (!process) return std::nullopt;
    const auto command = runtime::read_text_file(fmt::format("/proc/{}/cmdline", *pid));
    if (!command || command->find(path(kBrokerConfigFile)) == std::string::npos) return std::nullopt;
    return std::move(*process);
  }

  InternalBrokerOptions options_;
  std::string program_;
  Account account_;
};

}  // namespace

struct InternalBroker::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, InternalBrokerOptions o, std::string p) : runtime(r), options(std::move(o)), program(std::move(p)), timer(r) {}

  Runtime runtime;
  InternalBrokerOptions options;
  std::string program;
  runtime::Timer timer;
  std::unique_ptr<runtime::ProcessWatch> process;
  std::string why = "not started yet";
  Milliseconds pause = kFirstPause, since{};
  std::uint64_t starts = 0;
  bool starting = false, stopped = false;
  std::vector<unique_function<void()>> done;   // of stop(), which may come again

  void begin() {
    starting = true;
    auto result = std::make_shared<std::optional<Result<Preparation::Running>>>();
    runtime.run_blocking([result, work = Preparation(options, program)]() mutable { *result = work.run(); },
                         [self = shared_from_this(), result] { self->begun(std::move(**result)); });
  }

  void begun(Result<Preparation::Running> running) {
    starting = false;
    if (!running) {
      if (stopped) return finish();
      return failed(running.error().message);
    }
    const bool taken_over = running->taken_over;
    process = std::make_unique<runtime::ProcessWatch>(runtime, std::move(running->process), [weak = weak_from_this()](const std::string& how) {
      if (const auto self = weak.lock()) self->ended(how);
    });
    if (stopped) return end();
    why.clear();
    since = runtime.clock().steady();
    ++starts;
    base::log(runtime.log(), LogLevel::kInfo, "bus", "internal broker {}: mosquitto {} {}", options.mqtt.server, process->pid(), taken_over ? "taken over, it ran on" : "started");
  }

  void ended(const std::string& how) {
    runtime::post(runtime, [gone = std::move(process)] {});   // we are inside its callback
    if (stopped) return finish();
    if (runtime.clock().steady() - since >= kSettled) pause = kFirstPause;
    const std::string said = last_line(fmt::format("{}/{}", options.folder, kBrokerLogFile));
    failed(fmt::format("mosquitto {}{}{}", how, said.empty() ? "" : ": ", said));
  }

  void failed(const std::string& reason) {
    why = reason;
    base::log(runtime.log(), LogLevel::kError, "bus", "internal broker {}: {}; again in {} s", options.mqtt.server, reason, pause.count() / 1000);
    timer.start(pause, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->begin();
    });
    pause = std::min(pause * 2, kMaxPause);
  }

  void end() {
    process->signal(SIGTERM);
    timer.start(kStopPatience, [weak = weak_from_this()] {
      if (const auto self = weak.lock(); self && self->process) self->process->signal(SIGKILL);
    });
  }

  void finish() {
    timer.cancel();
    for (auto& told : std::exchange(done, {})) told();
  }
};

InternalBroker::InternalBroker(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
InternalBroker::~InternalBroker() { impl_->timer.cancel(); }

Result<std::unique_ptr<InternalBroker>> InternalBroker::create(const Runtime& runtime, InternalBrokerOptions options) {
  auto program = find_program(options.program);
  if (!program) return std::move(program).error();
  if (auto config = broker_config(options.mqtt, options.folder, ""); !config) return std::move(config).error();
  if (!options.mqtt.username.empty())
    if (auto line = broker_password(options.mqtt.username, options.mqtt.password, ""); !line) return std::move(line).error();
  return std::unique_ptr<InternalBroker>(new InternalBroker(std::make_shared<Impl>(runtime, std::move(options), std::move(*program))));
}

void InternalBroker::start() { impl_->begin(); }

void InternalBroker::stop(unique_function<void()> done) {
  Impl& impl = *impl_;
  impl.stopped = true;
  impl.timer.cancel();
  impl.done.push_back(std::move(done));
  if (impl.process) return impl.end();
  if (!impl.starting) runtime::post(impl.runtime, [self = impl_] { self->finish(); });
}

std::string InternalBroker::failure() const { return impl_->why; }

void InternalBroker::collect(base::MetricsPage& page) const {
  page.counter("kubeedge_eventbus_broker_starts_total", "How often the internal broker was started, or taken over", impl_->starts);
  page.gauge("kubeedge_eventbus_broker_up", "1: the internal broker runs", impl_->why.empty() ? 1 : 0);
}

}  // namespace kubeedge::edge
