// Issues and checks service-account tokens: ES256 JWTs with Kubernetes' claims, bound to a pod where asked.
#pragma once

#include <string>
#include <vector>

#include <kubeedge/clock.h>

#include "kube/rest/api_server.h"
#include "kube/rest/storage.h"

namespace kubeedge::cloud {

class ServiceAccountTokens {
 public:
  static constexpr const char* kIssuer = "https://kubernetes.default.svc.cluster.local";
  static constexpr std::int64_t kDefaultSeconds = 3600, kLeastSeconds = 600, kMostSeconds = 365 * 86400;

  ServiceAccountTokens(const kube::Storage& storage, const Clock& clock, std::string key_sec1_der);

  // TokenRequest in, the same object with status.token out. kInvalidArgument and kNotFound name the field or object.
  Result<Bytes> issue(const std::string& ns, const std::string& account, const Bytes& account_object, const Bytes& request) const;
  // Signature, times, one of `audiences`, and that account and pod still are the ones it was made for.
  Result<kube::TokenOwner> check(std::string_view jwt, const std::vector<std::string>& audiences = {kIssuer}) const;

 private:
  const kube::Storage& storage_;
  const Clock& clock_;
  std::string key_;
};

}  // namespace kubeedge::cloud
