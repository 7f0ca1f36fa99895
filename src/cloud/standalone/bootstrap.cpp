#include "cloud/standalone/bootstrap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace kubeedge::cloud {
namespace {

constexpr std::int64_t kAdminValidSeconds = 3650LL * 24 * 3600;
constexpr const char* kKeyLabel = "EC PRIVATE KEY";

Result<void> make_directory(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) ::mkdir(path.substr(0, at).c_str(), 0755);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::error(Errc::kIo, "data_dir {}: {}", path, std::strerror(errno));
  return {};
}

// Addresses that an edge or a kubectl may dial: all of the host's but link-local ones (they need a scope).
void add_host_addresses(std::vector<std::string>& out) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return;
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    char text[INET6_ADDRSTRLEN] = {};
    if (at->ifa_addr->sa_family == AF_INET) {
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, text, sizeof text);
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr);
      if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) continue;
      ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    } else {
      continue;
    }
    if (std::find(out.begin(), out.end(), text) == out.end()) out.emplace_back(text);
  }
  ::freeifaddrs(all);
}

bool is_ip(const std::string& text) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, text.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, text.c_str(), bytes) == 1;
}

pki::Sans wanted_sans(const std::vector<std::string>& advertise, const std::vector<std::string>& dns_names) {
  pki::Sans sans;
  for (const std::string& address : advertise) (is_ip(address) ? sans.ips : sans.dns).push_back(address);
  add_host_addresses(sans.ips);
  if (std::find(sans.ips.begin(), sans.ips.end(), "127.0.0.1") == sans.ips.end()) sans.ips.emplace_back("127.0.0.1");
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  for (const std::string& name : {std::string("localhost"), std::string(host), std::string("kubernetes"), std::string("kubernetes.default.svc")})
    if (!name.empty()) sans.dns.push_back(name);
  for (const std::string& name : dns_names)
    if (!name.empty()) sans.dns.push_back(name);
  return sans;
}

bool covers(const std::vector<std::string>& have, const std::vector<std::string>& want) {
  return std::all_of(want.begin(), want.end(), [&](const std::string& one) { return std::find(have.begin(), have.end(), one) != have.end(); });
}

Result<pki::KeyPair> read_pair(const std::string& certificate, const std::string& key) {
  Result<std::string> certificate_text = read_text_file(certificate);
  if (!certificate_text) return std::move(certificate_text).error();
  Result<std::string> key_text = read_text_file(key);
  if (!key_text) return std::move(key_text).error();
  Result<std::string> certificate_der = pki::der_from_pem(*certificate_text, "CERTIFICATE");
  if (!certificate_der) return certificate_der.error().in(certificate);
  Result<std::string> key_der = pki::der_from_pem(*key_text, kKeyLabel);
  if (!key_der) return key_der.error().in(key);
  if (!pki::key_matches(*certificate_der, *key_der)) return base::error(Errc::kInvalidArgument, "{} is not the key of {}", key, certificate);
  return pki::KeyPair{std::move(*certificate_der), std::move(*key_der)};
}

Result<void> write_pair(const std::string& certificate, const std::string& key, const pki::KeyPair& pair) {
  if (Result<void> wrote = write_secret_file(key, pki::pem(kKeyLabel, pair.key_sec1_der)); !wrote) return wrote;
  return write_secret_file(certificate, pki::pem("CERTIFICATE", pair.certificate_der));
}

Result<std::string> load_or_create_key(const std::string& path) {
  Result<std::string> text = read_text_file(path);
  if (text) return pki::der_from_pem(*text, kKeyLabel);
  if (text.error().code != Errc::kNotFound) return text;
  std::string der = pki::new_key_sec1_der();
  if (Result<void> wrote = write_secret_file(path, pki::pem(kKeyLabel, der)); !wrote) return std::move(wrote).error();
  return der;
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::error(errno == ENOENT ? Errc::kNotFound : Errc::kIo, "{}: {}", path, std::strerror(errno));
  std::string text;
  char buffer[16384];
  ssize_t count = 0;
  while ((count = ::read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<std::size_t>(count));
  const int reason = errno;
  ::close(fd);
  if (count < 0) return base::error(Errc::kIo, "{}: {}", path, std::strerror(reason));
  return text;
}

Result<void> write_secret_file(const std::string& path, std::string_view text) {
  const std::string beside = path + ".new";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return base::error(Errc::kIo, "{}: {}", beside, std::strerror(errno));
  bool good = ::fchmod(fd, 0600) == 0;
  while (good && !text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    good = count > 0;
    if (good) text.remove_prefix(static_cast<std::size_t>(count));
  }
  good = good && ::fsync(fd) == 0;
  const int reason = errno;
  ::close(fd);
  if (!good) return base::error(Errc::kIo, "{}: {}", beside, std::strerror(reason));
  if (::rename(beside.c_str(), path.c_str()) != 0) return base::error(Errc::kIo, "{}: {}", path, std::strerror(errno));
  return {};
}

Result<pki::KeyPair> load_ca(const std::string& data_dir) { return read_pair(data_dir + "/pki/ca.crt", data_dir + "/pki/ca.key"); }

Result<Credentials> load_or_create_credentials(const std::string& data_dir, const std::vector<std::string>& advertise,
                                               const std::vector<std::string>& dns_names, std::int64_t now_unix_s) {
  if (Result<void> made = make_directory(data_dir); !made) return std::move(made).error();
  const std::string folder = data_dir + "/pki";
  if (Result<void> made = make_directory(folder); !made) return std::move(made).error();
  Credentials out;
  Result<pki::KeyPair> ca = load_ca(data_dir);
  if (!ca) {
    // Only a directory without a CA gets one: a damaged CA is not replaced behind the operator's back.
    if (ca.error().code != Errc::kNotFound || ::access((folder + "/ca.crt").c_str(), F_OK) == 0) return ca.error();
    ca = pki::new_ca(now_unix_s);
    if (!ca) return ca.error();
    if (Result<void> wrote = write_pair(folder + "/ca.crt", folder + "/ca.key", *ca); !wrote) return std::move(wrote).error();
  }
  out.ca = *ca;
  const pki::Sans sans = wanted_sans(advertise, dns_names);
  out.addresses = sans.ips;
  Result<pki::KeyPair> server = read_pair(folder + "/server.crt", folder + "/server.key");
  bool keep = server.ok();
  if (keep) {
    const Result<pki::CertificateInfo> info = pki::parse_certificate(server->certificate_der);
    keep = info && info->not_after > now_unix_s + 30 * 86400 && covers(info->sans.ips, sans.ips) && covers(info->sans.dns, sans.dns);
  }
  if (!keep) {
    server = pki::new_server_certificate(out.ca, sans, now_unix_s);
    if (!server) return server.error();
    if (Result<void> wrote = write_pair(folder + "/server.crt", folder + "/server.key", *server); !wrote) return std::move(wrote).error();
  }
  out.server = *server;
  Result<std::string> key = load_or_create_key(folder + "/sa.key");
  if (!key) return key.error();
  out.service_account_key_der = *key;
  return out;
}

Result<void> write_admin_kubeconfig(const std::string& data_dir, const Credentials& credentials, const std::string& url, std::int64_t now_unix_s) {
  const std::string path = data_dir + "/admin.kubeconfig";
  const std::string ca = base::base64(pki::pem("CERTIFICATE", credentials.ca.certificate_der));
  if (const Result<std::string> old = read_text_file(path);
      old && old->find(ca) != std::string::npos && old->find("server: " + url + "\n") != std::string::npos)
    return {};
  const Result<pki::KeyPair> admin =
      pki::new_client_certificate(credentials.ca, "kubernetes-admin", {"system:masters"}, now_unix_s, kAdminValidSeconds);
  if (!admin) return admin.error();
  const std::string text = fmt::format(
      "apiVersion: v1\nkind: Config\nclusters:\n- name: kubeedge\n  cluster:\n    server: {}\n    certificate-authority-data: {}\n"
      "users:\n- name: admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n"
      "contexts:\n- name: admin@kubeedge\n  context:\n    cluster: kubeedge\n    user: admin\ncurrent-context: admin@kubeedge\n",
      url, ca, base::base64(pki::pem("CERTIFICATE", admin->certificate_der)), base::base64(pki::pem(kKeyLabel, admin->key_sec1_der)));
  return write_secret_file(path, text);
}

Result<std::string> write_join_token(const std::string& data_dir, const pki::KeyPair& ca, std::int64_t now_unix_s) {
  std::string token = pki::new_token(ca, now_unix_s + kTokenValidSeconds);
  if (Result<void> wrote = write_secret_file(data_dir + "/join.token", token + "\n"); !wrote) return std::move(wrote).error();
  return token;
}

}  // namespace kubeedge::cloud
