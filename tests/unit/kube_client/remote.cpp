// RemoteKubeClient against a scripted HTTP server: what it sends, and how it takes trouble. (The real thing: tests/interop/kube_apiserver.sh)
#include <doctest/doctest.h>

#include <unistd.h>

#include <asio/io_context.hpp>
#include <cstdio>
#include <deque>
#include <fstream>
#include <functional>
#include <optional>

#include "kube/client/informer.h"
#include "kube/client/remote_client.h"

using namespace kubeedge;
using namespace kubeedge::kube;

namespace {

const Resource kPods{"", "v1", "pods"};

std::string pod(const std::string& name, int version) {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"d","uid":"u-)" + name + R"(","resourceVersion":")" + std::to_string(version) + R"("}})";
}
std::string list_of(const std::string& items, const std::string& version, const std::string& more = "") {
  return R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":")" + version + R"(","continue":")" + more + R"("},"items":[)" + items + "]}";
}
std::string event(const char* type, const std::string& name, int version) { return std::string(R"({"type":")") + type + R"(","object":)" + pod(name, version) + "}\n"; }

struct Answer {
  int status = 200;
  std::string body;
  net::Headers headers;
  bool stream = false;   // a watch: the body's bytes, then it stays open
  bool hang_up = false;  // no answer: the connection is cut
};

struct Lab {
  asio::io_context loop;
  Runtime runtime{loop.get_executor(), stderr_logger(LogLevel::kError)};
  std::deque<Answer> script;
  std::vector<net::HttpRequest> asked;
  std::vector<std::shared_ptr<net::HttpResponder>> open;
  std::unique_ptr<net::HttpServer> server;
  std::uint16_t port = 0;

  Lab() { up(); }
  void up() {
    auto made = net::HttpServer::listen(runtime, {"127.0.0.1", port}, {}, {}, [this](net::HttpRequest request, std::shared_ptr<net::HttpResponder> responder) {
      asked.push_back(std::move(request));
      REQUIRE_FALSE(script.empty());
      const Answer answer = script.front();
      script.pop_front();
      if (answer.hang_up) return responder->abort();
      if (!answer.stream) return responder->reply(answer.status, answer.headers, Bytes(answer.body));
      responder->begin(answer.status, answer.headers);
      if (!answer.body.empty()) responder->chunk(Bytes(answer.body));
      open.push_back(std::move(responder));
    });
    REQUIRE(made);
    server = std::move(*made);
    port = server->local().port;
  }
  RemoteOptions options() const {
    RemoteOptions out;
    out.endpoint = {"127.0.0.1", port};
    return out;
  }
  void until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{15};
    while (!done() && std::chrono::steady_clock::now() < end) {
      loop.run_one_for(std::chrono::milliseconds{20});
      loop.restart();
    }
    REQUIRE(done());
  }
  ApiResult<Bytes> get(KubeClient& client) {
    std::optional<ApiResult<Bytes>> got;
    client.get(kPods, "d", "a", [&](ApiResult<Bytes> result) { got = std::move(result); });
    until([&] { return got.has_value(); });
    return *got;
  }
};

}  // namespace

TEST_CASE("remote: paths, prefix, token, and a list in pages") {
  Lab lab;
  RemoteOptions options = lab.options();
  options.path_prefix = "/k8s/clusters/c-1";
  options.bearer_token = "secret";
  RemoteKubeClient client(lab.runtime, options);
  lab.script = {{200, list_of(pod("a", 1), "7", "next/page"), {}}, {200, list_of(pod("b", 2), "7"), {}}};
  std::optional<ApiResult<ObjectList>> got;
  client.list(kPods, {"", "app=x", ""}, [&](ApiResult<ObjectList> result) { got = std::move(result); });
  lab.until([&] { return got.has_value(); });
  REQUIRE(*got);
  CHECK((**got).items.size() == 2);
  CHECK((**got).resource_version == "7");
  REQUIRE(lab.asked.size() == 2);
  CHECK(lab.asked[0].target == "/k8s/clusters/c-1/api/v1/pods?labelSelector=app%3Dx&limit=500");
  CHECK(lab.asked[1].target == "/k8s/clusters/c-1/api/v1/pods?labelSelector=app%3Dx&limit=500&continue=next%2Fpage");
  CHECK(net::header(lab.asked[0].headers, "Authorization") == "Bearer secret");
}

TEST_CASE("remote: a page over the limit is asked for in halves; one object over it is an error") {
  Lab lab;
  RemoteOptions options = lab.options();
  options.max_list_body = 600;
  RemoteKubeClient client(lab.runtime, options);
  const std::string large = list_of(pod(std::string(700, 'x'), 1), "7");
  const auto list = [&] {
    std::optional<ApiResult<ObjectList>> got;
    client.list(kPods, {}, [&](ApiResult<ObjectList> result) { got = std::move(result); });
    lab.until([&] { return got.has_value(); });
    return *got;
  };
  lab.script = {{200, list_of(pod("a", 1), "7", "t"), {}}, {200, large, {}}, {200, list_of(pod("b", 2), "7"), {}}};
  const auto got = list();
  REQUIRE(got);
  CHECK((*got).items.size() == 2);
  CHECK(lab.asked[1].target == "/api/v1/pods?limit=500&continue=t");
  CHECK(lab.asked[2].target == "/api/v1/pods?limit=250&continue=t");
  lab.asked.clear();
  lab.script.assign(9, Answer{200, large, {}});   // 500, 250, 125, 62, 31, 15, 7, 3, 1
  CHECK(list().error().message == "the answer's body is over 600 bytes");
  CHECK(lab.asked.size() == 9);
}

TEST_CASE("remote: 429 and 503 with Retry-After are waited out, other errors are told as the server said them") {
  Lab lab;
  RemoteKubeClient client(lab.runtime, lab.options());
  lab.script = {{429, R"({"reason":"TooManyRequests","message":"slower"})", {{"Retry-After", "1"}}}, {503, "not yet", {{"Retry-After", "1"}}}, {200, pod("a", 1), {}}};
  const auto started = std::chrono::steady_clock::now();
  CHECK(lab.get(client));
  CHECK(std::chrono::steady_clock::now() - started >= std::chrono::seconds{2});
  CHECK(lab.asked.size() == 3);

  lab.script = {{403, R"({"kind":"Status","reason":"Forbidden","message":"pods \"a\" is forbidden","code":403})", {}}};
  auto error = lab.get(client).error();
  CHECK(error.code == 403);
  CHECK(error.reason == "Forbidden");
  CHECK(error.message == "pods \"a\" is forbidden");
  lab.script = {{404, "404 page not found\n", {}}};
  CHECK(lab.get(client).error().message.starts_with("HTTP 404: 404 page not found"));
  lab.script = {{200, "<html>", {}}};
  CHECK(lab.get(client).error().message.starts_with("the API's answer is not JSON"));
  lab.script = {{0, "", {}, false, true}, {0, "", {}, false, true}};   // a read on a kept connection is tried once on a new one
  CHECK(lab.get(client).error().code == 0);
}

TEST_CASE("remote: the token's file is read again after a 401") {
  Lab lab;
  const std::string file = "/tmp/ke-token." + std::to_string(::getpid());
  std::ofstream(file) << "old\n";
  RemoteOptions options = lab.options();
  options.token_file = file;
  RemoteKubeClient client(lab.runtime, options);
  lab.script = {{200, pod("a", 1), {}}};
  CHECK(lab.get(client));
  CHECK(net::header(lab.asked.back().headers, "Authorization") == "Bearer old");
  std::ofstream(file) << "new\n";
  lab.script = {{401, R"({"reason":"Unauthorized","message":"Unauthorized"})", {}}, {200, pod("a", 1), {}}};
  CHECK(lab.get(client));
  CHECK(net::header(lab.asked.back().headers, "Authorization") == "Bearer new");
  lab.script = {{401, R"({"reason":"Unauthorized","message":"Unauthorized"})", {}}};   // the same token again: told, not tried for ever
  CHECK(lab.get(client).error().code == 401);
  std::remove(file.c_str());
}

TEST_CASE("remote: an idle connection that the server closed costs no write") {
  Lab lab;
  RemoteKubeClient client(lab.runtime, lab.options());
  lab.script = {{200, pod("a", 1), {}}};
  CHECK(lab.get(client));
  lab.server.reset();   // closes the kept connection
  lab.loop.run_for(std::chrono::milliseconds{100});
  lab.loop.restart();
  lab.up();
  lab.script = {{201, pod("a", 1), {}}};
  std::optional<ApiResult<Bytes>> made;
  client.create(kPods, "d", "a", "", Bytes(pod("a", 0)), [&](ApiResult<Bytes> result) { made = std::move(result); });
  lab.until([&] { return made.has_value(); });
  CHECK(*made);
}

TEST_CASE("informer over HTTP: goes on from its revision when the connection breaks, lists again after 410, and tells nothing twice") {
  Lab lab;
  RemoteKubeClient client(lab.runtime, lab.options());
  std::vector<std::string> told;
  const auto name = [](const Bytes& object) {
    const std::string text = object.str();
    const auto at = text.find("\"name\":\"") + 8;
    return text.substr(at, text.find('"', at) - at);
  };
  lab.script = {{200, list_of(pod("a", 1), "5"), {}}, {200, event("ADDED", "b", 6), {}, true}};
  Informer informer(lab.runtime, client, kPods, {}, {[&](Bytes object) { told.push_back("+" + name(object)); }, [&](Bytes object) { told.push_back("-" + name(object)); }, nullptr});
  informer.start();
  lab.until([&] { return told.size() == 2; });
  CHECK(lab.asked[1].target.find("resourceVersion=5") != std::string::npos);
  CHECK(lab.asked[1].target.find("allowWatchBookmarks=true&timeoutSeconds=") != std::string::npos);

  // The API server is killed: the watch goes on where it was, no list.
  lab.script = {{0, "", {}, false, true}, {200, event("MODIFIED", "b", 8) + event("BOOKMARK", "", 12), {}, true}};
  lab.open.back()->abort();
  lab.open.clear();
  lab.until([&] { return told.size() == 3; });
  CHECK(told.back() == "+b");
  REQUIRE(lab.asked.size() == 4);
  CHECK(lab.asked[3].target.find("watch=true") != std::string::npos);
  CHECK(lab.asked[3].target.find("resourceVersion=6") != std::string::npos);

  // Its revision is gone: the list is read, and only what changed is told.
  lab.script = {{200, list_of(pod("b", 8) + "," + pod("c", 20), "21"), {}}, {200, "", {}, true}};
  lab.open.back()->chunk(Bytes(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}})" "\n"));
  lab.until([&] { return told.size() == 5; });
  CHECK(told == std::vector<std::string>{"+a", "+b", "+b", "+c", "-a"});
  lab.until([&] { return lab.asked.size() == 6; });
  CHECK(lab.asked[5].target.find("resourceVersion=21") != std::string::npos);
}

TEST_CASE("informer over HTTP: an API server that stays away is tried again and again, one that refuses is asked again") {
  Lab lab;
  RemoteKubeClient client(lab.runtime, lab.options());
  int synced = 0, upserts = 0;
  lab.script = {{403, R"({"reason":"Forbidden","message":"no"})", {}}, {200, list_of(pod("a", 1), "5"), {}}, {200, "", {}, true}};
  Informer informer(lab.runtime, client, kPods, {}, {[&](Bytes) { ++upserts; }, nullptr, [&] { ++synced; }});
  informer.start();
  lab.until([&] { return lab.asked.size() == 3; });
  CHECK(synced == 1);
  lab.open.clear();
  lab.server.reset();
  lab.loop.run_for(std::chrono::milliseconds{1500});   // some tries are refused
  lab.loop.restart();
  lab.up();
  lab.script = {{200, event("ADDED", "b", 9), {}, true}};
  lab.until([&] { return upserts == 2; });
  CHECK(lab.asked.back().target.find("resourceVersion=5") != std::string::npos);
}
