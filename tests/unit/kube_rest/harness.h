// An API server core on a storage in memory, driven like kubectl would.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kube/rest/api_server.h"
#include "kube/rest/memory_storage.h"

namespace rest_test {

using nlohmann::json;

class FixedClock final : public kubeedge::Clock {
 public:
  std::int64_t now_ms = 1'700'000'000'000;
  std::int64_t unix_ms() const override { return now_ms; }
  kubeedge::Milliseconds steady() const override { return kubeedge::Milliseconds(now_ms); }
};

struct Answer final : kubeedge::kube::ApiResponder {
  int status = 0;
  std::string type;
  kubeedge::Bytes body;
  bool streaming = false, ended = false;
  std::vector<json> events;
  kubeedge::unique_function<void()> gone;

  void reply(int code, std::string content_type, kubeedge::Bytes text) override {
    status = code;
    type = std::move(content_type);
    body = std::move(text);
  }
  void begin_stream(std::string content_type) override {
    streaming = true;
    type = std::move(content_type);
  }
  void stream(kubeedge::Bytes line) override { events.push_back(json::parse(line.view())); }
  void end_stream() override { ended = true; }
  void on_closed(kubeedge::unique_function<void()> f) override { gone = std::move(f); }
  json parsed() const { return json::parse(body.view()); }
};

struct Harness {
  kubeedge::kube::MemoryStorage storage;
  FixedClock clock;
  int serial = 0;
  bool allow = true;
  std::string asked;   // what the authorizer was asked last
  std::optional<kubeedge::kube::rest::Failure> admits;   // what the last word on a write is
  std::vector<std::string> audit;
  std::string user_agent;
  std::optional<kubeedge::kube::UserInfo> as;            // who the next request wants to be
  std::unique_ptr<kubeedge::kube::ApiServer> server;

  enum class Content { kNamespaces, kNothing };
  explicit Harness(Content content = Content::kNamespaces) {
    start();
    if (content == Content::kNothing) return;
    for (const char* ns : {"default", "kube-system"}) {
      send("POST", "/api/v1/namespaces", json{{"metadata", {{"name", ns}}}});
      send("POST", std::string("/api/v1/namespaces/") + ns + "/serviceaccounts", json{{"metadata", {{"name", "default"}}}});
    }
  }
  void start(kubeedge::kube::ApiServerOptions options = {}) {
    kubeedge::kube::ApiServerHooks hooks;
    hooks.authorize = [this](const kubeedge::kube::UserInfo&, const kubeedge::kube::Attributes& wanted) {
      asked = wanted.verb + " " + wanted.resource + "/" + wanted.subresource + " " + wanted.ns + "/" + wanted.name + wanted.path;
      // Everybody may ask for himself.
      return kubeedge::kube::Verdict{allow || wanted.resource.starts_with("self"), "the test says so"};
    };
    hooks.rules_of = [](const kubeedge::kube::UserInfo& user, const std::string& ns) { return json{{"incomplete", false}, {"evaluationError", user.name + " in " + ns}}; };
    hooks.admit = [this](const kubeedge::kube::UserInfo&, const kubeedge::kube::Attributes&, const json&, const json&) { return admits; };
    hooks.audit = [this](const kubeedge::kube::UserInfo& user, const kubeedge::kube::Attributes& wanted, const std::string& reason) {
      audit.push_back(user.name + " " + wanted.verb + " " + wanted.resource + wanted.path + " " + wanted.name + ": " + reason);
    };
    hooks.issue_token = [](const std::string& ns, const std::string& account, const kubeedge::Bytes&, const kubeedge::Bytes&) -> kubeedge::Result<kubeedge::Bytes> {
      return kubeedge::Bytes(R"({"kind":"TokenRequest","status":{"token":")" + ns + "." + account + R"("}})");
    };
    hooks.review_token = [](const std::string& token, const std::vector<std::string>&) -> kubeedge::Result<kubeedge::kube::TokenOwner> {
      if (token != "good") return kubeedge::Error{kubeedge::Errc::kUnauthenticated, "the token's signature is wrong"};
      return kubeedge::kube::TokenOwner{{"system:serviceaccount:default:app", {"system:authenticated"}}, "u-1", {"vault"}};
    };
    hooks.new_uid = [this] { return "uid-" + std::to_string(++serial); };
    hooks.random_suffix = [this] { return "abcd" + std::to_string(++serial % 10); };
    server = std::make_unique<kubeedge::kube::ApiServer>(storage, clock, options, std::move(hooks));
  }
  std::shared_ptr<Answer> raw(const std::string& method, const std::string& path_and_query, std::string body = "", std::string content_type = "",
                              std::string accept = "application/json") {
    kubeedge::kube::ApiRequest request;
    request.method = method;
    const std::size_t mark = path_and_query.find('?');
    request.path = path_and_query.substr(0, mark);
    if (mark != std::string::npos) request.query = path_and_query.substr(mark + 1);
    request.accept = std::move(accept);
    request.content_type = std::move(content_type);
    request.body = kubeedge::Bytes(std::move(body));
    request.user = {"tester", {"system:masters"}};
    request.as = as;
    request.user_agent = user_agent;
    auto answer = std::make_shared<Answer>();
    server->handle(std::move(request), answer);
    return answer;
  }
  std::shared_ptr<Answer> send(const std::string& method, const std::string& path, const json& body) { return raw(method, path, body.dump(), "application/json"); }
  std::shared_ptr<Answer> get(const std::string& path) { return raw("GET", path); }
  std::shared_ptr<Answer> patch(const std::string& path, const char* kind, const char* text) {
    return raw("PATCH", path, text, std::string("application/") + kind + "-patch+json");
  }
};

inline const json kPod = json::parse(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"app":"x"}},
  "spec":{"containers":[{"name":"c","image":"busybox:1"}]}})");
inline constexpr const char* kPods = "/api/v1/namespaces/default/pods";
inline constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
inline constexpr const char* kDevices = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices";

}  // namespace rest_test
