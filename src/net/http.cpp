#include "net/http.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <list>

#include "base/text.h"
#include "net/http_message.h"
#include "runtime/timer.h"

namespace kubeedge::net {
namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return (x >= 'A' && x <= 'Z' ? x + 32 : x) == (y >= 'A' && y <= 'Z' ? y + 32 : y); });
}

void append_headers(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  out += "\r\n";
}

// ---- server ---------------------------------------------------------------------------------------------------------

class ServerConnection;

struct ServerShared {
  Runtime runtime;
  HttpLimits limits;
  HttpServer::Handler handler;
  std::list<std::shared_ptr<ServerConnection>> connections;
  bool stopped = false;
  std::size_t buffered = 0;   // of bodies that are arriving
};

// One client connection: reads a request, lets the handler answer, then reads the next.
class ServerConnection final : public std::enable_shared_from_this<ServerConnection> {
 public:
  ServerConnection(std::shared_ptr<ServerShared> shared, std::unique_ptr<Stream> stream)
      : shared_(shared), runtime_(shared->runtime), stream_(std::move(stream)), parser_(HttpParser::Kind::kRequest, shared->limits), timer_(shared->runtime), limits_(shared->limits),
        certificate_(stream_->take_peer_certificate()), peer_(stream_->peer_address()) {}

  std::list<std::shared_ptr<ServerConnection>>::iterator place;

  void start() {
    timer_.start(limits_.header_timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->drop();
    });
    parser_.on_head = [this] { on_head(); };
    read();
  }

  void drop() {
    if (!stream_) return;
    timer_.cancel();
    count(0);
    stream_.reset();
    auto gone = std::move(on_closed_);
    on_closed_ = nullptr;
    const auto self = shared_from_this();  // leaving the list may free us
    if (const auto shared = shared_.lock(); shared && !shared->stopped) shared->connections.erase(place);
    if (gone) gone();
  }

  // ---- what the responder calls
  bool open() const { return stream_ != nullptr; }
  std::size_t queued() const { return stream_ ? stream_->queued_bytes() : 0; }
  const std::optional<PeerCertificate>& certificate() const { return certificate_; }
  const std::string& peer() const { return peer_; }
  void on_closed(unique_function<void()> gone) {
    if (!stream_) return runtime::post(runtime_, std::move(gone));  // left already
    on_closed_ = std::move(gone);
  }

  void send(std::string bytes, unique_function<void()> written = nullptr) {
    if (!stream_) return;
    stream_->write(Bytes(std::move(bytes)), [weak = weak_from_this(), written = std::move(written)](Result<void> result) mutable {
      const auto self = weak.lock();
      if (!self) return;
      if (!result) return self->drop();
      if (written) written();
    });
  }

  void send_head(int status, Headers headers, std::optional<std::size_t> length) {
    std::string head = fmt::format("HTTP/1.1 {} {}\r\n", status, http_reason(status));
    // A handler may close, too; headers has one Connection line at most.
    const bool told = same_name(header(headers, "Connection"), "close");
    if (told) keep_ = false;
    if (status != 101) {
      if (length) {
        headers.emplace_back("Content-Length", std::to_string(*length));
      } else {
        headers.emplace_back("Transfer-Encoding", "chunked");
      }
      if (!keep_ && !told) headers.emplace_back("Connection", "close");
    }
    append_headers(head, headers);
    send(std::move(head));
  }

  void answered() {
    on_closed_ = nullptr;
    if (!stream_) return;
    if (!keep_) {
      // Closed once all is with the kernel.
      stream_->write(Bytes(), [weak = weak_from_this()](const Result<void>&) {
        if (const auto self = weak.lock()) self->drop();
      });
      return;
    }
    parser_.next();
    busy_ = false;
    timer_.start(limits_.idle_timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->drop();
    });
    // Posted: a thousand pipelined requests must not be a thousand frames deep.
    if (at_ < input_.size()) {
      runtime::post(runtime_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->parse();
      });
    }
  }

  bool head_only() const { return head_only_; }

  std::pair<std::unique_ptr<Stream>, Bytes> take() {
    timer_.cancel();
    auto stream = std::move(stream_);
    Bytes early(input_.substr(at_));
    const auto self = shared_from_this();
    if (const auto shared = shared_.lock(); shared && !shared->stopped) shared->connections.erase(place);
    return {std::move(stream), std::move(early)};
  }

 private:
  // A read is always pending, also while a request is answered: that is how a client that left is noticed.
  void read() {
    if (!stream_ || reading_) return;
    reading_ = true;
    stream_->read([weak = weak_from_this()](Result<Bytes> data) {
      const auto self = weak.lock();
      if (!self) return;
      self->reading_ = false;
      if (!data || data->empty()) return self->drop();
      self->input_.erase(0, self->at_);
      self->at_ = 0;
      self->input_ += data->view();
      // What comes while a request is answered must wait, but not without end.
      if (self->busy_ && self->input_.size() > self->limits_.max_header_bytes + Stream::kReadChunk) return self->drop();
      self->parse();
      self->read();
    });
  }

  void on_head() {
    timer_.start(limits_.body_timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->refuse(408, "the request's body did not arrive in time");
    });
    if (same_name(header(parser_.headers, "Expect"), "100-continue")) send(std::string(kContinue));
  }

  void parse() {
    if (busy_ || !stream_ || at_ >= input_.size()) return;
    const bool fresh = !parser_.started();
    const HttpParser::State state = parser_.feed(std::string_view(input_).substr(at_));
    at_ = input_.size() - parser_.rest().size();
    switch (state) {
      case HttpParser::State::kMore:
        if (!count(parser_.body.size())) return refuse(503, "too many requests are arriving at once");
        if (fresh && !parser_.head_done()) {
          timer_.start(limits_.header_timeout, [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->refuse(408, "the request's head did not arrive in time");
          });
        }
        return;
      case HttpParser::State::kDone: return dispatch();
      case HttpParser::State::kTooLargeHeader: return refuse(431, fmt::format("the request's head is over {} bytes", limits_.max_header_bytes));
      case HttpParser::State::kTooLargeBody: return refuse(413, fmt::format("the request's body is over {} bytes", limits_.max_body_bytes));
      case HttpParser::State::kBad: return refuse(400, "malformed HTTP: " + parser_.failure());
    }
  }

  // Of this connection's body, as part of all; false: there is no room.
  bool count(std::size_t bytes) {
    const auto shared = shared_.lock();
    if (!shared) return false;
    shared->buffered = shared->buffered - counted_ + bytes;
    counted_ = bytes;
    return shared->buffered <= limits_.max_buffered_bytes;
  }

  void refuse(int status, const std::string& why) {
    count(0);
    keep_ = false;
    busy_ = true;
    timer_.cancel();
    send_head(status, {{"Content-Type", "text/plain"}}, why.size() + 1);
    send(why + "\n");
    answered();
  }

  void dispatch();

  std::weak_ptr<ServerShared> shared_;
  Runtime runtime_;
  std::unique_ptr<Stream> stream_;
  HttpParser parser_;
  runtime::Timer timer_;
  HttpLimits limits_;
  std::optional<PeerCertificate> certificate_;
  std::string peer_;
  std::string input_;    // bytes that came; those before at_ are parsed
  std::size_t at_ = 0, counted_ = 0;
  unique_function<void()> on_closed_;
  bool reading_ = false, busy_ = false, keep_ = true, head_only_ = false;
};

class Responder final : public HttpResponder {
 public:
  explicit Responder(std::shared_ptr<ServerConnection> connection) : connection_(std::move(connection)) {}
  ~Responder() override {
    // A handler that let its responder go without an answer must not leave the client waiting.
    if (!connection_ || finished_) return;
    if (started_) {
      connection_->drop();
    } else {
      reply(500, {{"Content-Type", "text/plain"}}, "no answer\n");
    }
  }

  void reply(int status, Headers headers, Bytes body) override {
    if (started_ || finished_ || !connection_) return;
    started_ = finished_ = true;
    connection_->send_head(status, std::move(headers), body.size());
    if (!body.empty() && !connection_->head_only()) connection_->send(body.str());
    connection_->answered();
  }

  void begin(int status, Headers headers) override {
    if (started_ || finished_ || !connection_) return;
    started_ = true;
    connection_->send_head(status, std::move(headers), std::nullopt);
  }

  void chunk(Bytes data) override { chunk(std::move(data), nullptr); }

  void chunk(Bytes data, unique_function<void()> written) override {
    if (!started_ || finished_ || !connection_ || data.empty() || connection_->head_only()) return;
    connection_->send(fmt::format("{:x}\r\n", data.size()) + data.str() + "\r\n", std::move(written));
  }

  void end() override {
    if (!started_ || finished_ || !connection_) return;
    finished_ = true;
    if (!connection_->head_only()) connection_->send("0\r\n\r\n");
    connection_->answered();
  }

  std::size_t queued_bytes() const override { return connection_ ? connection_->queued() : 0; }

  void abort() override {
    if (!connection_) return;
    finished_ = true;
    connection_->drop();
  }

  void on_closed(unique_function<void()> gone) override {
    if (connection_) connection_->on_closed(std::move(gone));
  }

  std::pair<std::unique_ptr<Stream>, Bytes> upgrade(Headers headers) override {
    if (started_ || finished_ || !connection_ || !connection_->open()) return {};
    started_ = finished_ = true;
    connection_->send_head(101, std::move(headers), std::nullopt);
    return connection_->take();
  }

  std::optional<PeerCertificate> peer_certificate() const override { return connection_->certificate(); }
  std::string peer_address() const override { return connection_->peer(); }

 private:
  std::shared_ptr<ServerConnection> connection_;
  bool started_ = false, finished_ = false;
};

void ServerConnection::dispatch() {
  timer_.cancel();
  count(0);
  busy_ = true;
  HttpRequest request;
  request.method = parser_.method();
  request.target = std::move(parser_.target);
  request.headers = std::move(parser_.headers);
  request.body = Bytes(std::move(parser_.body));
  keep_ = parser_.keep_alive() && !parser_.upgrade();  // what follows a refused upgrade is no HTTP
  head_only_ = request.method == "HEAD";
  const auto shared = shared_.lock();
  if (!shared || shared->stopped) return drop();
  shared->handler(std::move(request), std::make_shared<Responder>(shared_from_this()));
}

class Server final : public HttpServer {
 public:
  explicit Server(std::shared_ptr<ServerShared> shared) : shared_(std::move(shared)) {}
  ~Server() override {
    listener.reset();
    shared_->stopped = true;
    auto connections = std::move(shared_->connections);
    for (const auto& connection : connections) connection->drop();  // the handler may be running: it goes with `shared_`
  }
  Endpoint local() const override { return listener->local(); }
  void set_tls(TlsConfig tls) override { listener->set_tls(std::move(tls)); }

  std::unique_ptr<Listener> listener;

 private:
  std::shared_ptr<ServerShared> shared_;
};

// ---- client ---------------------------------------------------------------------------------------------------------

std::string request_text(const HttpRequest& request, const Endpoint& endpoint, bool keep) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  Headers headers = request.headers;
  if (header(headers, "Host").empty()) {
    const bool v6 = endpoint.host.find(':') != std::string::npos;
    headers.emplace(headers.begin(), "Host", endpoint.port == 0 ? "localhost" : fmt::format("{}{}{}:{}", v6 ? "[" : "", endpoint.host, v6 ? "]" : "", endpoint.port));
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH") {
    headers.emplace_back("Content-Length", std::to_string(request.body.size()));
  }
  if (!keep) headers.emplace_back("Connection", "close");
  append_headers(text, headers);
  text += request.body.view();
  return text;
}

// A kept-alive connection between two requests: its read is under way and goes to whoever holds it.
struct IdleConnection {
  std::uint64_t id = 0;
  std::unique_ptr<Stream> stream;
  std::shared_ptr<Stream::ReadHandler> on_read = std::make_shared<Stream::ReadHandler>();
};

// One exchange on one stream. Owned by whoever started it; the stream comes back for reuse where it may.
class Exchange final : public std::enable_shared_from_this<Exchange> {
 public:
  using Done = unique_function<void(Result<HttpResponse>)>;
  Exchange(const Runtime& runtime, Endpoint endpoint, HttpClientOptions options)
      : runtime_(runtime), endpoint_(std::move(endpoint)), options_(std::move(options)), parser_(HttpParser::Kind::kResponse, options_.limits), timer_(runtime) {}

  unique_function<void(const HttpResponse&)> on_head;
  unique_function<void(std::string_view)> on_data;
  std::function<void(std::unique_ptr<Stream>)> give_back;  // a kept-alive stream after a clean answer
  bool keep = false;
  bool streaming = false;

  // `idle`: a kept connection to use, its read under way.
  void start(HttpRequest request, std::unique_ptr<IdleConnection> idle, Done done) {
    request_ = std::move(request);
    done_ = std::move(done);
    parser_.head_request = request_.method == "HEAD";
    parser_.on_head = [this] { head(); };
    if (streaming) parser_.on_body = [this](std::string_view data) {
      if (done_ && on_data) on_data(data);
    };
    if (!streaming) arm();
    if (!idle) return connect();
    reused_ = true;
    stream_ = std::move(idle->stream);
    *idle->on_read = read_handler();
    write_request();
  }

  // May come from inside on_head or on_data: they are left in place and not called again.
  void cancel() {
    done_ = nullptr;
    timer_.cancel();
    stream_.reset();
  }

 private:
  void arm() {
    timer_.start(options_.timeout, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->finish(base::error(Errc::kTimeout, "{} {} at {}:{}: no answer within {} ms", self->request_.method, self->request_.target,
                                 self->endpoint_.host, self->endpoint_.port, self->options_.timeout.count()));
      }
    });
  }

  void connect() {
    net::dial(runtime_, endpoint_, options_.dial, [weak = weak_from_this()](Result<std::unique_ptr<Stream>> stream) {
      const auto self = weak.lock();
      if (!self || !self->done_) return;
      if (!stream) return self->finish(std::move(stream).error());
      self->send(std::move(*stream));
    });
  }

  void send(std::unique_ptr<Stream> stream) {
    stream_ = std::move(stream);
    write_request();
    read();
  }

  void write_request() {
    stream_->write(Bytes(request_text(request_, endpoint_, keep)), [](const Result<void>&) {});  // a failure shows in the read too
  }

  Stream::ReadHandler read_handler() {
    return [weak = weak_from_this()](Result<Bytes> data) {
      const auto self = weak.lock();
      if (!self || !self->done_) return;
      self->on_read(std::move(data));
    };
  }

  void read() { stream_->read(read_handler()); }

  void on_read(Result<Bytes> data) {
    const bool ended = !data || data->empty();
    if (ended && reused_ && !parser_.started() && (request_.method == "GET" || request_.method == "HEAD")) {
      // The server closed the idle connection. Once more on a fresh one; a write may have been taken and is the caller's to repeat.
      reused_ = false;
      stream_.reset();
      return connect();
    }
    if (!data) return finish(std::move(data).error());
    const auto self = shared_from_this();
    const HttpParser::State state = ended ? parser_.finish() : parser_.feed(data->view());
    if (!done_) return;  // cancelled by a callback
    switch (state) {
      case HttpParser::State::kMore: return read();
      case HttpParser::State::kDone:
        if (parser_.status() == 100) {
          const std::string rest(parser_.rest());
          parser_.next();
          return rest.empty() ? read() : on_read(Bytes(rest));
        }
        return complete(!ended);
      case HttpParser::State::kTooLargeHeader: return finish(base::error(Errc::kLimitExceeded, "the answer's head is over {} bytes", options_.limits.max_header_bytes));
      case HttpParser::State::kTooLargeBody:
        if (options_.cut_body) return complete(false, true);
        return finish(base::error(Errc::kLimitExceeded, "the answer's body is over {} bytes", options_.limits.max_body_bytes));
      case HttpParser::State::kBad:
        return finish(ended ? base::error(Errc::kUnavailable, "{}:{} closed the connection before its answer was complete", endpoint_.host, endpoint_.port)
                            : base::error(Errc::kInvalidArgument, "malformed HTTP answer: {}", parser_.failure()));
    }
  }

  void head() {
    if (parser_.status() == 100 || !on_head || !done_) return;
    HttpResponse response;
    response.status = parser_.status();
    response.headers = parser_.headers;
    on_head(response);
  }

  void complete(bool open, bool cut = false) {
    HttpResponse response;
    response.cut = cut;
    response.status = parser_.status();
    response.headers = std::move(parser_.headers);
    response.body = Bytes(std::move(parser_.body));
    if (open && keep && parser_.keep_alive() && parser_.rest().empty() && give_back) give_back(std::move(stream_));
    finish(std::move(response));
  }

  void finish(Result<HttpResponse> result) {
    if (!done_) return;
    timer_.cancel();
    Done done = std::move(done_);
    done_ = nullptr;
    stream_.reset();
    const auto self = shared_from_this();
    done(std::move(result));
  }

  Runtime runtime_;
  Endpoint endpoint_;
  HttpClientOptions options_;
  HttpParser parser_;
  runtime::Timer timer_;
  HttpRequest request_;
  std::unique_ptr<Stream> stream_;
  Done done_;
  bool reused_ = false;
};

class Call final : public HttpCall {
 public:
  explicit Call(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~Call() override { exchange_->cancel(); }
  void cancel() override { exchange_->cancel(); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

class PooledClient final : public HttpClient {
 public:
  PooledClient(const Runtime& runtime, Endpoint endpoint, HttpClientOptions options, std::size_t max_connections)
      : state_(std::make_shared<State>(State{runtime, std::move(endpoint), std::move(options), max_connections, {}, {}, {}, 0})) {}
  ~PooledClient() override {
    for (const auto& exchange : state_->running) exchange->cancel();
    state_->running.clear();
    state_->waiting.clear();
    state_->idle.clear();
  }

  void fetch(HttpRequest request, unique_function<void(Result<HttpResponse>)> done) override {
    if (state_->waiting.size() >= kMaxWaiting) {
      runtime::post(state_->runtime, [done = std::move(done), endpoint = state_->endpoint]() mutable {
        done(base::error(Errc::kLimitExceeded, "{}:{} is slow: {} requests wait for it already", endpoint.host, endpoint.port, kMaxWaiting));
      });
      return;
    }
    state_->waiting.push_back({std::move(request), std::move(done), state_->runtime.clock().steady()});
    pump(state_);
  }

  std::unique_ptr<HttpCall> stream(HttpRequest request, unique_function<void(const HttpResponse&)> on_head, unique_function<void(std::string_view)> on_data,
                                   unique_function<void(Result<void>)> done) override {
    auto exchange = std::make_shared<Exchange>(state_->runtime, state_->endpoint, state_->options);
    exchange->streaming = true;
    exchange->on_head = std::move(on_head);
    exchange->on_data = std::move(on_data);
    exchange->start(std::move(request), nullptr, [done = std::move(done)](Result<HttpResponse> result) mutable {
      if (result) {
        done({});
      } else {
        done(std::move(result).error());
      }
    });
    return std::make_unique<Call>(std::move(exchange));
  }

 private:
  struct Waiting {
    HttpRequest request;
    unique_function<void(Result<HttpResponse>)> done;
    Milliseconds since;
  };
  struct State {
    Runtime runtime;
    Endpoint endpoint;
    HttpClientOptions options;
    std::size_t max_connections;
    std::deque<Waiting> waiting;
    std::vector<std::unique_ptr<IdleConnection>> idle;
    std::list<std::shared_ptr<Exchange>> running;
    std::uint64_t connections;   // numbers idle ones
  };

  // An idle connection is listened to: one that the server closes is forgotten before a request is lost on it.
  static void keep_idle(const std::shared_ptr<State>& state, std::unique_ptr<Stream> open) {
    auto idle = std::make_unique<IdleConnection>();
    idle->id = ++state->connections;
    idle->stream = std::move(open);
    *idle->on_read = [weak = std::weak_ptr(state), id = idle->id](const Result<Bytes>&) {
      const auto alive = weak.lock();
      if (alive) std::erase_if(alive->idle, [id](const auto& one) { return one->id == id; });
    };
    idle->stream->read([on_read = idle->on_read](Result<Bytes> data) {
      auto call = std::move(*on_read);
      call(std::move(data));
    });
    state->idle.push_back(std::move(idle));
  }

  static void pump(const std::shared_ptr<State>& state) {
    while (!state->waiting.empty() && state->running.size() < state->max_connections) {
      Waiting next = std::move(state->waiting.front());
      state->waiting.pop_front();
      if (state->runtime.clock().steady() - next.since >= state->options.timeout) {
        next.done(base::error(Errc::kTimeout, "{} {} at {}:{}: not sent within {} ms", next.request.method, next.request.target, state->endpoint.host,
                              state->endpoint.port, state->options.timeout.count()));
        continue;
      }
      std::unique_ptr<IdleConnection> idle;
      if (!state->idle.empty()) {
        idle = std::move(state->idle.back());
        state->idle.pop_back();
      }
      auto exchange = std::make_shared<Exchange>(state->runtime, state->endpoint, state->options);
      const auto place = state->running.insert(state->running.end(), exchange);
      exchange->keep = true;
      std::weak_ptr<State> weak = state;
      exchange->give_back = [weak](std::unique_ptr<Stream> open) {
        if (const auto alive = weak.lock()) keep_idle(alive, std::move(open));
      };
      exchange->start(std::move(next.request), std::move(idle), [weak, place, done = std::move(next.done)](Result<HttpResponse> result) mutable {
        const auto alive = weak.lock();
        if (!alive) return;
        alive->running.erase(place);
        done(std::move(result));
        pump(alive);
      });
    }
  }

  std::shared_ptr<State> state_;
};

}  // namespace

std::string_view header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (same_name(key, name)) return value;
  return {};
}

std::string HttpRequest::path() const { return target.substr(0, target.find('?')); }

std::string HttpRequest::query() const {
  const auto at = target.find('?');
  return at == std::string::npos ? std::string() : target.substr(at + 1);
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const Runtime& runtime, Endpoint endpoint, ListenOptions options, HttpLimits limits, Handler handler) {
  auto shared = std::make_shared<ServerShared>(ServerShared{runtime, limits, std::move(handler), {}, false, 0});
  auto server = std::make_unique<Server>(shared);
  auto listener = net::listen(runtime, std::move(endpoint), std::move(options), [weak = std::weak_ptr(shared)](std::unique_ptr<Stream> stream) {
    const auto alive = weak.lock();
    if (!alive || alive->stopped) return;
    auto connection = std::make_shared<ServerConnection>(alive, std::move(stream));
    connection->place = alive->connections.insert(alive->connections.end(), connection);
    connection->start();
  });
  if (!listener) return std::move(listener).error();
  server->listener = std::move(*listener);
  return std::unique_ptr<HttpServer>(std::move(server));
}

std::unique_ptr<HttpCall> http_fetch(const Runtime& runtime, Endpoint endpoint, HttpRequest request, HttpClientOptions options,
                                     unique_function<void(Result<HttpResponse>)> done) {
  auto exchange = std::make_shared<Exchange>(runtime, std::move(endpoint), std::move(options));
  exchange->start(std::move(request), nullptr, std::move(done));
  return std::make_unique<Call>(std::move(exchange));
}

std::unique_ptr<HttpClient> HttpClient::create(const Runtime& runtime, Endpoint endpoint, HttpClientOptions options, std::size_t max_connections) {
  return std::make_unique<PooledClient>(runtime, std::move(endpoint), std::move(options), max_connections);
}

}  // namespace kubeedge::net
