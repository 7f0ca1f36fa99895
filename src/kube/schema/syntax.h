// How Kubernetes spells names, labels, quantities and times, and what it answers to those that are not. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubeedge::kube::schema {

// Each returns Kubernetes' messages, none when the text is fine.
std::vector<std::string> dns1123_label(std::string_view text);
std::vector<std::string> dns1123_subdomain(std::string_view text);
std::vector<std::string> dns1035_label(std::string_view text);
std::vector<std::string> path_segment(std::string_view text);        // names that only may not break a URL
std::vector<std::string> qualified_name(std::string_view text);      // keys of labels, annotations, finalizers
std::vector<std::string> label_value(std::string_view text);
std::vector<std::string> config_map_key(std::string_view text);
std::vector<std::string> env_var_name(std::string_view text);
std::vector<std::string> port_name(std::string_view text);           // IANA service name

// Decoding errors as Go words them, "" when fine.
std::string quantity_error(const nlohmann::json& value);
std::string time_error(const std::string& text, bool micro);
std::string duration_error(const std::string& text);
std::string base64_error(const std::string& text);

// A quantity as kube-apiserver stores it ("0.5" -> "500m", "1024Mi" -> "1Gi"); nothing when it is not one or is too long to say exactly.
std::optional<std::string> canonical_quantity(const nlohmann::json& value);
// A quantity as a number, good enough to compare; nothing when it is not one.
std::optional<double> quantity_number(const nlohmann::json& value);
bool is_ip(std::string_view text);
bool is_cidr(std::string_view text);
// RFC 3339 in UTC with seconds (or microseconds); nothing when it is no time.
std::optional<std::string> canonical_time(const std::string& text, bool micro);

}  // namespace kubeedge::kube::schema
