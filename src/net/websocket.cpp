#include "net/websocket.h"

#include <optional>

#include "base/text.h"
#include "runtime/timer.h"
#include "wire/ws_frame.h"

namespace kubeedge::net {
namespace {

constexpr std::uint16_t kNormal = 1000;
constexpr std::uint16_t kPolicy = 1008;
constexpr std::size_t kNonceBytes = 16;   // RFC 6455 4.1: of Sec-WebSocket-Key

class Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(const Runtime& runtime, std::unique_ptr<Stream> stream, Bytes early, bool server, WebSocketOptions options)
      : runtime_(runtime), stream_(std::move(stream)), early_(std::move(early)), server_(server), options_(options),
        reader_(wire::FrameOptions{server, options.max_message_bytes, options.validate_utf8}),
        peer_(stream_->peer_address()), local_(stream_->local_address()) {}

  void start(WebSocket::Handlers handlers) {
    handlers_ = std::make_shared<WebSocket::Handlers>(std::move(handlers));
    runtime::post(runtime_, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      const Bytes early = std::move(self->early_);
      self->early_ = Bytes();
      if (!early.empty() && !self->feed(early.view())) return;
      self->read();
    });
  }

  void send(wire::Opcode opcode, std::string_view payload) {
    if (!stream_) return;
    std::uint32_t mask = 0;
    if (!server_) mask = next_mask();
    stream_->write(Bytes(wire::encode_frame(opcode, payload, true, !server_, mask)), [weak = weak_from_this()](const Result<void>& written) {
      const auto self = weak.lock();   // a failure ends the read too
      if (self && written && self->queued() == 0) self->drained();
    });
    if (stream_->queued_bytes() > options_.max_queued_bytes) {
      end(base::error(Errc::kLimitExceeded, "{} takes too slowly: over {} bytes are queued", peer_, options_.max_queued_bytes));
    }
  }

  // Sends Close and ends; the peer's own Close is not waited for (upstream's does not send one either).
  void close(std::uint16_t code, std::string_view reason) {
    if (!stream_) return;
    close_after_write(code, reason, base::error(Errc::kCancelled, "closed by us: {} {}", code, reason));
  }

  void forget() {
    handlers_.reset();
    message_timer_.reset();
    stream_.reset();
  }

  std::size_t queued() const { return stream_ ? stream_->queued_bytes() : 0; }
  const std::string& peer() const { return peer_; }
  const std::string& local() const { return local_; }

 private:
  // Masks need only be unguessable to a script behind a proxy (RFC 6455 10.3): drawn from the kernel in blocks.
  std::uint32_t next_mask() {
    if (masks_.size() < 8) masks_ = base::random_hex(256);
    const std::string part = masks_.substr(masks_.size() - 8);
    masks_.resize(masks_.size() - 8);
    return static_cast<std::uint32_t>(std::stoul(part, nullptr, 16));
  }

  void read() {
    if (!stream_) return;
    stream_->read([weak = weak_from_this()](Result<Bytes> data) {
      const auto self = weak.lock();
      if (!self || !self->stream_) return;
      if (!data) return self->end(std::move(data).error());
      if (data->empty()) return self->end(base::error(Errc::kUnavailable, "{} closed the connection", self->peer_));
      if (self->feed(data->view())) self->read();
    });
  }

  // False: the session is over.
  bool feed(std::string_view data) {
    std::vector<wire::FrameReader::Event> events;
    const Result<void> fed = reader_.feed(data, events);
    const auto self = shared_from_this();
    for (auto& event : events) {
      if (!stream_) return false;
      handle(event);
    }
    if (!stream_) return false;
    if (!fed) {
      close_after_write(reader_.close_code(), fed.error().message, fed.error());
      return false;
    }
    watch_message();
    return true;
  }

  void handle(wire::FrameReader::Event& event) {
    using Reader = wire::FrameReader;
    if (auto* text = std::get_if<Reader::Text>(&event)) {
      // Held: the handler may destroy the session, and itself with it.
      if (const auto handlers = handlers_; handlers && handlers->on_message) handlers->on_message(std::move(text->payload));
    } else if (auto* ping = std::get_if<Reader::Ping>(&event)) {
      send(wire::Opcode::kPong, ping->payload);
    } else if (auto* gone = std::get_if<Reader::Close>(&event)) {
      close_after_write(gone->code == 1005 ? kNormal : gone->code, "",
                        base::error(Errc::kUnavailable, "{} closed the session: {} {}", peer_, gone->code, gone->reason));
    } else if (std::holds_alternative<Reader::Binary>(event)) {
      close_after_write(1003, "text messages only", base::error(Errc::kInvalidArgument, "{} sent a binary message", peer_));
    }
  }

  void drained() {
    if (const auto handlers = handlers_; handlers && handlers->on_drained) handlers->on_drained();
  }

  // An unfinished message may not be held open for ever.
  void watch_message() {
    if (!reader_.in_message()) return message_timer_.reset();
    if (message_timer_) return;
    message_timer_.emplace(runtime_);
    message_timer_->start(options_.message_timeout, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->close_after_write(kPolicy, "message not complete in time",
                              base::error(Errc::kTimeout, "a message of {} was not complete within {} ms", self->peer_, self->options_.message_timeout.count()));
    });
  }

  void close_after_write(std::uint16_t code, std::string_view reason, Error why) {
    if (!stream_) return;
    const std::uint32_t mask = server_ ? 0 : next_mask();
    auto stream = std::shared_ptr<Stream>(std::move(stream_));
    // The stream lives until the Close frame is with the kernel, at most kLinger.
    auto linger = std::make_shared<runtime::Timer>(runtime_);
    linger->start(kLinger, [stream] { stream->close(); });
    stream->write(Bytes(wire::encode_frame(wire::Opcode::kClose, wire::close_payload(code, reason.substr(0, 120)), true, !server_, mask)),
                  [stream, linger](const Result<void>&) {
                    linger->cancel();
                    stream->close();
                  });
    tell(std::move(why));
  }

  void end(Error why) {
    if (!stream_) return;
    // Not destroyed here: the call may come from inside one of its handlers.
    runtime::post(runtime_, [stream = std::shared_ptr<Stream>(std::move(stream_))] { stream->close(); });
    tell(std::move(why));
  }

  void tell(Error why) {
    message_timer_.reset();
    auto handlers = std::move(handlers_);
    handlers_.reset();
    if (!handlers || !handlers->on_closed) return;
    runtime::post(runtime_, [weak = weak_from_this(), handlers = std::move(handlers), why = std::move(why)]() mutable {
      if (const auto self = weak.lock(); self && !self->forgotten_) handlers->on_closed(std::move(why));
    });
  }

 public:
  void owner_gone() {
    forgotten_ = true;
    forget();
  }

 private:
  static constexpr Milliseconds kLinger{2'000};

  Runtime runtime_;
  std::unique_ptr<Stream> stream_;
  Bytes early_;
  bool server_;
  WebSocketOptions options_;
  wire::FrameReader reader_;
  std::optional<runtime::Timer> message_timer_;   // while a message is unfinished
  std::string peer_, local_;
  std::shared_ptr<WebSocket::Handlers> handlers_;
  std::string masks_;
  bool forgotten_ = false;
};

class SessionSocket final : public WebSocket {
 public:
  explicit SessionSocket(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~SessionSocket() override { session_->owner_gone(); }
  void start(Handlers handlers) override { session_->start(std::move(handlers)); }
  void send(Bytes text) override { session_->send(wire::Opcode::kText, text); }
  void ping(Bytes payload) override { session_->send(wire::Opcode::kPing, payload); }
  std::size_t queued_bytes() const override { return session_->queued(); }
  void close(std::uint16_t code, std::string_view reason) override { session_->close(code, reason); }
  std::string peer_address() const override { return session_->peer(); }
  std::string local_address() const override { return session_->local(); }

 private:
  std::shared_ptr<Session> session_;
};

// The client's upgrade: dial, send the request, read the head of the answer.
class Upgrade final : public std::enable_shared_from_this<Upgrade> {
 public:
  using Done = unique_function<void(Result<std::unique_ptr<WebSocket>>)>;
  Upgrade(const Runtime& runtime, Endpoint endpoint, std::string target, Headers headers, DialOptions dial, WebSocketOptions options, Done done)
      : runtime_(runtime), endpoint_(std::move(endpoint)), target_(std::move(target)), headers_(std::move(headers)), dial_(std::move(dial)),
        options_(options), done_(std::move(done)), timer_(runtime), key_(base::base64(base::random_hex(8))) {}

  void start() {
    timer_.start(dial_.timeout, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self) return;
      self->finish(base::error(Errc::kTimeout, "upgrading at {}:{}: time-out", self->endpoint_.host, self->endpoint_.port));
    });
    net::dial(runtime_, endpoint_, dial_, [self = shared_from_this()](Result<std::unique_ptr<Stream>> stream) {
      if (!self->done_) return;
      if (!stream) return self->finish(std::move(stream).error());
      self->stream_ = std::move(*stream);
      self->send();
    });
  }

 private:
  static constexpr std::size_t kMaxAnswerHead = 16 * 1024;

  void send() {
    const bool v6 = endpoint_.host.find(':') != std::string::npos;
    std::string text = fmt::format("GET {} HTTP/1.1\r\nHost: {}{}{}:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
                                   target_, v6 ? "[" : "", endpoint_.host, v6 ? "]" : "", endpoint_.port, key_);
    for (const auto& [name, value] : headers_) text += name + ": " + value + "\r\n";
    text += "\r\n";
    stream_->write(Bytes(std::move(text)), [](const Result<void>&) {});
    read();
  }

  void read() {
    stream_->read([self = shared_from_this()](Result<Bytes> data) {
      if (!self->done_) return;
      if (!data) return self->finish(std::move(data).error());
      if (data->empty()) return self->finish(self->refusal("the connection was closed"));
      self->head_ += data->view();
      self->on_head();
    });
  }

  void on_head() {
    const auto end = head_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (head_.size() > kMaxAnswerHead) return finish(refusal("the answer's head is too large"));
      return read();
    }
    // "HTTP/1.1 101 Switching Protocols": enough is checked by hand, http.cpp keeps http-parser to itself.
    if (head_.size() < 12 || !head_.starts_with("HTTP/1.1 ")) return finish(refusal("not HTTP/1.1"));
    const std::string status = head_.substr(9, 3);
    if (status != "101") {
      if (!body_waited_) {  // the reason stands in the body's first line, which may come in the next piece
        body_waited_ = true;
        if (head_.size() == end + 4) return read();
      }
      std::string body = head_.substr(end + 4);
      body = body.substr(0, body.find('\n'));
      return finish(Error{status == "401" || status == "403" ? Errc::kPermissionDenied : Errc::kUnavailable, refusal(status + (body.empty() ? "" : " " + body)).message});
    }
    if (field(std::string_view(head_).substr(0, end), "sec-websocket-accept") != wire::accept_key(key_)) {
      return finish(refusal("Sec-WebSocket-Accept does not fit the key"));
    }
    auto session = std::make_shared<Session>(runtime_, std::move(stream_), Bytes(head_.substr(end + 4)), false, options_);
    finish(std::unique_ptr<WebSocket>(std::make_unique<SessionSocket>(std::move(session))));
  }

  // A header's value in the raw head; `name` in lower case.
  static std::string_view field(std::string_view head, std::string_view name) {
    for (auto at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
      at += 2;
      std::string_view line = head.substr(at, head.find("\r\n", at) - at);
      if (line.size() <= name.size() || line[name.size()] != ':' || base::lower(line.substr(0, name.size())) != name) continue;
      line.remove_prefix(name.size() + 1);
      while (line.starts_with(' ')) line.remove_prefix(1);
      while (line.ends_with(' ')) line.remove_suffix(1);
      return line;
    }
    return {};
  }

  Error refusal(std::string_view why) const {
    return base::error(Errc::kUnavailable, "WebSocket upgrade at {}:{} refused: {}", endpoint_.host, endpoint_.port, why);
  }

  void finish(Result<std::unique_ptr<WebSocket>> result) {
    if (!done_) return;
    timer_.cancel();
    stream_.reset();
    Done done = std::move(done_);
    done_ = nullptr;
    done(std::move(result));
  }

  Runtime runtime_;
  Endpoint endpoint_;
  std::string target_;
  Headers headers_;
  DialOptions dial_;
  WebSocketOptions options_;
  Done done_;
  runtime::Timer timer_;
  std::string key_;
  std::unique_ptr<Stream> stream_;
  std::string head_;
  bool body_waited_ = false;
};

bool has_token(std::string_view list, std::string_view token) { return base::lower(list).find(token) != std::string::npos; }

}  // namespace

void websocket_dial(const Runtime& runtime, Endpoint endpoint, std::string target, Headers headers, DialOptions dial, WebSocketOptions options,
                    unique_function<void(Result<std::unique_ptr<WebSocket>>)> done) {
  std::make_shared<Upgrade>(runtime, std::move(endpoint), std::move(target), std::move(headers), std::move(dial), options, std::move(done))->start();
}

std::unique_ptr<WebSocket> websocket_accept(const Runtime& runtime, const HttpRequest& request, const std::shared_ptr<HttpResponder>& responder,
                                            WebSocketOptions options, Headers headers) {
  const std::string_view key = header(request.headers, "Sec-WebSocket-Key");
  const auto nonce = base::from_base64(key);
  const bool valid = request.method == "GET" && has_token(header(request.headers, "Connection"), "upgrade") &&
                     has_token(header(request.headers, "Upgrade"), "websocket") && header(request.headers, "Sec-WebSocket-Version") == "13" && nonce && nonce->size() == kNonceBytes;
  if (!valid) {
    responder->reply(400, {{"Content-Type", "text/plain"}}, "expected a WebSocket upgrade (version 13)\n");
    return nullptr;
  }
  headers.emplace_back("Upgrade", "websocket");
  headers.emplace_back("Connection", "Upgrade");
  headers.emplace_back("Sec-WebSocket-Accept", wire::accept_key(key));
  auto [stream, early] = responder->upgrade(std::move(headers));
  if (!stream) return nullptr;
  return std::make_unique<SessionSocket>(std::make_shared<Session>(runtime, std::move(stream), std::move(early), true, options));
}

}  // namespace kubeedge::net
