#include "cloud/stream/relay.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::cloud {
namespace {

net::HttpLimits limits() {
  net::HttpLimits out;
  out.max_body_bytes = Relay::kMaxRefusalBytes;
  return out;
}

// What a user may learn of the head that the node's runtime made.
net::Headers passed_on(const net::Headers& from) {
  net::Headers out;
  for (const auto& [name, value] : from) {
    const std::string key = base::lower(name);
    if (key != "content-length" && key != "transfer-encoding") out.emplace_back(name, value);
  }
  return out;
}

}  // namespace

Relay::Relay(const Runtime& runtime, std::string node, std::shared_ptr<net::HttpResponder> responder, NodeStreams::Refuse refuse,
             std::unique_ptr<RelayTunnel> tunnel)
    : runtime_(runtime), node_(std::move(node)), responder_(std::move(responder)), refuse_(std::move(refuse)), tunnel_(std::move(tunnel)), timer_(runtime),
      parser_(net::HttpParser::Kind::kResponse, limits()) {}

void Relay::start() {
  parser_.on_head = [this] { on_head(); };
  parser_.on_body = [this](std::string_view part) {
    if (state_ != State::kRefusal || body_.size() < kMaxRefusalBytes) body_ += part;
  };
  const auto weak = weak_from_this();
  responder_->on_closed([weak] {
    if (const auto self = weak.lock()) self->leave(true);
  });
  timer_.start(kAnswerTimeout, [weak] {
    if (const auto self = weak.lock()) self->refuse(504, "node \"" + self->node_ + "\" did not answer in time");
  });
}

// ---- from the node

void Relay::on_head() {
  const int status = parser_.status();
  if (status < 200 && status != 101) return;
  timer_.cancel();
  if (status == 101) return;                                    // finish_message() takes it from there
  if (status >= 300) {
    state_ = State::kRefusal;
    return;
  }
  state_ = State::kBody;
  std::string type{net::header(parser_.headers, "Content-Type")};
  responder_->begin(status, {{"Content-Type", type.empty() ? "text/plain" : std::move(type)}});
}

void Relay::on_data(const Bytes& data) {
  if (state_ == State::kOver) return;
  if (state_ == State::kPipe) return to_user(data, data.size());
  const auto self = shared_from_this();
  parse(data.view());
  if (state_ == State::kBody && !body_.empty()) return give(std::exchange(body_, {}), data.size());
  if (tunnel_) tunnel_->consumed(data.size());
}

void Relay::parse(std::string_view data) {
  switch (parser_.feed(data)) {
    case net::HttpParser::State::kMore: return;
    case net::HttpParser::State::kDone: return finish_message();
    default: return state_ == State::kHead || state_ == State::kRefusal ? refuse(502, "node \"" + node_ + "\" answered with malformed HTTP") : on_lost("malformed HTTP");
  }
}

// A whole HTTP message came.
void Relay::finish_message() {
  switch (state_) {
    case State::kHead:
      if (parser_.status() == 101) return become_pipe(parser_.rest());
      if (parser_.status() >= 200) return refuse(502, "node \"" + node_ + "\" gave an answer without a body");
      {
        const std::string rest{parser_.rest()};                 // 100 Continue: the answer follows
        parser_.next();
        if (!rest.empty()) parse(rest);
      }
      return;
    case State::kRefusal: return refuse(parser_.status(), body_);
    case State::kBody:
      if (!body_.empty()) give(std::exchange(body_, {}), 0);
      responder_->end();
      return leave(true);
    case State::kPipe:
    case State::kOver: return;
  }
}

void Relay::give(std::string body, std::size_t worth) {
  responder_->chunk(Bytes(std::move(body)), [weak = weak_from_this(), worth] {
    if (const auto self = weak.lock(); self && self->tunnel_) self->tunnel_->consumed(worth);
  });
}

void Relay::on_removed() {
  const auto self = shared_from_this();
  switch (state_) {
    case State::kHead: return refuse(502, "node \"" + node_ + "\" ended the stream without an answer");
    case State::kRefusal: return refuse(parser_.status(), body_);
    case State::kBody:
      // A body without a length ends here; one that is cut short must not look whole.
      parser_.finish() == net::HttpParser::State::kDone ? responder_->end() : responder_->abort();
      return leave(false);
    case State::kPipe:
      // The user still gets all that came before.
      user_->write(Bytes(), [user = std::shared_ptr<net::Stream>(std::move(user_))](const Result<void>&) { user->close(); });
      return leave(false);
    case State::kOver: return;
  }
}

void Relay::on_lost(const std::string& why) {
  const auto self = shared_from_this();
  if (state_ == State::kHead || state_ == State::kRefusal) return refuse(503, "node \"" + node_ + "\" is not connected any more: " + why);
  if (state_ == State::kBody) responder_->abort();
  leave(true);
}

// ---- an upgraded connection: bytes both ways

void Relay::become_pipe(std::string_view rest) {
  auto [stream, early] = responder_->upgrade(passed_on(parser_.headers));
  if (!stream) return leave(true);
  state_ = State::kPipe;
  user_ = std::move(stream);
  if (!rest.empty()) to_user(Bytes(std::string(rest)), 0);
  read_user();   // at once: the HTTP server's own read is still under way and would swallow what comes
  from_user(early.view());
}

void Relay::to_user(Bytes data, std::size_t worth) {
  user_->write(std::move(data), [weak = weak_from_this(), worth](const Result<void>& written) {
    const auto self = weak.lock();
    if (!self || self->state_ == State::kOver) return;
    if (!written) return self->leave(true);
    self->tunnel_->consumed(worth);
  });
}

void Relay::read_user() {
  reading_ = true;
  user_->read([weak = weak_from_this()](Result<Bytes> data) {
    const auto self = weak.lock();
    if (!self || self->state_ == State::kOver) return;
    self->reading_ = false;
    if (!data || data->empty()) return self->leave(true);
    self->from_user(data->view());
  });
}

// A user is read no faster than the node takes it.
void Relay::from_user(std::string_view data) {
  held_ += data;
  const std::size_t now = std::min(held_.size(), tunnel_->room());
  if (now > 0) tunnel_->to_node(std::string_view(held_).substr(0, now));
  held_.erase(0, now);
  if (held_.empty() && !reading_) read_user();
}

void Relay::on_room() {
  if (state_ == State::kPipe && !held_.empty()) from_user("");
}

// ---- ends

void Relay::refuse(int status, const std::string& text) {
  if (state_ == State::kOver) return;
  const auto self = shared_from_this();
  refuse_(*responder_, status, text);
  leave(true);
}

void Relay::leave(bool tell_node) {
  if (state_ == State::kOver) return;
  const auto self = shared_from_this();
  state_ = State::kOver;
  timer_.cancel();
  // The parser may be running: it goes with us. The user's stream may be the caller.
  if (user_) runtime::post(runtime_, [user = std::shared_ptr<net::Stream>(std::move(user_))] { user->close(); });
  responder_.reset();
  const auto tunnel = std::move(tunnel_);
  tunnel->over(tell_node);
}

}  // namespace kubeedge::cloud
