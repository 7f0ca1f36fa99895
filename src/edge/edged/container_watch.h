// The postStart hook and the probes of one running container (edge-node 4.5).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "edge/edged/cri_client.h"
#include "edge/edged/json_view.h"
#include "net/http.h"
#include "runtime/timer.h"

namespace kubeedge::edged {

// What a probe or a hook does.
struct Handler {
  enum class Kind { kExec, kHttp, kTcp, kSleep };
  Kind kind = Kind::kExec;
  std::vector<std::string> command;
  net::Endpoint endpoint;
  bool https = false;              // the certificate is not judged, as kubelet's probes do not
  net::HttpRequest request;
  std::int64_t sleep_s = 0;
};
// `action` holds exec, httpGet, tcpSocket or sleep; a port may be one of the container's by name.
Result<Handler> handler_of(const Json& action, const Json& container, const std::string& pod_ip);

struct ProbeSettings {
  std::int64_t initial_delay_s = 0, period_s = 10, timeout_s = 1;
  int success = 1, failure = 3;
};
ProbeSettings probe_settings(const Json& probe);

// Looks in a row -> a verdict.
class ProbeTally {
 public:
  ProbeTally(int success, int failure) : success_(success), failure_(failure) {}
  // The verdict, when this look makes one (again).
  std::optional<bool> add(bool good);

 private:
  int success_, failure_, run_ = 0;
  bool last_ = false;
};

// Runs a handler once. What is given back keeps it going: destroying it cancels what can be cancelled, and `done` is not called.
std::shared_ptr<void> run_handler(const Runtime& runtime, CriClient& cri, const std::string& container_id, const Result<Handler>& handler, Milliseconds timeout,
                                  unique_function<void(Result<void>)> done);

// Lives on the edge's loop. Destroying it ends it.
class ContainerWatch {
 public:
  struct Before {                  // what is known of the container when the watch begins
    std::int64_t running_ms = 0;   // for how long it has run
    bool fresh = false;            // started just now: its postStart hook is to run
    bool started = false, ready = false;   // as last reported: an adopted container keeps that until a probe says otherwise
  };
  struct Listener {
    std::function<void()> changed;                                                     // started() or ready()
    std::function<void(std::string why, std::optional<std::int64_t> grace_s)> ailing;  // it is to be ended; told once
    std::function<void(const char* reason, const std::string& message)> event;
  };
  ContainerWatch(const Runtime& runtime, CriClient& cri, std::string id, const Json& container, const std::string& pod_ip, const Before& before, Listener listener);
  ~ContainerWatch();

  bool started() const;
  bool ready() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kubeedge::edged
