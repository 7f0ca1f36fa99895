// Paths of rules against paths of requests: whole segments, "{name}" for any one of them, the most specific rule wins. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <kubeedge/result.h>

namespace kubeedge::cloud {

// "/<node>/<namespace>/<path>..." of a request, checked: no "." or "..", no empty segment but a last one, no "%2f".
struct RestTarget {
  std::string node, ns;
  std::vector<std::string> raw, decoded;   // the segments behind the namespace, as sent and percent-decoded
  std::string query;                       // without "?"
  static Result<RestTarget> parse(std::string_view request_target);
};

// sourceResource.path of a rule.
class RestPath {
 public:
  static Result<RestPath> parse(std::string_view text);

  // What the request has behind this path ("" or "a/b", as sent), nullopt if it does not begin with it. A path with parameters
  // gives the whole path of the request, as upstream: the edge sees what stood in their places.
  std::optional<std::string> match(const RestTarget& target) const;
  // Of two paths that match one request the more specific one: a word before a parameter, the longer before the shorter.
  bool before(const RestPath& other) const { return rank_ < other.rank_; }

 private:
  std::vector<std::string> segments_;      // "" = a parameter
  std::string rank_;                       // 'a' a word, 'b' a parameter, 'c' the end
};

}  // namespace kubeedge::cloud
