#include "kube/client/remote_client.h"

#include "kube/client/api_wire.h"
#include "runtime/timer.h"
#include "wire/validated_json.h"

namespace kubeedge::kube {

struct RemoteKubeClient::Impl : std::enable_shared_from_this<RemoteKubeClient::Impl> {
  Impl(const Runtime& r, RemoteOptions o) : runtime(r), options(std::move(o)) {
    net::HttpClientOptions http_options;
    http_options.dial.tls = options.tls;
    http_options.limits.max_body_bytes = kMaxListBody;
    http = net::HttpClient::create(runtime, options.endpoint, std::move(http_options));
  }

  Runtime runtime;
  RemoteOptions options;
  std::unique_ptr<net::HttpClient> http;

  net::HttpRequest request(std::string method, std::string target, Bytes body = {}, const char* type = "application/json") const {
    net::HttpRequest out;
    out.method = std::move(method);
    out.target = std::move(target);
    out.headers = {{"Accept", "application/json"}, {"User-Agent", "libkubeedge"}};
    if (!options.bearer_token.empty()) out.headers.emplace_back("Authorization", "Bearer " + options.bearer_token);
    if (!body.empty()) out.headers.emplace_back("Content-Type", type);
    out.body = std::move(body);
    return out;
  }

  // One exchange; the answer is validated here, once.
  void fetch(net::HttpRequest out, KubeClient::Done<Bytes> done) {
    http->fetch(std::move(out), [weak = weak_from_this(), done = std::move(done)](Result<net::HttpResponse> answer) mutable {
      if (weak.expired() || !done) return;
      if (!answer) return done(ApiError{0, "", answer.error().message, {}});
      Result<wire::ValidatedJson> valid = wire::ValidatedJson::parse(answer->body);
      if (answer->status >= 300) return done(valid ? parse_error(answer->status, answer->body) : parse_error(answer->status, {}));
      if (!valid) return done(ApiError{500, "InternalError", "the API's answer is not JSON: " + valid.error().message, {}});
      done(std::move(answer->body));
    });
  }

  void list_page(std::string target, std::string token, ObjectList so_far, KubeClient::Done<ObjectList> done) {
    std::string page = target + "limit=" + std::to_string(kPageSize);
    if (!token.empty()) page += "&continue=" + token;
    fetch(request("GET", std::move(page)), [self = shared_from_this(), target, so_far = std::move(so_far), done = std::move(done)](ApiResult<Bytes> body) mutable {
      if (!body) return done(body.error());
      std::string more;
      std::optional<ObjectList> part = parse_list(*body, more);
      if (!part) return done(ApiError{500, "InternalError", "list: the answer is no list", {}});
      so_far.resource_version = part->resource_version;
      for (Bytes& item : part->items) so_far.items.push_back(std::move(item));
      if (more.empty()) return done(std::move(so_far));
      self->list_page(std::move(target), std::move(more), std::move(so_far), std::move(done));
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
    bool over = false;

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
  impl_->list_page(std::move(target), "", {}, std::move(done));
}

std::unique_ptr<Watch> RemoteKubeClient::watch(const Resource& resource, ListOptions options, const std::string& resource_version,
                                               unique_function<void(WatchEvent)> on_event, unique_function<void(ApiError)> on_end) {
  std::string target = object_path(resource, options.ns, "", "") + "?watch=true&allowWatchBookmarks=true&resourceVersion=" + resource_version;
  if (const std::string selectors = selector_query(options); !selectors.empty()) target += "&" + selectors;
  auto state = std::make_shared<RemoteWatch::State>();
  state->on_event = std::move(on_event);
  state->on_end = std::move(on_end);
  auto call = impl_->http->stream(
      impl_->request("GET", std::move(target)), [state](const net::HttpResponse& head) { state->status = head.status; },
      [state](std::string_view data) { state->take(data); },
      [state](Result<void> ended) {
        if (!ended) return state->end({0, "", ended.error().message, {}});
        if (state->status >= 300) return state->end(parse_error(state->status, Bytes(state->pending)));
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
