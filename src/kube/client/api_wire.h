// What both KubeClients share: paths, and the raw cuts of lists, watch lines and Status answers.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kube/client/kube_client.h"

namespace kubeedge::kube {

// "/api/v1/namespaces/ns/pods/name/sub"; empty parts are left out.
std::string object_path(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource);
// "labelSelector=...&fieldSelector=..."
std::string selector_query(const ListOptions& options);
const char* content_type(PatchType type);

// The members of a JSON object, or the elements of an array (keys empty), as raw slices of `json`, in order.
// `json` must be valid JSON; nullopt where it is not of that shape.
std::optional<std::vector<std::pair<std::string_view, Bytes>>> members(const Bytes& json);
std::optional<Bytes> member(const Bytes& json, std::string_view key);
std::string string_member(const Bytes& json, std::string_view key);  // unescaped only if it has no escapes; "" when absent

// A List answer. Items of a real API server lack apiVersion and kind: they are put in.
// `continue_token` is set when there is more.
std::optional<ObjectList> parse_list(const Bytes& body, std::string& continue_token);
// One watch line. An ERROR event (or junk) becomes the ApiError that ends the watch.
ApiResult<WatchEvent> parse_watch_line(const Bytes& line);
// An answer with a status of 400 or more.
ApiError parse_error(int status, const Bytes& body);

}  // namespace kubeedge::kube
