// The lines of a CRI log ("<time> stdout|stderr F|P <text>") as the user asked for them. No I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "edge/edged/log_query.h"

namespace kubeedge::edged {

// Bytes of the file in, bytes for the user out. A 'P' line is a part: the next line goes on where it ends.
class LogFilter {
 public:
  static constexpr std::size_t kMaxLine = 1024 * 1024;   // a runtime's lines have 16 KiB; of a longer one the rest is left out

  explicit LogFilter(const LogQuery& query) : query_(query) {}

  void feed(std::string_view bytes, std::string& out);
  // The file ends here (or is another one now): a last line without its newline counts.
  void finish(std::string& out);
  bool full() const { return query_.limit_bytes && given_ >= *query_.limit_bytes; }

 private:
  void line(std::string_view text, std::string& out);
  void give(std::string_view text, std::string& out);

  LogQuery query_;
  std::string held_;           // the beginning of a line
  bool skipping_ = false;      // the rest of a line that is too long
  bool at_start_ = true;       // of a line of the user's
  std::int64_t given_ = 0;
};

}  // namespace kubeedge::edged
