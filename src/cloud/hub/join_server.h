// The join endpoint (upstream's 10002): CA certificate, edge certificates by token or by the old certificate.
#pragma once

#include <memory>

#include <kubeedge/runtime.h>

#include "base/metrics.h"
#include "cloud/hub/revocations.h"
#include "cloud/ports/edge_link.h"
#include "kube/client/kube_client.h"
#include "net/http.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

inline constexpr std::size_t kMaxCsrBytes = 1024 * 1024;

struct JoinOptions {
  pki::KeyPair ca, server;
  net::Endpoint listen{"0.0.0.0", 10002};
  int edge_certificate_days = 365;
};

// Lives on the runtime's executor. A join with a token sets the node's sync records to 0; for a name with a live
// connection it is refused (409) unless the header X-Takeover is given; the node's older certificates are revoked by it.
class JoinServer {
 public:
  JoinServer(const Runtime& runtime, kube::KubeClient& client, EdgeLink& link, SyncRecords& records, Revocations& revocations, JoinOptions options,
             unique_function<void(const NodeId&, const std::string& why)> disconnect);
  ~JoinServer();
  Result<void> start();
  void stop();
  std::uint16_t port() const;
  void collect(base::MetricsPage& page) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
