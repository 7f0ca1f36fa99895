// TLS of a port where edges come: the cloud's server certificate, and its CA for theirs.
#pragma once

#include "net/stream.h"
#include "pki/pki.h"

namespace kubeedge::cloud {

inline net::TlsConfig server_tls(const pki::KeyPair& server, std::string_view ca_der, net::TlsConfig::Peer verify) {
  net::TlsConfig tls;
  tls.certificate_pem = pki::pem("CERTIFICATE", server.certificate_der);
  tls.private_key_pem = pki::pem("EC PRIVATE KEY", server.key_sec1_der);
  tls.ca_pem = pki::pem("CERTIFICATE", ca_der);
  tls.verify_peer = verify;
  return tls;
}

}  // namespace kubeedge::cloud
