#include "kube/rest/watch.h"

#include "base/json.h"
#include "base/text.h"
#include "kube/rest/object.h"
#include "kube/rest/status.h"
#include "kube/rest/table.h"

namespace kubeedge::kube::rest {

WatchStream::WatchStream(Storage& storage, const Clock& clock, WatchOptions options, std::shared_ptr<ApiResponder> responder)
    : storage_(storage), clock_(clock), options_(std::move(options)), responder_(std::move(responder)) {}

bool WatchStream::start() {
  responder_->begin_stream("application/json");
  const std::string resource = options_.kind->storage_resource();
  if (options_.initial) {
    options_.after = storage_.revision();
    for (const StoredObject& object : storage_.list(resource, options_.ns)) {
      const Json parsed = base::parse_json(object.json);
      if (!parsed.is_discarded() && selected(parsed)) emit("ADDED", object.json, &parsed);
    }
    if (options_.initial_bookmark) bookmark(options_.after, true);
  }
  bool too_old = false;
  subscription_ = storage_.subscribe(resource, options_.after, [this](const StorageEvent& event) { on_event(event); }, too_old);
  if (too_old) {
    const Json gone = expired(fmt::format("too old resource version: {} ({})", options_.after, storage_.revision())).status();
    responder_->stream(Bytes(R"({"type":"ERROR","object":)" + base::dump_json(gone) + "}\n"));
    responder_->end_stream();
    return false;
  }
  return true;
}

void WatchStream::bookmark(std::uint64_t revision, bool initial_end) {
  Json mark = {{"kind", std::string(options_.kind->kind)}, {"apiVersion", options_.kind->api_version()},
               {"metadata", {{"resourceVersion", std::to_string(revision)}, {"creationTimestamp", nullptr}}}};
  if (initial_end) mark["metadata"]["annotations"] = {{"k8s.io/initial-events-end", "true"}};
  if (options_.accept.table) {
    mark = table(*options_.kind, {}, options_.accept.table_version, options_.accept.include_object, std::to_string(revision), clock_.unix_ms() / 1000, !columns_sent_);
    columns_sent_ = true;
  }
  responder_->stream(Bytes(R"({"type":"BOOKMARK","object":)" + base::dump_json(mark) + "}\n"));
}

void WatchStream::skip(std::uint64_t revision) {
  if (++skipped_ < kBookmarkEvery || !options_.bookmarks) return;
  skipped_ = 0;
  bookmark(revision, false);
}

void WatchStream::on_event(const StorageEvent& event) {
  if (!options_.ns.empty() && event.object.key.ns != options_.ns) return skip(event.object.revision);
  const char* type = event.type == StorageEvent::Type::kAdded ? "ADDED" : event.type == StorageEvent::Type::kModified ? "MODIFIED" : "DELETED";
  if (options_.labels.empty() && options_.fields.empty() && !options_.accept.table && !options_.accept.metadata_only) return emit(type, event.object.json, nullptr);

  const Json now = base::parse_json(event.object.json);
  if (now.is_discarded()) return;
  const Json before = event.previous.empty() ? Json() : base::parse_json(event.previous);
  const bool was = before.is_object() && selected(before);
  const bool is = event.type != StorageEvent::Type::kDeleted && selected(now);
  // An object that leaves the selection is deleted for this watcher, one that enters it is new.
  if (is) return emit(was ? "MODIFIED" : "ADDED", event.object.json, &now);
  if (was) return emit("DELETED", event.object.json, &now);
  skip(event.object.revision);
}

void WatchStream::emit(const char* type, const Bytes& object, const Json* parsed) {
  skipped_ = 0;
  if (options_.accept.table && parsed != nullptr) {
    const std::string now_version = parsed->value("/metadata/resourceVersion"_json_pointer, "");
    const Json view = table(*options_.kind, std::span(parsed, 1), options_.accept.table_version, options_.accept.include_object, now_version, clock_.unix_ms() / 1000, !columns_sent_);
    columns_sent_ = true;
    responder_->stream(Bytes(fmt::format(R"({{"type":"{}","object":{}}})", type, base::dump_json(view)) + "\n"));
    return;
  }
  if (options_.accept.metadata_only && parsed != nullptr) {
    responder_->stream(Bytes(fmt::format(R"({{"type":"{}","object":{}}})", type, base::dump_json(partial_metadata(*parsed))) + "\n"));
    return;
  }
  std::string line = fmt::format(R"({{"type":"{}","object":)", type);
  line += object.view();
  line += "}\n";
  responder_->stream(Bytes(std::move(line)));
}

}  // namespace kubeedge::kube::rest
