#include "cloud/standalone/bootstrap.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "net/addresses.h"
#include "runtime/files.h"

namespace kubeedge::cloud {
namespace {

using runtime::read_text_file;
using runtime::write_secret_file;

constexpr std::int64_t kAdminValidSeconds = 3650LL * 24 * 3600;
constexpr const char* kKeyLabel = "EC PRIVATE KEY";

Result<void> make_directory(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) ::mkdir(path.substr(0, at).c_str(), 0755);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::error(Errc::kIo, "data_dir {}: {}", path, std::strerror(errno));
  return {};
}

pki::Sans wanted_sans(const std::vector<std::string>& advertise, const std::vector<std::string>& dns_names) {
  pki::Sans sans;
  for (const std::string& address : advertise) (net::is_ip(address) ? sans.ips : sans.dns).push_back(address);
  for (std::string& address : net::host_addresses())
    if (std::find(sans.ips.begin(), sans.ips.end(), address) == sans.ips.end()) sans.ips.push_back(std::move(address));
  if (std::find(sans.ips.begin(), sans.ips.end(), "127.0.0.1") == sans.ips.end()) sans.ips.emplace_back("127.0.0.1");
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  for (const std::string& name : {std::string("localhost"), std::string(host), std::string("kubernetes"), std::string("kubernetes.default.svc")})
    if (!name.empty()) sans.dns.push_back(name);
  for (const std::string& name : dns_names)
    if (!name.empty()) sans.dns.push_back(name);
  return sans;
}

Result<pki::KeyPair> read_pair(const std::string& certificate, const std::string& key) {
  Result<std::string> certificate_text = read_text_file(certificate);
  if (!certificate_text) return std::move(certificate_text).error();
  Result<std::string> key_text = read_text_file(key);
  if (!key_text) return std::move(key_text).error();
  Result<pki::KeyPair> pair = pki::pair_from_pem(*certificate_text, *key_text);
  if (!pair) return pair.error().in(certificate + ", " + key);
  return pair;
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
    keep = info && info->not_after > now_unix_s + 30 * 86400 && pki::covers(info->sans, sans);
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
