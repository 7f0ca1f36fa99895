// HTTP/1.1, both sides, over net::Stream; messages are parsed in http_message.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/stream.h"

namespace kubeedge::net {

using Headers = std::vector<std::pair<std::string, std::string>>;
// Case-insensitive look-up; empty when absent (first one wins).
std::string_view header(const Headers& headers, std::string_view name);

struct HttpLimits {
  std::size_t max_header_bytes = 64 * 1024;
  std::size_t max_body_bytes = 3 * 1024 * 1024;
  std::size_t max_buffered_bytes = SIZE_MAX;   // a server's bodies that are still arriving, all together; past it 503
  Milliseconds header_timeout{10'000};       // first byte to end of headers
  Milliseconds body_timeout{30'000};         // end of headers to end of body
  Milliseconds idle_timeout{90'000};         // between requests on a kept-alive connection
};

struct HttpRequest {
  std::string method;
  std::string target;                        // path and query as sent
  Headers headers;
  Bytes body;                                // whole, de-chunked; a GET may have one
  std::string path() const;                  // without query, still percent-encoded
  std::string query() const;
};

// Answers one request. Lives until finish() or abort(); safe to use after the peer left (calls do nothing).
class HttpResponder {
 public:
  virtual ~HttpResponder() = default;
  // A whole answer. Content-Length is added.
  virtual void reply(int status, Headers headers, Bytes body) = 0;
  // A chunked stream: begin once, then any number of chunks, then end.
  virtual void begin(int status, Headers headers) = 0;
  virtual void chunk(Bytes data) = 0;
  // The same; `written` is told when the kernel has it, not at all when the client left.
  virtual void chunk(Bytes data, unique_function<void()> written) = 0;
  virtual void end() = 0;
  // Bytes queued to a slow client: the caller cuts it off past its own limit by abort().
  virtual std::size_t queued_bytes() const = 0;
  virtual void abort() = 0;
  virtual void on_closed(unique_function<void()> gone) = 0;
  // Upgrade: writes `101` (with `headers`) and hands over the raw stream plus bytes that were read past the head.
  virtual std::pair<std::unique_ptr<Stream>, Bytes> upgrade(Headers headers) = 0;
  virtual std::optional<PeerCertificate> peer_certificate() const = 0;
  virtual std::string peer_address() const = 0;
};

class HttpServer {
 public:
  using Handler = unique_function<void(HttpRequest, std::shared_ptr<HttpResponder>)>;
  static Result<std::unique_ptr<HttpServer>> listen(const Runtime& runtime, Endpoint endpoint, ListenOptions options,
                                                    HttpLimits limits, Handler handler);
  virtual ~HttpServer() = default;           // closes the listener and every connection
  virtual Endpoint local() const = 0;
  virtual void set_tls(TlsConfig tls) = 0;
};

struct HttpResponse {
  int status = 0;
  Headers headers;
  Bytes body;
  bool cut = false;                          // see HttpClientOptions::cut_body
};

struct HttpClientOptions {
  DialOptions dial;
  HttpLimits limits;
  bool cut_body = false;                     // a body over its limit is cut (what is kept may be nothing), where it were an error
  Milliseconds timeout{60'000};              // whole exchange
};

// Cancels the exchange it belongs to when destroyed or told to.
class HttpCall {
 public:
  virtual ~HttpCall() = default;
  virtual void cancel() = 0;
};

// One exchange on a connection of its own (Connection: close). HTTP errors (4xx) are values, not errors.
std::unique_ptr<HttpCall> http_fetch(const Runtime& runtime, Endpoint endpoint, HttpRequest request, HttpClientOptions options,
                                     unique_function<void(Result<HttpResponse>)> done);

// Kept-alive connections to one server: requests are sent in turn on up to `max_connections` of them. Past kMaxWaiting
// waiting ones a request is refused (kLimitExceeded); one that waited for longer than `timeout` is not sent (kTimeout).
class HttpClient {
 public:
  static constexpr std::size_t kMaxWaiting = 10'000;

  static std::unique_ptr<HttpClient> create(const Runtime& runtime, Endpoint endpoint, HttpClientOptions options,
                                            std::size_t max_connections = 4);
  virtual ~HttpClient() = default;
  virtual void fetch(HttpRequest request, unique_function<void(Result<HttpResponse>)> done) = 0;
  // A stream (watch): `on_head` once, `on_data` for each piece of body, `done` at the end or on error.
  // Uses a connection of its own.
  virtual std::unique_ptr<HttpCall> stream(HttpRequest request, unique_function<void(const HttpResponse&)> on_head,
                                           unique_function<void(std::string_view)> on_data,
                                           unique_function<void(Result<void>)> done) = 0;
};

}  // namespace kubeedge::net
