#include "kube/rest/api_server.h"

#include <algorithm>
#include <map>

#include "base/json.h"
#include "base/text.h"
#include "kube/patch/patch.h"
#include "kube/rest/access.h"
#include "kube/rest/body.h"
#include "kube/rest/deletion.h"
#include "kube/rest/discovery.h"
#include "kube/rest/object.h"
#include "kube/rest/ownership.h"
#include "kube/rest/page.h"
#include "kube/rest/protobuf_body.h"
#include "kube/rest/request.h"
#include "kube/rest/review.h"
#include "kube/rest/scale.h"
#include "kube/rest/selector.h"
#include "kube/rest/status.h"
#include "kube/rest/table.h"
#include "kube/rest/watch.h"
#include "kube/schema/openapi.h"

namespace kubeedge::kube {

using namespace rest;
using schema::Kind;

namespace {

constexpr int kMaxRaces = 5;                            // a patch that lost this many races answers 409
constexpr int kGenerateNameTries = 8;
constexpr std::int64_t kDefaultPodGrace = 30;
constexpr std::int64_t kEventSeconds = 3600;            // Events older than this are swept, as kube-apiserver's --event-ttl has it
constexpr std::int64_t kEventSweepSeconds = 60;
constexpr std::size_t kMaxQuotedPatch = 2000;           // bytes of a patch that an error repeats
constexpr std::string_view kProtectedNamespaces[] = {"default", "kube-system", "kube-public"};

Json parsed(const StoredObject& object) { return base::parse_json(object.json); }

// One request under way.
struct Call {
  ApiRequest request;
  std::shared_ptr<ApiResponder> responder;
  const Kind* kind = nullptr;
  Target target;
  Query query;
  Accept accept;
  Attributes wanted;
  std::int64_t now_unix_s = 0;
  bool applies = false;     // a server-side apply: it has told whose the fields are

  bool scale() const { return target.subresource == "scale"; }
  const Kind& body_kind() const { return scale() ? scale_kind() : *kind; }
  StorageKey key() const { return {kind->storage_resource(), target.ns, target.name}; }
  WriteContext context() const {
    const bool must_name_version = request.method == "PUT" && (kind->custom || kind->kind == "Lease");
    return {*kind, target.ns, target.name, query.field_validation, now_unix_s, must_name_version};
  }
  WriteContext body_context() const {
    return {body_kind(), target.ns, target.name, query.field_validation, now_unix_s};
  }

  patch::Writer writer() const { return writer_of(*kind, target.subresource, query, request.user_agent, now_unix_s); }
  // `next`, as it is stored in place of `live`, with its managedFields.
  Json owned(const Json& live, Json next) const {
    return applies ? std::move(next) : patch::track_update(*kind->object, live, std::move(next), writer());
  }

  void reply(int status, const Json& body) const {
    responder->reply(status, "application/json", Bytes(base::dump_json(body) + "\n"));
  }
  void fail(const Failure& failure) const { reply(failure.code, failure.status()); }

  void object(int status, const Bytes& json) const {
    if (scale()) return reply(status, scale_of(base::parse_json(json)));
    if (!accept.table && !accept.metadata_only) return responder->reply(status, "application/json", json);
    const Json value = base::parse_json(json);
    if (accept.metadata_only) return reply(status, partial_metadata(value));
    reply(status, table(*kind, std::span(&value, 1), accept.table_version, accept.include_object, meta(value, "resourceVersion"), now_unix_s, true));
  }
};
using CallPtr = std::shared_ptr<Call>;

// The options of a DELETE with or without a body.
std::variant<DeleteOptions, Failure> options_of(const Call& call) {
  if (call.request.body.empty()) return delete_options(call.query, Json());
  auto body = parse_body(call.request.body.view(), nullptr);
  if (auto* failure = std::get_if<Failure>(&body)) return std::move(*failure);
  return delete_options(call.query, std::get<Json>(body));
}

std::string plain_media_type(std::string_view content_type) {
  std::string type = base::lower(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  return type;
}

}  // namespace

struct ApiServer::Impl : std::enable_shared_from_this<ApiServer::Impl> {
  Impl(Storage& s, const Clock& c, ApiServerOptions o, ApiServerHooks h) : storage(s), clock(c), options(std::move(o)), hooks(std::move(h)) {}

  Storage& storage;
  const Clock& clock;
  ApiServerOptions options;
  ApiServerHooks hooks;
  std::map<std::uint64_t, std::unique_ptr<WatchStream>> watches;
  std::uint64_t next_watch = 0;
  std::int64_t last_event_sweep = 0;

  // ---- the door

  void handle(ApiRequest request, std::shared_ptr<ApiResponder> responder) {
    auto call = std::make_shared<Call>();
    call->request = std::move(request);
    call->responder = std::move(responder);
    call->now_unix_s = clock.unix_ms() / 1000;
    if (call->request.body.size() > options.max_body_bytes) return call->fail(too_large(options.max_body_bytes));
    call->accept = parse_accept(call->request.accept);
    Result<std::optional<Target>> target = parse_target(call->request.path);
    if (!target) return call->fail(target.error().code == Errc::kNotFound ? path_not_found() : bad_request(target.error().message));
    if (*target) call->target = **target;
    Result<Query> query = parse_query(call->request.query);
    if (!query) return call->fail(bad_request(query.error().message));
    call->query = std::move(*query);
    if (!call->query.include_object.empty()) call->accept.include_object = call->query.include_object;
    call->kind = schema::find(call->target.group, call->target.version, call->target.plural);
    if (call->kind == nullptr) call->kind = schema::find_review(call->target.group, call->target.version, call->target.plural);
    if (!authorized(*call, *target ? &call->target : nullptr)) return;
    if (!*target) return answer_path(*call);

    if (call->target.plural.empty()) return discover(*call);
    if (call->kind == nullptr) return call->fail(path_not_found());
    if (call->kind->namespaced ? call->target.ns.empty() && !call->target.name.empty() : !call->target.ns.empty()) return call->fail(path_not_found());
    if (!call->accept.json) return call->fail({406, "NotAcceptable", "only the following media types are accepted: application/json", Json()});
    if (plain_media_type(call->request.content_type) == kProtobufType && !call->request.body.empty()) {
      auto json = json_of_protobuf(call->request.body.view());
      if (const auto* failure = std::get_if<Failure>(&json)) return call->fail(*failure);
      call->request.body = Bytes(base::dump_json(std::get<Json>(json)));
      call->request.content_type = "application/json";
    }
    is_review(*call->kind) ? answer_review(call) : dispatch(call);
  }

  std::optional<PodStream> pod_stream(ApiRequest request, std::shared_ptr<ApiResponder> responder) {
    Call call;
    call.request = std::move(request);
    call.responder = std::move(responder);
    call.kind = schema::find("", "v1", "pods");
    call.target = std::move(**parse_target(call.request.path));   // is_pod_stream() read it
    if (!authorized(call, &call.target)) return std::nullopt;
    const std::string& method = call.request.method;
    const bool log = call.target.subresource == "log";
    if (method != "GET" && (log || method != "POST")) {
      call.fail(method_not_allowed("the server does not allow this method on the requested resource"));
      return std::nullopt;
    }
    const auto found = storage.get(call.key());
    auto stream = found ? rest::pod_stream(parsed(*found), call.target.subresource, call.request.query)
                        : std::variant<PodStream, Failure>(not_found(*call.kind, call.target.name));
    if (const auto* failure = std::get_if<Failure>(&stream)) {
      call.fail(*failure);
      return std::nullopt;
    }
    PodStream& out = std::get<PodStream>(stream);
    if (!out.node.empty()) return std::move(out);
    call.responder->reply(204, "text/plain", Bytes());
    return std::nullopt;
  }

  static bool is_review(const Kind& kind) { return schema::find_review(kind.group, kind.version, kind.plural) == &kind; }

  void answer_review(const CallPtr& call) {
    if (call->request.method != "POST" || !call->target.name.empty())
      return call->fail(method_not_allowed("the server does not allow this method on the requested resource"));
    auto body = decode_object({*call->kind, "", "", call->query.field_validation, call->now_unix_s}, call->request.body.view());
    if (const auto* failure = std::get_if<Failure>(&body)) return call->fail(*failure);
    auto answer = review(*call->kind, std::get<Json>(std::move(body)), call->target.ns, call->request.user, hooks);
    if (const auto* failure = std::get_if<Failure>(&answer)) return call->fail(*failure);
    call->reply(201, std::get<Json>(answer));
  }

  // Who asks, in whose place, and whether he may: before any answer, so that a refusal tells nothing. Answers 403 itself.
  bool authorized(Call& call, const Target* target) {
    if (call.request.as) {
      for (const Attributes& wanted : impersonation(*call.request.as))
        if (!allowed(call, wanted)) return false;
      call.request.user = impersonated(std::move(*call.request.as));
    }
    call.wanted = attributes_of(call.request, target, call.kind, call.query);
    return allowed(call, call.wanted);
  }

  bool allowed(const Call& call, const Attributes& wanted) {
    const Verdict verdict = hooks.authorize(call.request.user, wanted);
    if (!verdict.allowed) refuse(call, wanted, refused(call.request.user, wanted, verdict.reason), verdict.reason);
    return verdict.allowed;
  }

  void refuse(const Call& call, const Attributes& wanted, const Failure& failure, const std::string& why) {
    if (hooks.audit) hooks.audit(call.request.user, wanted, why);
    call.fail(failure);
  }

  // Paths that name no kind.
  void answer_path(const Call& call) {
    std::string path = call.request.path;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    if (call.request.method != "GET") {
      call.fail(path_not_found());
    } else if (path == "/healthz" || path == "/livez" || path == "/readyz") {
      call.responder->reply(200, "text/plain", "ok");
    } else {
      describe(call, path);
    }
  }

  void describe(const Call& call, const std::string& path) {
    if (path == "/version") {
      call.reply(200, version_info(options.git_version));
    } else if (path == "/api") {
      call.reply(200, api_versions());
    } else if (path == "/apis") {
      call.reply(200, api_group_list());
    } else if (path == "/openapi/v2") {
      if (call.accept.openapi_protobuf) {
        call.responder->reply(200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", Bytes(schema::openapi_v2_protobuf(options.git_version)));
      } else {
        call.responder->reply(200, "application/json", Bytes(schema::openapi_v2_json(options.git_version)));
      }
    } else if (path == "/") {
      call.reply(200, {{"paths", {"/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/readyz", "/version"}}});
    } else {
      const auto group = path.starts_with("/apis/") ? api_group(path.substr(6)) : std::nullopt;
      group ? call.reply(200, *group) : call.fail(path_not_found());
    }
  }

  void discover(const Call& call) {
    if (call.request.method != "GET") return call.fail(method_not_allowed("discovery is read by GET"));
    const auto list = api_resource_list(call.target.group, call.target.version);
    list ? call.reply(200, *list) : call.fail(path_not_found());
  }

  void dispatch(const CallPtr& call) {
    const std::string& sub = call->target.subresource;
    const bool named = !call->target.name.empty();
    const Kind& kind = *call->kind;
    const std::string& verb = call->wanted.verb;
    if (verb.empty()) return call->fail(method_not_allowed("the server does not allow this method on the requested resource"));

    const bool core = kind.group.empty();
    if (core && kind.kind == "Pod" && sub == "binding" && verb == "create") return bind(call);
    if (core && kind.kind == "ServiceAccount" && sub == "token" && verb == "create") return issue_token(call);
    if (core && kind.kind == "Pod" && sub == "eviction" && verb == "create") return evict(call);
    if (core && kind.kind == "Pod" && (rest::is_pod_stream(sub) || sub == "proxy"))
      return call->fail({501, "NotImplemented", fmt::format("pods/{} is not served here", sub), Json()});
    if (!sub.empty() && !(sub == "status" && kind.status) && !(call->scale() && kind.scale)) return call->fail(path_not_found());

    if (verb == "get") return get(call);
    if (verb == "list") return list(call);
    if (verb == "watch") return watch(call);
    const bool everywhere = kind.namespaced && call->target.ns.empty();  // such a path is read, not written
    if (verb == "create" && !named && !everywhere) return create(call);
    if (verb == "update" && named) return update(call);
    if (verb == "patch" && named) return patch(call);
    if (verb == "delete" && sub.empty()) return remove(call);
    if (verb == "deletecollection" && !everywhere) return remove_collection(call);
    call->fail(method_not_allowed("the server does not allow this method on the requested resource"));
  }

  // ---- reads

  void get(const CallPtr& call) {
    const auto found = storage.get(call->key());
    if (!found) return call->fail(not_found(*call->kind, call->target.name));
    call->object(200, found->json);
  }

  struct Selectors {
    LabelSelector labels;
    FieldSelector fields;
    bool empty() const { return labels.empty() && fields.empty(); }
    bool matches(const Json& object) const { return labels.matches(object) && fields.matches(object); }
  };

  std::variant<Selectors, Failure> selectors(const Call& call) {
    Result<LabelSelector> labels = LabelSelector::parse(call.query.label_selector);
    if (!labels) return bad_request(labels.error().message);
    Result<FieldSelector> fields = FieldSelector::parse(*call.kind, call.query.field_selector);
    if (!fields) return bad_request(fields.error().message);
    return Selectors{std::move(*labels), std::move(*fields)};
  }

  // One page of a list: what is in it, and how it goes on.
  struct Page {
    std::vector<std::pair<StoredObject, Json>> objects;   // the value is parsed where a selector or the form needs it
    std::uint64_t revision = 0;
    std::string next;                                     // the continue token
    std::optional<std::int64_t> remaining;                // not known where a selector chooses

    Json metadata() const {
      Json out = {{"resourceVersion", std::to_string(revision)}};
      if (!next.empty()) out["continue"] = next;
      if (remaining) out["remainingItemCount"] = *remaining;
      return out;
    }
  };

  std::variant<Page, Failure> page(const Call& call) {
    auto chosen = selectors(call);
    if (auto* failure = std::get_if<Failure>(&chosen)) return std::move(*failure);
    const Selectors& wanted = std::get<Selectors>(chosen);
    if (auto failure = check_list(call.query, storage.revision())) return std::move(*failure);
    Page out;
    out.revision = storage.revision();
    PageToken from;
    if (!call.query.continue_token.empty()) {
      auto token = PageToken::parse(call.query.continue_token);
      if (auto* failure = std::get_if<Failure>(&token)) return std::move(*failure);
      from = std::get<PageToken>(std::move(token));
      out.revision = from.revision;
    }
    const bool look_inside = call.accept.table || call.accept.metadata_only || !wanted.empty();
    const auto limit = static_cast<std::size_t>(call.query.limit.value_or(0));
    const std::vector<StoredObject> all = storage.list(call.kind->storage_resource(), call.target.ns);
    for (auto object = all.begin(); object != all.end(); ++object) {
      if (!from.at_or_before(object->key)) continue;
      if (limit != 0 && out.objects.size() == limit) {
        out.next = PageToken{out.revision, object->key.ns, object->key.name}.text();
        if (wanted.empty()) out.remaining = all.end() - object;
        break;
      }
      Json value = look_inside ? parsed(*object) : Json();
      if (look_inside && (value.is_discarded() || !wanted.matches(value))) continue;
      out.objects.emplace_back(*object, std::move(value));
    }
    return out;
  }

  void list(const CallPtr& call) {
    auto read = page(*call);
    if (const auto* failure = std::get_if<Failure>(&read)) return call->fail(*failure);
    Page& page = std::get<Page>(read);
    if (call->accept.table) {
      std::vector<Json> rows;
      for (auto& [object, value] : page.objects) rows.push_back(std::move(value));
      Json body = table(*call->kind, rows, call->accept.table_version, call->accept.include_object, "", call->now_unix_s, true);
      body["metadata"] = page.metadata();
      return call->reply(200, body);
    }
    // Objects are relayed as they are stored.
    const bool metadata_only = call->accept.metadata_only;
    std::string body = fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{},"items":[)", metadata_only ? std::string("PartialObjectMetadata") : std::string(call->kind->kind),
                                   metadata_only ? std::string("meta.k8s.io/v1") : call->kind->api_version(), base::dump_json(page.metadata()));
    const char* separator = "";
    for (const auto& [object, value] : page.objects) {
      body += separator;
      separator = ",";
      if (metadata_only) {
        body += base::dump_json(partial_metadata(value));
      } else {
        body += object.json.view();
      }
    }
    body += "]}\n";
    call->responder->reply(200, "application/json", Bytes(std::move(body)));
  }

  void watch(const CallPtr& call) {
    auto chosen = selectors(*call);
    if (const auto* failure = std::get_if<Failure>(&chosen)) return call->fail(*failure);
    if (watches.size() >= options.max_watches) return call->fail({429, "TooManyRequests", fmt::format("there are {} watches already", watches.size()), Json()});
    Selectors& wanted = std::get<Selectors>(chosen);
    if (!call->target.name.empty()) {
      Result<FieldSelector> one = FieldSelector::parse(*call->kind, "metadata.name=" + call->target.name);
      if (!one) return call->fail(bad_request(one.error().message));
      wanted.fields = std::move(*one);
    }
    WatchOptions watch_options;
    watch_options.kind = call->kind;
    watch_options.ns = call->target.ns;
    watch_options.labels = std::move(wanted.labels);
    watch_options.fields = std::move(wanted.fields);
    watch_options.accept = call->accept;
    watch_options.after = static_cast<std::uint64_t>(base::to_int(call->query.resource_version).value_or(0));
    watch_options.initial = watch_options.after == 0 || call->query.send_initial_events;
    watch_options.bookmarks = call->query.bookmarks;
    watch_options.initial_bookmark = call->query.send_initial_events && call->query.bookmarks;
    auto stream = std::make_unique<WatchStream>(storage, clock, std::move(watch_options), call->responder);
    if (!stream->start()) return;
    const std::uint64_t id = ++next_watch;
    watches[id] = std::move(stream);
    call->responder->on_closed([weak = weak_from_this(), id] {
      if (const auto self = weak.lock()) self->watches.erase(id);
    });
  }

  // ---- writes

  void create(const CallPtr& call) {
    if (const std::string type = plain_media_type(call->request.content_type); !type.empty() && type != "application/json") return call->fail(json_only(type));
    if (const auto failure = check_manager("POST", call->query, false)) return call->fail(*failure);
    if (is_core(*call->kind, "LimitRange") || is_core(*call->kind, "ResourceQuota"))
      return call->fail({501, "NotImplemented", fmt::format("{} are not enforced by this server, so it does not take them", call->kind->plural), Json()});
    Outcome decoded = decode_object(call->context(), call->request.body.view());
    if (const auto* failure = std::get_if<Failure>(&decoded)) return call->fail(*failure);
    if (is_core(*call->kind, "Event")) sweep_events();
    create_from(call, std::get<Json>(std::move(decoded)), 0);
  }

  static bool is_core(const Kind& kind, std::string_view name) { return kind.group.empty() && kind.kind == name; }

  void create_from(const CallPtr& call, const Json& wanted, int tries) {
    Json draft = wanted;
    bool borrowed = false;
    if (is_core(*call->kind, "Pod")) {
      if (const auto account = account_of(*call, draft)) borrowed = borrow_from_account(draft, parsed(*account));
    }
    Outcome prepared = prepare_create(call->context(), std::move(draft), hooks.new_uid(), hooks.random_suffix());
    if (const auto* failure = std::get_if<Failure>(&prepared)) return call->fail(*failure);
    Json object = std::get<Json>(std::move(prepared));
    if (borrowed) object["spec"].erase("automountServiceAccountToken");
    object = call->owned(Json::object(), std::move(object));
    if (const auto failure = admit_create(*call, object)) return call->fail(*failure);
    if (!admitted(*call, Json(), object)) return;
    call->target.name = meta(object, "name");
    if (call->query.dry_run) {
      if (storage.get(call->key())) return call->fail(already_exists(*call->kind, call->target.name));
      return call->object(201, Bytes(base::dump_json(object)));
    }
    const bool generated = meta(wanted, "name").empty();
    storage.put(call->key(), 0, [object](std::uint64_t revision) { return Bytes(with_revision(object, revision)); },
                [self = shared_from_this(), call, wanted, generated, tries](Result<StoredObject> stored) {
                  if (stored) return call->object(201, stored->json);
                  if (stored.error().code != Errc::kAlreadyExists) return call->fail(internal(stored.error().message));
                  if (generated && tries + 1 < kGenerateNameTries) return self->create_from(call, wanted, tries + 1);
                  call->fail(already_exists(*call->kind, call->target.name));
                });
  }

  // The service account that a new pod names, or its namespace's "default".
  std::optional<StoredObject> account_of(const Call& call, const Json& pod) const {
    std::string name;
    if (const auto spec = pod.find("spec"); spec != pod.end() && spec->is_object()) {
      for (const char* field : {"serviceAccountName", "serviceAccount"})
        if (const auto found = spec->find(field); name.empty() && found != spec->end() && found->is_string()) name = found->get<std::string>();
    }
    return storage.get({"core/serviceaccounts", call.target.ns, name.empty() ? "default" : name});
  }

  // Nobody else forgets Events; a new one is the occasion.
  void sweep_events() {
    const std::int64_t now = clock.unix_ms() / 1000;
    if (now - last_event_sweep < kEventSweepSeconds) return;
    last_event_sweep = now;
    for (const StoredObject& object : storage.list("core/events", "")) {
      const Json event = parsed(object);
      std::string time;
      for (const char* field : {"lastTimestamp", "eventTime"})
        if (const auto found = event.find(field); time.empty() && found != event.end() && found->is_string()) time = found->get<std::string>();
      if (time.empty()) time = meta(event, "creationTimestamp");
      if (const auto when = base::from_rfc3339(time); when && now - *when <= kEventSeconds) continue;
      storage.remove(object.key, object.revision, [event](std::uint64_t revision) { return Bytes(with_revision(event, revision)); },
                     [](const Result<StoredObject>&) {});
    }
  }

  static Failure json_only(const std::string& type) {
    return unsupported_media_type(fmt::format("the body of the request was in an unknown format ({}) - accepted media types include: application/json", type.substr(0, 80)));
  }

  // What depends on other objects: the namespace, a pod's service account.
  std::optional<Failure> admit_create(const Call& call, const Json& object) const {
    if (!call.kind->namespaced) return std::nullopt;
    const Kind* namespaces = schema::find("", "v1", "namespaces");
    const auto ns = storage.get({namespaces->storage_resource(), "", call.target.ns});
    if (!ns) return not_found(*namespaces, call.target.ns);
    const std::string name = meta(object, "name");
    if (terminating(parsed(*ns))) {
      Failure out = forbidden(fmt::format("{} \"{}\" is forbidden: unable to create new content in namespace {} because it is being terminated", qualified(*call.kind), name, call.target.ns));
      out.details = {{"name", name}, {"kind", std::string(call.kind->plural)},
                     {"causes", Json::array({{{"reason", "NamespaceTerminating"}, {"message", fmt::format("namespace {} is being terminated", call.target.ns)}, {"field", "metadata.namespace"}}})}};
      return out;
    }
    if (call.kind->group.empty() && call.kind->kind == "Pod") {
      const std::string account = object.value("/spec/serviceAccountName"_json_pointer, "default");
      if (!storage.get({"core/serviceaccounts", call.target.ns, account})) {
        return forbidden(fmt::format("pods \"{}\" is forbidden: error looking up service account {}/{}: serviceaccount \"{}\" not found", name, call.target.ns, account, account));
      }
    }
    return std::nullopt;
  }

  void update(const CallPtr& call) {
    if (const std::string type = plain_media_type(call->request.content_type); !type.empty() && type != "application/json") return call->fail(json_only(type));
    if (const auto failure = check_manager("PUT", call->query, false)) return call->fail(*failure);
    Outcome decoded = decode_object(call->body_context(), call->request.body.view());
    if (const auto* failure = std::get_if<Failure>(&decoded)) return call->fail(*failure);
    const Json& next = std::get<Json>(decoded);
    // Leases and Events may be born by an update, as in Kubernetes.
    const bool born = (call->kind->kind == "Lease" || is_core(*call->kind, "Event")) && call->target.subresource.empty() && meta(next, "resourceVersion").empty();
    if (born && !storage.get(call->key())) {
      if (meta(next, "name") != call->target.name) return call->fail(bad_request("the name of the object does not match the name on the URL"));
      return create_from(call, next, 0);
    }
    modify(call, [next](const Json&) -> Outcome { return next; });
  }

  // Server-side apply: makes the object where there is none.
  void apply(const CallPtr& call) {
    call->applies = true;
    const bool strict = call->query.field_validation == "Strict";
    std::vector<std::string> duplicates;
    auto read = parse_body(call->request.body.view(), strict ? &duplicates : nullptr);
    if (const auto* failure = std::get_if<Failure>(&read)) return call->fail(bad_request(failure->message + " (a server-side apply is read as JSON here, which kubectl and client-go send; YAML is not)"));
    if (!duplicates.empty()) return call->fail(bad_request(fmt::format("strict decoding error: {}", fmt::join(duplicates, ", "))));
    const Json config = std::get<Json>(std::move(read));
    const auto change = [call, config](const Json& live) { return applied(call->context(), live, config, call->writer(), call->query.force.value_or(false)); };
    if (storage.get(call->key())) return modify(call, change);
    if (!call->target.subresource.empty()) return call->fail(not_found(*call->kind, call->target.name));
    Attributes creation = call->wanted;
    creation.verb = "create";
    if (!allowed(*call, creation)) return;
    Outcome fresh = change(Json());
    if (const auto* failure = std::get_if<Failure>(&fresh)) return call->fail(*failure);
    create_from(call, std::get<Json>(fresh), 0);
  }

  void patch(const CallPtr& call) {
    const std::string type = plain_media_type(call->request.content_type);
    const bool strategic = type == "application/strategic-merge-patch+json";
    const bool applying = type == "application/apply-patch+yaml";
    if (const auto failure = check_manager("PATCH", call->query, applying)) return call->fail(*failure);
    if (applying && call->scale())
      return call->fail(unsupported_media_type("a scale is not applied by this server: patch its spec.replicas, or apply the whole object"));
    if (applying) return apply(call);
    if (type != "application/json-patch+json" && type != "application/merge-patch+json" && !(strategic && !call->kind->custom)) {
      return call->fail(unsupported_media_type("the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
                                               "application/merge-patch+json" + std::string(call->kind->custom ? "" : ", application/strategic-merge-patch+json") + ", application/apply-patch+yaml"));
    }
    const bool strict = call->query.field_validation == "Strict";
    std::vector<std::string> duplicates;
    auto parsed_body = parse_body(call->request.body.view(), strict ? &duplicates : nullptr);
    if (const auto* failure = std::get_if<Failure>(&parsed_body)) return call->fail(*failure);
    if (!duplicates.empty()) return call->fail(bad_request(fmt::format("strict decoding error: {}", fmt::join(duplicates, ", "))));
    Json body = std::get<Json>(std::move(parsed_body));
    if (type != "application/json-patch+json" && !body.is_object()) return call->fail(bad_request("the patch is not a JSON object"));
    modify(call, [call, type, strategic, strict, body = std::move(body)](const Json& current) -> Outcome {
      Result<Json> next = strategic ? patch::strategic_merge(current, body, call->body_kind().object)
                          : type == "application/merge-patch+json" ? Result<Json>(patch::merge_patch(current, body))
                                                                   : patch::json_patch(current, body);
      if (!next && next.error().code != Errc::kConflict) return bad_request(next.error().message);
      if (!next) return Failure{422, "Invalid", "the server rejected our request due to an error in our request: " + next.error().message, Json()};
      if (deeper_than(*next, kMaxBodyDepth)) return bad_request(fmt::format("the patched object is nested deeper than {} levels", kMaxBodyDepth));
      const std::vector<std::string> unknown = schema::prune_unknown(call->body_kind(), *next);
      if (strict && !unknown.empty()) {
        const std::string quoted = base::dump_json(Json(call->request.body.str().substr(0, kMaxQuotedPatch)));
        const std::string what = fmt::format("Invalid value: {}: strict decoding error: {}", quoted, fmt::join(unknown, ", "));
        return Failure{422, "Invalid", fmt::format(" \"\" is invalid: patch: {}", what), {{"causes", Json::array({{{"reason", "FieldValueInvalid"}, {"message", what}, {"field", "patch"}}})}}};
      }
      return std::move(*next);
    });
  }

  using Change = std::function<Outcome(const Json& current)>;

  // Reads, changes, writes; reads again when another writer came in between.
  void modify(const CallPtr& call, Change change, int races = 0) {
    const auto found = storage.get(call->key());
    if (!found) return call->fail(not_found(*call->kind, call->target.name));
    const Json current = parsed(*found);
    Outcome changed = change(call->scale() ? scale_of(current) : current);
    if (const Json* wanted = std::get_if<Json>(&changed); wanted != nullptr && call->scale()) changed = rescaled(current, *wanted);
    if (const auto* failure = std::get_if<Failure>(&changed)) return call->fail(*failure);
    Outcome prepared = prepare_update(call->context(), current, std::get<Json>(std::move(changed)), call->scale() ? "" : call->target.subresource);
    if (const auto* failure = std::get_if<Failure>(&prepared)) return call->fail(*failure);
    const Json object = call->owned(current, std::get<Json>(std::move(prepared)));
    if (object == current || patch::same_but_times(object, current)) return call->object(200, found->json);  // nothing to write, as Kubernetes does
    if (!admitted(*call, current, object)) return;
    if (call->query.dry_run) return call->object(200, Bytes(base::dump_json(object)));
    const auto make = [object](std::uint64_t revision) { return Bytes(with_revision(object, revision)); };
    const auto done = [self = shared_from_this(), call, change, races, object](Result<StoredObject> stored) {
      if (stored) return call->object(200, stored->json);
      const Errc code = stored.error().code;
      if (code == Errc::kConflict && races < kMaxRaces) return self->modify(call, change, races + 1);
      call->fail(code == Errc::kConflict   ? modified(*call->kind, call->target.name)
                 : code == Errc::kNotFound ? not_found(*call->kind, call->target.name)
                                           : internal(stored.error().message));
    };
    // The last finalizer of a deleted object is gone: now it may go, too.
    if (terminating(object) && has_finalizers(current) && !has_finalizers(object) && object["metadata"].value("deletionGracePeriodSeconds", 0) == 0) {
      storage.remove(call->key(), found->revision, make, [self = shared_from_this(), done, call, object](Result<StoredObject> stored) {
        const bool gone = stored.ok();
        done(std::move(stored));
        if (gone) self->after_removal(*call->kind, object);
      });
      return;
    }
    storage.put(call->key(), found->revision, make, done);
  }

  void bind(const CallPtr& call) {
    auto parsed_body = parse_body(call->request.body.view(), nullptr);
    if (const auto* failure = std::get_if<Failure>(&parsed_body)) return call->fail(*failure);
    const Json body = std::get<Json>(std::move(parsed_body));
    const std::string node = body.is_object() && body.contains("target") && body["target"].is_object() && body["target"].contains("name") && body["target"]["name"].is_string()
                                 ? body["target"]["name"].get<std::string>() : "";
    if (node.empty()) return call->fail(bad_request("Binding: target.name: Required value"));
    bind_to(call, node, 0);
  }

  void bind_to(const CallPtr& call, const std::string& node, int races) {
    const auto found = storage.get(call->key());
    if (!found) return call->fail(not_found(*call->kind, call->target.name));
    Json pod = parsed(*found);
    if (const std::string assigned = pod.value("/spec/nodeName"_json_pointer, ""); !assigned.empty()) {
      return call->fail(conflict(*call->kind, call->target.name, fmt::format("pod {} is already assigned to node \"{}\"", call->target.name, assigned)));
    }
    if (terminating(pod)) return call->fail(conflict(*call->kind, call->target.name, fmt::format("pod {} is being deleted, cannot be assigned to a host", call->target.name)));
    pod["spec"]["nodeName"] = node;
    Json scheduled = {{"type", "PodScheduled"}, {"status", "True"}, {"lastProbeTime", nullptr}, {"lastTransitionTime", base::rfc3339(call->now_unix_s)}};
    Json& conditions = pod["status"]["conditions"];
    if (!conditions.is_array()) conditions = Json::array();
    conditions.erase(std::remove_if(conditions.begin(), conditions.end(), [](const Json& c) { return c.is_object() && c.value("type", "") == "PodScheduled"; }), conditions.end());
    conditions.push_back(std::move(scheduled));
    storage.put(call->key(), found->revision, [pod](std::uint64_t revision) { return Bytes(with_revision(pod, revision)); },
                [self = shared_from_this(), call, node, races](Result<StoredObject> stored) {
                  if (stored) return call->reply(201, {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Json::object()}, {"status", "Success"}, {"code", 201}});
                  if (stored.error().code == Errc::kConflict && races < kMaxRaces) return self->bind_to(call, node, races + 1);
                  call->fail(internal(stored.error().message));
                });
  }

  // There are no disruption budgets here: an eviction is a deletion that says so.
  void evict(const CallPtr& call) {
    auto parsed_body = parse_body(call->request.body.view(), nullptr);
    if (const auto* failure = std::get_if<Failure>(&parsed_body)) return call->fail(*failure);
    const Json& body = std::get<Json>(parsed_body);
    if (!body.is_object()) return call->fail(bad_request("Eviction: the body is not a JSON object"));
    if (const std::string name = meta(body, "name"); !name.empty() && name != call->target.name)
      return call->fail(bad_request("name in URL does not match name in Eviction object"));
    auto parsed_options = delete_options(call->query, body.value("deleteOptions", Json()));
    if (const auto* failure = std::get_if<Failure>(&parsed_options)) return call->fail(*failure);
    remove_one(*call->kind, call->key(), std::get<DeleteOptions>(parsed_options), [call](const std::variant<Removed, Failure>& outcome) {
      if (const auto* failure = std::get_if<Failure>(&outcome)) return call->fail(*failure);
      call->reply(201, {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", Json::object()}, {"status", "Success"}, {"code", 201}});
    });
  }

  void issue_token(const CallPtr& call) {
    const auto account = storage.get(call->key());
    if (!account) return call->fail(not_found(*call->kind, call->target.name));
    if (const auto body = parse_body(call->request.body.view(), nullptr); const auto* failure = std::get_if<Failure>(&body)) return call->fail(*failure);
    Result<Bytes> token = hooks.issue_token(call->target.ns, call->target.name, account->json, call->request.body);
    if (!token) return call->fail(token.error().code == Errc::kInvalidArgument ? bad_request(token.error().message) : internal(token.error().message));
    call->responder->reply(201, "application/json", *token);
  }

  // Whether our surroundings let it be written; says why not.
  bool admitted(const Call& call, const Json& before, const Json& after) {
    if (!hooks.admit) return true;
    const auto failure = hooks.admit(call.request.user, call.wanted, before, after);
    if (failure && failure->code == 403) refuse(call, call.wanted, *failure, failure->message);
    else if (failure) call.fail(*failure);
    return !failure;
  }

  // ---- deletion

  void remove(const CallPtr& call) {
    auto parsed_options = options_of(*call);
    if (const auto* failure = std::get_if<Failure>(&parsed_options)) return call->fail(*failure);
    const Kind& kind = *call->kind;
    const std::string name = call->target.name;
    if (kind.group.empty() && kind.kind == "Namespace" && std::find(std::begin(kProtectedNamespaces), std::end(kProtectedNamespaces), name) != std::end(kProtectedNamespaces)) {
      return call->fail(forbidden(fmt::format("namespaces \"{}\" is forbidden: this namespace may not be deleted", name)));
    }
    remove_one(kind, call->key(), std::get<DeleteOptions>(parsed_options), [call](std::variant<Removed, Failure> outcome) {
      if (const auto* failure = std::get_if<Failure>(&outcome)) return call->fail(*failure);
      const auto& removed = std::get<Removed>(outcome);
      const bool pod = call->kind->group.empty() && call->kind->kind == "Pod";
      if (removed.gone && !pod) return call->reply(200, success(*call->kind, call->target.name, meta(removed.object, "uid")));
      call->object(200, Bytes(base::dump_json(removed.object)));
    });
  }

  void remove_collection(const CallPtr& call) {
    auto chosen = selectors(*call);
    if (const auto* failure = std::get_if<Failure>(&chosen)) return call->fail(*failure);
    auto parsed_options = options_of(*call);
    if (const auto* failure = std::get_if<Failure>(&parsed_options)) return call->fail(*failure);
    struct Progress {
      std::size_t open = 1;   // 1 = the loop itself
      Json items = Json::array();
      std::optional<Failure> failure;
    };
    const auto progress = std::make_shared<Progress>();
    const auto step = [self = shared_from_this(), call, progress] {
      if (--progress->open != 0) return;
      if (progress->failure) return call->fail(*progress->failure);
      call->reply(200, {{"kind", std::string(call->kind->kind) + "List"}, {"apiVersion", call->kind->api_version()},
                        {"metadata", {{"resourceVersion", std::to_string(self->storage.revision())}}}, {"items", progress->items}});
    };
    for (const StoredObject& object : storage.list(call->kind->storage_resource(), call->target.ns)) {
      if (!std::get<Selectors>(chosen).matches(parsed(object))) continue;
      ++progress->open;
      remove_one(*call->kind, object.key, std::get<DeleteOptions>(parsed_options), [progress, step](std::variant<Removed, Failure> outcome) {
        if (auto* failure = std::get_if<Failure>(&outcome)) {
          if (failure->code != 404) progress->failure = std::move(*failure);   // gone meanwhile is gone
        } else {
          progress->items.push_back(std::get<Removed>(std::move(outcome)).object);
        }
        step();
      });
    }
    step();
  }

  struct Removed {
    Json object;
    bool gone;      // false: marked, and removed once its node or its finalizers agree
  };
  using RemoveDone = std::function<void(std::variant<Removed, Failure>)>;

  // Seconds until a pod may be removed without its node's word.
  static std::int64_t pod_grace(const Json& pod, const DeleteOptions& wanted) {
    if (pod.value("/spec/nodeName"_json_pointer, "").empty()) return 0;
    const std::string phase = pod.value("/status/phase"_json_pointer, "");
    if (phase == "Succeeded" || phase == "Failed") return 0;
    return wanted.grace.value_or(pod.value("/spec/terminationGracePeriodSeconds"_json_pointer, kDefaultPodGrace));
  }

  void remove_one(const Kind& kind, const StorageKey& key, const DeleteOptions& wanted, RemoveDone done, int races = 0) {
    const auto found = storage.get(key);
    if (!found) return done(not_found(kind, key.name));
    Json object = parsed(*found);
    if (!wanted.uid.empty() && wanted.uid != meta(object, "uid")) {
      return done(conflict(kind, key.name, fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", wanted.uid, meta(object, "uid"))));
    }
    if (!wanted.resource_version.empty() && wanted.resource_version != meta(object, "resourceVersion")) {
      return done(conflict(kind, key.name, fmt::format("Precondition failed: ResourceVersion in precondition: {}, ResourceVersion in object meta: {}", wanted.resource_version,
                                                       meta(object, "resourceVersion"))));
    }
    const bool core = kind.group.empty();
    const bool is_namespace = core && kind.kind == "Namespace";
    const std::int64_t grace = core && kind.kind == "Pod" ? pod_grace(object, wanted) : 0;
    const bool ordered = order_propagation(kind, object, wanted.propagation);
    const bool gone = grace == 0 && !is_namespace && !has_finalizers(object);
    if (wanted.dry_run) return done(Removed{std::move(object), gone});

    const auto again = [self = shared_from_this(), &kind, key, wanted, done, races](const Error& error) {
      if (error.code == Errc::kConflict && races < kMaxRaces) return self->remove_one(kind, key, wanted, done, races + 1);
      done(error.code == Errc::kNotFound ? not_found(kind, key.name) : error.code == Errc::kConflict ? modified(kind, key.name) : internal(error.message));
    };
    if (gone) {
      storage.remove(key, found->revision, [object](std::uint64_t revision) { return Bytes(with_revision(object, revision)); },
                     [self = shared_from_this(), &kind, object, done, again](Result<StoredObject> stored) {
                       if (!stored) return again(stored.error());
                       done(Removed{parsed(*stored), true});
                       self->after_removal(kind, object);
                     });
      return;
    }
    // Marked. A second request may only shorten the time that is left.
    Json& metadata = object["metadata"];
    const bool sooner = !terminating(object) || metadata.value("deletionGracePeriodSeconds", std::int64_t{0}) > grace;
    if (!sooner && !ordered) {
      if (is_namespace) empty_namespace(key.name);
      return done(Removed{std::move(object), false});
    }
    if (sooner) {
      if (const auto generation = metadata.find("generation"); generation != metadata.end() && !terminating(object)) *generation = generation->get<std::int64_t>() + 1;
      metadata["deletionTimestamp"] = base::rfc3339(clock.unix_ms() / 1000 + grace);
      metadata["deletionGracePeriodSeconds"] = grace;
    }
    if (is_namespace) {
      metadata.erase("deletionGracePeriodSeconds");
      object["status"]["phase"] = "Terminating";
    }
    storage.put(key, found->revision, [object](std::uint64_t revision) { return Bytes(with_revision(object, revision)); },
                [self = shared_from_this(), is_namespace, key, done, again](Result<StoredObject> stored) {
                  if (!stored) return again(stored.error());
                  done(Removed{parsed(*stored), false});
                  if (is_namespace) self->empty_namespace(key.name);
                });
  }

  // Deletes all that lives in a terminating namespace; the namespace goes with the last of it.
  void empty_namespace(const std::string& ns) {
    DeleteOptions wanted;
    wanted.propagation = "Background";
    for (const Kind& kind : schema::kinds()) {
      if (!kind.namespaced) continue;
      for (const StoredObject& object : storage.list(kind.storage_resource(), ns)) remove_one(kind, object.key, wanted, [](const std::variant<Removed, Failure>&) {});
    }
    finish_namespace(ns);
  }

  void finish_namespace(const std::string& ns) {
    const StorageKey key{"core/namespaces", "", ns};
    const auto found = storage.get(key);
    if (!found) return;
    const Json object = parsed(*found);
    if (!terminating(object)) return;
    for (const Kind& kind : schema::kinds())
      if (kind.namespaced && !storage.list(kind.storage_resource(), ns).empty()) return;
    storage.remove(key, found->revision, [object](std::uint64_t revision) { return Bytes(with_revision(object, revision)); }, [](const Result<StoredObject>&) {});
  }

  // A namespace may have been waiting for it.
  void after_removal(const Kind& kind, const Json& object) {
    if (kind.namespaced) finish_namespace(meta(object, "namespace"));
  }
};

ApiServer::ApiServer(Storage& storage, const Clock& clock, ApiServerOptions options, ApiServerHooks hooks)
    : impl_(std::make_shared<Impl>(storage, clock, std::move(options), std::move(hooks))) {
  // A namespace whose deletion a restart interrupted.
  for (const StoredObject& ns : storage.list("core/namespaces", ""))
    if (terminating(parsed(ns))) impl_->empty_namespace(ns.key.name);
}

ApiServer::~ApiServer() { impl_->watches.clear(); }

void ApiServer::handle(ApiRequest request, std::shared_ptr<ApiResponder> responder) { impl_->handle(std::move(request), std::move(responder)); }

bool ApiServer::is_pod_stream(const std::string& path) {
  const auto target = parse_target(path);
  return target && *target && (*target)->group.empty() && (*target)->version == "v1" && (*target)->plural == "pods" && !(*target)->ns.empty() &&
         rest::is_pod_stream((*target)->subresource);
}

std::optional<PodStream> ApiServer::pod_stream(ApiRequest request, std::shared_ptr<ApiResponder> responder) {
  return impl_->pod_stream(std::move(request), std::move(responder));
}

}  // namespace kubeedge::kube
