// Probes and hooks: what a spec says, and how looks become verdicts.
#include "edge/edged/container_watch.h"
#include "observed_builder.h"

namespace kubeedge::edged {
namespace {

const Json& container() {
  static const Json one = parsed(R"({"name":"c","ports":[{"name":"web","containerPort":8080}]})");
  return one;
}
Result<Handler> handler(const std::string& action, const std::string& pod_ip = "10.88.0.2") { return handler_of(parsed(action), container(), pod_ip); }
std::string error_of(const std::string& action, const std::string& pod_ip = "10.88.0.2") {
  const auto made = handler(action, pod_ip);
  return made ? "(none)" : made.error().message;
}

TEST_CASE("handlers as the spec names them") {
  CHECK(handler(R"({"exec":{"command":["test","-e","/x"]}})")->command == std::vector<std::string>{"test", "-e", "/x"});
  const auto get = handler(R"({"httpGet":{"port":"web","path":"health?x=1","scheme":"HTTPS","httpHeaders":[{"name":"X","value":"y"}]}})");
  REQUIRE(get);
  CHECK(get->kind == Handler::Kind::kHttp);
  CHECK(get->https);
  CHECK(get->endpoint.host == "10.88.0.2");
  CHECK(get->endpoint.port == 8080);
  CHECK(get->request.target == "/health?x=1");
  CHECK(net::header(get->request.headers, "x") == "y");
  CHECK(net::header(get->request.headers, "user-agent") == "kube-probe/1.32");
  const auto tcp = handler(R"({"tcpSocket":{"port":81,"host":"192.0.2.9"}})");
  REQUIRE(tcp);
  CHECK(tcp->endpoint.host == "192.0.2.9");
  CHECK(tcp->endpoint.port == 81);
  CHECK(handler(R"({"tcpSocket":{"port":"82"}})")->endpoint.port == 82);
  CHECK(handler(R"({"sleep":{"seconds":3}})")->sleep_s == 3);
}

TEST_CASE("what makes no sense is an error that says so") {
  CHECK(error_of(R"({"exec":{}})") == "exec without a command");
  CHECK(error_of("{}") == "none of exec, httpGet, tcpSocket or sleep");
  CHECK(error_of(R"({"tcpSocket":{"port":"none"}})") == "container \"c\" has no port \"none\"");
  CHECK(error_of(R"({"httpGet":{"port":70000}})") == "container \"c\" has no port 70000");
  CHECK(error_of(R"({"httpGet":{"port":80}})", "") == "the pod has no address yet");
  CHECK(error_of(R"({"httpGet":{"port":80,"httpHeaders":[{"name":"X","value":"a\r\nHost: b"}]}})") == "httpGet header \"X\" holds a line break");
  CHECK(error_of(R"({"httpGet":{"port":80,"path":"/ HTTP/1.1\r\nX: y"}})") == "httpGet path holds a space or a line break");
  for (const char* bad : {"null", "[]", R"({"exec":{"command":[1,null]}})", R"({"httpGet":{"port":{},"path":3,"httpHeaders":[1]}})", R"({"sleep":{"seconds":"x"}})"}) {
    static_cast<void>(handler(bad));
    static_cast<void>(probe_settings(parsed(bad)));
  }
}

TEST_CASE("settings: kubelet's defaults, nonsense falls back to them") {
  const ProbeSettings plain = probe_settings(parsed("{}"));
  CHECK(plain.initial_delay_s == 0);
  CHECK(plain.period_s == 10);
  CHECK(plain.timeout_s == 1);
  CHECK(plain.success == 1);
  CHECK(plain.failure == 3);
  const ProbeSettings odd = probe_settings(parsed(R"({"periodSeconds":0,"timeoutSeconds":-1,"failureThreshold":2,"initialDelaySeconds":-5})"));
  CHECK(odd.period_s == 10);
  CHECK(odd.timeout_s == 1);
  CHECK(odd.failure == 2);
  CHECK(odd.initial_delay_s == 0);
}

TEST_CASE("a verdict takes as many looks in a row as its threshold says") {
  ProbeTally tally(2, 3);
  CHECK_FALSE(tally.add(true));
  CHECK(tally.add(true) == true);
  CHECK(tally.add(true) == true);
  CHECK_FALSE(tally.add(false));
  CHECK_FALSE(tally.add(false));
  CHECK_FALSE(tally.add(true));   // the row is broken
  CHECK_FALSE(tally.add(false));
  CHECK_FALSE(tally.add(false));
  CHECK(tally.add(false) == false);
}

}  // namespace
}  // namespace kubeedge::edged
