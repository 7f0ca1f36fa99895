// JSON Web Tokens: the join token (HS256) and service-account tokens (ES256).
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>

#include <array>
#include <optional>

#include "base/json.h"
#include "base/text.h"
#include "pki/openssl.h"
#include "pki/pki.h"

namespace kubeedge::pki {
namespace {

// A token is a header field; nobody needs a longer one.
constexpr std::size_t kMaxTokenBytes = 16 * 1024;

struct Jwt {
  std::string_view signed_part;   // header "." claims
  std::string algorithm;
  std::string claims_json;
  nlohmann::json claims;
  std::string signature;
};

Error malformed(std::string_view why) { return base::error(Errc::kUnauthenticated, "the token is malformed: {}", why); }
Error bad_signature() { return Error{Errc::kUnauthenticated, "the token's signature is wrong: it was made by another cloud, or altered"}; }

Result<Jwt> parse_jwt(std::string_view text) {
  if (text.size() > kMaxTokenBytes) return malformed("it is too long");
  const auto parts = base::split(text, '.');
  if (parts.size() != 3) return malformed("a JWT has three parts");
  const auto header = base::from_base64(parts[0]);
  auto claims = base::from_base64(parts[1]);
  auto signature = base::from_base64(parts[2]);
  if (!header || !claims || !signature) return malformed("a part is no base64");
  const auto header_json = base::parse_json(*header);
  Jwt jwt;
  jwt.claims = base::parse_json(*claims);
  if (!header_json.is_object() || !jwt.claims.is_object()) return malformed("a part is no JSON object");
  const auto algorithm = header_json.find("alg");
  if (algorithm == header_json.end() || !algorithm->is_string()) return malformed("it names no algorithm");
  jwt.algorithm = algorithm->get<std::string>();
  jwt.signed_part = text.substr(0, parts[0].size() + 1 + parts[1].size());
  jwt.claims_json = std::move(*claims);
  jwt.signature = std::move(*signature);
  return jwt;
}

std::optional<std::int64_t> expiry(const nlohmann::json& claims) {
  const auto found = claims.find("exp");
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  const double seconds = found->get<double>();
  return seconds > -9e15 && seconds < 9e15 ? std::optional(static_cast<std::int64_t>(seconds)) : std::nullopt;
}

std::string hmac(const EVP_MD* digest, std::string_view key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  if (HMAC(digest, key.data(), static_cast<int>(key.size()), raw(text), text.size(), out.data(), &size) == nullptr) return {};
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string utc_text(std::int64_t unix_s) {
  std::string text = base::rfc3339(unix_s);
  if (const auto at = text.find('T'); at != std::string::npos) text[at] = ' ';
  text.pop_back();
  return text + " UTC";
}

constexpr int kScalarBytes = 32;

}  // namespace

std::string new_token(const KeyPair& ca, std::int64_t expires_unix_s) {
  const std::string text = base::base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base::base64url(fmt::format("{{\"exp\":{}}}", expires_unix_s));
  return sha256_hex(ca.certificate_der) + "." + text + "." + base::base64url(hmac(EVP_sha256(), ca.key_sec1_der, text));
}

bool same_secret(std::string_view given, std::string_view wanted) {
  return given.size() == wanted.size() && CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
}

Result<TokenParts> split_token(std::string_view token) {
  const auto dot = token.find('.');
  const std::string_view hash = token.substr(0, dot);
  if (dot == std::string_view::npos || hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return malformed("it does not begin with the SHA-256 of a CA");
  auto jwt = parse_jwt(token.substr(dot + 1));
  if (!jwt) return jwt.error();
  return TokenParts{std::string(hash), std::string(token.substr(dot + 1)), expiry(jwt->claims).value_or(0)};
}

Result<void> verify_jwt(std::string_view jwt, std::string_view ca_key_sec1_der, std::int64_t now_unix_s) {
  auto parsed = parse_jwt(jwt);
  if (!parsed) return parsed.error();
  const EVP_MD* digest = parsed->algorithm == "HS256" ? EVP_sha256() : parsed->algorithm == "HS384" ? EVP_sha384() : parsed->algorithm == "HS512" ? EVP_sha512() : nullptr;
  if (digest == nullptr) return malformed("its algorithm is none of HS256, HS384, HS512");
  const std::string expected = hmac(digest, ca_key_sec1_der, parsed->signed_part);
  if (expected.empty() || !same_secret(parsed->signature, expected)) return bad_signature();
  const auto expires = expiry(parsed->claims);
  // Upstream takes a token without an expiry; we never make one and a join token for ever is a risk.
  if (!expires) return malformed("it has no expiry");
  if (now_unix_s >= *expires) return base::error(Errc::kUnauthenticated, "the token expired {}; make a new one with: cloudcore token", utc_text(*expires));
  return {};
}

Result<std::string> sign_jwt_es256(std::string_view claims_json, std::string_view key_sec1_der) {
  auto key = load_key(key_sec1_der);
  if (!key) return key.error();
  const std::string text = base::base64url(R"({"alg":"ES256","typ":"JWT"})") + "." + base::base64url(claims_json);
  const DigestContext context(EVP_MD_CTX_new());
  std::array<unsigned char, 128> der{};
  std::size_t size = der.size();
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key->get()) != 1 || EVP_DigestSign(context.get(), der.data(), &size, raw(text), text.size()) != 1)
    return base::error(Errc::kInternal, "token: {}", openssl_reason());
  // A JWS holds r and s as 32 bytes each, not the DER of both.
  const unsigned char* at = der.data();
  const std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>> signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  std::array<unsigned char, 2 * kScalarBytes> flat{};
  if (!signature || BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), flat.data(), kScalarBytes) != kScalarBytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), flat.data() + kScalarBytes, kScalarBytes) != kScalarBytes)
    return base::error(Errc::kInternal, "token: {}", openssl_reason());
  return text + "." + base::base64url({reinterpret_cast<const char*>(flat.data()), flat.size()});
}

Result<std::string> verify_jwt_es256(std::string_view jwt, std::string_view key_sec1_der) {
  auto key = load_key(key_sec1_der);
  if (!key) return key.error();
  auto parsed = parse_jwt(jwt);
  if (!parsed) return parsed.error();
  if (parsed->algorithm != "ES256") return malformed("its algorithm is not ES256");
  if (parsed->signature.size() != 2 * kScalarBytes) return bad_signature();
  const std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>> signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(raw(parsed->signature), kScalarBytes, nullptr), BN_bin2bn(raw(parsed->signature) + kScalarBytes, kScalarBytes, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  const DigestContext context(EVP_MD_CTX_new());
  const bool good = size > 0 && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key->get()) == 1 &&
                    EVP_DigestVerify(context.get(), der, static_cast<std::size_t>(size), raw(parsed->signed_part), parsed->signed_part.size()) == 1;
  OPENSSL_free(der);
  ERR_clear_error();
  if (!good) return bad_signature();
  return std::move(parsed->claims_json);
}

}  // namespace kubeedge::pki
