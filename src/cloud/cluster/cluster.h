// What a cloudcore keeps in the cluster it serves: the KubeEdge CA, its server certificate and the join token, as secrets
// of namespace kubeedge, where upstream's cloudcore and keadm look for them (hub-protocol 3.3).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/result.h>
#include <kubeedge/runtime.h>
#include <kubeedge/unique_function.h>

#include "kube/client/kube_client.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

struct ClusterOptions {
  std::vector<std::string> advertise, dns_names;   // go into the server certificate beside the host's own addresses
  std::optional<pki::KeyPair> ca, server;          // from files of cloudcore.yaml: they win and are written to the secrets
  std::int64_t token_refresh_s = 12 * 3600;        // upstream's tokenRefreshDuration; a token is good for twice that
};

// A pair of PEM files as cloudcore.yaml names them: both there = the pair, both absent = none, one alone = an error.
Result<std::optional<pki::KeyPair>> pair_of_files(const std::string& certificate_file, const std::string& key_file);

struct ClusterCredentials {
  pki::KeyPair ca, server;
  std::string token;
  std::vector<std::string> addresses;              // the IPs that the server certificate names
};

// Lives on the runtime's executor; `client` must outlive it. After destruction nothing is called.
class Cluster {
 public:
  Cluster(const Runtime& runtime, kube::KubeClient& client, ClusterOptions options);
  ~Cluster();

  // Waits for the API as long as it takes, looks for the CRDs and makes or reads the secrets. Fails for good when the API
  // refuses us, a CRD is missing or a secret is damaged (it is never replaced behind the operator's back). Then the token
  // is renewed every token_refresh_s.
  void start(unique_function<void(Result<ClusterCredentials>)> done);

  // For `cloudcore token`: a new token of the CA that is there, written to its secret. One try.
  void new_token(unique_function<void(Result<ClusterCredentials>)> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace kubeedge::cloud
