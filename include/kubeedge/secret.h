// Text that is never logged or printed.
#pragma once

#include <string>
#include <utility>

#include <kubeedge/result.h>

namespace kubeedge {
inline namespace v0 {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  // Without the line end. kIo, or kInvalidArgument where the file is empty.
  static Result<Secret> from_file(const std::string& path);
  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace v0
}  // namespace kubeedge
