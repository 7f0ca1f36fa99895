// What a cloudcore makes and keeps in a cluster (hub-protocol 3.3), on a scripted API.
#include <optional>

#include "../cloud_edgecontroller/scripted_api.h"
#include "base/text.h"
#include "cloud/cluster/cluster.h"

using namespace kubeedge;
using namespace kubeedge::cloud;
using cloud_test::ScriptedApi;
using nlohmann::json;

namespace {

struct Lab {
  asio::io_context loop;
  Runtime runtime{loop.get_executor(), stderr_logger(LogLevel::kError)};
  ScriptedApi api{loop};
  std::optional<Result<ClusterCredentials>> told;

  std::unique_ptr<Cluster> cluster(ClusterOptions options = {}) { return std::make_unique<Cluster>(runtime, api, std::move(options)); }
  Result<ClusterCredentials> start(Cluster& cluster, std::chrono::milliseconds patience = std::chrono::milliseconds{3000}) {
    told.reset();
    cluster.start([this](Result<ClusterCredentials> result) { told = std::move(result); });
    return wait(patience);
  }
  Result<ClusterCredentials> wait(std::chrono::milliseconds patience = std::chrono::milliseconds{3000}) {
    const auto end = std::chrono::steady_clock::now() + patience;
    loop.restart();
    while (!told && std::chrono::steady_clock::now() < end) {
      loop.run_one_for(std::chrono::milliseconds{20});
      loop.restart();
    }
    if (!told) return Error{Errc::kTimeout, "nothing was told"};
    return *told;
  }
  std::string datum(const std::string& secret, const std::string& key) const {
    const json* found = api.find("secrets", "kubeedge", secret);
    REQUIRE(found != nullptr);
    CHECK((*found)["type"] == "Opaque");
    return base::from_base64((*found)["data"][key].get<std::string>()).value_or("?");
  }
};

}  // namespace

TEST_CASE("a fresh cluster: namespace and the three secrets, as upstream and keadm read them") {
  Lab lab;
  const auto cluster = lab.cluster({{"192.0.2.7", "cloud.example"}, {"kubeedge.example"}, {}, {}, 12 * 3600});
  const auto made = lab.start(*cluster);
  REQUIRE(made.ok());
  REQUIRE(lab.api.find("namespaces", "", "kubeedge") != nullptr);
  CHECK(lab.datum("casecret", "cadata") == made->ca.certificate_der);
  CHECK(lab.datum("casecret", "cakeydata") == made->ca.key_sec1_der);
  CHECK(lab.datum("cloudcoresecret", "cloudcoredata") == made->server.certificate_der);
  CHECK(lab.datum("cloudcoresecret", "cloudcorekeydata") == made->server.key_sec1_der);
  const auto info = pki::parse_certificate(made->server.certificate_der);
  REQUIRE(info.ok());
  CHECK(pki::covers(info->sans, {{"cloud.example", "kubeedge.example"}, {"192.0.2.7", "127.0.0.1"}}));
  CHECK(pki::issued_by(made->ca.certificate_der, made->server.certificate_der));
  const std::string token = lab.datum("tokensecret", "tokendata");
  CHECK(token == made->token);
  const auto parts = pki::split_token(token);
  REQUIRE(parts.ok());
  CHECK(parts->ca_sha256_hex == pki::sha256_hex(made->ca.certificate_der));
  const std::int64_t now = lab.runtime.clock().unix_ms() / 1000;
  CHECK(pki::verify_jwt(parts->jwt, made->ca.key_sec1_der, now).ok());
  CHECK(parts->expires_unix_s > now + 23 * 3600);
}

TEST_CASE("a restart keeps CA and server certificate; another host's names are added, none are lost") {
  Lab lab;
  const auto first = lab.start(*lab.cluster({{"192.0.2.7"}, {}, {}, {}, 3600}));
  REQUIRE(first.ok());
  const auto again = lab.start(*lab.cluster({{"192.0.2.7"}, {}, {}, {}, 3600}));
  REQUIRE(again.ok());
  CHECK(again->ca.certificate_der == first->ca.certificate_der);
  CHECK(again->server.certificate_der == first->server.certificate_der);
  const auto other = lab.start(*lab.cluster({{"192.0.2.8"}, {}, {}, {}, 3600}));
  REQUIRE(other.ok());
  CHECK(other->ca.certificate_der == first->ca.certificate_der);
  const auto info = pki::parse_certificate(other->server.certificate_der);
  REQUIRE(info.ok());
  CHECK(pki::covers(info->sans, {{}, {"192.0.2.7", "192.0.2.8"}}));
  // Now it covers both: neither makes it anew.
  CHECK(lab.start(*lab.cluster({{"192.0.2.7"}, {}, {}, {}, 3600}))->server.certificate_der == other->server.certificate_der);
}

TEST_CASE("files win over the secrets and are written to them") {
  Lab lab;
  REQUIRE(lab.start(*lab.cluster()).ok());
  const auto ca = pki::new_ca(lab.runtime.clock().unix_ms() / 1000);
  REQUIRE(ca.ok());
  ClusterOptions options;
  options.ca = *ca;
  const auto made = lab.start(*lab.cluster(options));
  REQUIRE(made.ok());
  CHECK(lab.datum("casecret", "cadata") == ca->certificate_der);
  CHECK(pki::issued_by(ca->certificate_der, made->server.certificate_der));   // the old one was another CA's
}

TEST_CASE("two cloudcores start at once: the first CA is the CA") {
  Lab lab;
  const auto theirs = lab.start(*lab.cluster());
  REQUIRE(theirs.ok());
  lab.api.failures["get secrets"].push_back(ScriptedApi::error(404, "NotFound", "not there yet"));
  const auto ours = lab.start(*lab.cluster());
  REQUIRE(ours.ok());
  CHECK(ours->ca.certificate_der == theirs->ca.certificate_der);
}

TEST_CASE("the API away, throttling or in trouble is waited for; a refusal and a missing CRD are not") {
  Lab lab;
  auto& lists = lab.api.failures["list devices"];
  lists.push_back(ScriptedApi::error(0, "", "127.0.0.1:6443: Connection refused"));
  lists.push_back(ScriptedApi::error(429, "TooManyRequests", "slower"));
  CHECK(lab.start(*lab.cluster()).ok());

  lab.api.failures["list objectsyncs"].push_back(ScriptedApi::error(404, "", "HTTP 404: 404 page not found"));
  auto refused = lab.start(*lab.cluster());
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message == "kube-apiserver: it serves no objectsyncs.reliablesyncs.kubeedge.io v1alpha1: install cloudcore's CRDs (kubectl apply -f deploy/crds)");

  lab.api.failures["get secrets"].push_back(ScriptedApi::error(403, "Forbidden", "secrets \"casecret\" is forbidden"));
  refused = lab.start(*lab.cluster());
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Errc::kPermissionDenied);
  CHECK(refused.error().message == "kube-apiserver: secret kubeedge/casecret: secrets \"casecret\" is forbidden");
}

TEST_CASE("a damaged CA secret is an error that names it, never a new CA") {
  Lab lab;
  REQUIRE(lab.start(*lab.cluster()).ok());
  json secret = *lab.api.find("secrets", "kubeedge", "casecret");
  const json whole = secret;
  secret["data"]["cadata"] = "QUFB";
  lab.api.put("secrets", secret);
  CHECK(lab.start(*lab.cluster()).error().message.starts_with("secret kubeedge/casecret: cadata: "));
  secret = whole;
  secret["data"]["cakeydata"] = base::base64(pki::new_key_sec1_der());
  lab.api.put("secrets", secret);
  CHECK(lab.start(*lab.cluster()).error().message == "secret kubeedge/casecret: cakeydata is not the key of cadata");
  secret["data"] = nullptr;
  lab.api.put("secrets", secret);
  CHECK_FALSE(lab.start(*lab.cluster()).ok());
}

TEST_CASE("cloudcore token: one try, of the CA that is there") {
  Lab lab;
  auto cluster = lab.cluster();
  const auto ask = [&] {
    lab.told.reset();
    cluster->new_token([&](Result<ClusterCredentials> result) { lab.told = std::move(result); });
    return lab.wait();
  };
  CHECK(ask().error().message.find("no cloudcore was started") != std::string::npos);
  const auto made = lab.start(*lab.cluster());
  REQUIRE(made.ok());
  cluster = lab.cluster();
  const auto token = ask();
  REQUIRE(token.ok());
  CHECK(lab.datum("tokensecret", "tokendata") == token->token);
  cluster = lab.cluster();
  lab.api.failures["get secrets"].push_back(ScriptedApi::error(0, "", "127.0.0.1:6443: Connection refused"));
  CHECK(ask().error().message == "kube-apiserver: secret kubeedge/casecret: 127.0.0.1:6443: Connection refused");
}
