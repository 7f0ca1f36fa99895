#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "base/text.h"
#include "kubeconfig.h"

using kubeedge::Errc;
using kubeedge::net::TlsConfig;

namespace {

// A folder of its own that goes with the test.
struct Folder {
  Folder() {
    char name[] = "/tmp/ke-kubeconfig.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path + "/" + name) << text;
    return path + "/" + name;
  }
  std::string path;
};

std::string kubeconfig(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n- name: other\n  context: {cluster: nowhere, user: nobody}\n"
         "- name: here\n  context: {cluster: c, user: u}\nclusters:\n- name: c\n  cluster:\n" + cluster + "users:\n- name: u\n  user:\n" + user;
}

std::string error_of(const std::string& file, const std::string& master = "") {
  const auto loaded = daemons::load_kubeconfig(file, master);
  REQUIRE_FALSE(loaded.ok());
  return loaded.error().message;
}

}  // namespace

TEST_CASE("kubeconfig: data, files beside it, token and token file, server with a path") {
  const Folder folder;
  folder.write("ca.pem", "CA");
  folder.write("token", "from-file\n");
  const auto data = daemons::load_kubeconfig(folder.write("data", kubeconfig("    server: https://10.0.0.1:6443\n    certificate-authority-data: Q0E=\n    tls-server-name: kubernetes\n",
                                                                            "    client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n")), "");
  REQUIRE(data.ok());
  CHECK(data->endpoint.host == "10.0.0.1");
  CHECK(data->endpoint.port == 6443);
  REQUIRE(data->tls);
  CHECK(data->tls->ca_pem == "CA");
  CHECK(data->tls->certificate_pem == "CERT");
  CHECK(data->tls->private_key_pem == "KEY");
  CHECK(data->tls->server_name == "kubernetes");
  CHECK(data->tls->verify_peer == TlsConfig::Peer::kRequire);

  const auto files = daemons::load_kubeconfig(folder.write("files", kubeconfig("    server: https://rancher.example/k8s/clusters/c-1/\n    certificate-authority: ca.pem\n",
                                                                              "    token: plain\n    tokenFile: token\n")), "");
  REQUIRE(files.ok());
  CHECK(files->endpoint.host == "rancher.example");
  CHECK(files->endpoint.port == 443);
  CHECK(files->path_prefix == "/k8s/clusters/c-1");
  CHECK(files->tls->ca_pem == "CA");
  CHECK(files->bearer_token == "plain");
  CHECK(files->token_file == folder.path + "/token");
}

TEST_CASE("kubeconfig: verification is off only where it says so") {
  const Folder folder;
  const auto insecure = daemons::load_kubeconfig(folder.write("k", kubeconfig("    server: https://[::1]:6443\n    insecure-skip-tls-verify: true\n", "    token: t\n")), "");
  REQUIRE(insecure.ok());
  CHECK(insecure->endpoint.host == "::1");
  CHECK(insecure->tls->verify_peer == TlsConfig::Peer::kNone);
  CHECK(error_of(folder.write("k", kubeconfig("    server: https://a:1\n    insecure-skip-tls-verify: true\n    certificate-authority-data: Q0E=\n", "    token: t\n"))) ==
        folder.path + "/k:13: clusters[c].cluster.insecure-skip-tls-verify: not together with certificate-authority");
  CHECK(error_of(folder.write("k", kubeconfig("    server: https://a:1\n    insecure-skip-tls-verify: maybe\n", "    token: t\n"))) ==
        folder.path + "/k:13: clusters[c].cluster.insecure-skip-tls-verify: expected true or false");
}

TEST_CASE("kubeconfig: master takes the server's place, and plain HTTP has no TLS") {
  const Folder folder;
  const std::string file = folder.write("k", kubeconfig("    server: https://a:1\n    certificate-authority-data: Q0E=\n", "    token: t\n"));
  const auto other = daemons::load_kubeconfig(file, "https://b:2");
  REQUIRE(other.ok());
  CHECK(other->endpoint.host == "b");
  CHECK(other->tls->ca_pem == "CA");
  const auto plain = daemons::api_options("", "http://127.0.0.1:8080");
  REQUIRE(plain.ok());
  CHECK_FALSE(plain->tls);
  CHECK(plain->endpoint.port == 8080);
  CHECK(error_of(file, "ftp://b") == "kubeAPIConfig.master: \"ftp://b\" is no URL of a kube-apiserver: neither http nor https");
}

TEST_CASE("kubeconfig: errors name file, line and key") {
  const Folder folder;
  const std::string path = folder.path + "/k";
  const std::string cluster = "    server: https://a:1\n    certificate-authority-data: Q0E=\n";
  CHECK(error_of(folder.write("k", "a: [\n")).starts_with(path + ":"));
  CHECK(error_of(folder.write("k", "- a\n")) == path + ":1: expected a kubeconfig, a map");
  CHECK(error_of(folder.write("k", "kind: Config\n")) == path + ":1: current-context: it is missing or empty");
  CHECK(error_of(folder.write("k", "current-context: x\ncontexts: []\n")) == path + ":2: contexts: there is no entry named \"x\"");
  CHECK(error_of(folder.write("k", kubeconfig("    server: https://a:1\n    certificate-authority-data: '*'\n", "    token: t\n"))) ==
        path + ":13: clusters[c].cluster.certificate-authority-data: it is not base64");
  CHECK(error_of(folder.write("k", kubeconfig("    server: https://a:1\n    certificate-authority: nowhere.pem\n", "    token: t\n"))) ==
        path + ":13: clusters[c].cluster.certificate-authority: " + folder.path + "/nowhere.pem: No such file or directory");
  CHECK(error_of(folder.write("k", kubeconfig("    server: https://a:99999\n", "    token: t\n"))).starts_with(path + ":12: clusters[c].cluster.server: \"https://a:99999\" is no URL"));
  CHECK(error_of(folder.write("k", kubeconfig(cluster, "    client-certificate-data: Q0E=\n"))) == path + ":17: users[u].user: client-certificate and client-key go together");
  CHECK(error_of(folder.write("k", kubeconfig(cluster, "    token: [a]\n"))) == path + ":17: users[u].user.token: expected text");
  CHECK(error_of(folder.write("k", kubeconfig(cluster, "    exec: {command: aws}\n"))) ==
        path + ":17: users[u].user.exec: not supported; use a client certificate, token or tokenFile");
  CHECK(error_of(folder.path + "/absent") == "kubeconfig: " + folder.path + "/absent: No such file or directory");
}

TEST_CASE("in cluster: the pod's service account, or an error that says what to give") {
  const Folder folder;
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  CHECK(daemons::api_options("", "").error().message.find("--kube-config") != std::string::npos);
  ::setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  CHECK(daemons::in_cluster(folder.path).error().message == "the pod's service account: " + folder.path + "/ca.crt: No such file or directory");
  folder.write("ca.crt", "CA");
  folder.write("token", "t");
  const auto pod = daemons::in_cluster(folder.path);
  REQUIRE(pod.ok());
  CHECK(pod->endpoint.host == "10.96.0.1");
  CHECK(pod->token_file == folder.path + "/token");
  CHECK(pod->tls->ca_pem == "CA");
  ::unsetenv("KUBERNETES_SERVICE_HOST");
}
