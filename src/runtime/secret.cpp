#include <kubeedge/secret.h>

#include "runtime/files.h"

namespace kubeedge {
inline namespace v0 {

Result<Secret> Secret::from_file(const std::string& path) {
  auto read = runtime::read_text_file(path);
  if (!read) return std::move(read).error();
  std::string text = std::move(*read);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  if (text.empty()) return Error{Errc::kInvalidArgument, path + ": the file is empty"};
  return Secret(std::move(text));
}

}  // namespace v0
}  // namespace kubeedge
