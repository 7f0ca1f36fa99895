#include "wire/resource_path.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::wire {

std::string ResourcePath::str() const {
  std::string text = ns + "/" + type;
  if (!name.empty()) text += "/" + name;
  return text;
}

Result<ResourcePath> ResourcePath::parse(std::string_view text) {
  if (text.size() > kMaxResourceBytes)
    return base::error(Errc::kLimitExceeded, "resource: {} bytes, at most {} are taken", text.size(), kMaxResourceBytes);
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), control) || !base::is_utf8(text))
    return base::error(Errc::kInvalidArgument, "resource: a control character or bytes that are no UTF-8");
  auto parts = base::split(text, '/');
  if (parts.size() < 2 || parts.size() > 3)
    return base::error(Errc::kInvalidArgument, "resource '{}': {} segments, 2 or 3 are expected", text, parts.size());
  for (const std::string& part : parts) {
    if (part.empty()) return base::error(Errc::kInvalidArgument, "resource '{}': an empty segment", text);
    if (part == "." || part == "..") return base::error(Errc::kInvalidArgument, "resource '{}': a segment '{}'", text, part);
  }
  ResourcePath path{std::move(parts[0]), std::move(parts[1]), {}};
  if (parts.size() == 3) path.name = std::move(parts[2]);
  return path;
}

}  // namespace kubeedge::wire
