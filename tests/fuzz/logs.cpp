// A CRI log under a user's options: the first line is the query, the rest the file. Pieces must give what the whole gives.
#include <cstdlib>

#include "edge/edged/log_filter.h"
#include "records.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kubeedge::edged;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto query = parse_log_query(fuzz::take_until(text, '\n'), 1'800'000'000'000'000'000);
  if (!std::holds_alternative<LogQuery>(query)) return 0;
  const LogQuery& wanted = std::get<LogQuery>(query);
  LogFilter whole(wanted), pieces(wanted);
  std::string first, second;
  whole.feed(text, first);
  whole.finish(first);
  for (std::size_t at = 0; at < text.size(); at += 5) pieces.feed(text.substr(at, 5), second);
  pieces.finish(second);
  if (first != second || (wanted.limit_bytes && first.size() > static_cast<std::size_t>(*wanted.limit_bytes))) std::abort();
  return 0;
}
