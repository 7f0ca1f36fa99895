// ServiceBus: where a call leads and whether it may, what comes back; the local server for apps.
#include <doctest/doctest.h>

#include <asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "edge/servicebus/service_bus.h"
#include "edge/servicebus/service_call.h"
#include "net/http.h"
#include "wire/message_codec.h"

using namespace kubeedge;
using namespace kubeedge::edge;
using nlohmann::json;

namespace {

Message call(std::string resource, std::string method = "GET", std::string url = "") {
  Message message;
  message.id = wire::new_message_id();
  message.source = "router_servicebus";
  message.group = "user";
  message.operation = method;
  message.resource = std::move(resource);
  message.content = wire::http_content(wire::HttpCall{{}, "", method, std::move(url)});
  return message;
}

std::string led_to(const Message& message, const std::vector<std::string>& allowed = {}) {
  auto targets = AllowedTargets::parse(allowed);
  REQUIRE(targets);
  auto wanted = wire::http_call(message);
  REQUIRE(wanted);
  auto url = service_target(message, *wanted, *targets, {"192.0.2.10", "2001:db8::10"});
  return url ? url->origin() + url->target : std::to_string(status_of(url.error()));
}

struct FakeLink final : CloudLink {
  bool up() const override { return true; }
  void send(Message message) override { sent.push_back(std::move(message)); }
  void request(Message message, Milliseconds, unique_function<void(Result<Message>)> done) override {
    sent.push_back(message);
    done(answer ? Result<Message>(*answer) : Result<Message>(Error{Errc::kTimeout, "no answer"}));
  }
  std::optional<Message> answer;
  std::vector<Message> sent;
};

struct World {
  asio::io_context io;
  Runtime runtime{io.get_executor()};
  std::unique_ptr<store::Store> store = std::move(*store::Store::open(runtime, ":memory:", service_bus_schema()));
  FakeLink link;
  std::unique_ptr<ServiceBus> bus;

  explicit World(ServiceBusOptions options) {
    options.port = 0;
    auto made = ServiceBus::create(runtime, *store, link, std::move(options));
    REQUIRE(made);
    bus = std::move(*made);
    REQUIRE(bus->start());
  }
  void until(const std::function<bool()>& done) {
    for (int i = 0; i < 500 && !done(); ++i) {
      io.restart();
      io.run_for(std::chrono::milliseconds(20));
    }
    REQUIRE(done());
  }
  wire::HttpAnswer answered(std::size_t count) {
    until([&] { return link.sent.size() >= count; });
    auto answer = wire::http_answer(link.sent.at(count - 1));
    REQUIRE(answer);
    return *answer;
  }
};

ServiceBusOptions enabled() {
  ServiceBusOptions options;
  options.enabled = true;
  options.call_timeout_s = 1;
  return options;
}

}  // namespace

TEST_CASE("a call leads to this node only, unless it is allowed") {
  CHECK(led_to(call("9000:/a?b=1")) == "http://127.0.0.1:9000/a?b=1");
  CHECK(led_to(call("9000:a:b")) == "http://127.0.0.1:9000/a:b");
  CHECK(led_to(call("1:/", "GET", "https://127.0.0.1:8443/x")) == "https://127.0.0.1:8443/x");
  CHECK(led_to(call("1:/", "GET", "http://192.0.2.10/x")) == "http://192.0.2.10:80/x");
  CHECK(led_to(call("1:/", "GET", "http://[2001:db8:0::10]:81/x")) == "http://[2001:db8:0::10]:81/x");
  CHECK(led_to(call("1:/", "GET", "http://[::ffff:127.0.0.1]:81/x")) == "http://[::ffff:127.0.0.1]:81/x");
  for (const char* away : {"http://192.0.2.11/", "http://example.org/", "http://0.0.0.0/", "http://[2001:db8::11]/", "http://127.0.0.1.example.org/", "http://2130706433/"})
    CHECK(led_to(call("1:/", "GET", away)) == "403");
  CHECK(led_to(call("1:/", "GET", "http://10.88.3.4/x"), {"10.88.0.0/16"}) == "http://10.88.3.4:80/x");
  CHECK(led_to(call("1:/", "GET", "http://10.89.3.4/x"), {"10.88.0.0/16"}) == "403");
  CHECK(led_to(call("1:/", "GET", "http://Printer.local/x"), {"printer.LOCAL"}) == "http://Printer.local:80/x");
  CHECK(led_to(call("1:/", "GET", "http://[2001:db9::1]/x"), {"2001:db9::/32"}) == "http://[2001:db9::1]:80/x");
  for (const char* wrong : {"", ":", "x:/a", "0:/a", "65536:/a", "9000", "-1:/a", "9000:/a b", "9000:/a\r\nX: y"}) CHECK(led_to(call(wrong)) == "400");
  for (const char* wrong : {"", "get", "A B", "G\r\n"}) CHECK(led_to(call("9000:/", wrong)) == "400");
  for (const char* wrong : {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "a/b", "", "http://x", "x y"}) CHECK_FALSE(AllowedTargets::parse({wrong}));
}

TEST_CASE("the recorded call and answer; headers with several values, foreign content") {
  const Message recorded = *wire::decode(R"({"header":{"msg_id":"x","timestamp":1},"route":{"source":"router_servicebus","group":"user","operation":"POST","resource":"9090:/svc"},"content":{"header":{"Accept":["*/*"]},"body":"eyJ4IjoxfQ==","method":"POST","url":""}})");
  auto decoded = wire::http_call(recorded);
  REQUIRE(decoded);
  CHECK(decoded->body == R"({"x":1})");
  CHECK(decoded->method == "POST");
  CHECK(wire::http_content(*decoded).view() == recorded.content.view());
  CHECK(wire::http_content(wire::HttpAnswer{{{"Content-Type", "text/plain"}}, 200, "hi"}).view() == R"({"header":{"Content-Type":["text/plain"]},"status_code":200,"body":"aGk="})");
  Message several;
  several.content = R"({"header":{"Set-Cookie":["a=\"1\",]" , "b"],"X":[]},"body":null,"status_code":201})";
  const auto answer = wire::http_answer(several);
  REQUIRE(answer);
  CHECK(answer->headers == wire::HttpHeaders{{"Set-Cookie", "a=\"1\",]"}, {"Set-Cookie", "b"}});
  CHECK(wire::http_content(*answer).view() == R"({"header":{"Set-Cookie":["a=\"1\",]","b"]},"status_code":201,"body":""})");
  several.content = R"("{\"method\":\"GET\"}")";   // Go's other form
  CHECK(wire::http_call(several)->method == "GET");
  for (const char* bad : {"null", "7", "[]", "\"{\"", R"({"header":7})", R"({"header":{"a":7}})", R"({"header":{"a":[7]}})", R"({"body":7})", R"({"body":"?"})"}) {
    several.content = bad;
    CHECK_FALSE(wire::http_call(several));
  }
  CHECK(wire::end_to_end({{"A", "1"}, {"connection", "X-Hop, close"}, {"x-hop", "1"}, {"Transfer-Encoding", "chunked"}, {"B", "1\r\nC: 2"}}) == wire::HttpHeaders{{"A", "1"}});
}

TEST_CASE("C61, C62, C65: a server that answers, one that is not there, one that is slow, one that says too much") {
  World world(enabled());
  std::vector<std::shared_ptr<net::HttpResponder>> held;
  auto server = net::HttpServer::listen(world.runtime, {"127.0.0.1", 0}, {}, {}, [&](const net::HttpRequest& request, const std::shared_ptr<net::HttpResponder>& responder) {
    if (request.target == "/slow") return held.push_back(responder);
    if (request.target == "/much") return responder->reply(200, {}, Bytes(std::string(kMaxServiceBodyBytes + 1, 'x')));
    responder->reply(418, {{"X-Mine", "1"}}, Bytes(request.method + request.target + std::string(net::header(request.headers, "Accept"))));
  });
  REQUIRE(server);
  const std::string port = std::to_string((*server)->local().port);
  const Message asked = call(port + ":/tea", "DELETE");
  world.bus->on_message(asked);
  auto answer = world.answered(1);
  CHECK(answer.status == 418);
  CHECK(answer.body == "DELETE/tea*/*");
  CHECK(answer.headers.at(0) == std::pair<std::string, std::string>{"X-Mine", "1"});
  CHECK(world.link.sent[0].parent_id == asked.id);
  CHECK(world.link.sent[0].source == "servicebus");
  CHECK(world.link.sent[0].operation == "upload");
  CHECK(world.link.sent[0].resource.empty());
  world.bus->on_message(call("1:/"));
  answer = world.answered(2);
  CHECK(answer.status == 502);
  CHECK(answer.body.find("127.0.0.1:1: Connection refused (edge)") != std::string::npos);
  world.bus->on_message(call(port + ":/much"));
  answer = world.answered(3);
  CHECK(answer.status == 502);
  CHECK(answer.body.find("over 5000000 bytes") != std::string::npos);
  world.bus->on_message(call(port + ":/slow"));
  CHECK(world.answered(4).status == 504);
  held.clear();
  // Never more than so many at once.
  for (std::size_t i = 0; i < kMaxServiceCalls; ++i) world.bus->on_message(call(port + ":/slow"));
  world.bus->on_message(call(port + ":/slow"));
  CHECK(world.answered(5).status == 503);
  world.bus->stop();
}

TEST_CASE("disabled: calls are answered 503, no port is opened") {
  World world({});
  world.bus->on_message(call("9000:/"));
  CHECK(world.answered(1).status == 503);
  world.bus->on_message(call("http://x/", "start"));
  CHECK(world.bus->port() == 0);
}

TEST_CASE("C64: the local server is open while a rule wants it, also after a restart; an app gets code, msg and body") {
  World world(enabled());
  CHECK(world.bus->port() == 0);
  for (const char* url : {"http://x/a", "http://x/b"}) world.bus->on_message(call(url, "start"));
  REQUIRE(world.bus->port() != 0);
  const auto post = [&](const std::string& body) {
    std::string got;
    const auto call = net::http_fetch(world.runtime, {"127.0.0.1", world.bus->port()}, {"POST", "/any/path", {}, Bytes(body)}, {}, [&](Result<net::HttpResponse> result) {
      REQUIRE(result);
      CHECK(result->status == 200);
      got = result->body.str();
    });
    world.until([&] { return !got.empty(); });
    return got;
  };
  const std::string request = R"({"method":"POST","targetURL":"http://x/b","payload":{"a":1}})";
  CHECK(post(request) == R"({"code":504,"msg":"no answer","body":""})");
  CHECK(world.link.sent.at(0).resource == "http://x/b");
  CHECK(world.link.sent[0].sync);
  CHECK(world.link.sent[0].content.view() == "\"" + base::base64(request) + "\"");
  Message answer;
  answer.content = "\"from the cloud\"";
  world.link.answer = answer;
  CHECK(post(request) == R"({"code":200,"msg":"receive response from cloud successfully","body":"from the cloud"})");
  CHECK(post(R"({"targetURL":"http://y"})") == R"({"code":400,"msg":"url http://y is not allowed and please make a rule for this url in the cloud","body":""})");
  for (const char* bad : {"", "x", "[]", "{}", R"({"targetURL":7})", R"({"targetURL":"a","targetURL":"http://x/b"})"}) CHECK(post(bad) == R"({"code":400,"msg":"invalid params","body":""})");
  world.bus->on_message(call("http://x/a", "stop"));
  world.until([&] { return world.store->query({"SELECT url FROM target_urls", {}})->size() == 1; });
  world.bus->stop();
  ServiceBusOptions options = enabled();
  options.port = 0;
  auto again = ServiceBus::create(world.runtime, *world.store, world.link, options);
  REQUIRE(again);
  REQUIRE((*again)->start());
  CHECK((*again)->port() != 0);
  (*again)->on_message(call("http://x/b", "stop"));
  CHECK((*again)->port() == 0);
}
