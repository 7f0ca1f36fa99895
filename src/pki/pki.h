// CA, CSR, certificates, join token, rotation schedule (hub-protocol 3). libcrypto only, no I/O. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <kubeedge/result.h>

namespace kubeedge::pki {

// All DER, keys SEC1 P-256 as upstream stores them.
struct KeyPair { std::string certificate_der; std::string key_sec1_der; };

std::string new_key_sec1_der();
Result<KeyPair> new_ca(std::int64_t now_unix_s);                                       // CN=KubeEdge, serial 1024
struct Sans { std::vector<std::string> dns; std::vector<std::string> ips; };
bool covers(const Sans& have, const Sans& want);                                        // every name and address wanted is there
Result<KeyPair> new_server_certificate(const KeyPair& ca, const Sans& sans, std::int64_t now_unix_s);

Result<std::string> new_csr_der(std::string_view key_sec1_der, std::string_view node);  // the stock edge's subject
struct CsrInfo { std::string common_name; std::vector<std::string> organizations; Sans sans; };
Result<CsrInfo> parse_csr(std::string_view csr_der);                                    // self-signature checked

// Go's x509.ExtKeyUsage numbers as in the ExtKeyUsages header: 1 serverAuth, 2 clientAuth.
Result<std::string> sign_csr(const KeyPair& ca, std::string_view csr_der, const std::vector<int>& ext_key_usages,
                             std::int64_t now_unix_s, std::int64_t valid_seconds);
// A client certificate of our own CA for any subject (standalone's admin kubeconfig).
Result<KeyPair> new_client_certificate(const KeyPair& ca, std::string_view common_name,
                                       const std::vector<std::string>& organizations, std::int64_t now_unix_s, std::int64_t valid_seconds);

struct CertificateInfo {
  std::string common_name;
  std::vector<std::string> organizations;
  Sans sans;
  std::int64_t not_before = 0, not_after = 0;   // Unix seconds
};
Result<CertificateInfo> parse_certificate(std::string_view der);
Result<void> verify_client_certificate(std::string_view ca_der, std::string_view leaf_der, std::int64_t now_unix_s);
bool issued_by(std::string_view ca_der, std::string_view leaf_der);   // the CA's signature alone: no dates, no purpose
bool key_matches(std::string_view certificate_der, std::string_view key_sec1_der);

std::string pem(std::string_view label, std::string_view der);
Result<std::string> der_from_pem(std::string_view pem_text, std::string_view label);
// PEM texts of a certificate and its key ("EC PRIVATE KEY"); a key of another certificate is an error.
Result<KeyPair> pair_from_pem(std::string_view certificate_pem, std::string_view key_pem);
std::string sha256_hex(std::string_view bytes);
bool same_secret(std::string_view given, std::string_view wanted);   // in a time that tells nothing of the content

// Join token: hex(sha256(CA DER)) "." JWT HS256 over the CA's SEC1 key DER.
std::string new_token(const KeyPair& ca, std::int64_t expires_unix_s);
struct TokenParts { std::string ca_sha256_hex; std::string jwt; std::int64_t expires_unix_s = 0; };
Result<TokenParts> split_token(std::string_view token);                                 // four parts; edge side
// Cloud side. Three different errors: malformed, signature, "the token expired 2026-11-24 10:01:41 UTC; make a new ...".
Result<void> verify_jwt(std::string_view jwt, std::string_view ca_key_sec1_der, std::int64_t now_unix_s);

// Service-account tokens: ES256-signed JWT with the given claims JSON, and its check.
Result<std::string> sign_jwt_es256(std::string_view claims_json, std::string_view key_sec1_der);
Result<std::string> verify_jwt_es256(std::string_view jwt, std::string_view key_sec1_der);  // the claims JSON

// notBefore + fraction * lifetime, fraction in 0.7..0.9 drawn from `random` in [0,1).
std::int64_t rotation_time(const CertificateInfo& certificate, double random);

}  // namespace kubeedge::pki
