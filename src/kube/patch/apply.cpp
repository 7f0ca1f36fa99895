#include "kube/patch/apply.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/json.h"
#include "base/text.h"

namespace kubeedge::kube::patch {
namespace {

constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr const char* kKubectl = "kubectl";
constexpr const char* kBeforeFirst = "before-first-apply";
constexpr const char* kAncient = "ancient-changes";

std::string text_of(const Json& entry, const char* key) {
  const auto found = entry.find(key);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : "";
}

Managed entry_of(const Writer& writer, const char* operation) {
  return {writer.manager.empty() ? "unknown" : writer.manager, operation, writer.api_version, writer.subresource, writer.now, {}};
}

// Identity and bookkeeping of an object, which nobody owns.
const FieldSet& never_owned() {
  static const FieldSet set = [] {
    FieldSet out;
    for (const char* top : {"apiVersion", "kind", "metadata"}) out.insert_member(member_element(top));
    for (const char* field : {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"})
      out.insert({"f:metadata", member_element(field)});
    return out;
  }();
  return set;
}

Json without_managers(Json object) {
  if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object()) metadata->erase("managedFields");
  return object;
}

const Json& managers_in(const Json& object) {
  static const Json none;
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return none;
  const auto found = metadata->find("managedFields");
  return found == metadata->end() ? none : *found;
}

void store(Json& object, ManagedFields& managers) {
  managers.drop_empty();
  Json list = managers.json();
  if (list.is_null()) object["metadata"].erase("managedFields");
  else object["metadata"]["managedFields"] = std::move(list);
}

// "[]" and "[{}]" from a client: forget who owned what.
bool is_reset(const Json& managed_fields) {
  return managed_fields.is_array() && (managed_fields.empty() || (managed_fields.size() == 1 && managed_fields[0].is_object() && managed_fields[0].empty()));
}

// The entries to start from: what the client sent, where that can be read; else the live object's.
ManagedFields starting_from(const Json& live, const Json& next, bool subresource) {
  const Json& sent = managers_in(next);
  if (!subresource) {
    if (is_reset(sent)) return {};
    if (Result<ManagedFields> read = ManagedFields::parse(sent); read && !read->empty()) return std::move(*read);
  }
  Result<ManagedFields> read = ManagedFields::parse(managers_in(live));
  return read ? std::move(*read) : ManagedFields{};
}

FieldSet joined(FieldSet a, const FieldSet& b) {
  a |= b;
  return a;
}

std::string name_of(const Managed& entry) {
  std::string out = base::dump_json(Json(entry.manager));
  if (!entry.subresource.empty()) out += fmt::format(" with subresource {}", base::dump_json(Json(entry.subresource)));
  return entry.applied() ? out : fmt::format("{} using {}", out, entry.api_version);
}

// What a change takes from the others: their fields that it writes (conflicts) and that are gone.
std::vector<Conflict> take_from_others(ManagedFields& managers, const Comparison& change, const Managed& writer, bool force) {
  const FieldSet written = joined(change.modified, change.added);
  std::vector<Conflict> conflicts;
  for (const Managed& other : managers.entries()) {
    if (other.same_manager(writer)) continue;
    (other.fields & written).each([&](const Path& path) { conflicts.push_back({name_of(other), path}); });
  }
  if (!conflicts.empty() && !force) return conflicts;
  for (Managed& other : managers.entries())
    if (!other.same_manager(writer)) other.fields = other.fields - joined(written, change.removed);
  return {};
}

ManagedFields updated(const schema::Object& type, const Json& live, const Json& next, ManagedFields managers, const Writer& writer) {
  const Comparison change = compare(TypeRef::root(type), live, next).without(writer.ignored);
  Managed entry = entry_of(writer, "Update");
  const FieldSet written = joined(change.modified, change.added);
  for (Managed& other : managers.entries()) other.fields = other.fields - (other.same_manager(entry) ? change.removed : joined(written, change.removed));
  entry.fields = written - never_owned();
  if (!entry.fields.empty()) {
    if (Managed* before = managers.find(entry)) {
      before->fields |= entry.fields;
      before->time = writer.now;
    } else {
      managers.entries().push_back(std::move(entry));
    }
  }
  managers.drop_empty();
  managers.cap_updaters();
  return managers;
}

// Removes what the manager applied last time, does not apply now and nobody else owns.
Json pruned(const TypeRef& type, const Json& whole, const ManagedFields& managers, const FieldSet& last) {
  if (last.empty()) return whole;
  const auto named = [&](const FieldSet& set) { return with_named_parents(type, set); };
  Json rest = without_fields(type, whole, named(last));
  FieldSet owned;
  for (const Managed& entry : managers.entries()) owned |= entry.fields;
  const FieldSet keep = joined(named(fields_of(type, rest)), named(owned));
  rest = without_fields(type, whole, named(fields_of(type, whole)) - keep);
  // Nor what it never owned: unowned items, and those of updaters.
  const FieldSet gone = named(fields_of(type, whole)) - named(fields_of(type, rest));
  return without_fields(type, whole, gone & named(last));
}

struct Attempt {
  Json object;
  ManagedFields managers;
  std::vector<Conflict> conflicts;
};

Attempt attempt(const TypeRef& type, const Json& live, const Json& config, ManagedFields managers, const Writer& writer, bool force) {
  Attempt out;
  Managed mine = entry_of(writer, "Apply");
  out.object = merged(type, live, config);
  FieldSet last;
  if (const Managed* before = managers.find(mine)) {
    last = before->fields;
    mine.time = before->time;
  }
  mine.fields = fields_of(type, config).without(writer.ignored);
  std::erase_if(managers.entries(), [&](const Managed& entry) { return entry.same_manager(mine); });
  managers.entries().push_back(mine);
  out.object = pruned(type, out.object, managers, last);
  out.conflicts = take_from_others(managers, compare(type, live, out.object).without(writer.ignored), mine, force);
  Managed& entry = managers.entries().back();
  entry.fields = entry.fields - never_owned();
  if (out.object != live) entry.time = writer.now;   // a new owner of what is there already has none
  managers.drop_empty();
  out.managers = std::move(managers);
  return out;
}

// The fields that client-side `kubectl apply` put there and that still are as it put them.
FieldSet last_applied_fields(const TypeRef& type, const Json& live, const std::string& api_version) {
  const auto metadata = live.find("metadata");
  if (metadata == live.end() || !metadata->is_object()) return {};
  const auto annotations = metadata->find("annotations");
  if (annotations == metadata->end() || !annotations->is_object()) return {};
  const Json last = base::parse_json(text_of(*annotations, kLastApplied));
  if (!last.is_object() || text_of(last, "apiVersion") != api_version) return {};
  const Comparison since = compare(type, last, live);
  return fields_of(type, last) - since.modified - since.added - since.removed;
}

void refresh_last_applied(Json& object, const Json& config) {
  Json& metadata = object["metadata"];
  const auto annotations = metadata.find("annotations");
  if (annotations == metadata.end() || !annotations->is_object() || text_of(*annotations, kLastApplied).empty()) return;
  Json said = config;
  if (const auto inner = said.find("metadata"); inner != said.end() && inner->is_object() && inner->contains("annotations") && (*inner)["annotations"].is_object())
    (*inner)["annotations"].erase(kLastApplied);
  (*annotations)[kLastApplied] = base::dump_json(said) + "\n";
}

}  // namespace

// ---- managedFields as they are written

Result<ManagedFields> ManagedFields::parse(const Json& managed_fields) {
  ManagedFields out;
  if (managed_fields.is_null()) return out;
  if (!managed_fields.is_array()) return base::error(Errc::kInvalidArgument, "managedFields: expected a list");
  for (const Json& item : managed_fields) {
    if (!item.is_object()) return base::error(Errc::kInvalidArgument, "managedFields: expected objects");
    Managed entry{text_of(item, "manager"), text_of(item, "operation"), text_of(item, "apiVersion"), text_of(item, "subresource"), text_of(item, "time"), {}};
    if (entry.operation != "Apply" && entry.operation != "Update") return base::error(Errc::kInvalidArgument, "operation must be `Apply` or `Update`");
    if (entry.api_version.empty()) return base::error(Errc::kInvalidArgument, "apiVersion must not be empty");
    if (text_of(item, "fieldsType") != "FieldsV1") return base::error(Errc::kInvalidArgument, "fieldsType must be FieldsV1");
    const auto fields = item.find("fieldsV1");
    if (fields != item.end() && !fields->is_null()) {
      Result<FieldSet> set = FieldSet::parse(*fields);
      if (!set) return std::move(set).error();
      entry.fields = std::move(*set);
    }
    if (Managed* same = out.find(entry)) *same = std::move(entry);
    else out.entries_.push_back(std::move(entry));
  }
  return out;
}

Json ManagedFields::json() const {
  if (entries_.empty()) return nullptr;
  std::vector<const Managed*> sorted;
  for (const Managed& entry : entries_) sorted.push_back(&entry);
  const auto rank = [](const Managed* entry) { return std::tie(entry->operation, entry->time, entry->manager, entry->api_version, entry->subresource); };
  std::sort(sorted.begin(), sorted.end(), [&](const Managed* a, const Managed* b) { return rank(a) < rank(b); });
  Json out = Json::array();
  for (const Managed* entry : sorted) {
    Json item = {{"apiVersion", entry->api_version}, {"fieldsType", "FieldsV1"}, {"fieldsV1", entry->fields.json()}, {"operation", entry->operation}};
    if (!entry->manager.empty()) item["manager"] = entry->manager;
    if (!entry->time.empty()) item["time"] = entry->time;
    if (!entry->subresource.empty()) item["subresource"] = entry->subresource;
    out.push_back(std::move(item));
  }
  return out;
}

Managed* ManagedFields::find(const Managed& who) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Managed& entry) { return entry.same_manager(who); });
  return found == entries_.end() ? nullptr : &*found;
}

void ManagedFields::drop_empty() {
  std::erase_if(entries_, [](const Managed& entry) { return entry.fields.empty(); });
}

void ManagedFields::cap_updaters() {
  std::vector<Managed> updaters, others;
  for (Managed& entry : entries_) (entry.applied() ? others : updaters).push_back(std::move(entry));
  const auto rank = [](const Managed& entry) { return std::tie(entry.time, entry.manager); };
  std::sort(updaters.begin(), updaters.end(), [&](const Managed& a, const Managed& b) { return rank(a) < rank(b); });
  std::map<std::string, Managed> ancient;   // by apiVersion
  std::size_t at = 0;
  while (updaters.size() - at + ancient.size() > kMaxUpdaters && at < updaters.size()) {
    Managed& oldest = updaters[at++];
    const auto [bucket, fresh] = ancient.try_emplace(oldest.api_version, oldest);
    if (!fresh) {
      bucket->second.fields |= oldest.fields;
      bucket->second.time = oldest.time;
      bucket->second.manager = kAncient;
      bucket->second.subresource.clear();
    }
  }
  entries_ = std::move(others);
  for (auto& [version, entry] : ancient) entries_.push_back(std::move(entry));
  entries_.insert(entries_.end(), std::make_move_iterator(updaters.begin() + static_cast<std::ptrdiff_t>(at)), std::make_move_iterator(updaters.end()));
}

// ---- writes

Json track_update(const schema::Object& type, const Json& live, Json next, const Writer& writer) {
  ManagedFields managers = starting_from(live, next, !writer.subresource.empty());
  const auto metadata = live.find("metadata");
  const bool created = metadata == live.end() || !metadata->is_object() || text_of(*metadata, "uid").empty();
  next = without_managers(std::move(next));
  // An object that nobody kept account of stays so until the first apply.
  if (created || !managers.empty()) managers = updated(type, without_managers(live), next, std::move(managers), writer);
  store(next, managers);
  return next;
}

Applied apply(const schema::Object& type, const Json& blank, const Json& live, const Json& config, const Writer& writer, bool force) {
  const TypeRef root = TypeRef::root(type);
  if (!config.is_object()) return Refused{Refused::Why::kBadRequest, "the applied configuration is not an object"};
  if (const std::string version = text_of(config, "apiVersion"); version != writer.api_version)
    return Refused{Refused::Why::kBadRequest, fmt::format("Incorrect version specified in apply patch. Specified patch version: {}, expected: {}", version, writer.api_version)};
  if (!managers_in(config).is_null()) return Refused{Refused::Why::kBadRequest, "metadata.managedFields must be nil"};
  if (const std::string why = merge_trouble(root, config, true); !why.empty()) return Refused{Refused::Why::kInternal, why};

  const Json base = without_managers(live);
  Result<ManagedFields> read = ManagedFields::parse(managers_in(live));
  if (!read) return Refused{Refused::Why::kInternal, "failed to decode managed fields: " + read.error().message};
  ManagedFields managers = std::move(*read);
  if (managers.empty()) {
    Writer before = writer;
    before.manager = kBeforeFirst;
    managers = updated(type, blank, base, std::move(managers), before);
  }

  Attempt done = attempt(root, base, config, managers, writer, force);
  if (!done.conflicts.empty() && writer.manager == kKubectl) {
    // What kubectl itself put there without a manager's name is his already.
    const FieldSet his = last_applied_fields(root, base, writer.api_version);
    std::erase_if(done.conflicts, [&](const Conflict& conflict) { return his.has(conflict.path); });
    if (done.conflicts.empty()) done = attempt(root, base, config, std::move(managers), writer, true);
  }
  if (!done.conflicts.empty()) return std::move(done.conflicts);
  if (writer.manager == kKubectl) refresh_last_applied(done.object, config);
  store(done.object, done.managers);
  return std::move(done.object);
}

bool same_but_times(const Json& a, const Json& b) {
  const auto timeless = [](Json object) {
    if (const auto metadata = object.find("metadata"); metadata != object.end() && metadata->is_object()) {
      metadata->erase("resourceVersion");
      if (const auto managed = metadata->find("managedFields"); managed != metadata->end() && managed->is_array()) {
        for (Json& entry : *managed)
          if (entry.is_object()) entry.erase("time");
        std::sort(managed->begin(), managed->end());
      }
    }
    return object;
  };
  return timeless(a) == timeless(b);
}

std::string conflict_message(const std::vector<Conflict>& conflicts) {
  if (conflicts.size() == 1) return fmt::format("Apply failed with 1 conflict: conflict with {}: {}", conflicts[0].manager, path_text(conflicts[0].path));
  std::map<std::string, std::vector<std::string>> by_manager;
  for (const Conflict& conflict : conflicts) by_manager[conflict.manager].push_back(path_text(conflict.path));
  std::string out = fmt::format("Apply failed with {} conflicts: ", conflicts.size());
  const char* separator = "";
  for (const auto& [manager, paths] : by_manager) {
    out += fmt::format("{}conflicts with {}:", separator, manager);
    separator = "\n";
    for (const std::string& path : paths) out += "\n- " + path;
  }
  return out;
}

}  // namespace kubeedge::kube::patch
