// Join tokens and JWTs: nothing that was not signed may pass.
#include <cstdlib>

#include "pki/pki.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kubeedge;
  static const std::string key = pki::new_key_sec1_der();  // fresh each run: no corpus can hold a valid signature
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)pki::split_token(text);
  if (pki::verify_jwt(text, key, 0).ok() || pki::verify_jwt_es256(text, key).ok()) std::abort();
  return 0;
}
