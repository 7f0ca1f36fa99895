#include "kube/client/local_client.h"

#include "kube/client/api_wire.h"
#include "runtime/timer.h"

namespace kubeedge::kube {

struct LocalKubeClient::Impl {
  Runtime runtime;
  ApiServer& server;
  UserInfo user;
};

namespace {

// Takes one whole answer and posts it, if the client still lives by then.
class OneAnswer final : public ApiResponder {
 public:
  OneAnswer(Runtime runtime, std::weak_ptr<void> owner, unique_function<void(int, Bytes)> done)
      : runtime_(std::move(runtime)), owner_(std::move(owner)), done_(std::move(done)) {}

  void reply(int status, std::string /*content_type*/, Bytes body) override {
    if (!done_) return;
    runtime::post(runtime_, [owner = owner_, done = std::move(done_), status, body = std::move(body)]() mutable {
      if (owner.lock()) done(status, std::move(body));
    });
    done_ = nullptr;
  }
  void begin_stream(std::string) override {}
  void stream(Bytes) override {}
  void end_stream() override {}
  void on_closed(unique_function<void()>) override {}  // an in-process caller does not leave

 private:
  Runtime runtime_;
  std::weak_ptr<void> owner_;
  unique_function<void(int, Bytes)> done_;
};

// One watch: shared by the server (as responder) and the caller's Watch handle.
class WatchAnswer final : public ApiResponder, public std::enable_shared_from_this<WatchAnswer> {
 public:
  WatchAnswer(Runtime runtime, std::weak_ptr<void> owner, unique_function<void(WatchEvent)> on_event, unique_function<void(ApiError)> on_end)
      : runtime_(std::move(runtime)), owner_(std::move(owner)), on_event_(std::move(on_event)), on_end_(std::move(on_end)) {}

  void reply(int status, std::string, Bytes body) override { finish(parse_error(status, body)); }
  void begin_stream(std::string) override {}
  void stream(Bytes line) override {
    runtime::post(runtime_, [self = shared_from_this(), line = std::move(line)] {
      if (!self->live()) return;
      ApiResult<WatchEvent> event = parse_watch_line(line);
      if (event) {
        self->on_event_(std::move(*event));
      } else {
        self->ended(event.error());
      }
    });
  }
  void end_stream() override { finish(ApiError{200, "", "the watch ended", {}}); }
  void on_closed(unique_function<void()> gone) override {
    if (cancelled_) {
      if (gone) gone();
      return;
    }
    gone_ = std::move(gone);
  }

  void cancel() {
    cancelled_ = true;
    if (unique_function<void()> gone = std::move(gone_)) gone();
    gone_ = nullptr;
  }

 private:
  bool live() const { return !cancelled_ && !owner_.expired(); }
  void finish(ApiError error) {
    runtime::post(runtime_, [self = shared_from_this(), error = std::move(error)] {
      if (self->live()) self->ended(error);
    });
  }
  void ended(ApiError error) {
    cancelled_ = true;
    if (on_end_) on_end_(std::move(error));
  }

  Runtime runtime_;
  std::weak_ptr<void> owner_;
  unique_function<void(WatchEvent)> on_event_;
  unique_function<void(ApiError)> on_end_;
  unique_function<void()> gone_;
  bool cancelled_ = false;
};

class LocalWatch final : public Watch {
 public:
  explicit LocalWatch(std::shared_ptr<WatchAnswer> answer) : answer_(std::move(answer)) {}
  ~LocalWatch() override { answer_->cancel(); }

 private:
  std::shared_ptr<WatchAnswer> answer_;
};

ApiRequest request(const UserInfo& user, std::string method, std::string path, Bytes body = {}) {
  ApiRequest out;
  out.method = std::move(method);
  out.path = std::move(path);
  out.accept = "application/json";
  out.content_type = "application/json";
  out.user_agent = "cloudcore";
  out.body = std::move(body);
  out.user = user;
  return out;
}

unique_function<void(int, Bytes)> object_answer(KubeClient::Done<Bytes> done) {
  return [done = std::move(done)](int status, Bytes body) mutable {
    if (!done) return;
    if (status >= 300) return done(parse_error(status, body));
    done(std::move(body));
  };
}

}  // namespace

LocalKubeClient::LocalKubeClient(const Runtime& runtime, ApiServer& server, UserInfo user)
    : impl_(std::make_shared<Impl>(Impl{runtime, server, std::move(user)})) {}
LocalKubeClient::~LocalKubeClient() = default;

void LocalKubeClient::get(const Resource& resource, const std::string& ns, const std::string& name, Done<Bytes> done) {
  impl_->server.handle(request(impl_->user, "GET", object_path(resource, ns, name, "")),
                       std::make_shared<OneAnswer>(impl_->runtime, impl_, object_answer(std::move(done))));
}

void LocalKubeClient::list(const Resource& resource, ListOptions options, Done<ObjectList> done) {
  ApiRequest out = request(impl_->user, "GET", object_path(resource, options.ns, "", ""));
  out.query = selector_query(options);
  impl_->server.handle(std::move(out), std::make_shared<OneAnswer>(impl_->runtime, impl_, [done = std::move(done)](int status, Bytes body) mutable {
    if (status >= 300) return done(parse_error(status, body));
    std::string more;
    std::optional<ObjectList> list = parse_list(body, more);
    if (!list) return done(ApiError{500, "InternalError", "list: the answer is no list", {}});
    done(std::move(*list));
  }));
}

std::unique_ptr<Watch> LocalKubeClient::watch(const Resource& resource, ListOptions options, const std::string& resource_version,
                                              unique_function<void(WatchEvent)> on_event, unique_function<void(ApiError)> on_end) {
  ApiRequest out = request(impl_->user, "GET", object_path(resource, options.ns, "", ""));
  out.query = "watch=true&allowWatchBookmarks=true&resourceVersion=" + resource_version;
  if (const std::string selectors = selector_query(options); !selectors.empty()) out.query += "&" + selectors;
  auto answer = std::make_shared<WatchAnswer>(impl_->runtime, impl_, std::move(on_event), std::move(on_end));
  impl_->server.handle(std::move(out), answer);
  return std::make_unique<LocalWatch>(std::move(answer));
}

void LocalKubeClient::create(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                             Bytes object, Done<Bytes> done) {
  // Without a subresource a create goes to the collection.
  impl_->server.handle(request(impl_->user, "POST", object_path(resource, ns, subresource.empty() ? "" : name, subresource), std::move(object)),
                       std::make_shared<OneAnswer>(impl_->runtime, impl_, object_answer(std::move(done))));
}

void LocalKubeClient::update(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                             Bytes object, Done<Bytes> done) {
  impl_->server.handle(request(impl_->user, "PUT", object_path(resource, ns, name, subresource), std::move(object)),
                       std::make_shared<OneAnswer>(impl_->runtime, impl_, object_answer(std::move(done))));
}

void LocalKubeClient::patch(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                            PatchType type, Bytes patch, Done<Bytes> done) {
  ApiRequest out = request(impl_->user, "PATCH", object_path(resource, ns, name, subresource), std::move(patch));
  out.content_type = content_type(type);
  impl_->server.handle(std::move(out), std::make_shared<OneAnswer>(impl_->runtime, impl_, object_answer(std::move(done))));
}

void LocalKubeClient::remove(const Resource& resource, const std::string& ns, const std::string& name, Bytes options, Done<Bytes> done) {
  impl_->server.handle(request(impl_->user, "DELETE", object_path(resource, ns, name, ""), std::move(options)),
                       std::make_shared<OneAnswer>(impl_->runtime, impl_, object_answer(std::move(done))));
}

}  // namespace kubeedge::kube
