// Certificates, CSR and tokens: against upstream's recorded set, and our own against each other.
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "base/text.h"
#include "pki/pki.h"

using namespace kubeedge;

namespace {

// Between the making of the recorded set (2026-11-24 09:10:49 UTC) and its token's expiry.
constexpr std::int64_t kNow = 1795520000;
constexpr std::int64_t kTokenExpiry = 1795597849;
constexpr std::int64_t kYear = std::int64_t{365} * 86400;

std::string golden(const std::string& name) {
  std::ifstream file(std::string(KE_GOLDEN_DIR "/hub/") + name, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  REQUIRE_FALSE(text.empty());
  return text;
}

std::string golden_token() {
  std::string token = golden("token.txt");
  while (token.back() == '\n') token.pop_back();
  return token;
}

pki::KeyPair golden_ca() { return {golden("cert-ca.der"), golden("cert-ca-key.sec1.der")}; }

}  // namespace

TEST_CASE("the recorded certificates are read") {
  const auto edge = *pki::parse_certificate(golden("cert-edge.crt.der"));
  CHECK(edge.common_name == "system:node:edge-1");
  CHECK(edge.organizations == std::vector<std::string>{"system:nodes"});
  CHECK(edge.not_after - edge.not_before == kYear);
  const auto server = *pki::parse_certificate(golden("cert-server.crt.der"));
  CHECK(server.sans.dns == std::vector<std::string>{""});
  CHECK(server.sans.ips == std::vector<std::string>{"127.0.0.1"});
  CHECK(server.not_after - server.not_before == std::int64_t{36400} * 86400);
  CHECK(pki::verify_client_certificate(golden("cert-ca.der"), golden("cert-edge.crt.der"), kNow).ok());
  CHECK(pki::key_matches(golden("cert-edge.crt.der"), golden("cert-edge-key.sec1.der")));
  CHECK(pki::key_matches(golden("cert-ca.der"), golden("cert-ca-key.sec1.der")));
  CHECK_FALSE(pki::key_matches(golden("cert-ca.der"), golden("cert-edge-key.sec1.der")));
}

TEST_CASE("a client certificate that must not pass") {
  const auto reason = [](std::string_view ca, std::string_view leaf, std::int64_t now) {
    const auto verified = pki::verify_client_certificate(ca, leaf, now);
    return verified ? std::string() : verified.error().message;
  };
  const std::string ca = golden("cert-ca.der");
  CHECK(reason(ca, golden("cert-edge.crt.der"), kNow + 2 * kYear) == "client certificate: certificate has expired");
  CHECK(reason(ca, golden("cert-edge.crt.der"), kNow - kYear) == "client certificate: certificate is not yet valid");
  CHECK_FALSE(reason(ca, golden("cert-server.crt.der"), kNow).empty());  // serverAuth only
  CHECK_FALSE(reason((*pki::new_ca(kNow)).certificate_der, golden("cert-edge.crt.der"), kNow).empty());
  CHECK_FALSE(reason(ca, "nonsense", kNow).empty());
}

TEST_CASE("our certificates have upstream's profile, byte for byte but key, serial, time and signature") {
  const auto ca = *pki::new_ca(kNow);
  const auto server = *pki::new_server_certificate(ca, {{}, {"127.0.0.1"}}, kNow);
  const auto edge = *pki::sign_csr(ca, golden("cert-edge.csr.der"), {2}, kNow, kYear);
  const auto info = *pki::parse_certificate(ca.certificate_der);
  CHECK(info.common_name == "KubeEdge");
  CHECK(info.not_before == kNow);
  CHECK(info.not_after == kNow + std::int64_t{36400} * 86400);
  // The to-be-signed part up to the serial, and everything of the CA before the validity, is the recorded one.
  const auto tbs = [](std::string_view der) { return der.substr(8); };  // after the two outer sequences and their lengths
  CHECK(tbs(ca.certificate_der).substr(0, 45) == tbs(golden("cert-ca.der")).substr(0, 45));
  // Extensions: the same bytes, key identifiers cut out.
  const auto extensions = [](const std::string& der, std::size_t from_usage) {
    const std::string usage("\x06\x03\x55\x1d\x0f", 5);  // keyUsage is first in all of them
    const auto at = der.find(usage);
    REQUIRE(at != std::string::npos);
    return der.substr(at, from_usage);
  };
  CHECK(extensions(ca.certificate_der, 70) == extensions(golden("cert-ca.der"), 70));
  CHECK(extensions(edge, 45) == extensions(golden("cert-edge.crt.der"), 45));
  CHECK(extensions(server.certificate_der, 45) == extensions(golden("cert-server.crt.der"), 45));
  CHECK((*pki::parse_certificate(server.certificate_der)).sans.dns == std::vector<std::string>{""});
  const auto named = *pki::new_server_certificate(ca, {{"cloud.example"}, {"10.0.0.1", "fd00::1"}}, kNow);
  const auto sans = (*pki::parse_certificate(named.certificate_der)).sans;
  CHECK(sans.dns == std::vector<std::string>{"cloud.example"});
  CHECK(sans.ips == std::vector<std::string>{"10.0.0.1", "fd00::1"});
  CHECK_FALSE(pki::new_server_certificate(ca, {{}, {"no address"}}, kNow).ok());
}

TEST_CASE("keys are SEC1, and other kinds are refused") {
  const std::string key = pki::new_key_sec1_der();
  const std::string recorded = golden("cert-ca-key.sec1.der");
  CHECK(key.size() == recorded.size());
  CHECK(key.substr(0, 7) == recorded.substr(0, 7));
  CHECK(key.substr(39, 18) == recorded.substr(39, 18));  // between scalar and point: the curve's name
  CHECK_FALSE(pki::new_csr_der("nonsense", "n").ok());
  CHECK_FALSE(pki::new_csr_der(key + "x", "n").ok());
  CHECK_FALSE(pki::new_csr_der("", "n").ok());
}

TEST_CASE("a join: CSR, signing, check") {
  const auto recorded = *pki::parse_csr(golden("cert-edge.csr.der"));
  CHECK(recorded.common_name == "system:node:edge-1");
  CHECK(recorded.organizations == std::vector<std::string>{"system:nodes"});
  CHECK(recorded.sans.dns.empty());

  const std::string key = pki::new_key_sec1_der();
  const std::string csr = *pki::new_csr_der(key, "edge-1");
  // Subject as the stock edge's, byte for byte.
  CHECK(csr.find(golden("cert-edge.csr.der").substr(10, 105)) != std::string::npos);
  const auto ca = *pki::new_ca(kNow);
  const std::string certificate = *pki::sign_csr(ca, csr, {2}, kNow, kYear);
  CHECK(pki::verify_client_certificate(ca.certificate_der, certificate, kNow + 1).ok());
  CHECK(pki::key_matches(certificate, key));
  const auto info = *pki::parse_certificate(certificate);
  CHECK(info.common_name == "system:node:edge-1");
  CHECK(info.organizations == std::vector<std::string>{"system:nodes"});
  // With the recorded CA too.
  CHECK(pki::verify_client_certificate(golden("cert-ca.der"), *pki::sign_csr(golden_ca(), csr, {2, 1}, kNow, kYear), kNow + 1).ok());
  const auto admin = *pki::new_client_certificate(ca, "admin", {"system:masters"}, kNow, kYear);
  CHECK(pki::verify_client_certificate(ca.certificate_der, admin.certificate_der, kNow + 1).ok());
  CHECK(pki::key_matches(admin.certificate_der, admin.key_sec1_der));
}

TEST_CASE("a CSR that must not be signed") {
  const auto ca = *pki::new_ca(kNow);
  const std::string csr = golden("cert-edge.csr.der");
  std::string altered = csr;
  altered[altered.find("edge-1") + 5] = '2';
  CHECK(pki::sign_csr(ca, altered, {2}, kNow, kYear).error().message == "CSR: its signature does not match its key");
  CHECK_FALSE(pki::sign_csr(ca, csr, {}, kNow, kYear).ok());
  CHECK_FALSE(pki::sign_csr(ca, csr, {99}, kNow, kYear).ok());
  CHECK_FALSE(pki::sign_csr(ca, csr, {-1}, kNow, kYear).ok());
  CHECK_FALSE(pki::parse_csr(csr + "x").ok());
  for (std::size_t cut = 0; cut < csr.size(); cut += 5) CHECK_FALSE(pki::parse_csr(csr.substr(0, cut)).ok());
  for (std::size_t at = 0; at < csr.size(); ++at) {
    std::string changed = csr;
    changed[at] = static_cast<char>(changed[at] ^ 0x11);
    CHECK_FALSE(pki::parse_csr(changed).ok());
  }
}

TEST_CASE("the recorded token, and the fixed vector") {
  const auto parts = *pki::split_token(golden_token());
  CHECK(parts.ca_sha256_hex == pki::sha256_hex(golden("cert-ca.der")));
  CHECK(parts.expires_unix_s == kTokenExpiry);
  CHECK(pki::verify_jwt(parts.jwt, golden("cert-ca-key.sec1.der"), kNow).ok());
  CHECK(pki::new_token(golden_ca(), kTokenExpiry) == golden_token());
  CHECK(pki::verify_jwt("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9.GZ3_Vh_cnSHeBewyXRpMHKSY0JkaQ8G-fwCgpfZULJk", "fixed-key-bytes", kNow).ok());
}

TEST_CASE("malformed, altered and expired tokens: three different errors") {
  const auto parts = *pki::split_token(golden_token());
  const std::string key = golden("cert-ca-key.sec1.der");
  const auto reason = [&](std::string_view jwt, std::int64_t now) {
    const auto verified = pki::verify_jwt(jwt, key, now);
    return verified ? std::string() : verified.error().message;
  };
  std::set<std::string> reasons;
  reasons.insert(reason("no token", kNow));
  std::string altered = parts.jwt;
  altered[altered.rfind('.') + 3] ^= 1;
  reasons.insert(reason(altered, kNow));
  reasons.insert(reason(parts.jwt, kTokenExpiry));
  CHECK(reasons.size() == 3);
  CHECK(reasons.count("") == 0);
  CHECK(reason(parts.jwt, kTokenExpiry) == "the token expired 2026-11-25 09:10:49 UTC; make a new one with: cloudcore token");
  // A longer life written into the claims.
  const auto dot = parts.jwt.find('.');
  CHECK(reason(parts.jwt.substr(0, dot + 1) + base::base64url(R"({"exp":4102444800})") + parts.jwt.substr(parts.jwt.rfind('.')), kNow) == reason(altered, kNow));
  CHECK_FALSE(reason(base::base64url(R"({"alg":"none"})") + "." + base::base64url(R"({"exp":4102444800})") + ".", kNow).empty());
  CHECK_FALSE(reason("..", kNow).empty());
  CHECK_FALSE(reason(std::string(100000, 'a'), kNow).empty());
  CHECK(pki::verify_jwt(parts.jwt, pki::new_key_sec1_der(), kNow).error().message == reason(altered, kNow));
  for (const char* bad : {"", "a.b.c.d", "a.b.c", "zz"}) CHECK_FALSE(pki::split_token(bad).ok());
  CHECK_FALSE(pki::split_token(parts.jwt).ok());
}

TEST_CASE("service-account tokens") {
  const std::string key = pki::new_key_sec1_der();
  const std::string claims = R"({"sub":"system:serviceaccount:default:default","exp":4102444800})";
  const std::string jwt = *pki::sign_jwt_es256(claims, key);
  CHECK(*pki::verify_jwt_es256(jwt, key) == claims);
  CHECK_FALSE(pki::verify_jwt_es256(jwt, pki::new_key_sec1_der()).ok());
  std::string altered = jwt;
  altered[altered.rfind('.') + 3] ^= 1;
  CHECK_FALSE(pki::verify_jwt_es256(altered, key).ok());
  CHECK_FALSE(pki::verify_jwt_es256((*pki::split_token(golden_token())).jwt, key).ok());
}

TEST_CASE("PEM and the time of rotation") {
  const std::string der = golden("cert-edge.crt.der");
  const std::string text = pki::pem("CERTIFICATE", der);
  CHECK(text.starts_with("-----BEGIN CERTIFICATE-----\nMII"));
  CHECK(*pki::der_from_pem("# comment\n" + text, "CERTIFICATE") == der);
  CHECK_FALSE(pki::der_from_pem(text, "EC PRIVATE KEY").ok());
  CHECK_FALSE(pki::der_from_pem("-----BEGIN X-----\n!!!\n-----END X-----", "X").ok());
  CHECK_FALSE(pki::der_from_pem("", "X").ok());
  pki::CertificateInfo info;
  info.not_before = 1000;
  info.not_after = 2000;
  CHECK(pki::rotation_time(info, 0) == 1700);
  CHECK(pki::rotation_time(info, 0.999) <= 1900);
}
