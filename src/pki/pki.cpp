#include "pki/pki.h"

#include <algorithm>
#include <array>
#include <climits>
#include <ctime>

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include "base/text.h"
#include "pki/openssl.h"

namespace kubeedge::pki {

std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "no reason given";
}

Result<PKey> load_key(std::string_view der) {
  const unsigned char* at = raw(der);
  PKey key(der.size() > LONG_MAX ? nullptr : d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
  if (!key || at != raw(der) + der.size()) return base::error(Errc::kInvalidArgument, "private key: no SEC1 DER ({})", openssl_reason());
  std::array<char, 32> group{};
  std::size_t length = 0;
  if (EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), &length) != 1 || std::string_view(group.data(), length) != SN_X9_62_prime256v1) {
    ERR_clear_error();
    return base::error(Errc::kInvalidArgument, "private key: no ECDSA P-256 key");
  }
  return key;
}

namespace {

// upstream's 364 * 100 days of the CA and the server certificate.
constexpr std::int64_t kLongSeconds = std::int64_t{364} * 100 * 86400;
constexpr long kCaSerial = 1024;

Error internal(std::string_view what) { return base::error(Errc::kInternal, "{}: {}", what, openssl_reason()); }

// The i2d functions allocate; the bytes move into a string.
template <class T, class I2d>
std::string to_der(T* object, I2d i2d) {
  unsigned char* bytes = nullptr;
  const int size = i2d(object, &bytes);
  if (size <= 0) return {};
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_clear_free(bytes, static_cast<std::size_t>(size));
  return der;
}

Result<Cert> load_certificate(std::string_view der, std::string_view what) {
  const unsigned char* at = raw(der);
  Cert cert(der.size() > LONG_MAX ? nullptr : d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!cert || at != raw(der) + der.size()) return base::error(Errc::kInvalidArgument, "{}: no DER certificate ({})", what, openssl_reason());
  return cert;
}

Result<Request> load_request(std::string_view der) {
  const unsigned char* at = raw(der);
  Request request(der.size() > LONG_MAX ? nullptr : d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  if (!request || at != raw(der) + der.size()) return base::error(Errc::kInvalidArgument, "CSR: no DER PKCS#10 request ({})", openssl_reason());
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr || X509_REQ_verify(request.get(), key) != 1) {
    ERR_clear_error();
    return base::error(Errc::kInvalidArgument, "CSR: its signature does not match its key");
  }
  return request;
}

// PrintableString where the characters allow it, UTF8String else: what Go's encoder chooses.
bool add_entry(X509_NAME* name, int nid, std::string_view text) {
  static constexpr std::string_view kPunctuation = " '()+,-./:=?";
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kPunctuation.find(c) != std::string_view::npos;
  });
  return X509_NAME_add_entry_by_NID(name, nid, printable ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING, raw(text), static_cast<int>(text.size()), -1, 0) == 1;
}

std::vector<std::string> entries(const X509_NAME* name, int nid) {
  std::vector<std::string> texts;
  for (int at = X509_NAME_get_index_by_NID(name, nid, -1); at >= 0; at = X509_NAME_get_index_by_NID(name, nid, at)) {
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (size < 0) continue;
    texts.emplace_back(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
    OPENSSL_free(utf8);
  }
  ERR_clear_error();
  return texts;
}

// As Go: the last CN counts.
std::string common_name(const X509_NAME* name) {
  auto names = entries(name, NID_commonName);
  return names.empty() ? std::string() : std::move(names.back());
}

// The usual text form ("::1", not "0:0:0:0:0:0:0:1"): it is compared with what inet_ntop says elsewhere.
std::string ip_text(std::string_view bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* made = inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), text.data(), static_cast<socklen_t>(text.size()));
  return made != nullptr ? made : "";
}

Sans read_sans(const GENERAL_NAMES* names) {
  Sans sans;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    const ASN1_STRING* value = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    const std::string_view bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)), static_cast<std::size_t>(ASN1_STRING_length(value)));
    if (name->type == GEN_DNS) sans.dns.emplace_back(bytes);
    else if (auto text = ip_text(bytes); !text.empty()) sans.ips.push_back(std::move(text));
  }
  return sans;
}

bool add_extension(X509* cert, int nid, void* value, bool critical) {
  return X509_add1_ext_i2d(cert, nid, value, critical ? 1 : 0, X509V3_ADD_DEFAULT) == 1;
}

Result<void> add_sans(X509* cert, const Sans& sans) {
  if (sans.dns.empty() && sans.ips.empty()) return {};
  Names names(GENERAL_NAMES_new());
  const auto push = [&names](int type, ASN1_STRING* value) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names.get(), name);
  };
  for (const std::string& dns : sans.dns) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));
    push(GEN_DNS, text);
  }
  for (const std::string& ip : sans.ips) {
    ASN1_OCTET_STRING* address = a2i_IPADDRESS(ip.c_str());
    if (address == nullptr) {
      ERR_clear_error();
      return base::error(Errc::kInvalidArgument, "certificate: '{}' is no IP address", ip);
    }
    push(GEN_IPADD, address);
  }
  if (!add_extension(cert, NID_subject_alt_name, names.get(), false)) return internal("certificate names");
  return {};
}

bool add_key_usage(X509* cert, std::initializer_list<int> bits) {
  const std::unique_ptr<ASN1_BIT_STRING, Freer<ASN1_BIT_STRING_free>> usage(ASN1_BIT_STRING_new());
  for (const int bit : bits) ASN1_BIT_STRING_set_bit(usage.get(), bit, 1);
  return add_extension(cert, NID_key_usage, usage.get(), true);
}

// Go's x509.ExtKeyUsage numbers -> NIDs.
constexpr std::array<int, 10> kUsageNids = {NID_anyExtendedKeyUsage, NID_server_auth, NID_client_auth, NID_code_sign,  NID_email_protect,
                                            NID_ipsecEndSystem,      NID_ipsecTunnel, NID_ipsecUser,   NID_time_stamp, NID_OCSP_sign};

bool add_extended_usage(X509* cert, const std::vector<int>& go_numbers) {
  const std::unique_ptr<EXTENDED_KEY_USAGE, Freer<EXTENDED_KEY_USAGE_free>> usage(EXTENDED_KEY_USAGE_new());
  for (const int number : go_numbers) sk_ASN1_OBJECT_push(usage.get(), OBJ_nid2obj(kUsageNids[static_cast<std::size_t>(number)]));
  return add_extension(cert, NID_ext_key_usage, usage.get(), false);
}

bool add_key_id(X509* cert, X509* issuer) {
  if (cert == issuer) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    const std::unique_ptr<ASN1_OCTET_STRING, Freer<ASN1_OCTET_STRING_free>> id(ASN1_OCTET_STRING_new());
    return X509_pubkey_digest(cert, EVP_sha1(), digest.data(), &size) == 1 && ASN1_OCTET_STRING_set(id.get(), digest.data(), static_cast<int>(size)) == 1 &&
           add_extension(cert, NID_subject_key_identifier, id.get(), false);
  }
  const ASN1_OCTET_STRING* id = X509_get0_subject_key_id(issuer);
  if (id == nullptr) return true;
  const std::unique_ptr<AUTHORITY_KEYID, Freer<AUTHORITY_KEYID_free>> key_id(AUTHORITY_KEYID_new());
  key_id->keyid = ASN1_OCTET_STRING_dup(id);
  return add_extension(cert, NID_authority_key_identifier, key_id.get(), false);
}

bool random_serial(X509* cert) {
  const Number number(BN_new());
  return BN_rand(number.get(), 63, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(cert)) != nullptr;
}

struct Subject {
  std::vector<std::string> organizations;
  std::string common_name;
};

// What all profiles share: version, subject, key, validity.
Result<Cert> start_certificate(const Subject& subject, EVP_PKEY* public_key, std::int64_t now_unix_s, std::int64_t valid_seconds) {
  Cert cert(X509_new());
  X509_NAME* name = X509_get_subject_name(cert.get());
  bool ok = X509_set_version(cert.get(), X509_VERSION_3) == 1;
  for (const std::string& organization : subject.organizations) ok = ok && add_entry(name, NID_organizationName, organization);
  ok = ok && add_entry(name, NID_commonName, subject.common_name);
  ok = ok && X509_set_pubkey(cert.get(), public_key) == 1;
  ok = ok && ASN1_TIME_set(X509_getm_notBefore(cert.get()), static_cast<std::time_t>(now_unix_s)) != nullptr;
  ok = ok && ASN1_TIME_set(X509_getm_notAfter(cert.get()), static_cast<std::time_t>(now_unix_s + valid_seconds)) != nullptr;
  if (!ok) return internal("certificate");
  return cert;
}

Result<std::string> issue(const KeyPair& ca, const Subject& subject, const Sans& sans, EVP_PKEY* public_key, const std::vector<int>& usages,
                          std::int64_t now_unix_s, std::int64_t valid_seconds) {
  auto ca_cert = load_certificate(ca.certificate_der, "CA");
  if (!ca_cert) return ca_cert.error();
  auto ca_key = load_key(ca.key_sec1_der);
  if (!ca_key) return ca_key.error().in("CA");
  auto cert = start_certificate(subject, public_key, now_unix_s, valid_seconds);
  if (!cert) return cert.error();
  X509* leaf = cert->get();
  if (!random_serial(leaf) || X509_set_issuer_name(leaf, X509_get_subject_name(ca_cert->get())) != 1 || !add_key_usage(leaf, {0, 2}) ||
      !add_extended_usage(leaf, usages) || !add_key_id(leaf, ca_cert->get()))
    return internal("certificate");
  if (auto added = add_sans(leaf, sans); !added) return added.error();
  if (X509_sign(leaf, ca_key->get(), EVP_sha256()) <= 0) return internal("certificate");
  return to_der(leaf, i2d_X509);
}

std::int64_t unix_seconds(const ASN1_TIME* time) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(time, &utc) != 1) return 0;
  return static_cast<std::int64_t>(timegm(&utc));
}

}  // namespace

std::string new_key_sec1_der() {
  const PKey key(EVP_EC_gen("P-256"));
  return key ? to_der(key.get(), i2d_PrivateKey) : std::string();
}

Result<KeyPair> new_ca(std::int64_t now_unix_s) {
  KeyPair ca{{}, new_key_sec1_der()};
  auto key = load_key(ca.key_sec1_der);
  if (!key) return key.error();
  auto cert = start_certificate({{}, "KubeEdge"}, key->get(), now_unix_s, kLongSeconds);
  if (!cert) return cert.error();
  X509* self = cert->get();
  const std::unique_ptr<BASIC_CONSTRAINTS, Freer<BASIC_CONSTRAINTS_free>> constraints(BASIC_CONSTRAINTS_new());
  constraints->ca = 0xff;
  if (ASN1_INTEGER_set(X509_get_serialNumber(self), kCaSerial) != 1 || X509_set_issuer_name(self, X509_get_subject_name(self)) != 1 ||
      !add_key_usage(self, {0, 2, 5}) || !add_extended_usage(self, {1, 2}) || !add_extension(self, NID_basic_constraints, constraints.get(), true) ||
      !add_key_id(self, self) || X509_sign(self, key->get(), EVP_sha256()) <= 0)
    return internal("CA certificate");
  ca.certificate_der = to_der(self, i2d_X509);
  return ca;
}

bool covers(const Sans& have, const Sans& want) {
  const auto all_in = [](const std::vector<std::string>& all, const std::vector<std::string>& some) {
    return std::all_of(some.begin(), some.end(), [&](const std::string& one) { return std::find(all.begin(), all.end(), one) != all.end(); });
  };
  return all_in(have.ips, want.ips) && all_in(have.dns, want.dns);
}

Result<KeyPair> new_server_certificate(const KeyPair& ca, const Sans& sans, std::int64_t now_unix_s) {
  KeyPair pair{{}, new_key_sec1_der()};
  auto key = load_key(pair.key_sec1_der);
  if (!key) return key.error();
  Sans names = sans;
  if (names.dns.empty()) names.dns.emplace_back();  // upstream's default: one empty dNSName
  auto der = issue(ca, {{"KubeEdge"}, "KubeEdge"}, names, key->get(), {1}, now_unix_s, kLongSeconds);
  if (!der) return der.error();
  pair.certificate_der = std::move(*der);
  return pair;
}

Result<std::string> new_csr_der(std::string_view key_sec1_der, std::string_view node) {
  auto key = load_key(key_sec1_der);
  if (!key) return key.error();
  const Request request(X509_REQ_new());
  X509_NAME* name = X509_REQ_get_subject_name(request.get());
  const bool ok = X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 && add_entry(name, NID_countryName, "CN") &&
                  add_entry(name, NID_stateOrProvinceName, "Zhejiang") && add_entry(name, NID_localityName, "Hangzhou") &&
                  add_entry(name, NID_organizationName, "system:nodes") && add_entry(name, NID_commonName, "system:node:" + std::string(node)) &&
                  X509_REQ_set_pubkey(request.get(), key->get()) == 1 && X509_REQ_sign(request.get(), key->get(), EVP_sha256()) > 0;
  if (!ok) return internal("CSR");
  return to_der(request.get(), i2d_X509_REQ);
}

Result<CsrInfo> parse_csr(std::string_view csr_der) {
  auto request = load_request(csr_der);
  if (!request) return request.error();
  const X509_NAME* name = X509_REQ_get_subject_name(request->get());
  CsrInfo info{common_name(name), entries(name, NID_organizationName), {}};
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request->get());
  const Names names(static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr)));
  if (names) info.sans = read_sans(names.get());
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  ERR_clear_error();
  return info;
}

Result<std::string> sign_csr(const KeyPair& ca, std::string_view csr_der, const std::vector<int>& ext_key_usages, std::int64_t now_unix_s,
                             std::int64_t valid_seconds) {
  auto info = parse_csr(csr_der);
  if (!info) return info.error();
  if (info->common_name.empty()) return base::error(Errc::kInvalidArgument, "CSR: no common name");
  if (ext_key_usages.empty()) return base::error(Errc::kInvalidArgument, "CSR: no extended key usage is asked for");
  for (const int usage : ext_key_usages)
    if (usage < 0 || static_cast<std::size_t>(usage) >= kUsageNids.size())
      return base::error(Errc::kInvalidArgument, "CSR: extended key usage {} is not known", usage);
  auto request = load_request(csr_der);
  if (!request) return request.error();
  return issue(ca, {info->organizations, info->common_name}, info->sans, X509_REQ_get0_pubkey(request->get()), ext_key_usages, now_unix_s, valid_seconds);
}

Result<KeyPair> new_client_certificate(const KeyPair& ca, std::string_view common_name, const std::vector<std::string>& organizations,
                                       std::int64_t now_unix_s, std::int64_t valid_seconds) {
  KeyPair pair{{}, new_key_sec1_der()};
  auto key = load_key(pair.key_sec1_der);
  if (!key) return key.error();
  auto der = issue(ca, {organizations, std::string(common_name)}, {}, key->get(), {2}, now_unix_s, valid_seconds);
  if (!der) return der.error();
  pair.certificate_der = std::move(*der);
  return pair;
}

Result<CertificateInfo> parse_certificate(std::string_view der) {
  auto cert = load_certificate(der, "certificate");
  if (!cert) return cert.error();
  const X509_NAME* name = X509_get_subject_name(cert->get());
  CertificateInfo info{common_name(name), entries(name, NID_organizationName), {}, unix_seconds(X509_get0_notBefore(cert->get())),
                       unix_seconds(X509_get0_notAfter(cert->get()))};
  const Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(cert->get(), NID_subject_alt_name, nullptr, nullptr)));
  if (names) info.sans = read_sans(names.get());
  ERR_clear_error();
  return info;
}

Result<void> verify_client_certificate(std::string_view ca_der, std::string_view leaf_der, std::int64_t now_unix_s) {
  auto ca = load_certificate(ca_der, "CA");
  if (!ca) return ca.error();
  auto leaf = load_certificate(leaf_der, "client certificate");
  if (!leaf) return leaf.error();
  const std::unique_ptr<X509_STORE, Freer<X509_STORE_free>> store(X509_STORE_new());
  const std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  if (X509_STORE_add_cert(store.get(), ca->get()) != 1 || X509_STORE_CTX_init(context.get(), store.get(), leaf->get(), nullptr) != 1)
    return internal("client certificate");
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(param, static_cast<std::time_t>(now_unix_s));
  X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
  if (X509_verify_cert(context.get()) == 1) return {};
  ERR_clear_error();
  return base::error(Errc::kUnauthenticated, "client certificate: {}", X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
}

bool issued_by(std::string_view ca_der, std::string_view leaf_der) {
  auto ca = load_certificate(ca_der, "CA");
  auto leaf = load_certificate(leaf_der, "certificate");
  const bool ours = ca && leaf && X509_verify(leaf->get(), X509_get0_pubkey(ca->get())) == 1;
  ERR_clear_error();
  return ours;
}

bool key_matches(std::string_view certificate_der, std::string_view key_sec1_der) {
  auto cert = load_certificate(certificate_der, "certificate");
  auto key = load_key(key_sec1_der);
  const bool matches = cert && key && X509_check_private_key(cert->get(), key->get()) == 1;
  ERR_clear_error();
  return matches;
}

std::string pem(std::string_view label, std::string_view der) {
  const std::string body = base::base64(der);
  std::string out = fmt::format("-----BEGIN {}-----\n", label);
  for (std::size_t at = 0; at < body.size(); at += 64) out += body.substr(at, 64) + "\n";
  return out + fmt::format("-----END {}-----\n", label);
}

Result<std::string> der_from_pem(std::string_view pem_text, std::string_view label) {
  const std::string begin = fmt::format("-----BEGIN {}-----", label);
  const auto from = pem_text.find(begin);
  const auto to = from == std::string_view::npos ? from : pem_text.find(fmt::format("-----END {}-----", label), from);
  if (to == std::string_view::npos) return base::error(Errc::kInvalidArgument, "PEM: no '{}' block", label);
  std::string body;
  for (const char c : pem_text.substr(from + begin.size(), to - from - begin.size()))
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') body += c;
  auto der = base::from_base64(body);
  if (!der || der->empty()) return base::error(Errc::kInvalidArgument, "PEM: the '{}' block is no base64", label);
  return std::move(*der);
}

Result<KeyPair> pair_from_pem(std::string_view certificate_pem, std::string_view key_pem) {
  Result<std::string> certificate = der_from_pem(certificate_pem, "CERTIFICATE");
  if (!certificate) return std::move(certificate).error();
  Result<std::string> key = der_from_pem(key_pem, "EC PRIVATE KEY");
  if (!key) return std::move(key).error();
  if (!key_matches(*certificate, *key)) return Error{Errc::kInvalidArgument, "the key is not the certificate's"};
  return KeyPair{std::move(*certificate), std::move(*key)};
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return {};
  return base::hex({reinterpret_cast<const char*>(digest.data()), size});
}

std::int64_t rotation_time(const CertificateInfo& certificate, double random) {
  const double fraction = 0.7 + 0.2 * random;
  return certificate.not_before + static_cast<std::int64_t>(fraction * static_cast<double>(certificate.not_after - certificate.not_before));
}

}  // namespace kubeedge::pki
