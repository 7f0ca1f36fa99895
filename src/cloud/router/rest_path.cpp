#include "cloud/router/rest_path.h"

#include <algorithm>

#include "base/text.h"

namespace kubeedge::cloud {
namespace {

constexpr std::size_t kMaxSegments = 100;
constexpr std::size_t kMaxPathBytes = 4 * 1024;

std::string joined(const std::vector<std::string>& parts, std::size_t from) {
  std::string text;
  for (std::size_t i = from; i < parts.size(); ++i) text += (text.empty() ? "" : "/") + parts[i];
  return text;
}

}  // namespace

Result<RestTarget> RestTarget::parse(std::string_view request_target) {
  if (request_target.size() > kMaxPathBytes) return base::error(Errc::kLimitExceeded, "the path has more than {} bytes", kMaxPathBytes);
  const auto mark = request_target.find('?');
  const std::string_view path = request_target.substr(0, mark);
  if (!path.starts_with('/')) return base::error(Errc::kInvalidArgument, "the path does not start with '/'");
  std::vector<std::string> raw = base::split(path.substr(1), '/');
  if (raw.size() > kMaxSegments) return base::error(Errc::kLimitExceeded, "the path has more than {} segments", kMaxSegments);
  if (raw.size() > 1 && raw.back().empty()) raw.pop_back();   // ".../abc/" is ".../abc"
  if (raw.size() < 2) return base::error(Errc::kNotFound, "expected /NODE/NAMESPACE/PATH");
  RestTarget target;
  if (mark != std::string_view::npos) target.query = request_target.substr(mark + 1);
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const auto decoded = base::percent_decode(raw[i]);
    if (!decoded || !base::is_utf8(*decoded)) return base::error(Errc::kInvalidArgument, "a segment of the path is badly escaped");
    if (decoded->empty()) return base::error(Errc::kInvalidArgument, "the path has an empty segment");
    if (*decoded == "." || *decoded == ".." || decoded->find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      return base::error(Errc::kInvalidArgument, "the path has a segment that would lead elsewhere");
    if (i == 0) target.node = *decoded;
    else if (i == 1) target.ns = *decoded;
    else target.decoded.push_back(*decoded);
  }
  target.raw.assign(raw.begin() + 2, raw.end());
  return target;
}

Result<RestPath> RestPath::parse(std::string_view text) {
  while (text.starts_with('/')) text.remove_prefix(1);
  while (text.ends_with('/')) text.remove_suffix(1);
  RestPath path;
  if (text.empty()) {
    path.rank_ = "c";
    return path;
  }
  if (text.size() > kMaxPathBytes) return base::error(Errc::kLimitExceeded, "path has more than {} bytes", kMaxPathBytes);
  for (const std::string& segment : base::split(text, '/')) {
    const bool parameter = segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
    if (segment.empty() || segment == "." || segment == ".." || (!parameter && segment.find_first_of("{}?#") != std::string::npos))
      return base::error(Errc::kInvalidArgument, "path \"{}\": segment \"{}\" is neither a word nor {{NAME}}", text.substr(0, 200), segment.substr(0, 80));
    path.segments_.push_back(parameter ? "" : segment);
    path.rank_ += parameter ? 'b' : 'a';
  }
  if (path.segments_.size() > kMaxSegments) return base::error(Errc::kLimitExceeded, "path has more than {} segments", kMaxSegments);
  path.rank_ += 'c';
  return path;
}

std::optional<std::string> RestPath::match(const RestTarget& target) const {
  if (target.decoded.size() < segments_.size()) return std::nullopt;
  bool parameters = false;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    if (!segments_[i].empty() && segments_[i] != target.decoded[i]) return std::nullopt;
    parameters |= segments_[i].empty();
  }
  return joined(target.raw, parameters ? 0 : segments_.size());
}

}  // namespace kubeedge::cloud
