#include "pki/password.h"

#include <openssl/evp.h>

namespace kubeedge::pki {

std::string pbkdf2_sha512(std::string_view secret, std::string_view salt, int rounds, std::size_t bytes) {
  std::string out(bytes, '\0');
  PKCS5_PBKDF2_HMAC(secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()), rounds,
                    EVP_sha512(), static_cast<int>(bytes), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

}  // namespace kubeedge::pki
