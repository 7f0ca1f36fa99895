#include "edge/edged/exec_stream.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "net/stream.h"
#include "runtime/timer.h"

namespace kubeedge::edged {
namespace {

struct Url {
  net::Endpoint server;
  std::string host, target;
};

// "http://127.0.0.1:34567/exec/TOKEN"
Result<Url> parse_url(const std::string& text) {
  constexpr std::string_view kScheme = "http://";
  const auto slash = text.find('/', kScheme.size());
  if (!text.starts_with(kScheme) || slash == std::string::npos || text.find_first_of("\r\n ") != std::string::npos)
    return base::error(Errc::kUnimplemented, "the container runtime serves streams at {}: only http is taken", text.substr(0, 80));
  Url out{{}, text.substr(kScheme.size(), slash - kScheme.size()), text.substr(slash)};
  auto server = net::parse_endpoint(out.host);
  if (!server) return std::move(server).error();
  out.server = std::move(*server);
  return out;
}

bool of_upgrade(const std::string& name) {
  const std::string key = base::lower(name);
  return key == "connection" || key == "upgrade" || key == "x-stream-protocol-version" || key.starts_with("sec-websocket-");
}

}  // namespace

struct ExecStream::Impl : std::enable_shared_from_this<Impl> {
  Impl(const Runtime& r, edge::NodeCall c, std::shared_ptr<edge::NodeAnswer> a) : runtime(r), call(std::move(c)), answer(std::move(a)) {}

  Runtime runtime;
  edge::NodeCall call;
  std::shared_ptr<edge::NodeAnswer> answer;
  std::unique_ptr<net::Stream> server;
  Bytes held;                // from the server, until the tunnel has room
  bool over = false;

  void have_url(const Result<std::string>& text) {
    if (over) return;
    if (!text) return refuse(text.error());
    auto url = parse_url(*text);
    if (!url) return refuse(url.error());
    net::DialOptions dial;
    dial.timeout = kDialTimeout;
    net::dial(runtime, url->server, std::move(dial), [weak = weak_from_this(), url = *url](Result<std::unique_ptr<net::Stream>> stream) {
      const auto self = weak.lock();
      if (!self || self->over) return;
      if (!stream) return self->refuse(stream.error().in("the container runtime's streaming server"));
      self->server = std::move(*stream);
      self->begin(url);
    });
  }

  void begin(const Url& url) {
    std::string head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", call.method, url.target, url.host);
    for (const auto& [name, value] : call.headers)
      if (of_upgrade(name)) head += name + ": " + value + "\r\n";
    if (call.method == "POST") head += "Content-Length: 0\r\n";
    answer->raw();
    write(Bytes(head + "\r\n"), 0);
    read();
  }

  void write(Bytes bytes, std::size_t worth) {
    server->write(std::move(bytes), [weak = weak_from_this(), worth](const Result<void>& written) {
      const auto self = weak.lock();   // a failure ends the read, too
      if (self && !self->over && written && worth > 0) self->answer->consumed(worth);
    });
  }

  void read() {
    server->read([weak = weak_from_this()](Result<Bytes> bytes) {
      const auto self = weak.lock();
      if (!self || self->over) return;
      if (!bytes || bytes->empty()) return self->end();
      self->held = std::move(*bytes);
      self->send();
    });
  }

  void send() {
    while (!held.empty()) {
      const std::size_t now = std::min(held.size(), answer->room());
      if (now == 0) return;
      const Bytes part = held.slice(0, now);
      held = held.slice(now, held.size() - now);
      answer->data(part);
      if (over) return;
    }
    read();
  }

  void refuse(const Error& error) {
    over = true;
    base::log(runtime.log(), LogLevel::kInfo, "edged", "{} {}: {}", call.method, call.path, error.message);
    answer->refuse(error.code == Errc::kNotFound ? 404 : 500, error.message);
  }

  void end() {
    over = true;
    close();
    answer->end();
  }

  // Its handler may be running.
  void close() {
    if (server) runtime::post(runtime, [server = std::shared_ptr<net::Stream>(std::move(server))] { server->close(); });
  }
};

ExecStream::ExecStream(const Runtime& runtime, edge::NodeCall call, std::shared_ptr<edge::NodeAnswer> answer)
    : impl_(std::make_shared<Impl>(runtime, std::move(call), std::move(answer))) {}

ExecStream::~ExecStream() {
  impl_->over = true;
  impl_->close();
}

unique_function<void(Result<std::string>)> ExecStream::on_url() {
  return [weak = std::weak_ptr<Impl>(impl_)](Result<std::string> url) {
    if (const auto self = weak.lock()) self->have_url(url);
  };
}

void ExecStream::on_room() {
  if (impl_->server && !impl_->held.empty()) impl_->send();
}

// Nobody types before the runtime's answer is there: what comes earlier has no place to go.
void ExecStream::on_data(Bytes bytes) {
  if (!impl_->server) return;
  const std::size_t worth = bytes.size();
  impl_->write(std::move(bytes), worth);
}

}  // namespace kubeedge::edged
