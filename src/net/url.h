// http:// and https:// addresses as people write them into rules and configuration.
#pragma once

#include <string>
#include <string_view>

#include "net/stream.h"

namespace kubeedge::net {

struct Url {
  bool https = false;
  Endpoint server;                // the scheme's own port where none is given
  std::string target = "/";       // path and query as written; the fragment is cut
  std::string origin() const;     // "https://host:port"
};

// Errors quote the text up to kMaxUrlQuote characters. User and password in it are refused: they would end in logs.
inline constexpr std::size_t kMaxUrlBytes = 8 * 1024;
Result<Url> parse_url(std::string_view text);

// The machine's own certificate authorities as PEM (SSL_CERT_FILE, else where Debian and Red Hat keep them).
Result<std::string> system_roots();

}  // namespace kubeedge::net
