#include "kubeconfig.h"

#include <cstdlib>

#include <yaml-cpp/yaml.h>

#include "base/text.h"
#include "runtime/files.h"

namespace daemons {
namespace {

namespace base = kubeedge::base;
namespace runtime = kubeedge::runtime;
using kubeedge::Errc;
using kubeedge::Error;
using kubeedge::Result;
using kubeedge::kube::RemoteOptions;
using kubeedge::net::TlsConfig;

// The system's roots, for a kubeconfig that names no CA (client-go asks Go's list of the same places).
constexpr const char* kSystemRoots[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

Result<std::string> system_roots() {
  for (const char* path : kSystemRoots)
    if (auto text = runtime::read_text_file(path)) return text;
  return Error{Errc::kNotFound, "no certificate-authority is named and this system has no ca-certificates"};
}

// scheme://host[:port][/path] into the options; the port is the scheme's where it is left out.
Result<void> take_url(std::string_view url, RemoteOptions& options) {
  const auto bad = [&](const char* why) { return base::error(Errc::kInvalidArgument, "\"{}\" is no URL of a kube-apiserver: {}", url, why); };
  std::string_view rest = url;
  bool tls = true;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    tls = false;
  } else if (rest.find("://") != std::string_view::npos) {
    return bad("neither http nor https");
  }
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    options.path_prefix = std::string(rest.substr(slash));
    while (options.path_prefix.ends_with('/')) options.path_prefix.pop_back();
    rest = rest.substr(0, slash);
  }
  if (rest.find_first_of("?#@ ") != std::string_view::npos) return bad("only scheme, host, port and path may be there");
  const auto bracket = rest.rfind(']');
  const auto colon = rest.rfind(':');
  if (rest.empty()) return bad("no host");
  std::string text(rest);
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket)) text += tls ? ":443" : ":80";
  auto endpoint = kubeedge::net::parse_endpoint(text);
  if (!endpoint) return bad(endpoint.error().message.c_str());
  options.endpoint = std::move(*endpoint);
  if (tls) {
    options.tls = TlsConfig{};
  } else {
    options.tls.reset();
  }
  return {};
}

class Kubeconfig {
 public:
  Kubeconfig(std::string file, YAML::Node root) : file_(std::move(file)), root_(std::move(root)) {}

  Result<RemoteOptions> options(const std::string& master) {
    auto current = text(root_, "", "current-context");
    if (!current) return std::move(current).error();
    if (current->empty()) return fail(root_, "current-context", "it is missing or empty");
    auto context = entry("contexts", "context", *current);
    if (!context) return std::move(context).error();
    auto cluster_name = text(*context, "contexts", "cluster");
    if (!cluster_name) return std::move(cluster_name).error();
    auto user_name = text(*context, "contexts", "user");
    if (!user_name) return std::move(user_name).error();
    RemoteOptions out;
    if (auto done = take_cluster(*cluster_name, master, out); !done) return std::move(done).error();
    if (user_name->empty()) return out;   // an API that asks nobody who he is
    if (auto done = take_user(*user_name, out); !done) return std::move(done).error();
    return out;
  }

 private:
  Error fail(const YAML::Node& at, const std::string& key, const std::string& why) const {
    const int line = at.IsDefined() ? at.Mark().line + 1 : 1;
    return base::error(Errc::kInvalidArgument, "{}:{}: {}: {}", file_, line > 0 ? line : 1, key, why);
  }

  static std::string join(const std::string& where, const char* key) { return where.empty() ? key : where + "." + key; }

  // A text, "" where the key is absent or null.
  Result<std::string> text(const YAML::Node& map, const std::string& where, const char* key) const {
    const YAML::Node value = map[key];
    if (!value.IsDefined() || value.IsNull()) return std::string();
    if (!value.IsScalar()) return fail(value, join(where, key), "expected text");
    return value.Scalar();
  }

  // The map under `inner` of the list entry with this name.
  Result<YAML::Node> entry(const char* list, const char* inner, const std::string& name) const {
    const YAML::Node all = root_[list];
    if (all.IsDefined() && !all.IsNull() && !all.IsSequence()) return fail(all, list, "expected a list");
    for (const auto& one : all) {
      if (!one.IsMap()) return fail(one, list, "expected a map");
      if (!one["name"].IsDefined() || !one["name"].IsScalar() || one["name"].Scalar() != name) continue;
      const YAML::Node value = one[inner];
      if (!value.IsDefined() || !value.IsMap()) return fail(one, std::string(list) + "[" + name + "]." + inner, "it is missing or no map");
      return value;
    }
    return fail(all, list, "there is no entry named \"" + name + "\"");
  }

  // KEY-data (base64) or the file that KEY names; "" where neither is there.
  Result<std::string> datum(const YAML::Node& map, const std::string& where, const std::string& key) const {
    const std::string data_key = key + "-data";
    auto data = text(map, where, data_key.c_str());
    if (!data) return data;
    if (!data->empty()) {
      auto plain = base::from_base64(*data);
      if (!plain) return fail(map[data_key], join(where, data_key.c_str()), "it is not base64");
      return std::move(*plain);
    }
    auto path = text(map, where, key.c_str());
    if (!path || path->empty()) return path;
    auto content = runtime::read_text_file(beside(*path));
    if (!content) return fail(map[key], join(where, key.c_str()), content.error().message);
    return content;
  }

  std::string beside(const std::string& path) const {
    const auto slash = file_.rfind('/');
    return path.starts_with('/') || slash == std::string::npos ? path : file_.substr(0, slash + 1) + path;
  }

  Result<bool> flag(const YAML::Node& map, const std::string& where, const char* key) const {
    const YAML::Node value = map[key];
    if (!value.IsDefined() || value.IsNull()) return false;
    bool on = false;
    if (!value.IsScalar() || !YAML::convert<bool>::decode(value, on)) return fail(value, join(where, key), "expected true or false");
    return on;
  }

  Result<void> take_cluster(const std::string& name, const std::string& master, RemoteOptions& out) const {
    auto cluster = entry("clusters", "cluster", name);
    if (!cluster) return std::move(cluster).error();
    const std::string where = "clusters[" + name + "].cluster";
    auto server = text(*cluster, where, "server");
    if (!server) return std::move(server).error();
    if (auto taken = take_url(master.empty() ? *server : master, out); !taken)
      return master.empty() ? fail((*cluster)["server"].IsDefined() ? (*cluster)["server"] : *cluster, where + ".server", taken.error().message) : taken.error().in("kubeAPIConfig.master");
    if ((*cluster)["proxy-url"].IsDefined()) return fail((*cluster)["proxy-url"], where + ".proxy-url", "proxies are not supported");
    if (!out.tls) return {};
    auto insecure = flag(*cluster, where, "insecure-skip-tls-verify");
    if (!insecure) return std::move(insecure).error();
    auto ca = datum(*cluster, where, "certificate-authority");
    if (!ca) return std::move(ca).error();
    auto server_name = text(*cluster, where, "tls-server-name");
    if (!server_name) return std::move(server_name).error();
    out.tls->server_name = std::move(*server_name);
    if (*insecure) {
      if (!ca->empty()) return fail((*cluster)["insecure-skip-tls-verify"], where + ".insecure-skip-tls-verify", "not together with certificate-authority");
      out.tls->verify_peer = TlsConfig::Peer::kNone;
      return {};
    }
    if (ca->empty()) {
      ca = system_roots();
      if (!ca) return fail(*cluster, where + ".certificate-authority", ca.error().message);
    }
    out.tls->ca_pem = std::move(*ca);
    return {};
  }

  Result<void> take_user(const std::string& name, RemoteOptions& out) const {
    auto user = entry("users", "user", name);
    if (!user) return std::move(user).error();
    const std::string where = "users[" + name + "].user";
    for (const char* absent : {"exec", "auth-provider", "username", "password", "as", "as-groups", "as-uid", "as-user-extra"})
      if ((*user)[absent].IsDefined() && !(*user)[absent].IsNull())
        return fail((*user)[absent], where + "." + absent, "not supported; use a client certificate, token or tokenFile");
    auto certificate = datum(*user, where, "client-certificate");
    if (!certificate) return std::move(certificate).error();
    auto key = datum(*user, where, "client-key");
    if (!key) return std::move(key).error();
    if (certificate->empty() != key->empty()) return fail(*user, where, "client-certificate and client-key go together");
    if (out.tls) {
      out.tls->certificate_pem = std::move(*certificate);
      out.tls->private_key_pem = std::move(*key);
    }
    auto token = text(*user, where, "token");
    if (!token) return std::move(token).error();
    out.bearer_token = std::move(*token);
    auto token_file = text(*user, where, "tokenFile");
    if (!token_file) return std::move(token_file).error();
    if (!token_file->empty()) {
      out.token_file = beside(*token_file);
      if (auto readable = runtime::read_text_file(out.token_file); !readable) return fail((*user)["tokenFile"], where + ".tokenFile", readable.error().message);
    }
    return {};
  }

  std::string file_;
  YAML::Node root_;
};

}  // namespace

Result<RemoteOptions> load_kubeconfig(const std::string& path, const std::string& master) {
  auto text = runtime::read_text_file(path);
  if (!text) return text.error().in("kubeconfig");
  try {
    const YAML::Node root = YAML::Load(*text);
    if (!root.IsMap()) return base::error(Errc::kInvalidArgument, "{}:1: expected a kubeconfig, a map", path);
    return Kubeconfig(path, root).options(master);
  } catch (const YAML::Exception& broken) {
    return base::error(Errc::kInvalidArgument, "{}:{}: {}", path, broken.mark.line + 1, broken.msg);
  }
}

Result<RemoteOptions> in_cluster(const std::string& account_dir) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr || *host == '\0' || *port == '\0')
    return Error{Errc::kInvalidArgument, "neither a kubeconfig nor a master URL is given and this is no pod of a cluster: use --kube-config FILE (kubeAPIConfig.kubeConfig), or --standalone"};
  const auto number = base::to_int(port);
  if (!number || *number <= 0 || *number > 65535) return base::error(Errc::kInvalidArgument, "KUBERNETES_SERVICE_PORT \"{}\" is no port", port);
  RemoteOptions out;
  out.endpoint = {host, static_cast<std::uint16_t>(*number)};
  out.tls = TlsConfig{};
  auto ca = runtime::read_text_file(account_dir + "/ca.crt");
  if (!ca) return ca.error().in("the pod's service account");
  out.tls->ca_pem = std::move(*ca);
  out.token_file = account_dir + "/token";
  if (auto token = runtime::read_text_file(out.token_file); !token) return token.error().in("the pod's service account");
  return out;
}

Result<RemoteOptions> api_options(const std::string& kubeconfig, const std::string& master) {
  if (!kubeconfig.empty()) return load_kubeconfig(kubeconfig, master);
  if (master.empty()) return in_cluster();
  RemoteOptions out;
  if (auto taken = take_url(master, out); !taken) return taken.error().in("kubeAPIConfig.master");
  if (out.tls) {
    auto roots = system_roots();
    if (!roots) return std::move(roots).error();
    out.tls->ca_pem = std::move(*roots);
  }
  return out;
}

}  // namespace daemons
