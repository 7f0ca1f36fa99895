// One watch: storage events in, lines of {"type","object"} out. Pure.
#pragma once

#include <memory>
#include <optional>

#include "kube/rest/api_server.h"
#include "kube/rest/request.h"
#include "kube/rest/selector.h"
#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

struct WatchOptions {
  const schema::Kind* kind = nullptr;
  std::string ns;                   // "" = all
  LabelSelector labels;
  FieldSelector fields;
  Accept accept;
  bool initial = false;             // current objects first, as ADDED
  bool bookmarks = false;           // after kBookmarkEvery events that were none of this watch's: its place in time
  bool initial_bookmark = false;    // then a bookmark that says that this was all (sendInitialEvents)
  std::uint64_t after = 0;          // else: events after this revision
};

class WatchStream {
 public:
  static constexpr std::uint64_t kBookmarkEvery = 100;

  WatchStream(Storage& storage, const Clock& clock, WatchOptions options, std::shared_ptr<ApiResponder> responder);
  // Sends the head and what is due; false: over already (410 was said).
  bool start();

 private:
  void on_event(const StorageEvent& event);
  void skip(std::uint64_t revision);
  void bookmark(std::uint64_t revision, bool initial_end);
  void emit(const char* type, const Bytes& object, const Json* parsed);
  bool selected(const Json& object) const { return options_.labels.matches(object) && options_.fields.matches(object); }

  Storage& storage_;
  const Clock& clock_;
  WatchOptions options_;
  std::shared_ptr<ApiResponder> responder_;
  std::unique_ptr<Storage::Subscription> subscription_;
  bool columns_sent_ = false;
  std::uint64_t skipped_ = 0;       // events since the last line
};

}  // namespace kubeedge::kube::rest
