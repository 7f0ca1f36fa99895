// Owners of libcrypto's objects and the few helpers that the files of this folder share.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <openssl/bn.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <kubeedge/result.h>

namespace kubeedge::pki {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const { Free(object); }
};

using PKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, Freer<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using Number = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using Name = std::unique_ptr<X509_NAME, Freer<X509_NAME_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;

inline const unsigned char* raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

// The library's own words for what failed; clears its error queue, so that no later call sees it.
std::string openssl_reason();

// SEC1 (as upstream stores keys), or PKCS#8 as other tools do. P-256 only.
Result<PKey> load_key(std::string_view der);

}  // namespace kubeedge::pki
