#include "edge/edged/container_watch.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace kubeedge::edged {
namespace {

constexpr Milliseconds kHookTimeout{600'000};       // a postStart hook that hangs ends the container
constexpr std::size_t kMaxProbeOutput = 1024;       // of a failed probe, in its event

Result<std::uint16_t> port_of(const Json& port, const Json& container) {
  std::int64_t value = number(port);
  if (port.is_string()) {
    value = base::to_int(text(port)).value_or(0);
    for (const Json& named : items(member(container, "ports")))
      if (text(member(named, "name")) == text(port)) value = number(member(named, "containerPort"));
  }
  if (value < 1 || value > 65535) return base::error(Errc::kInvalidArgument, "container \"{}\" has no port {}", text(member(container, "name")), base::dump_json(port));
  return static_cast<std::uint16_t>(value);
}

Result<Handler> http_handler(const Json& get, const Json& container, const std::string& host) {
  auto port = port_of(member(get, "port"), container);
  if (!port) return std::move(port).error();
  Handler out;
  out.kind = Handler::Kind::kHttp;
  out.endpoint = {host, *port};
  out.https = text(member(get, "scheme"), "HTTP") == "HTTPS";
  out.request.method = "GET";
  out.request.target = text(member(get, "path"), "/");
  if (!out.request.target.starts_with('/')) out.request.target.insert(0, "/");
  out.request.headers = {{"Accept", "*/*"}};
  for (const Json& header : items(member(get, "httpHeaders"))) out.request.headers.emplace_back(text(member(header, "name")), text(member(header, "value")));
  if (net::header(out.request.headers, "User-Agent").empty()) out.request.headers.emplace_back("User-Agent", "kube-probe/1.32");
  // What goes onto the wire as it is may not end a line.
  for (const auto& [name, value] : out.request.headers)
    if ((name + value).find_first_of("\r\n") != std::string::npos) return base::error(Errc::kInvalidArgument, "httpGet header \"{}\" holds a line break", name.substr(0, 40));
  if (out.request.target.find_first_of(" \r\n") != std::string::npos) return base::error(Errc::kInvalidArgument, "httpGet path holds a space or a line break");
  return out;
}

}  // namespace

Result<Handler> handler_of(const Json& action, const Json& container, const std::string& pod_ip) {
  Handler out;
  if (const Json& exec = member(action, "exec"); exec.is_object()) {
    for (const Json& part : items(member(exec, "command"))) out.command.push_back(text(part));
    if (out.command.empty()) return base::error(Errc::kInvalidArgument, "exec without a command");
    return out;
  }
  if (const Json& pause = member(action, "sleep"); pause.is_object()) {
    out.kind = Handler::Kind::kSleep;
    out.sleep_s = std::max<std::int64_t>(0, number(member(pause, "seconds")));
    return out;
  }
  const Json& get = member(action, "httpGet");
  const Json& source = get.is_object() ? get : member(action, "tcpSocket");
  if (!source.is_object()) return base::error(Errc::kInvalidArgument, "none of exec, httpGet, tcpSocket or sleep");
  const std::string host = text(member(source, "host"), pod_ip);
  if (host.empty()) return base::error(Errc::kUnavailable, "the pod has no address yet");
  if (get.is_object()) return http_handler(get, container, host);
  auto port = port_of(member(source, "port"), container);
  if (!port) return std::move(port).error();
  out.kind = Handler::Kind::kTcp;
  out.endpoint = {host, *port};
  return out;
}

ProbeSettings probe_settings(const Json& probe) {
  const auto positive = [&](const char* field, std::int64_t otherwise) {
    const std::int64_t value = number(member(probe, field), otherwise);
    return value < 1 ? otherwise : std::min<std::int64_t>(value, 86'400);
  };
  ProbeSettings out;
  out.initial_delay_s = std::clamp<std::int64_t>(number(member(probe, "initialDelaySeconds")), 0, 86'400);
  out.period_s = positive("periodSeconds", out.period_s);
  out.timeout_s = positive("timeoutSeconds", out.timeout_s);
  out.success = static_cast<int>(positive("successThreshold", out.success));
  out.failure = static_cast<int>(positive("failureThreshold", out.failure));
  return out;
}

std::optional<bool> ProbeTally::add(bool good) {
  run_ = good == last_ ? std::min(run_ + 1, 1'000'000) : 1;
  last_ = good;
  if (run_ < (good ? success_ : failure_)) return std::nullopt;
  return good;
}

std::shared_ptr<void> run_handler(const Runtime& runtime, CriClient& cri, const std::string& container_id, const Result<Handler>& handler, Milliseconds timeout,
                                  unique_function<void(Result<void>)> done) {
  struct Run {
    explicit Run(const Runtime& r) : timer(r) {}
    runtime::Timer timer;
    std::unique_ptr<net::HttpCall> call;
  };
  auto run = std::make_shared<Run>(runtime);
  auto tell = [weak = std::weak_ptr(run), done = std::move(done)](Result<void> result) mutable {
    if (!weak.expired()) done(std::move(result));
  };
  if (!handler) {
    runtime::post(runtime, [tell = std::move(tell), error = handler.error()]() mutable { tell(std::move(error)); });
    return run;
  }
  switch (handler->kind) {
    case Handler::Kind::kExec:
      cri.exec(container_id, handler->command, timeout, [tell = std::move(tell)](Result<CriClient::ExecResult> result) mutable {
        if (!result) return tell(std::move(result).error());
        if (result->exit_code == 0) return tell({});
        tell(base::error(Errc::kInternal, "exit code {}: {}", result->exit_code, result->output.substr(0, kMaxProbeOutput)));
      });
      break;
    case Handler::Kind::kHttp: {
      net::HttpClientOptions options;
      options.timeout = options.dial.timeout = timeout;
      if (handler->https) {
        options.dial.tls.emplace();
        options.dial.tls->verify_peer = net::TlsConfig::Peer::kNone;
      }
      run->call = net::http_fetch(runtime, handler->endpoint, handler->request, options, [tell = std::move(tell)](Result<net::HttpResponse> answer) mutable {
        if (!answer) return tell(std::move(answer).error());
        if (answer->status >= 200 && answer->status < 400) return tell({});
        tell(base::error(Errc::kInternal, "HTTP probe failed with statuscode: {}", answer->status));
      });
      break;
    }
    case Handler::Kind::kTcp: {
      net::DialOptions options;
      options.timeout = timeout;
      net::dial(runtime, handler->endpoint, options, [tell = std::move(tell)](Result<std::unique_ptr<net::Stream>> stream) mutable {
        if (!stream) return tell(std::move(stream).error());
        tell({});
      });
      break;
    }
    case Handler::Kind::kSleep:
      run->timer.start(std::min(timeout, Milliseconds{handler->sleep_s * 1000}), [tell = std::move(tell)]() mutable { tell({}); });
      break;
  }
  return run;
}

struct ContainerWatch::Impl {
  // One probe: a look each period.
  struct Probe {
    Probe(Impl& owner, const char* what_it_is, const Json& probe, const Json& container, const std::string& pod_ip)
        : watch(owner), what(what_it_is), handler(handler_of(probe, container, pod_ip)), settings(probe_settings(probe)), tally(settings.success, settings.failure), timer(owner.runtime) {}

    void start(std::int64_t running_ms) { timer.start(Milliseconds{std::max<std::int64_t>(0, settings.initial_delay_s * 1000 - running_ms)}, [this] { look(); }); }
    void look() {
      timer.start(Milliseconds{settings.period_s * 1000}, [this] { look(); });
      if (run) return;  // the last look still goes on
      run = run_handler(watch.runtime, watch.cri, watch.id, handler, Milliseconds{settings.timeout_s * 1000}, [this](Result<void> result) {
        // What runs this must not be freed by it.
        runtime::post(watch.runtime, [held = std::move(run)] {});
        run.reset();
        if (!result) watch.listener.event("Unhealthy", fmt::format("{} probe failed: {}", what, result.error().message));
        const auto verdict = tally.add(static_cast<bool>(result));
        if (verdict) watch.judged(*this, *verdict, result ? "" : result.error().message);
      });
    }

    Impl& watch;
    const char* what;
    Result<Handler> handler;
    ProbeSettings settings;
    ProbeTally tally;
    runtime::Timer timer;
    std::shared_ptr<void> run;
  };

  Impl(const Runtime& r, CriClient& c, std::string container_id, Listener told) : runtime(r), cri(c), id(std::move(container_id)), listener(std::move(told)) {}

  void begin_probes(std::int64_t running_ms) {
    if (startup && !started) return startup->start(running_ms);
    started = true;
    if (liveness) liveness->start(running_ms);
    if (readiness) {
      readiness->start(running_ms);
    } else {
      ready = true;
    }
  }

  void judged(Probe& probe, bool good, const std::string& why) {
    if (&probe == readiness.get()) {
      if (std::exchange(ready, good) != good) listener.changed();
    } else if (!good) {
      probe.timer.cancel();   // until the container was started again
      const Json& grace = member(&probe == startup.get() ? startup_json : liveness_json, "terminationGracePeriodSeconds");
      listener.ailing(fmt::format("{} probe failed: {}", probe.what, why), grace.is_number_integer() ? std::optional(number(grace)) : std::nullopt);
    } else if (&probe == startup.get()) {
      probe.timer.cancel();
      started = true;
      begin_probes(0);
      listener.changed();
    }
  }

  Runtime runtime;
  CriClient& cri;
  std::string id;
  Listener listener;
  Json startup_json, liveness_json;
  std::unique_ptr<Probe> startup, liveness, readiness;
  std::shared_ptr<void> hook;
  bool started = false, ready = false;
};

ContainerWatch::ContainerWatch(const Runtime& runtime, CriClient& cri, std::string id, const Json& container, const std::string& pod_ip, const Before& before, Listener listener)
    : impl_(std::make_unique<Impl>(runtime, cri, std::move(id), std::move(listener))) {
  Impl& impl = *impl_;
  impl.startup_json = member(container, "startupProbe");
  impl.liveness_json = member(container, "livenessProbe");
  const auto make = [&](const char* what, const Json& probe) { return probe.is_object() ? std::make_unique<Impl::Probe>(impl, what, probe, container, pod_ip) : nullptr; };
  impl.startup = make("Startup", impl.startup_json);
  impl.liveness = make("Liveness", impl.liveness_json);
  impl.readiness = make("Readiness", member(container, "readinessProbe"));
  impl.started = before.started && impl.startup != nullptr;
  impl.ready = before.ready && impl.readiness != nullptr;
  const Json& hook = member(container, "lifecycle", "postStart");
  if (!before.fresh || !hook.is_object()) {
    impl.begin_probes(before.running_ms);
    return;
  }
  impl.hook = run_handler(runtime, cri, impl.id, handler_of(hook, container, pod_ip), kHookTimeout, [&impl](Result<void> result) {
    if (!result) {
      impl.listener.event("FailedPostStartHook", "PostStartHook failed: " + result.error().message);
      return impl.listener.ailing("PostStartHook failed: " + result.error().message, std::nullopt);
    }
    impl.begin_probes(0);
    impl.listener.changed();
  });
}

ContainerWatch::~ContainerWatch() = default;
bool ContainerWatch::started() const { return impl_->started; }
bool ContainerWatch::ready() const { return impl_->started && impl_->ready; }

}  // namespace kubeedge::edged
