#include "cloud/cluster/cluster.h"

#include <algorithm>

#include <unistd.h>

#include "base/json.h"
#include "base/text.h"
#include "net/addresses.h"
#include "runtime/files.h"
#include "runtime/timer.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;

constexpr const char* kNamespace = "kubeedge";
constexpr Milliseconds kFirstBackoff{500};
constexpr Milliseconds kLastBackoff{10'000};
constexpr Milliseconds kRenewRetry{60'000};
constexpr std::int64_t kRenewBefore = 30 * 86'400;   // seconds of a server certificate's life
const kube::Resource kNamespaces{"", "v1", "namespaces"};
const kube::Resource kSecrets{"", "v1", "secrets"};
const kube::Resource kCrds[] = {{"devices.kubeedge.io", "v1beta1", "devices"},
                                {"devices.kubeedge.io", "v1beta1", "devicemodels"},
                                {"devices.kubeedge.io", "v1beta1", "devicestatuses"},
                                {"reliablesyncs.kubeedge.io", "v1alpha1", "objectsyncs"},
                                {"reliablesyncs.kubeedge.io", "v1alpha1", "clusterobjectsyncs"}};

// A secret and the two keys under which it holds a certificate and its key, both DER.
struct Place {
  const char* secret;
  const char* certificate;
  const char* key;
};
constexpr Place kCa{"casecret", "cadata", "cakeydata"};
constexpr Place kServer{"cloudcoresecret", "cloudcoredata", "cloudcorekeydata"};

Bytes bytes(const json& value) { return Bytes(base::dump_json(value)); }

std::string datum(const json& secret, const char* key) {
  if (!secret.is_object() || !secret.contains("data") || !secret["data"].is_object()) return "";
  const json& value = secret["data"].value(key, json());
  return value.is_string() ? base::from_base64(value.get<std::string>()).value_or("") : "";
}

Result<pki::KeyPair> pair_of(const Bytes& object, const Place& place) {
  const json secret = base::parse_json(object);
  pki::KeyPair pair{datum(secret, place.certificate), datum(secret, place.key)};
  if (const auto info = pki::parse_certificate(pair.certificate_der); !info)
    return base::error(Errc::kInvalidArgument, "secret kubeedge/{}: {}: {}", place.secret, place.certificate, info.error().message);
  if (!pki::key_matches(pair.certificate_der, pair.key_sec1_der))
    return base::error(Errc::kInvalidArgument, "secret kubeedge/{}: {} is not the key of {}", place.secret, place.key, place.certificate);
  return pair;
}

json pair_data(const pki::KeyPair& pair, const Place& place) {
  return {{place.certificate, base::base64(pair.certificate_der)}, {place.key, base::base64(pair.key_sec1_der)}};
}

pki::Sans wanted_sans(const ClusterOptions& options) {
  pki::Sans sans;
  const auto add = [](std::vector<std::string>& to, const std::string& one) {
    if (!one.empty() && std::find(to.begin(), to.end(), one) == to.end()) to.push_back(one);
  };
  for (const std::string& address : options.advertise) add(net::is_ip(address) ? sans.ips : sans.dns, address);
  for (const std::string& address : net::host_addresses()) add(sans.ips, address);
  add(sans.ips, "127.0.0.1");
  for (const std::string& name : options.dns_names) add(sans.dns, name);
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  add(sans.dns, "localhost");
  add(sans.dns, host);
  return sans;
}

}  // namespace

Result<std::optional<pki::KeyPair>> pair_of_files(const std::string& certificate_file, const std::string& key_file) {
  const Result<std::string> certificate = runtime::read_text_file(certificate_file);
  if (!certificate && certificate.error().code != Errc::kNotFound) return certificate.error();
  const Result<std::string> key = runtime::read_text_file(key_file);
  if (!key && key.error().code != Errc::kNotFound) return key.error();
  if (certificate.ok() != key.ok())
    return base::error(Errc::kInvalidArgument, "{} is there without {}", key ? key_file : certificate_file, key ? certificate_file : key_file);
  if (!key) return std::optional<pki::KeyPair>();
  Result<pki::KeyPair> pair = pki::pair_from_pem(*certificate, *key);
  if (!pair) return pair.error().in(certificate_file + ", " + key_file);
  return std::optional<pki::KeyPair>(std::move(*pair));
}

struct Cluster::Impl : std::enable_shared_from_this<Cluster::Impl> {
  using Done = unique_function<void(Result<ClusterCredentials>)>;
  Impl(const Runtime& r, kube::KubeClient& c, ClusterOptions o)
      : runtime(r), client(c), options(std::move(o)), retry_timer(r), token_timer(r), sans(wanted_sans(options)) {}

  Runtime runtime;
  kube::KubeClient& client;
  ClusterOptions options;
  runtime::Timer retry_timer, token_timer;
  pki::Sans sans;
  ClusterCredentials made;
  Done done;
  Milliseconds backoff = kFirstBackoff;
  std::string last_error;
  bool once = false;      // `cloudcore token`: an error is told at once
  bool started = false;   // what is left is the renewal of the token

  std::int64_t now() const { return runtime.clock().unix_ms() / 1000; }

  // Runs `next` with the answer while this object lives.
  template <class Next>
  kube::KubeClient::Done<Bytes> then(Next next) {
    return [weak = weak_from_this(), next = std::move(next)](kube::ApiResult<Bytes> result) mutable {
      if (const auto self = weak.lock()) next(*self, std::move(result));
    };
  }

  void finish(Result<ClusterCredentials> result) {
    if (!done) return;
    Done call = std::move(done);
    done = nullptr;
    call(std::move(result));
  }

  // Every step may be made again from the first: what is there is kept.
  void failed(const std::string& what, const kube::ApiError& error) {
    if (started) {
      base::log(runtime.log(), LogLevel::kWarning, "cluster", "{}: {}; trying on", what, error.message);
      return renew_token_in(kRenewRetry);
    }
    if (once || !kube::transient(error))
      return finish(base::error(error.code == 401 ? Errc::kUnauthenticated : error.code == 403 ? Errc::kPermissionDenied : error.code == 0 ? Errc::kUnavailable : Errc::kInternal,
                                "kube-apiserver: {}: {}", what, error.message));
    if (error.message != last_error) base::log(runtime.log(), LogLevel::kWarning, "cluster", "{}: {}; trying on", what, error.message);
    last_error = error.message;
    retry_timer.start(std::max(backoff, error.retry_after), [this] { find_crds(0); });
    backoff = std::min(backoff * 2, kLastBackoff);
  }

  void find_crds(std::size_t index) {
    if (index == std::size(kCrds)) return make_namespace();
    const kube::Resource& one = kCrds[index];
    kube::ListOptions list;
    list.field_selector = "metadata.name=none";   // we ask whether it is served, not for its objects
    client.list(one, std::move(list), [weak = weak_from_this(), index, &one](kube::ApiResult<kube::ObjectList> result) {
      const auto self = weak.lock();
      if (!self) return;
      if (result) return self->find_crds(index + 1);
      const std::string name = one.plural + "." + one.group;
      if (result.error().code == 404)
        return self->finish(base::error(Errc::kNotFound, "kube-apiserver: it serves no {} {}: install cloudcore's CRDs (kubectl apply -f deploy/crds)", name, one.version));
      self->failed(name, result.error());
    });
  }

  void make_namespace() {
    client.get(kNamespaces, "", kNamespace, then([](Impl& self, kube::ApiResult<Bytes> got) {
      if (got) return self.find_ca();
      if (got.error().code != 404) return self.failed("namespace kubeedge", got.error());
      const json object = {{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", kNamespace}}}};
      self.client.create(kNamespaces, "", kNamespace, "", bytes(object), self.then([](Impl& me, kube::ApiResult<Bytes> result) {
        if (!result && result.error().code != 409) return me.failed("namespace kubeedge", result.error());
        me.find_ca();
      }));
    }));
  }

  static json secret_object(const char* name, const json& data) {
    return {{"apiVersion", "v1"}, {"kind", "Secret"}, {"type", "Opaque"}, {"metadata", {{"name", name}, {"namespace", kNamespace}}}, {"data", data}};
  }

  // Makes the secret or changes its data.
  void write_secret(const char* name, const json& data, unique_function<void(kube::ApiResult<Bytes>)> wrote) {
    client.create(kSecrets, kNamespace, name, "", bytes(secret_object(name, data)), then([name, data, wrote = std::move(wrote)](Impl& self, kube::ApiResult<Bytes> result) mutable {
      if (result || result.error().code != 409) return wrote(std::move(result));
      self.client.patch(kSecrets, kNamespace, name, "", kube::PatchType::kMerge, bytes({{"data", data}}), std::move(wrote));
    }));
  }

  void store_pair(const Place& place, const pki::KeyPair& pair, void (Impl::*next)()) {
    write_secret(place.secret, pair_data(pair, place), then([&place, next](Impl& self, kube::ApiResult<Bytes> result) {
      if (!result) return self.failed(std::string("secret kubeedge/") + place.secret, result.error());
      (self.*next)();
    }));
  }

  void find_ca() {
    if (options.ca) {
      made.ca = *options.ca;
      return store_pair(kCa, made.ca, &Impl::find_server);
    }
    client.get(kSecrets, kNamespace, kCa.secret, then([](Impl& self, kube::ApiResult<Bytes> got) {
      if (!got) return got.error().code == 404 ? self.make_ca() : self.failed("secret kubeedge/casecret", got.error());
      auto pair = pair_of(*got, kCa);
      if (!pair) return self.finish(pair.error());
      self.made.ca = std::move(*pair);
      self.once ? self.make_token() : self.find_server();
    }));
  }

  void make_ca() {
    if (once) return finish(Error{Errc::kNotFound, "secret kubeedge/casecret is not there yet: no cloudcore was started on this cluster"});
    auto ca = pki::new_ca(now());
    if (!ca) return finish(ca.error());
    made.ca = std::move(*ca);
    client.create(kSecrets, kNamespace, kCa.secret, "", bytes(secret_object(kCa.secret, pair_data(made.ca, kCa))), then([](Impl& self, kube::ApiResult<Bytes> result) {
      // Another cloudcore was first: its CA is the CA.
      if (!result) return result.error().code == 409 ? self.find_ca() : self.failed("secret kubeedge/casecret", result.error());
      self.find_server();
    }));
  }

  void find_server() {
    if (options.server) {
      made.server = *options.server;
      return store_pair(kServer, made.server, &Impl::make_token);
    }
    client.get(kSecrets, kNamespace, kServer.secret, then([](Impl& self, kube::ApiResult<Bytes> got) {
      if (!got) return got.error().code == 404 ? self.make_server({}) : self.failed("secret kubeedge/cloudcoresecret", got.error());
      auto pair = pair_of(*got, kServer);
      if (!pair) return self.finish(pair.error());
      self.judge_server(std::move(*pair));
    }));
  }

  // The certificate is shared by all cloudcores of a cluster: a new one keeps the names of the old, or they would renew
  // it in turn for ever.
  void judge_server(pki::KeyPair pair) {
    const auto info = pki::parse_certificate(pair.certificate_der);
    const bool ours = pki::issued_by(made.ca.certificate_der, pair.certificate_der);
    if (info && ours && info->not_after > now() + kRenewBefore && pki::covers(info->sans, sans)) {
      made.server = std::move(pair);
      return make_token();
    }
    make_server(info ? info->sans : pki::Sans{});
  }

  void make_server(const pki::Sans& old) {
    pki::Sans names = sans;
    for (const std::string& ip : old.ips)
      if (std::find(names.ips.begin(), names.ips.end(), ip) == names.ips.end()) names.ips.push_back(ip);
    for (const std::string& dns : old.dns)
      if (!dns.empty() && std::find(names.dns.begin(), names.dns.end(), dns) == names.dns.end()) names.dns.push_back(dns);
    auto server = pki::new_server_certificate(made.ca, names, now());
    if (!server) return finish(server.error());
    made.server = std::move(*server);
    store_pair(kServer, made.server, &Impl::make_token);
  }

  void make_token() {
    made.token = pki::new_token(made.ca, now() + 2 * options.token_refresh_s);
    made.addresses = sans.ips;
    write_secret("tokensecret", {{"tokendata", base::base64(made.token)}}, then([](Impl& self, kube::ApiResult<Bytes> result) {
      if (!result) return self.failed("secret kubeedge/tokensecret", result.error());
      self.started = true;
      if (!self.once) self.renew_token_in(std::chrono::seconds(self.options.token_refresh_s));
      self.finish(self.made);
    }));
  }

  void renew_token_in(Milliseconds wait) {
    token_timer.start(wait, [this] { make_token(); });
  }
};

Cluster::Cluster(const Runtime& runtime, kube::KubeClient& client, ClusterOptions options)
    : impl_(std::make_shared<Impl>(runtime, client, std::move(options))) {}

Cluster::~Cluster() {
  impl_->retry_timer.cancel();
  impl_->token_timer.cancel();
}

void Cluster::start(unique_function<void(Result<ClusterCredentials>)> done) {
  impl_->done = std::move(done);
  impl_->find_crds(0);
}

void Cluster::new_token(unique_function<void(Result<ClusterCredentials>)> done) {
  impl_->done = std::move(done);
  impl_->once = true;
  impl_->find_ca();
}

}  // namespace kubeedge::cloud
