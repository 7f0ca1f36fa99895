// Passwords as they are kept in files of others. libcrypto only.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kubeedge::pki {

// PBKDF2 with HMAC-SHA512 (RFC 8018): `bytes` raw bytes.
std::string pbkdf2_sha512(std::string_view secret, std::string_view salt, int rounds, std::size_t bytes);

}  // namespace kubeedge::pki
