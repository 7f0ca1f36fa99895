// A metav1.LabelSelector as objects carry it (matchLabels, matchExpressions). Pure.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace kubeedge::kube::schema {

// Nothing asked for: matches all, which workloads refuse.
bool selects_all(const nlohmann::json& selector);
// `labels`: an object, or null for none. A selector that says something unknown matches nothing.
bool selects(const nlohmann::json& selector, const nlohmann::json& labels);
// "app=x,tier in (a,b),!old": as kubectl prints it; "<none>" when it asks for nothing.
std::string selector_text(const nlohmann::json& selector);

}  // namespace kubeedge::kube::schema
