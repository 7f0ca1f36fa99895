#include "edge/hub/join.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "net/http.h"
#include "pki/pki.h"

namespace kubeedge::edge {
namespace {

constexpr Milliseconds kJoinTimeout{30'000};
constexpr std::size_t kMaxReasonBytes = 300;

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::error(errno == ENOENT ? Errc::kNotFound : Errc::kIo, "{}: {}", path, std::strerror(errno));
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Whole or not at all, and readable by the owner only from the first byte on.
Result<void> write_file(const std::string& path, const std::string& text) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  auto temporary = path + ".new";
  int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return base::error(Errc::kIo, "{}: {}", temporary, std::strerror(errno));
  bool good = ::fchmod(fd, 0600) == 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  int why = errno;
  ::close(fd);
  if (good && ::rename(temporary.c_str(), path.c_str()) == 0) return {};
  if (good) why = errno;
  ::unlink(temporary.c_str());
  return base::error(Errc::kIo, "{}: {}", path, std::strerror(why));
}

Result<Credentials> check(const JoinOptions& options, std::string ca_pem, std::string certificate_pem, std::string key_pem, std::int64_t now) {
  auto ca = pki::der_from_pem(ca_pem, "CERTIFICATE");
  if (!ca) return ca.error().in(options.ca_file);
  auto leaf = pki::der_from_pem(certificate_pem, "CERTIFICATE");
  if (!leaf) return leaf.error().in(options.certificate_file);
  auto key = pki::der_from_pem(key_pem, "EC PRIVATE KEY");
  if (!key) return key.error().in(options.private_key_file);
  auto info = pki::parse_certificate(*leaf);
  if (!info) return info.error().in(options.certificate_file);
  if (info->common_name != "system:node:" + options.node.str())
    return base::error(Errc::kInvalidArgument, "{}: the certificate is for {}, not for node {}", options.certificate_file, info->common_name,
                       options.node.str());
  if (!pki::key_matches(*leaf, *key))
    return base::error(Errc::kInvalidArgument, "{}: the key does not fit {}", options.private_key_file, options.certificate_file);
  if (now >= info->not_after)
    return base::error(Errc::kUnauthenticated, "{}: the certificate expired {}", options.certificate_file, base::rfc3339(info->not_after));
  // A host without a clock battery boots in 1970: the certificate is this node's all the same.
  if (auto chained = pki::verify_client_certificate(*ca, *leaf, std::max(now, info->not_before)); !chained) return chained.error().in(options.certificate_file);
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  std::random_device random;
  return Credentials{std::move(ca_pem), std::move(certificate_pem), std::move(key_pem), info->not_after, pki::rotation_time(*info, unit(random)), false};
}

using Done = unique_function<void(Result<Credentials>)>;

// One exchange with the cloud's HTTPS port. Keeps its own call alive until the answer.
void fetch(const Runtime& runtime, const JoinOptions& options, net::HttpRequest request, net::TlsConfig tls,
           unique_function<void(Result<net::HttpResponse>)> done) {
  net::HttpClientOptions http;
  http.dial.tls = std::move(tls);
  http.timeout = kJoinTimeout;
  struct Keep {
    std::unique_ptr<net::HttpCall> call;
    bool over = false;
  };
  auto keep = std::make_shared<Keep>();
  auto call = net::http_fetch(runtime, options.server, std::move(request), std::move(http),
                              [keep, done = std::move(done)](Result<net::HttpResponse> response) mutable {
                                keep->over = true;
                                auto self = std::move(keep);
                                done(std::move(response));
                              });
  if (!keep->over) keep->call = std::move(call);
}

void certificate(const Runtime& runtime, JoinOptions options, std::string ca_pem, std::string jwt, net::TlsConfig tls, Done done) {
  auto key = pki::new_key_sec1_der();
  auto csr = pki::new_csr_der(key, options.node.str());
  if (!csr) return done(csr.error());
  net::HttpRequest request;
  request.method = "GET";   // a GET with a body: upstream's wire
  request.target = "/edge.crt";
  request.headers = {{"NodeName", options.node.str()}};
  if (!jwt.empty()) request.headers.emplace_back("Authorization", "Bearer " + jwt);
  request.body = Bytes(*csr);
  auto where = options;
  fetch(runtime, where, std::move(request), std::move(tls),
        [runtime, options = std::move(options), ca_pem = std::move(ca_pem), key, done = std::move(done)](Result<net::HttpResponse> response) mutable {
          if (!response) return done(response.error().in("join"));
          if (response->status != 200) {
            auto reason = std::string(response->body.view().substr(0, kMaxReasonBytes));
            reason = reason.substr(0, reason.find('\n'));
            if (!base::is_utf8(reason)) reason = "(no text)";
            auto code = response->status == 401 ? Errc::kUnauthenticated
                        : response->status == 409 ? Errc::kAlreadyExists : Errc::kUnavailable;
            return done(base::error(code, "join: the cloud refused ({}): {}", response->status, reason));
          }
          auto credentials = check(options, ca_pem, pki::pem("CERTIFICATE", response->body.view()), pki::pem("EC PRIVATE KEY", key),
                                   runtime.clock().unix_ms() / 1000);
          if (!credentials) return done(credentials.error().in("join"));
          credentials->fresh = true;
          const std::pair<const std::string*, const std::string*> files[] = {{&options.ca_file, &credentials->ca_pem},
                                                                             {&options.private_key_file, &credentials->private_key_pem},
                                                                             {&options.certificate_file, &credentials->certificate_pem}};
          for (const auto& [path, text] : files)
            if (auto written = write_file(*path, *text); !written) return done(written.error().in("join"));
          done(std::move(credentials));
        });
}

}  // namespace

Result<Credentials> load_credentials(const JoinOptions& options, std::int64_t now_unix_s) {
  auto certificate = read_file(options.certificate_file);
  if (!certificate) return certificate.error();
  auto key = read_file(options.private_key_file);
  if (!key) return key.error();
  auto ca = read_file(options.ca_file);
  if (!ca) return ca.error();
  return check(options, *ca, *certificate, *key, now_unix_s);
}

void join(const Runtime& runtime, JoinOptions options, Done done) {
  if (options.token.empty()) return done(base::error(Errc::kUnauthenticated, "join: no certificate and no token; print one with `cloudcore token`"));
  auto token = pki::split_token(options.token);
  if (!token) return done(Error{Errc::kInvalidArgument, "join: " + token.error().message});
  net::HttpRequest request;
  request.method = "GET";
  request.target = "/ca.crt";
  net::TlsConfig unverified;
  unverified.verify_peer = net::TlsConfig::Peer::kNone;   // the token's hash is the check
  auto where = options;
  fetch(runtime, where, std::move(request), std::move(unverified),
        [runtime, options = std::move(options), token = *token, done = std::move(done)](Result<net::HttpResponse> response) mutable {
          if (!response) return done(response.error().in("join"));
          if (response->status != 200) return done(base::error(Errc::kUnavailable, "join: GET /ca.crt answered {}", response->status));
          if (pki::sha256_hex(response->body.view()) != token.ca_sha256_hex)
            return done(base::error(Errc::kUnauthenticated, "join: the token is for another cloud: its CA hash differs from {}:{}'s",
                                    options.server.host, options.server.port));
          auto ca_pem = pki::pem("CERTIFICATE", response->body.view());
          net::TlsConfig tls;
          tls.ca_pem = ca_pem;
          certificate(runtime, std::move(options), std::move(ca_pem), token.jwt, std::move(tls), std::move(done));
        });
}

void rotate(const Runtime& runtime, JoinOptions options, Credentials current, Done done) {
  net::TlsConfig tls;
  tls.ca_pem = current.ca_pem;
  tls.certificate_pem = current.certificate_pem;
  tls.private_key_pem = current.private_key_pem;
  certificate(runtime, std::move(options), current.ca_pem, {}, std::move(tls), std::move(done));
}

}  // namespace kubeedge::edge
