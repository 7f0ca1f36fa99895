#include "net/http_message.h"

#include <algorithm>
#include <climits>

#include <http_parser.h>

namespace kubeedge::net {

const char* http_reason(int status) {
  switch (status) {
#define KE_STATUS(number, name, text) \
  case number: return #text;
    HTTP_STATUS_MAP(KE_STATUS)
#undef KE_STATUS
    default: return "Status";
  }
}

struct HttpParser::Impl {
  Impl(HttpParser& owner_in, http_parser_type type, const HttpLimits& limits_in) : owner(owner_in), limits(limits_in) {
    http_parser_init(&parser, type);
    parser.data = this;
  }

  static Impl& self(http_parser* parser) { return *static_cast<Impl*>(parser->data); }

  bool count(std::size_t bytes) {
    header_bytes += bytes;
    too_large_header = header_bytes > limits.max_header_bytes;
    return !too_large_header;
  }

  static const http_parser_settings& settings() {
    static const http_parser_settings made = [] {
      http_parser_settings s;
      http_parser_settings_init(&s);
      s.on_message_begin = [](http_parser* p) {
        self(p).started = true;
        return 0;
      };
      s.on_url = [](http_parser* p, const char* at, std::size_t size) {
        self(p).owner.target.append(at, size);
        return self(p).count(size) ? 0 : 1;
      };
      s.on_header_field = [](http_parser* p, const char* at, std::size_t size) {
        Impl& me = self(p);
        Headers& headers = me.owner.headers;
        if (headers.empty() || me.in_value) headers.emplace_back();
        me.in_value = false;
        headers.back().first.append(at, size);
        return me.count(size) ? 0 : 1;
      };
      s.on_header_value = [](http_parser* p, const char* at, std::size_t size) {
        Impl& me = self(p);
        me.in_value = true;
        if (me.owner.headers.empty()) return 1;
        me.owner.headers.back().second.append(at, size);
        return me.count(size) ? 0 : 1;
      };
      s.on_headers_complete = [](http_parser* p) {
        Impl& me = self(p);
        me.head_done = true;
        if (p->content_length != ULLONG_MAX && p->content_length > me.limits.max_body_bytes && !me.owner.on_body) {
          me.too_large_body = true;
          return -1;
        }
        if (me.owner.on_head) me.owner.on_head();
        return me.owner.head_request ? 1 : 0;
      };
      s.on_body = [](http_parser* p, const char* at, std::size_t size) {
        Impl& me = self(p);
        if (me.owner.on_body) {
          me.owner.on_body(std::string_view(at, size));
          return 0;
        }
        if (me.owner.body.size() + size > me.limits.max_body_bytes) {
          me.too_large_body = true;
          return 1;
        }
        me.owner.body.append(at, size);
        return 0;
      };
      s.on_message_complete = [](http_parser* p) {
        self(p).done = true;
        http_parser_pause(p, 1);
        return 0;
      };
      return s;
    }();
    return made;
  }

  HttpParser& owner;
  http_parser parser{};
  HttpLimits limits;
  std::string_view rest;
  std::string failure;
  std::size_t header_bytes = 0;
  bool started = false, done = false, head_done = false, in_value = false;
  bool too_large_header = false, too_large_body = false;
};

HttpParser::HttpParser(Kind kind, const HttpLimits& limits)
    : impl_(std::make_unique<Impl>(*this, kind == Kind::kRequest ? HTTP_REQUEST : HTTP_RESPONSE, limits)) {}

HttpParser::~HttpParser() = default;

HttpParser::State HttpParser::feed(std::string_view data) {
  http_parser* parser = &impl_->parser;
  const std::size_t used = http_parser_execute(parser, &Impl::settings(), data.data(), data.size());
  impl_->rest = data.substr(std::min(used, data.size()));
  if (impl_->too_large_header) return State::kTooLargeHeader;
  if (impl_->too_large_body) return State::kTooLargeBody;
  if (impl_->done) {
    http_parser_pause(parser, 0);
    return State::kDone;
  }
  const auto code = HTTP_PARSER_ERRNO(parser);
  if (code == HPE_HEADER_OVERFLOW) return State::kTooLargeHeader;
  if (code != HPE_OK) {
    impl_->failure = http_errno_description(code);
    return State::kBad;
  }
  return State::kMore;
}

HttpParser::State HttpParser::finish() {
  http_parser_execute(&impl_->parser, &Impl::settings(), nullptr, 0);
  return impl_->done ? State::kDone : State::kBad;
}

void HttpParser::next() {
  Impl& me = *impl_;
  http_parser_init(&me.parser, static_cast<http_parser_type>(me.parser.type));
  me.parser.data = &me;
  target.clear();
  headers.clear();
  body.clear();
  me.started = me.done = me.head_done = me.too_large_header = me.too_large_body = false;
  me.header_bytes = 0;
  me.in_value = false;
}

bool HttpParser::started() const { return impl_->started; }
bool HttpParser::head_done() const { return impl_->head_done; }
bool HttpParser::keep_alive() const { return http_should_keep_alive(&impl_->parser) != 0; }
bool HttpParser::upgrade() const { return impl_->parser.upgrade != 0; }
int HttpParser::status() const { return static_cast<int>(impl_->parser.status_code); }
std::string HttpParser::method() const { return http_method_str(static_cast<http_method>(impl_->parser.method)); }
std::string_view HttpParser::rest() const { return impl_->rest; }
const std::string& HttpParser::failure() const { return impl_->failure; }

}  // namespace kubeedge::net
