#include "net/status_server.h"

namespace kubeedge::net {
namespace {

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kMetrics = "text/plain; version=0.0.4; charset=utf-8";

void answer(const StatusPages& pages, const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder) {
  const auto say = [&responder](int status, const char* type, std::string text) { responder->reply(status, {{"Content-Type", type}}, Bytes(std::move(text))); };
  if (request.method != "GET" && request.method != "HEAD") return say(405, kText, "only GET is served here\n");
  const std::string path = request.path();
  if (path == "/metrics") return say(200, kMetrics, pages.metrics());
  if (path == "/healthz" || path == "/livez") return say(200, kText, "ok\n");
  if (path != "/readyz") return say(404, kText, "404 page not found\n");
  std::string text;
  bool well = true;
  for (const HealthCheck& check : pages.ready()) {
    well = well && check.failure.empty();
    text += check.failure.empty() ? "[+]" + check.name + " ok" : "[-]" + check.name + " failed: " + check.failure;
    text += (check.note.empty() ? "" : " (" + check.note + ")") + "\n";
  }
  say(well ? 200 : 503, kText, text + (well ? "readyz check passed\n" : "readyz check failed\n"));
}

}  // namespace

Result<std::unique_ptr<StatusServer>> StatusServer::listen(const Runtime& runtime, const std::string& address, StatusPages pages) {
  auto endpoint = parse_endpoint(address);
  if (!endpoint) return std::move(endpoint).error().in("status pages");
  ListenOptions listen;
  listen.max_connections = kMaxConnections;
  HttpLimits limits;
  limits.max_body_bytes = 0;
  auto server = HttpServer::listen(runtime, *endpoint, std::move(listen), limits,
                                   [pages = std::move(pages)](HttpRequest request, std::shared_ptr<HttpResponder> responder) { answer(pages, request, responder); });
  if (!server) return std::move(server).error().in("status pages");
  return std::unique_ptr<StatusServer>(new StatusServer(std::move(*server)));
}

}  // namespace kubeedge::net
