// The whole cloud over real sockets and TLS: join, connect, an object down, its acknowledgement, requests up.
#include <doctest/doctest.h>

#include <map>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <nlohmann/json.hpp>

#include "cloud/cloud.h"
#include "net/websocket.h"
#include "wire/message_codec.h"

using namespace kubeedge;
using nlohmann::json;

namespace {

class FakeKube final : public kube::KubeClient {
 public:
  explicit FakeKube(asio::io_context& l) : loop(l) {}
  struct Call { std::string verb, plural, ns, name, sub; json body; };
  struct Quiet final : kube::Watch {};
  asio::io_context& loop;
  std::map<std::string, std::vector<Bytes>> lists;
  std::vector<Call> calls;

  template <class T>
  void answer(Done<T> done, kube::ApiResult<T> result) {
    auto held = std::make_shared<Done<T>>(std::move(done));
    asio::post(loop, [held, result] { (*held)(result); });
  }
  void get(const kube::Resource& r, const std::string& ns, const std::string& n, Done<Bytes> done) override {
    for (const auto& raw : lists[r.plural]) {
      const json object = json::parse(raw.view());
      if (object["metadata"]["name"] == n && object["metadata"].value("namespace", "") == ns) return answer<Bytes>(std::move(done), raw);
    }
    answer<Bytes>(std::move(done), kube::ApiError{404, "NotFound", n + " not found", {}});
  }
  void list(const kube::Resource& r, kube::ListOptions, Done<kube::ObjectList> done) override {
    answer<kube::ObjectList>(std::move(done), kube::ObjectList{"1", lists[r.plural]});
  }
  std::unique_ptr<kube::Watch> watch(const kube::Resource&, kube::ListOptions, const std::string&, unique_function<void(kube::WatchEvent)>,
                                     unique_function<void(kube::ApiError)>) override {
    return std::make_unique<Quiet>();
  }
  void record(const char* verb, const kube::Resource& r, const std::string& ns, const std::string& n, const std::string& sub, const Bytes& body, Done<Bytes> done) {
    calls.push_back({verb, r.plural, ns, n, sub, json::parse(body.view(), nullptr, false)});
    answer<Bytes>(std::move(done), body);
  }
  void create(const kube::Resource& r, const std::string& s, const std::string& n, const std::string& u, Bytes b, Done<Bytes> d) override { record("create", r, s, n, u, b, std::move(d)); }
  void update(const kube::Resource& r, const std::string& s, const std::string& n, const std::string& u, Bytes b, Done<Bytes> d) override { record("update", r, s, n, u, b, std::move(d)); }
  void patch(const kube::Resource& r, const std::string& s, const std::string& n, const std::string& u, kube::PatchType, Bytes b, Done<Bytes> d) override { record("patch", r, s, n, u, b, std::move(d)); }
  void remove(const kube::Resource& r, const std::string& s, const std::string& n, Bytes b, Done<Bytes> d) override { record("remove", r, s, n, "", b, std::move(d)); }
  const Call* find(const std::string& verb, const std::string& plural) const {
    for (const auto& call : calls) if (call.verb == verb && call.plural == plural) return &call;
    return nullptr;
  }
};

Bytes object(const char* kind, const char* name, json spec, const char* version = "200") {
  return Bytes(json{{"apiVersion", "v1"}, {"kind", kind},
                    {"metadata", {{"name", name}, {"namespace", "default"}, {"uid", std::string("uid-") + name}, {"resourceVersion", version}, {"managedFields", json::array()}}},
                    {"spec", std::move(spec)}}.dump());
}

struct World {
  asio::io_context io;
  Runtime runtime{io.get_executor(), stderr_logger(LogLevel::kError)};
  FakeKube kube{io};
  pki::KeyPair ca = *pki::new_ca(now());
  pki::KeyPair server = *pki::new_server_certificate(ca, {{"localhost"}, {"127.0.0.1"}}, now());
  std::unique_ptr<cloud::Cloud> cloud;

  ~World() {
    bool stopped = false;
    if (cloud) cloud->stop([&] { stopped = true; });
    while (cloud && !stopped) io.run_one();
    io.restart();
    io.run_for(Milliseconds{50});   // the sockets' last words
  }
  std::int64_t now() const { return system_clock().unix_ms() / 1000; }
  void start(std::size_t node_limit = 1000) {
    cloud::CloudOptions options;
    options.ca = ca;
    options.server = server;
    options.hub_address = options.join_address = "127.0.0.1";
    options.hub_port = options.join_port = options.stream_port = 0;
    options.node_limit = node_limit;
    auto made = cloud::Cloud::create(runtime, kube, std::move(options));
    REQUIRE(made);
    cloud = std::move(*made);
    REQUIRE(cloud->start());
  }
  void until(const std::function<bool()>& done) {
    const auto end = runtime.clock().steady() + Milliseconds{10'000};
    while (!done() && runtime.clock().steady() < end) io.run_one_for(Milliseconds{20});
    REQUIRE(done());
    io.restart();
  }
  pki::KeyPair edge(const std::string& node) {
    pki::KeyPair pair;
    pair.key_sec1_der = pki::new_key_sec1_der();
    pair.certificate_der = *pki::sign_csr(ca, *pki::new_csr_der(pair.key_sec1_der, node), {2}, now(), 3600);
    return pair;
  }
  net::DialOptions tls(const pki::KeyPair* client) {
    net::DialOptions dial;
    net::TlsConfig config;
    config.ca_pem = pki::pem("CERTIFICATE", ca.certificate_der);
    if (client) {
      config.certificate_pem = pki::pem("CERTIFICATE", client->certificate_der);
      config.private_key_pem = pki::pem("EC PRIVATE KEY", client->key_sec1_der);
    }
    dial.tls = config;
    return dial;
  }
  Result<std::unique_ptr<net::WebSocket>> connect(const std::string& node, const pki::KeyPair& pair) {
    std::optional<Result<std::unique_ptr<net::WebSocket>>> got;
    net::websocket_dial(runtime, {"127.0.0.1", cloud->hub_port()}, "/e632/" + node + "/events",
                        {{"node_id", node}, {"project_id", "e632"}, {"ConnectionUse", "msg"}}, tls(&pair), {},
                        [&](Result<std::unique_ptr<net::WebSocket>> r) { got.emplace(std::move(r)); });
    until([&] { return got.has_value(); });
    return std::move(*got);
  }
  net::HttpResponse join(net::HttpRequest request, const pki::KeyPair* client = nullptr) {
    std::optional<Result<net::HttpResponse>> got;
    request.method = "GET";
    net::HttpClientOptions options;
    options.dial = tls(client);
    auto call = net::http_fetch(runtime, {"127.0.0.1", cloud->join_port()}, std::move(request), options, [&](Result<net::HttpResponse> r) { got.emplace(std::move(r)); });
    until([&] { return got.has_value(); });
    REQUIRE_MESSAGE(*got, (got->ok() ? "" : got->error().message));
    return std::move(**got);
  }
};

Message up(const std::string& op, const std::string& resource, Bytes content = "null") {
  Message m;
  m.id = wire::new_message_id();
  m.source = "edged";
  m.group = "meta";
  m.operation = op;
  m.resource = resource;
  m.content = std::move(content);
  return m;
}

}  // namespace

TEST_CASE("an edge joins, connects, gets its pod, acknowledges it, and touches only what is its own") {
  World w;
  w.kube.lists["pods"] = {object("Pod", "web", {{"nodeName", "edge-1"}, {"volumes", json::array({{{"configMap", {{"name", "cfg"}}}}})}}),
                          object("Pod", "foreign", {{"nodeName", "edge-2"}})};
  w.kube.lists["configmaps"] = {object("ConfigMap", "cfg", json::object(), "150")};
  w.start();

  auto pair = w.edge("edge-1");
  auto other = w.connect("edge-2", pair);
  REQUIRE_FALSE(other);
  CHECK(other.error().message.find("403") != std::string::npos);
  CHECK(other.error().message.find("system:node:edge-1") != std::string::npos);

  auto opened = w.connect("edge-1", pair);
  REQUIRE_MESSAGE(opened, (opened.ok() ? "" : opened.error().message));
  auto socket = std::move(*opened);
  std::vector<Message> down;
  bool closed = false;
  socket->start({[&](Bytes text) { down.push_back(*wire::decode(std::move(text))); }, [&](Error) { closed = true; }});
  const auto answer = [&](const Message& request) -> const Message& {
    socket->send(Bytes(wire::encode(request)));
    const Message* found = nullptr;
    w.until([&] {
      for (const auto& m : down) if (m.parent_id == request.id) found = &m;
      return found != nullptr;
    });
    return *found;
  };

  w.until([&] { return !down.empty(); });
  CHECK(down[0].resource == "default/pod/web");
  CHECK(down[0].operation == "insert");
  CHECK(down[0].resource_version == "200");
  CHECK(down[0].content.view().find("managedFields") == std::string_view::npos);
  socket->send(Bytes(wire::encode(wire::ack(down[0], 1))));
  w.until([&] { return w.kube.find("patch", "objectsyncs") != nullptr; });
  CHECK(w.kube.find("create", "objectsyncs")->name == "edge-1.uid-web");
  CHECK(w.kube.find("create", "objectsyncs")->body["spec"] == json{{"objectAPIVersion", "v1"}, {"objectKind", "Pod"}, {"objectName", "web"}});
  CHECK(w.kube.find("patch", "objectsyncs")->body == json{{"status", {{"objectResourceVersion", "200"}}}});

  // Its own: answered. Another's: Forbidden. Nothing reaches the API then.
  CHECK(json::parse(answer(up("query", "default/configmap/cfg")).content.view())["kind"] == "ConfigMap");
  const json lease = json::parse(answer(up("query", "kube-node-lease/lease/edge-1")).content.view());
  CHECK(lease["Object"].is_null());
  CHECK(lease["Err"]["ErrStatus"]["reason"] == "NotFound");
  CHECK(json::parse(answer(up("insert", "null/node/edge-1", R"({"metadata":{"name":"edge-1"}})")).content.view())["Err"].is_null());
  const std::size_t calls = w.kube.calls.size();
  for (const auto& request : {up("query", "default/secret/s"), up("update", "kube-node-lease/lease/edge-2", "{}"), up("patch", "default/podpatch/foreign", "\"{}\""),
                              up("delete", "default/pod/foreign", "{}"), up("query", "default/serviceaccounttoken/other", "{}"), up("patch", "null/nodepatch/edge-2", "\"{}\"")}) {
    const json refused = json::parse(answer(request).content.view());
    const json& status = refused.contains("Err") ? refused["Err"]["ErrStatus"] : refused["ErrStatus"];
    CHECK_MESSAGE(status["reason"] == "Forbidden", request.resource);
    CHECK(status["code"] == 403);
  }
  for (std::size_t i = calls; i < w.kube.calls.size(); ++i) CHECK(w.kube.calls[i].plural == "nodes");   // the hub's own annotations
  CHECK(answer(up("delete", "default/pod/web", R"({"gracePeriodSeconds":0,"preconditions":{"uid":"uid-web"}})")).content.view() == "\"OK\"");
  CHECK(json::parse(answer(up("query", "k8s/ca.crt")).content.view()).get<std::string>().starts_with("-----BEGIN CERTIFICATE"));

  // The newest session wins and stays.
  auto again = w.connect("edge-1", pair);
  REQUIRE(again);
  bool second_closed = false;
  (*again)->start({[](Bytes) {}, [&](Error) { second_closed = true; }});
  w.until([&] { return closed; });
  CHECK(w.cloud->connected_nodes() == 1);
  CHECK_FALSE(second_closed);

  // A token join under the name of a live connection needs an explicit takeover.
  const std::string key = pki::new_key_sec1_der();
  net::HttpRequest request;
  request.target = "/edge.crt";
  request.headers = {{"NodeName", "edge-1"}, {"Authorization", "Bearer " + pki::split_token(pki::new_token(w.ca, w.now() + 3600))->jwt}};
  request.body = *pki::new_csr_der(key, "edge-1");
  CHECK(w.join(request).status == 409);
  request.headers.emplace_back("X-Takeover", "true");
  const auto taken = w.join(request);
  CHECK(taken.status == 200);
  CHECK(pki::parse_certificate(taken.body.view())->common_name == "system:node:edge-1");
  w.until([&] { return second_closed; });
  CHECK(w.kube.calls.back().verb == "patch");   // what the node holds is unknown now
  CHECK(w.kube.calls.back().body == json{{"status", {{"objectResourceVersion", "0"}}}});
}

TEST_CASE("the join server's answers") {
  World w;
  w.start();
  net::HttpRequest request;
  request.target = "/ca.crt";
  CHECK(w.join(request).body.view() == w.ca.certificate_der);
  request.target = "/node/ghost";
  CHECK(w.join(request).status == 404);
  request.target = "/healthz";
  CHECK(w.join(request).status == 404);
  request.target = "/edge.crt";
  request.headers = {{"NodeName", "edge-1"}};
  request.body = *pki::new_csr_der(pki::new_key_sec1_der(), "edge-1");
  CHECK(w.join(request).status == 401);
  auto pair = w.edge("edge-1");
  CHECK(w.join(request, &pair).status == 200);          // rotation
  auto other = w.edge("edge-2");
  CHECK(w.join(request, &other).status == 401);
  request.headers.emplace_back("Authorization", "Bearer " + pki::split_token(pki::new_token(w.ca, w.now() - 5))->jwt);
  const auto expired = w.join(request);
  CHECK(expired.status == 401);
  CHECK(expired.body.view().find("expired") != std::string_view::npos);
  request.body = *pki::new_csr_der(pki::new_key_sec1_der(), "edge-9");
  CHECK(w.join(request, &pair).status == 403);          // a request for another name
}

TEST_CASE("the node limit is refused with a reason") {
  World w;
  w.start(1);
  auto first = w.connect("edge-1", w.edge("edge-1"));
  REQUIRE(first);
  auto second = w.connect("edge-2", w.edge("edge-2"));
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find("node limit") != std::string::npos);
}
