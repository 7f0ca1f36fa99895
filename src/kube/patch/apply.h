// Who owns which field of an object (metadata.managedFields), and server-side apply. In: the live object, what a client sent,
// who it is. Out: the object to store with its managedFields, or the fields that others own. Plain functions, no clock. Pure.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "kube/patch/typed.h"

namespace kubeedge::kube::patch {

// A write as managedFields tells it.
struct Writer {
  std::string manager;          // the query's fieldManager, or the first part of the User-Agent
  std::string api_version;      // of the request: "v1", "apps/v1"
  std::string subresource;      // "", "status" ...
  std::string now;              // RFC 3339
  FieldSet ignored;             // what this way of writing resets, and so never owns (spec through status)
};

// One manager's entry.
struct Managed {
  std::string manager, operation, api_version, subresource, time;
  FieldSet fields;
  bool applied() const { return operation == "Apply"; }
  bool same_manager(const Managed& other) const {
    return manager == other.manager && operation == other.operation && subresource == other.subresource && (applied() || api_version == other.api_version);
  }
};

class ManagedFields {
 public:
  static constexpr std::size_t kMaxUpdaters = 10;   // older ones become "ancient-changes"

  // The value of metadata.managedFields (null: none). An error: an entry that is none.
  static Result<ManagedFields> parse(const Json& managed_fields);
  Json json() const;    // sorted as Kubernetes sorts them; null = none

  bool empty() const { return entries_.empty(); }
  Managed* find(const Managed& who);
  std::vector<Managed>& entries() { return entries_; }
  const std::vector<Managed>& entries() const { return entries_; }
  void drop_empty();
  void cap_updaters();

 private:
  std::vector<Managed> entries_;
};

// After a create, update or patch: `next` (as it would be stored, with the managedFields that the client sent) in place of
// `live` (of a create: a blank object, without a uid). Returns `next` with its managedFields.
Json track_update(const schema::Object& type, const Json& live, Json next, const Writer& writer);

struct Conflict {
  std::string manager;   // as messages name him: "kubectl-edit" using v1
  Path path;
};
struct Refused {         // the request makes no sense
  enum class Why { kBadRequest, kInternal } why;
  std::string message;
};
using Applied = std::variant<Json, std::vector<Conflict>, Refused>;

// A server-side apply of `config` onto `live` (of a create: a blank object), with its managedFields. Not yet defaulted or validated.
// `blank` = an object without a word, as it would be stored: what there is beyond it in an object without owners is "before-first-apply"'s.
Applied apply(const schema::Object& type, const Json& blank, const Json& live, const Json& config, const Writer& writer, bool force);

// Whether two objects are the same but for the times in their managedFields and their resourceVersion: then nothing is written.
bool same_but_times(const Json& a, const Json& b);

// The message and causes' messages of a conflict, as Kubernetes words them.
std::string conflict_message(const std::vector<Conflict>& conflicts);

}  // namespace kubeedge::kube::patch
