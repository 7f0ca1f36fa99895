// Lists in pages (limit, continue) and the rules for the resourceVersion of a list. Pure.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "kube/rest/request.h"
#include "kube/rest/status.h"
#include "kube/rest/storage.h"

namespace kubeedge::kube::rest {

// Where the next page begins, as a client carries it: opaque to him. Pages show what is stored when they are read; all name the
// revision of the first, so that a watch from there tells of every later change.
struct PageToken {
  std::uint64_t revision = 0;
  std::string ns, name;          // the first object of the page, or the one after where it would be

  std::string text() const;
  static std::variant<PageToken, Failure> parse(const std::string& text);
  bool at_or_before(const StorageKey& key) const { return std::tie(ns, name) <= std::tie(key.ns, key.name); }
};

// Whether a list may be asked for with this limit, continue, resourceVersion and resourceVersionMatch while `current` is the newest
// revision.
std::optional<Failure> check_list(const Query& query, std::uint64_t current);

}  // namespace kubeedge::kube::rest
