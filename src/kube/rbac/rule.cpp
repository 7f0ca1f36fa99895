#include "kube/rbac/rule.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "kube/rest/status.h"
#include "kube/schema/causes.h"

namespace kubeedge::kube::rbac {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

Texts texts_of(const json& object, const char* name) {
  Texts out;
  for (const json& item : schema::list_at(object, name))
    if (item.is_string()) out.push_back(item.get<std::string>());
  return out;
}

bool has(const Texts& texts, std::string_view wanted) { return std::find(texts.begin(), texts.end(), wanted) != texts.end(); }
bool has_or_all(const Texts& texts, std::string_view wanted) { return has(texts, "*") || has(texts, wanted); }

bool resource_matches(const Texts& resources, const std::string& combined, const std::string& subresource) {
  return has_or_all(resources, combined) || (!subresource.empty() && has(resources, "*/" + subresource));
}

bool url_matches(const Texts& urls, const std::string& path) {
  return std::any_of(urls.begin(), urls.end(), [&](const std::string& url) {
    if (url == "*" || url == path) return true;
    return url.ends_with('*') && path.starts_with(url.substr(0, url.find_last_not_of('*') + 1));
  });
}

// Each verb on each resource of each group (with each name), or on each URL, for itself.
std::vector<Rule> broken_down(const Rule& rule) {
  std::vector<Rule> out;
  for (const std::string& group : rule.groups)
    for (const std::string& resource : rule.resources)
      for (const std::string& verb : rule.verbs) {
        if (rule.names.empty()) out.push_back({{verb}, {group}, {resource}, {}, {}});
        for (const std::string& name : rule.names) out.push_back({{verb}, {group}, {resource}, {name}, {}});
      }
  for (const std::string& url : rule.urls)
    for (const std::string& verb : rule.verbs) out.push_back({{verb}, {}, {}, {}, {url}});
  return out;
}

bool covers(const Rule& held, const Rule& single) {
  if (!has_or_all(held.verbs, single.verbs.front())) return false;
  if (!single.urls.empty()) return url_matches(held.urls, single.urls.front());
  const std::string& resource = single.resources.front();
  const auto slash = resource.find('/');
  if (!has_or_all(held.groups, single.groups.front()) ||
      !resource_matches(held.resources, resource, slash == std::string::npos ? "" : resource.substr(slash + 1)))
    return false;
  return held.names.empty() || (!single.names.empty() && has(held.names, single.names.front()));
}

}  // namespace

Rule rule_of(const json& policy_rule) {
  return {texts_of(policy_rule, "verbs"), texts_of(policy_rule, "apiGroups"), texts_of(policy_rule, "resources"), texts_of(policy_rule, "resourceNames"),
          texts_of(policy_rule, "nonResourceURLs")};
}

std::vector<Rule> rules_of(const json& role) {
  std::vector<Rule> out;
  for (const json& rule : schema::list_at(role, "rules")) out.push_back(rule_of(rule));
  return out;
}

json json_of(const Rule& rule) {
  json out = {{"verbs", rule.verbs}};
  if (!rule.groups.empty()) out["apiGroups"] = rule.groups;
  if (!rule.resources.empty()) out["resources"] = rule.resources;
  if (!rule.names.empty()) out["resourceNames"] = rule.names;
  if (!rule.urls.empty()) out["nonResourceURLs"] = rule.urls;
  return out;
}

bool allows(const Rule& rule, const Attributes& wanted) {
  if (!has_or_all(rule.verbs, wanted.verb)) return false;
  if (wanted.resource.empty()) return url_matches(rule.urls, wanted.path);
  const std::string combined = wanted.subresource.empty() ? wanted.resource : wanted.resource + "/" + wanted.subresource;
  return has_or_all(rule.groups, wanted.group) && resource_matches(rule.resources, combined, wanted.subresource) &&
         (rule.names.empty() || has(rule.names, wanted.name));
}

std::vector<Rule> missing(const std::vector<Rule>& held, const std::vector<Rule>& asked) {
  // Verbs on URLs are named one by one, as Kubernetes does.
  std::map<std::tuple<Texts, Texts, Texts, Texts, Texts>, Rule> together;
  for (const Rule& rule : asked) {
    for (Rule& single : broken_down(rule)) {
      if (std::any_of(held.begin(), held.end(), [&](const Rule& own) { return covers(own, single); })) continue;
      const auto [slot, first] = together.try_emplace({single.groups, single.resources, single.names, single.urls, single.urls.empty() ? Texts() : single.verbs}, single);
      if (!first && !has(slot->second.verbs, single.verbs.front())) slot->second.verbs.push_back(single.verbs.front());
    }
  }
  std::vector<Rule> out;
  for (auto& [key, rule] : together) out.push_back(std::move(rule));
  return out;
}

std::string describe(const Rule& rule) {
  std::string out;
  const auto part = [&](const char* name, const Texts& texts) {
    if (texts.empty()) return;
    out += (out.empty() ? "" : ", ") + std::string(name) + ":[";
    for (std::size_t i = 0; i < texts.size(); ++i) out += (i == 0 ? "" : " ") + rest::go_quoted(texts[i]);
    out += "]";
  };
  part("APIGroups", rule.groups);
  part("Resources", rule.resources);
  part("NonResourceURLs", rule.urls);
  part("ResourceNames", rule.names);
  part("Verbs", rule.verbs);
  return "{" + out + "}";
}

}  // namespace kubeedge::kube::rbac
