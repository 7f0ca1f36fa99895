#include "kube/client/remote_client.h"

#include <list>
#include <random>

#include "base/text.h"
#include "kube/client/api_wire.h"
#include "runtime/files.h"
#include "runtime/timer.h"
#include "wire/validated_json.h"

namespace kubeedge::kube {
namespace {

constexpr const char* kTooLarge = "ResponseTooLarge";   // ApiError::reason of an answer over our own limit

// Retry-After in seconds; its date form is not used by an API server.
Milliseconds retry_after(const net::Headers& headers) {
  const auto seconds = base::to_int(net::header(headers, "Retry-After"));
  if (!seconds || *seconds <= 0) return Milliseconds{0};
  return std::min(Milliseconds{std::min<std::int64_t>(*seconds, 3600) * 1000}, RemoteKubeClient::kMaxRetryAfter);
}

}  // namespace

struct RemoteKubeClient::Impl : std::enable_shared_from_this<RemoteKubeClient::Impl> {
  Impl(const Runtime& r, RemoteOptions o) : runtime(r), options(std::move(o)) {
    net::HttpClientOptions http_options;
    http_options.dial.tls = options.tls;
    http_options.limits.max_body_bytes = options.max_list_body;
    http = net::HttpClient::create(runtime, options.endpoint, std::move(http_options), options.max_connections);
  }

  Runtime runtime;
  RemoteOptions options;
  std::unique_ptr<net::HttpClient> http;
  std::list<runtime::Timer> waits;     // of requests that the server put off
  Milliseconds token_read{0};
  std::minstd_rand random{std::random_device{}()};

  // The projected token of a pod changes under us. A file of a few hundred bytes in memory: read on the loop.
  void refresh_token(bool now) {
    if (options.token_file.empty()) return;
    const Milliseconds time = runtime.clock().steady();
    if (!now && token_read != Milliseconds{0} && time - token_read < kTokenFileAge) return;
    token_read = time;
    Result<std::string> text = runtime::read_text_file(options.token_file);
    if (!text) return base::log(runtime.log(), LogLevel::kWarning, "kube", "token: {}", text.error().message);
    while (!text->empty() && (text->back() == '\n' || text->back() == '\r' || text->back() == ' ')) text->pop_back();
    options.bearer_token = std::move(*text);
  }

  net::HttpRequest request(std::string method, const std::string& target, Bytes body = {}, const char* type = "application/json") const {
    net::HttpRequest out;
    out.method = std::move(method);
    out.target = options.path_prefix + target;
    out.headers = {{"Accept", "application/json"}, {"User-Agent", "libkubeedge"}};
    if (!body.empty()) out.headers.emplace_back("Content-Type", type);
    out.body = std::move(body);
    return out;
  }

  net::HttpRequest authorized(net::HttpRequest out) {
    refresh_token(false);
    if (!options.bearer_token.empty()) out.headers.emplace_back("Authorization", "Bearer " + options.bearer_token);
    return out;
  }

  void later(Milliseconds after, unique_function<void()> call) {
    const auto place = waits.emplace(waits.end(), runtime);
    place->start(after, [this, place, call = std::move(call)]() mutable {
      auto now = std::move(call);
      waits.erase(place);
      now();
    });
  }

  // One exchange; the answer is validated here, once.
  void fetch(net::HttpRequest out, KubeClient::Done<Bytes> done, int turned_away = 0) {
    http->fetch(authorized(out), [weak = weak_from_this(), out, turned_away, done = std::move(done)](Result<net::HttpResponse> answer) mutable {
      const auto self = weak.lock();
      if (!self || !done) return;
      if (!answer) return done(ApiError{0, answer.error().code == Errc::kLimitExceeded ? kTooLarge : "", answer.error().message, {}});
      const Milliseconds wait = retry_after(answer->headers);
      if ((answer->status == 429 || (answer->status == 503 && wait > Milliseconds{0})) && turned_away < kMaxThrottled) {
        return self->later(std::max(wait, Milliseconds{1000}), [self = self.get(), out = std::move(out), turned_away, done = std::move(done)]() mutable {
          self->fetch(std::move(out), std::move(done), turned_away + 1);
        });
      }
      if (answer->status == 401 && turned_away == 0) {
        const std::string before = self->options.bearer_token;
        self->refresh_token(true);
        if (before != self->options.bearer_token) return self->fetch(std::move(out), std::move(done), 1);
      }
      Result<wire::ValidatedJson> valid = wire::ValidatedJson::parse(answer->body);
      if (answer->status >= 300) {
        ApiError error = parse_error(answer->status, answer->body);
        error.retry_after = wait;
        return done(std::move(error));
      }
      if (!valid) return done(ApiError{500, "InternalError", "the API's answer is not JSON: " + valid.error().message, {}});
      done(std::move(answer->body));
    });
  }

  // A page of large objects may be over max_list_body: then half as many are asked for, down to one.
  void list_page(std::string target, std::string token, int page_size, ObjectList so_far, KubeClient::Done<ObjectList> done) {
    std::string page = target + "limit=" + std::to_string(page_size);
    if (!token.empty()) page += "&continue=" + base::percent_encode(token);
    fetch(request("GET", page), [self = shared_from_this(), target, token, page_size, so_far = std::move(so_far), done = std::move(done)](ApiResult<Bytes> body) mutable {
      if (!body && body.error().reason == kTooLarge && page_size > 1)
        return self->list_page(std::move(target), std::move(token), page_size / 2, std::move(so_far), std::move(done));
      if (!body) return done(body.error());
      std::string more;
      std::optional<ObjectList> part = parse_list(*body, more);
      if (!part) return done(ApiError{500, "InternalError", "list: the answer is no list", {}});
      so_far.resource_version = part->resource_version;
      for (Bytes& item : part->items) so_far.items.push_back(std::move(item));
      if (more.empty()) return done(std::move(so_far));
      self->list_page(std::move(target), std::move(more), page_size, std::move(so_far), std::move(done));
    });
  }
};

namespace {

// Cuts a watch's bytes into lines. Destroying the handle ends the exchange.
class RemoteWatch final : public Watch {
 public:
  struct State {
    unique_function<void(WatchEvent)> on_event;
    unique_function<void(ApiError)> on_end;
    std::string pending;
    int status = 0;
    Milliseconds retry_after{0};
    bool over = false;
    std::optional<runtime::Timer> head_timer;

    void end(ApiError error) {
      if (over) return;
      over = true;
      if (on_end) on_end(std::move(error));
    }
    void take(std::string_view data) {
      if (over) return;
      pending += data;
      if (status >= 300) return;  // an error's body: told when it is whole
      std::size_t from = 0;
      for (std::size_t at = 0; !over && (at = pending.find('\n', from)) != std::string::npos; from = at + 1) line(pending.substr(from, at - from));
      pending.erase(0, from);
      if (pending.size() > RemoteKubeClient::kMaxWatchLine) end({500, "InternalError", "watch: an event is longer than kMaxWatchLine", {}});
    }
    void line(std::string text) {
      if (text.empty()) return;
      const Bytes bytes(std::move(text));
      if (const Result<wire::ValidatedJson> valid = wire::ValidatedJson::parse(bytes); !valid)
        return end({500, "InternalError", "watch: " + valid.error().message, {}});
      ApiResult<WatchEvent> event = parse_watch_line(bytes);
      if (!event) return end(event.error());
      if (on_event) on_event(std::move(*event));
    }
  };

  RemoteWatch(std::shared_ptr<State> state, std::unique_ptr<net::HttpCall> call) : state_(std::move(state)), call_(std::move(call)) {}
  ~RemoteWatch() override {
    state_->over = true;
    state_->head_timer.reset();
    call_->cancel();
  }

 private:
  std::shared_ptr<State> state_;
  std::unique_ptr<net::HttpCall> call_;
};

}  // namespace

RemoteKubeClient::RemoteKubeClient(const Runtime& runtime, RemoteOptions options) : impl_(std::make_shared<Impl>(runtime, std::move(options))) {}
RemoteKubeClient::~RemoteKubeClient() = default;

void RemoteKubeClient::get(const Resource& resource, const std::string& ns, const std::string& name, Done<Bytes> done) {
  impl_->fetch(impl_->request("GET", object_path(resource, ns, name, "")), std::move(done));
}

void RemoteKubeClient::list(const Resource& resource, ListOptions options, Done<ObjectList> done) {
  std::string target = object_path(resource, options.ns, "", "") + "?";
  if (const std::string selectors = selector_query(options); !selectors.empty()) target += selectors + "&";
  impl_->list_page(std::move(target), "", kPageSize, {}, std::move(done));
}

std::unique_ptr<Watch> RemoteKubeClient::watch(const Resource& resource, ListOptions options, const std::string& resource_version,
                                               unique_function<void(WatchEvent)> on_event, unique_function<void(ApiError)> on_end) {
  const int seconds = kWatchSeconds + static_cast<int>(impl_->random() % kWatchSeconds);  // not all watches in the same second
  std::string target = object_path(resource, options.ns, "", "") + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=" + std::to_string(seconds) +
                       "&resourceVersion=" + resource_version;
  if (const std::string selectors = selector_query(options); !selectors.empty()) target += "&" + selectors;
  auto state = std::make_shared<RemoteWatch::State>();
  state->on_event = std::move(on_event);
  state->on_end = std::move(on_end);
  state->head_timer.emplace(impl_->runtime);
  // Weak: the timer is a part of the state.
  state->head_timer->start(kWatchHeadTimeout, [weak = std::weak_ptr(state)] {
    if (const auto alive = weak.lock()) alive->end({0, "", "watch: no answer within " + std::to_string(kWatchHeadTimeout.count()) + " ms", {}});
  });
  auto call = impl_->http->stream(
      impl_->authorized(impl_->request("GET", target)),
      [state](const net::HttpResponse& head) {
        if (state->head_timer) state->head_timer->cancel();
        state->status = head.status;
        state->retry_after = retry_after(head.headers);
      },
      [state](std::string_view data) { state->take(data); },
      [state](Result<void> ended) {
        if (state->head_timer) state->head_timer->cancel();
        if (!ended) return state->end({0, "", ended.error().message, {}});
        if (state->status >= 300) {
          ApiError error = parse_error(state->status, Bytes(state->pending));
          error.retry_after = state->retry_after;
          return state->end(std::move(error));
        }
        state->end({200, "", "the watch ended", {}});
      });
  return std::make_unique<RemoteWatch>(std::move(state), std::move(call));
}

void RemoteKubeClient::create(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                              Bytes object, Done<Bytes> done) {
  impl_->fetch(impl_->request("POST", object_path(resource, ns, subresource.empty() ? "" : name, subresource), std::move(object)), std::move(done));
}

void RemoteKubeClient::update(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                              Bytes object, Done<Bytes> done) {
  impl_->fetch(impl_->request("PUT", object_path(resource, ns, name, subresource), std::move(object)), std::move(done));
}

void RemoteKubeClient::patch(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                             PatchType type, Bytes patch, Done<Bytes> done) {
  impl_->fetch(impl_->request("PATCH", object_path(resource, ns, name, subresource), std::move(patch), content_type(type)), std::move(done));
}

void RemoteKubeClient::remove(const Resource& resource, const std::string& ns, const std::string& name, Bytes options, Done<Bytes> done) {
  impl_->fetch(impl_->request("DELETE", object_path(resource, ns, name, ""), std::move(options)), std::move(done));
}

}  // namespace kubeedge::kube
