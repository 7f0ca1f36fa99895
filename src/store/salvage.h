// A file that SQLite calls malformed: what can be read and passes its checksum goes into a new file, the rest is named,
// the damaged file stays beside as "<path>.damaged" (one of them: the disk of an edge is small).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/checks.h"

namespace kubeedge::store {

struct Salvaged {
  std::size_t kept = 0;
  std::vector<RowName> lost;   // known by its checksum or its remains
  bool more_lost = false;      // a part of the file could not be read at all: what it held has no name
  bool complete() const { return lost.empty() && !more_lost; }
};

// Nobody may have the file open. The new file is complete before the old one moves; finish_salvage() ends what a power
// cut interrupted.
Result<Salvaged> salvage(const std::string& path, std::string_view schema);
// For each open of `path`, before SQLite sees it.
void finish_salvage(const std::string& path);

}  // namespace kubeedge::store
