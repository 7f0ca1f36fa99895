// What there is: /version, /api, /apis and below. Pure.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::kube::rest {

nlohmann::json version_info(const std::string& git_version);
nlohmann::json api_versions();                 // /api
nlohmann::json api_group_list();               // /apis
std::optional<nlohmann::json> api_group(const std::string& group);                                          // /apis/G
std::optional<nlohmann::json> api_resource_list(const std::string& group, const std::string& version);      // /api/v1, /apis/G/V

}  // namespace kubeedge::kube::rest
