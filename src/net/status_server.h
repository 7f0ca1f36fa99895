// A daemon seen from outside: /metrics, /healthz, /livez and /readyz on plain HTTP, for this host's own monitoring.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/http.h"

namespace kubeedge::net {

struct HealthCheck {
  std::string name;
  std::string failure;   // "" = well
  std::string note;      // shown either way; "" = none
};

struct StatusPages {
  std::function<std::string()> metrics;                 // Prometheus' text format
  std::function<std::vector<HealthCheck>()> ready;      // all well = 200, else 503 with the failures
};

// Lives on the runtime's executor. /healthz and /livez say that the loop answers: a supervisor restarts a daemon that does not.
class StatusServer {
 public:
  static constexpr std::size_t kMaxConnections = 32;

  // "host:port". What the pages refer to must outlive it.
  static Result<std::unique_ptr<StatusServer>> listen(const Runtime& runtime, const std::string& address, StatusPages pages);
  Endpoint local() const { return server_->local(); }

 private:
  explicit StatusServer(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}
  std::unique_ptr<HttpServer> server_;
};

}  // namespace kubeedge::net
