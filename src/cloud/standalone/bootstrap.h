// What a first start makes, and a restart keeps: CA, server certificate, keys, admin kubeconfig, join token.
#pragma once

#include <string>
#include <vector>

#include <kubeedge/result.h>

#include "pki/pki.h"

namespace kubeedge::cloud {

struct Credentials {
  pki::KeyPair ca;                      // D/pki/ca.crt, ca.key
  pki::KeyPair server;                  // D/pki/server.crt, server.key: names every address of the host
  std::string service_account_key_der;  // D/pki/sa.key, SEC1
  std::vector<std::string> addresses;   // the IPs that the server certificate names, advertised ones first
};

constexpr std::int64_t kTokenValidSeconds = 24 * 3600;      // upstream: twice tokenRefreshDuration
constexpr std::int64_t kTokenRefreshSeconds = 12 * 3600;

// Reads D/pki or makes it (files 0600, written whole or not at all). The server certificate is made anew when
// an address or name of the host is missing in it. Errors name the file.
Result<Credentials> load_or_create_credentials(const std::string& data_dir, const std::vector<std::string>& advertise,
                                               const std::vector<std::string>& dns_names, std::int64_t now_unix_s);
// The CA alone, for `cloudcore token`; kNotFound when this directory never saw a cloudcore.
Result<pki::KeyPair> load_ca(const std::string& data_dir);
// Writes D/admin.kubeconfig with a client certificate of its own; a valid one for this CA and URL is kept.
Result<void> write_admin_kubeconfig(const std::string& data_dir, const Credentials& credentials, const std::string& url, std::int64_t now_unix_s);
// A new token, also written to D/join.token.
Result<std::string> write_join_token(const std::string& data_dir, const pki::KeyPair& ca, std::int64_t now_unix_s);

}  // namespace kubeedge::cloud
