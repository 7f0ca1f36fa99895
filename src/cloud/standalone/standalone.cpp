#include "cloud/standalone/standalone.h"

#include "base/text.h"
#include "cloud/standalone/authorizer.h"
#include "cloud/standalone/binder.h"
#include "cloud/standalone/cluster_roles.h"
#include "cloud/standalone/front_end.h"
#include "cloud/standalone/garbage_collector.h"
#include "cloud/standalone/json_at.h"
#include "cloud/standalone/node_lifecycle.h"
#include "cloud/standalone/service_account_tokens.h"
#include "cloud/standalone/sqlite_storage.h"
#include "cloud/standalone/workload_controllers.h"
#include "kube/client/informer.h"
#include "kube/client/local_client.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

const kube::Resource kNamespaces{"", "v1", "namespaces"};
const kube::Resource kServiceAccounts{"", "v1", "serviceaccounts"};
const kube::Resource kConfigMaps{"", "v1", "configmaps"};
const kube::Resource kSecrets{"", "v1", "secrets"};

std::string random_suffix() {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";  // Kubernetes' own: no vowels, no look-alikes
  std::string out;
  const std::string random = base::random_hex(5);
  for (std::size_t i = 0; i < 5; ++i) {
    const auto value = std::stoul(random.substr(2 * i, 2), nullptr, 16);
    out += kAlphabet[value % kAlphabet.size()];
  }
  return out;
}

}  // namespace

struct Standalone::Impl : std::enable_shared_from_this<Standalone::Impl> {
  Impl(const Runtime& r, StandaloneOptions o) : runtime(r), options(std::move(o)), token_timer(r) {}

  Runtime runtime;
  StandaloneOptions options;
  runtime::Timer token_timer;
  Credentials credentials;
  std::unique_ptr<SqliteStorage> storage;
  std::unique_ptr<ServiceAccountTokens> tokens;
  std::unique_ptr<Authorizer> authorizer;
  std::unique_ptr<kube::ApiServer> server;
  std::unique_ptr<kube::LocalKubeClient> client;
  std::unique_ptr<FrontEnd> front_end;
  std::unique_ptr<kube::Informer> namespaces;
  std::unique_ptr<ClusterRoles> roles;
  std::unique_ptr<Binder> binder;
  std::unique_ptr<NodeLifecycle> lifecycle;
  std::unique_ptr<WorkloadControllers> workloads;
  std::unique_ptr<GarbageCollector> collector;

  Result<void> open() {
    const std::int64_t now = runtime.clock().unix_ms() / 1000;
    Result<Credentials> made = load_or_create_credentials(options.data_dir, options.advertise, options.dns_names, now);
    if (!made) return std::move(made).error();
    credentials = std::move(*made);
    Result<std::unique_ptr<SqliteStorage>> opened = SqliteStorage::open(runtime, options.data_dir + "/cloudcore.db");
    if (!opened) return std::move(opened).error();
    storage = std::move(*opened);
    tokens = std::make_unique<ServiceAccountTokens>(*storage, runtime.clock(), credentials.service_account_key_der);
    kube::ApiServerHooks hooks;
    authorizer = std::make_unique<Authorizer>(*storage);
    hooks.authorize = [this](const kube::UserInfo& user, const kube::Attributes& wanted) { return authorizer->authorize(user, wanted); };
    hooks.rules_of = [this](const kube::UserInfo& user, const std::string& ns) { return authorizer->rules_of(user, ns); };
    hooks.admit = [this](const kube::UserInfo& user, const kube::Attributes& wanted, const json& before, const json& after) {
      return authorizer->admit(user, wanted, before, after);
    };
    hooks.audit = [this](const kube::UserInfo& user, const kube::Attributes& wanted, const std::string& reason) {
      base::log(runtime.log(), LogLevel::kWarning, "audit", "{}", refusal_line(user, wanted, reason));
    };
    hooks.issue_token = [this](const std::string& ns, const std::string& account, const Bytes& object, const Bytes& request) {
      return tokens->issue(ns, account, object, request);
    };
    hooks.review_token = [this](const std::string& token, const std::vector<std::string>& audiences) {
      return audiences.empty() ? tokens->check(token) : tokens->check(token, audiences);
    };
    hooks.new_uid = [] { return base::uuid4(); };
    hooks.random_suffix = random_suffix;
    server = std::make_unique<kube::ApiServer>(*storage, runtime.clock(), kube::ApiServerOptions{}, std::move(hooks));
    client = std::make_unique<kube::LocalKubeClient>(runtime, *server, kube::UserInfo{"system:cloudcore", {"system:masters"}});
    Result<std::unique_ptr<FrontEnd>> listening =
        FrontEnd::listen(runtime, *server, *tokens, {options.api_address, options.api_port, credentials.ca.certificate_der, credentials.server});
    if (!listening) return std::move(listening).error();
    front_end = std::move(*listening);
    const bool any = options.api_address == "0.0.0.0" || options.api_address == "::";
    const std::string host = any ? "127.0.0.1" : options.api_address;
    const std::string url = fmt::format("https://{}:{}", host.find(':') == std::string::npos ? host : "[" + host + "]", front_end->port());
    return write_admin_kubeconfig(options.data_dir, credentials, url, now);
  }

  // A create that may find its object there already.
  void ensure(const kube::Resource& resource, const std::string& ns, const json& object) {
    const std::string what = resource.plural + " " + json_text(object, {"metadata", "name"});
    client->create(resource, ns, "", "", json_bytes(object), [weak = weak_from_this(), what](kube::ApiResult<Bytes> result) {
      const auto self = weak.lock();
      if (self && !result && result.error().code != 409)
        base::log(self->runtime.log(), LogLevel::kError, "bootstrap", "{}: {}", what, result.error().message);
    });
  }

  void ensure_secret(const std::string& name, const json& data) {
    const json secret = {{"apiVersion", "v1"}, {"kind", "Secret"}, {"type", "Opaque"}, {"metadata", {{"name", name}, {"namespace", "kubeedge"}}}, {"data", data}};
    client->create(kSecrets, "kubeedge", "", "", json_bytes(secret), [weak = weak_from_this(), name, data](kube::ApiResult<Bytes> made) {
      const auto self = weak.lock();
      if (!self || made) return;
      if (made.error().code != 409) return base::log(self->runtime.log(), LogLevel::kError, "bootstrap", "secret {}: {}", name, made.error().message);
      self->client->patch(kSecrets, "kubeedge", name, "", kube::PatchType::kMerge, json_bytes({{"data", data}}), [weak, name](kube::ApiResult<Bytes> result) {
        const auto again = weak.lock();
        if (again && !result) base::log(again->runtime.log(), LogLevel::kError, "bootstrap", "secret {}: {}", name, result.error().message);
      });
    });
  }

  void renew_token() {
    const Result<std::string> token = write_join_token(options.data_dir, credentials.ca, runtime.clock().unix_ms() / 1000);
    if (!token) {
      base::log(runtime.log(), LogLevel::kError, "bootstrap", "{}", token.error().message);
    } else {
      ensure_secret("tokensecret", {{"tokendata", base::base64(*token)}});
    }
    token_timer.start(std::chrono::seconds(kTokenRefreshSeconds), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->renew_token();
    });
  }

  void start() {
    for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease", "kubeedge"})
      ensure(kNamespaces, "", {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}});
    const std::weak_ptr<Impl> weak = weak_from_this();
    namespaces = std::make_unique<kube::Informer>(runtime, *client, kNamespaces, kube::ListOptions{}, kube::Informer::Handlers{
        [weak](Bytes object) { if (auto self = weak.lock()) self->furnish(base::parse_json(object)); }, nullptr, nullptr});
    namespaces->start();
    roles = std::make_unique<ClusterRoles>(runtime, *client);
    roles->start();
    binder = std::make_unique<Binder>(runtime, *client);
    binder->start();
    lifecycle = std::make_unique<NodeLifecycle>(runtime, *client);
    lifecycle->start();
    workloads = std::make_unique<WorkloadControllers>(runtime, *client);
    workloads->start();
    collector = std::make_unique<GarbageCollector>(runtime, *client);
    collector->start();
  }

  // Every namespace, now and later: a default ServiceAccount and the CA that its pods trust.
  void furnish(const json& object) {
    if (!json_at(object, {"metadata", "deletionTimestamp"}).is_null()) return;
    const std::string ns = json_text(object, {"metadata", "name"});
    ensure(kServiceAccounts, ns, {{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", {{"name", "default"}, {"namespace", ns}}}});
    ensure(kConfigMaps, ns, {{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "kube-root-ca.crt"}, {"namespace", ns}}},
                             {"data", {{"ca.crt", pki::pem("CERTIFICATE", credentials.ca.certificate_der)}}}});
    if (ns != "kubeedge") return;
    ensure_secret("casecret", {{"cadata", base::base64(credentials.ca.certificate_der)}, {"cakeydata", base::base64(credentials.ca.key_sec1_der)}});
    ensure_secret("cloudcoresecret",
                  {{"cloudcoredata", base::base64(credentials.server.certificate_der)}, {"cloudcorekeydata", base::base64(credentials.server.key_sec1_der)}});
    renew_token();
  }
};

Standalone::Standalone(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Standalone::~Standalone() {
  impl_->token_timer.cancel();
  impl_->collector.reset();
  impl_->workloads.reset();
  impl_->lifecycle.reset();
  impl_->binder.reset();
  impl_->roles.reset();
  impl_->namespaces.reset();
  impl_->front_end.reset();
  impl_->client.reset();
  impl_->server.reset();
  impl_->authorizer.reset();
  impl_->storage.reset();
}

Result<std::unique_ptr<Standalone>> Standalone::create(const Runtime& runtime, StandaloneOptions options) {
  auto impl = std::make_shared<Impl>(runtime, std::move(options));
  if (Result<void> opened = impl->open(); !opened) return std::move(opened).error();
  return std::unique_ptr<Standalone>(new Standalone(std::move(impl)));
}

void Standalone::start() {
  // The join line is printed as soon as we run: the token must be there by then.
  if (const Result<std::string> token = write_join_token(impl_->options.data_dir, impl_->credentials.ca, impl_->runtime.clock().unix_ms() / 1000); !token)
    base::log(impl_->runtime.log(), LogLevel::kError, "bootstrap", "{}", token.error().message);
  impl_->start();
}

kube::KubeClient& Standalone::client() { return *impl_->client; }
const Credentials& Standalone::credentials() const { return impl_->credentials; }
std::uint16_t Standalone::api_port() const { return impl_->front_end->port(); }
void Standalone::set_streams(NodeStreams* streams) { impl_->front_end->set_streams(streams); }
std::string Standalone::storage_failure() const { return impl_->storage->failure(); }
void Standalone::collect(base::MetricsPage& page) const { impl_->storage->collect(page); }

}  // namespace kubeedge::cloud
