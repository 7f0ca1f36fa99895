// DER from the other side: CSRs and certificates.
#include <cstdlib>

#include "pki/pki.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kubeedge;
  static const auto ca = pki::new_ca(1800000000);
  const std::string_view der(reinterpret_cast<const char*>(data), size);
  (void)pki::parse_certificate(der);
  (void)pki::verify_client_certificate(ca->certificate_der, der, 1800000000);
  const auto info = pki::parse_csr(der);
  if (!info || info->common_name.empty()) return 0;
  const auto signed_der = pki::sign_csr(*ca, der, {2}, 1800000000, 86400);
  if (signed_der && (*pki::parse_certificate(*signed_der)).common_name != info->common_name) std::abort();
  return 0;
}
