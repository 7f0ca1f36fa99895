#include "net/url.h"

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "runtime/files.h"

namespace kubeedge::net {
namespace {

constexpr std::size_t kMaxUrlQuote = 120;

// Whatever could end the request line or a header early.
bool is_clean(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
}

}  // namespace

std::string Url::origin() const {
  const bool v6 = server.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", https ? "https" : "http", v6 ? "[" : "", server.host, v6 ? "]" : "", server.port);
}

Result<Url> parse_url(std::string_view text) {
  const auto refuse = [&](std::string_view why) { return base::error(Errc::kInvalidArgument, "\"{}\": {}", text.substr(0, kMaxUrlQuote), why); };
  if (text.size() > kMaxUrlBytes) return refuse("longer than any address");
  if (!is_clean(text)) return refuse("an address has no spaces or control characters");
  Url url;
  const auto scheme = text.find("://");
  const std::string name = scheme == std::string_view::npos ? std::string() : base::lower(text.substr(0, scheme));
  if (name != "http" && name != "https") return refuse("expected http://HOST:PORT/PATH or https://...");
  url.https = name == "https";
  std::string_view rest = text.substr(scheme + 3);
  const auto end = rest.find_first_of("/?#");
  std::string authority(rest.substr(0, end));
  if (authority.find('@') != std::string::npos) return base::error(Errc::kInvalidArgument, "an address with user or password is refused: it would be seen in logs");
  // A port of its own, or the scheme's.
  const auto bracket = authority.rfind(']');
  if (authority.find(':', bracket == std::string::npos ? 0 : bracket) == std::string::npos) authority += url.https ? ":443" : ":80";
  auto server = parse_endpoint(authority);
  if (!server || server->port == 0 || server->host.empty()) return refuse("no HOST:PORT in it");
  url.server = std::move(*server);
  if (end != std::string_view::npos) {
    url.target = rest.substr(end, rest.find('#') - end);
    if (!url.target.starts_with('/')) url.target.insert(0, "/");
  }
  return url;
}

Result<std::string> system_roots() {
  std::string tried;
  const char* named = std::getenv("SSL_CERT_FILE");
  for (const char* path : {named ? named : "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}) {
    if (auto text = runtime::read_text_file(path)) return text;
    tried = path;
  }
  return base::error(Errc::kNotFound, "this machine has no certificate authorities (last looked for {}); name a CA file", tried);
}

}  // namespace kubeedge::net
