#include "kube/client/informer.h"

#include <algorithm>
#include <random>

#include "base/text.h"
#include "kube/client/api_wire.h"
#include "runtime/timer.h"

namespace kubeedge::kube {
namespace {

constexpr Milliseconds kFirstBackoff{250};
constexpr Milliseconds kLastBackoff{10'000};
constexpr int kMaxFollows = 5;   // fruitless tries to go on where we were; then the list is read again

struct Known {
  std::string ns, name, uid, version;
  std::uint64_t seen = 0;  // the list in which it was last seen
};

// What the informer needs of an object: three short strings of its metadata.
Known identify(const Bytes& object) {
  Known known;
  const std::optional<Bytes> meta = member(object, "metadata");
  if (!meta) return known;
  known.ns = string_member(*meta, "namespace");
  known.name = string_member(*meta, "name");
  known.uid = string_member(*meta, "uid");
  known.version = string_member(*meta, "resourceVersion");
  return known;
}

}  // namespace

struct Informer::Impl : std::enable_shared_from_this<Informer::Impl> {
  Impl(const Runtime& r, KubeClient& c, Resource res, ListOptions o, Handlers h)
      : runtime(r), client(c), resource(std::move(res)), options(std::move(o)), handlers(std::move(h)), timer(r) {}

  Runtime runtime;
  KubeClient& client;
  Resource resource;
  ListOptions options;
  Handlers handlers;
  runtime::Timer timer;
  std::unique_ptr<Watch> watch;
  std::map<std::string, Known> known;  // by "ns/name"
  std::string api_version, kind;       // as the objects say them, for the stub of a vanished one
  std::string version;                 // the newest revision that was told
  std::uint64_t lists = 0;
  Milliseconds backoff = kFirstBackoff;
  int follows = 0;                     // watches in a row that ended with an error and told nothing
  std::string last_error;
  std::minstd_rand random{std::random_device{}()};
  bool stopped = false;

  void list() {
    if (stopped) return;
    client.list(resource, options, [weak = weak_from_this()](ApiResult<ObjectList> result) {
      const std::shared_ptr<Impl> self = weak.lock();
      if (!self || self->stopped) return;
      if (!result) return self->retry(result.error());
      self->backoff = kFirstBackoff;
      self->follows = 0;
      self->last_error.clear();
      self->take(*result);
    });
  }

  // The waits of a crowd are spread: between a half and the whole of the back-off, never shorter than the server asked for.
  Milliseconds next_wait(const ApiError& error) {
    const auto half = static_cast<std::uint64_t>(backoff.count() / 2);
    const Milliseconds wait{static_cast<std::int64_t>(half + random() % (half + 1))};
    backoff = std::min(backoff * 2, kLastBackoff);
    return std::max(wait, error.retry_after);
  }

  void retry(const ApiError& error) {
    const Milliseconds wait = next_wait(error);
    complain(error, "listing again", wait);
    timer.start(wait, [weak = weak_from_this()] {
      if (const std::shared_ptr<Impl> self = weak.lock()) self->list();
    });
  }

  // A reason is logged when it changes: an outage of a night is one line for each resource.
  void complain(const ApiError& error, const char* what, Milliseconds wait) {
    if (error.message == last_error) return;
    last_error = error.message;
    base::log(runtime.log(), LogLevel::kWarning, "informer", "{}: {}; {} in {} ms", resource.plural, error.message, what, wait.count());
  }

  void take(ObjectList& result) {
    ++lists;
    version = result.resource_version;
    for (Bytes& object : result.items) upsert(std::move(object));
    std::vector<Known> vanished;
    for (auto entry = known.begin(); entry != known.end();) {
      if (entry->second.seen == lists) {
        ++entry;
        continue;
      }
      vanished.push_back(entry->second);
      entry = known.erase(entry);
    }
    for (const Known& gone : vanished) tell_delete(stub(gone));
    if (!stopped && handlers.on_synced) handlers.on_synced();
    if (!stopped) follow();
  }

  void upsert(Bytes object) {
    Known now = identify(object);
    if (now.name.empty()) return;
    now.seen = lists;
    if (api_version.empty()) {
      api_version = string_member(object, "apiVersion");
      kind = string_member(object, "kind");
    }
    Known& before = known[now.ns + "/" + now.name];
    const bool replaced = !before.uid.empty() && before.uid != now.uid;
    const bool same = before.uid == now.uid && before.version == now.version && !now.version.empty();
    const Known gone = before;
    before = std::move(now);
    if (replaced) tell_delete(stub(gone));  // deleted and made again while nobody looked
    if (!same && !stopped && handlers.on_upsert) handlers.on_upsert(std::move(object));
  }

  // The last state is not kept: what is known of it, in an object's shape.
  Bytes stub(const Known& gone) const {
    std::string text = R"({"apiVersion":")" + api_version + R"(","kind":")" + kind + R"(","metadata":{"name":")" + gone.name + "\"";
    if (!gone.ns.empty()) text += R"(,"namespace":")" + gone.ns + "\"";
    return Bytes(text + R"(,"uid":")" + gone.uid + R"(","resourceVersion":")" + gone.version + R"("}})");
  }

  void tell_delete(Bytes object) {
    if (!stopped && handlers.on_delete) handlers.on_delete(std::move(object));
  }

  void follow() {
    watch = client.watch(
        resource, options, version,
        [weak = weak_from_this()](WatchEvent event) {
          if (const std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->on_event(std::move(event));
        },
        [weak = weak_from_this()](ApiError error) {
          if (const std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->on_end(error);
        });
  }

  void on_event(WatchEvent event) {
    const Known now = identify(event.object);
    if (!now.version.empty()) version = now.version;
    backoff = kFirstBackoff;
    follows = 0;
    last_error.clear();
    switch (event.type) {
      case WatchEventType::kBookmark: return;
      case WatchEventType::kDeleted:
        known.erase(now.ns + "/" + now.name);
        return tell_delete(std::move(event.object));
      case WatchEventType::kAdded:
      case WatchEventType::kModified: return upsert(std::move(event.object));
    }
  }

  void on_end(const ApiError& error) {
    // The server ends watches in good order now and then, and a connection breaks: go on from where we are. Never from inside
    // the old watch. Only a revision that the server no longer has (410), or a refusal, asks for the whole list.
    const bool go_on = error.code == 200 || (transient(error) && ++follows <= kMaxFollows);
    if (!go_on) return retry(error);
    const Milliseconds wait = error.code == 200 ? kFirstBackoff : next_wait(error);
    if (error.code != 200) complain(error, "watching again", wait);
    timer.start(wait, [weak = weak_from_this()] {
      if (const std::shared_ptr<Impl> self = weak.lock(); self && !self->stopped) self->follow();
    });
  }
};

Informer::Informer(const Runtime& runtime, KubeClient& client, Resource resource, ListOptions options, Handlers handlers)
    : impl_(std::make_shared<Impl>(runtime, client, std::move(resource), std::move(options), std::move(handlers))) {}

Informer::~Informer() {
  impl_->stopped = true;
  impl_->watch.reset();
  impl_->timer.cancel();
}

void Informer::start() { impl_->list(); }

}  // namespace kubeedge::kube
