// The JSON of a request's body, before it is taken for an object. Pure.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

// Deeper bodies are refused: everything that walks an object recurses.
inline constexpr int kMaxBodyDepth = 256;

// `duplicates` (may be null) gets each key that comes twice, as strict decoding names it: `duplicate field "data.a"`.
// The last one counts. A Failure: not JSON, or too deep.
std::variant<Json, Failure> parse_body(std::string_view text, std::vector<std::string>* duplicates);

// Patches add to what is there: no object may get deeper than a body.
bool deeper_than(const Json& value, int levels);

}  // namespace kubeedge::kube::rest
