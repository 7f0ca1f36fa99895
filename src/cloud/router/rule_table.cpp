#include "cloud/router/rule_table.h"

#include <algorithm>

#include "base/json.h"
#include "base/json_member.h"
#include "base/text.h"
#include "net/url.h"

namespace kubeedge::cloud {
namespace {

using nlohmann::json;
using base::member;
using base::text_of;

constexpr std::size_t kMaxTopicBytes = 1024;   // what an edge takes

std::map<std::string, std::string> text_map(const json& object) {
  std::map<std::string, std::string> out;
  if (!object.is_object()) return out;
  for (const auto& [key, value] : object.items())
    if (value.is_string()) out[key] = value.get<std::string>();
  return out;
}
std::int64_t number(const json& object, const char* key) {
  const json& value = member(object, key);
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

Result<std::string> wanted(const std::map<std::string, std::string>& map, const char* where, const char* key) {
  const auto it = map.find(key);
  if (it == map.end() || it->second.empty()) return base::error(Errc::kInvalidArgument, "{}.{} is missing", where, key);
  return it->second;
}

// One slash between the two, as Go's path.Join makes it.
std::string below(const std::string& ns, std::string topic) {
  while (topic.starts_with('/')) topic.erase(0, 1);
  while (topic.ends_with('/')) topic.pop_back();
  return ns + "/" + topic;
}

bool is_port(const std::string& text) {
  const auto port = base::to_int(text);
  return port && *port > 0 && *port <= 65535;
}

}  // namespace

bool topic_matches(std::string_view filter, std::string_view topic) {
  if (filter == topic) return true;
  const auto want = base::split(filter, '/'), have = base::split(topic, '/');
  if (topic.starts_with('$') && !filter.starts_with('$')) return false;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (want[i] == "#") return true;
    if (i >= have.size() || (want[i] != "+" && want[i] != have[i])) return false;
  }
  return want.size() == have.size();
}

bool is_publish_topic(std::string_view topic) {
  if (topic.empty() || topic.size() > kMaxTopicBytes || !base::is_utf8(topic)) return false;
  return std::none_of(topic.begin(), topic.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '+' || c == '#'; });
}

std::optional<RuleId> RuleTable::id_of(const Bytes& object) {
  const json parsed = base::parse_json(object);
  const json& metadata = member(parsed, "metadata");
  RuleId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
  if (id.ns.empty() || id.name.empty()) return std::nullopt;
  return id;
}

Result<RuleId> RuleTable::put_rule(const Bytes& object, std::set<RuleId>& changed) {
  const json parsed = base::parse_json(object);
  const json& metadata = member(parsed, "metadata");
  const RuleId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
  if (id.ns.empty() || id.name.empty()) return base::error(Errc::kInvalidArgument, "no Rule with namespace and name");
  const json& spec = member(parsed, "spec");
  Rule fresh;
  fresh.source = text_of(spec, "source");
  fresh.target = text_of(spec, "target");
  fresh.source_resource = text_map(member(spec, "sourceResource"));
  fresh.target_resource = text_map(member(spec, "targetResource"));
  fresh.version = text_of(metadata, "resourceVersion");
  const json& status = member(parsed, "status");
  fresh.successes = number(status, "successMessages");
  fresh.failures = number(status, "failMessages");
  if (const json& errors = member(status, "errors"); errors.is_array())
    for (const json& one : errors)
      if (one.is_string()) fresh.errors.push_back(one.get<std::string>());
  const auto [at, is_new] = rules_.try_emplace(id);
  Rule& rule = at->second;
  const bool same = !is_new && rule.source == fresh.source && rule.target == fresh.target && rule.source_resource == fresh.source_resource &&
                    rule.target_resource == fresh.target_resource;
  if (same) {   // our own status, mostly
    rule.version = std::move(fresh.version);
    rule.successes = fresh.successes;
    rule.failures = fresh.failures;
    rule.errors = std::move(fresh.errors);
    return id;
  }
  rule = std::move(fresh);
  changed.insert(id);
  bind(id, rule, changed);
  return id;
}

void RuleTable::drop_rule(const RuleId& id) { rules_.erase(id); }

Result<void> RuleTable::put_endpoint(const Bytes& object, std::set<RuleId>& changed) {
  const json parsed = base::parse_json(object);
  const json& metadata = member(parsed, "metadata");
  const RuleId id{text_of(metadata, "namespace"), text_of(metadata, "name")};
  if (id.ns.empty() || id.name.empty()) return base::error(Errc::kInvalidArgument, "no RuleEndpoint with namespace and name");
  const json& spec = member(parsed, "spec");
  Endpoint fresh{text_of(spec, "ruleEndpointType"), text_map(member(spec, "properties"))};
  const auto [at, is_new] = endpoints_.try_emplace(id);
  if (!is_new && at->second == fresh) return {};
  at->second = std::move(fresh);
  rebind(id.ns, id.name, changed);
  return {};
}

void RuleTable::drop_endpoint(const RuleId& id, std::set<RuleId>& changed) {
  if (endpoints_.erase(id) > 0) rebind(id.ns, id.name, changed);
}

void RuleTable::rebind(const std::string& ns, const std::string& endpoint, std::set<RuleId>& changed) {
  for (auto& [id, rule] : rules_)
    if (id.ns == ns && (rule.source == endpoint || rule.target == endpoint)) bind(id, rule, changed);
}

void RuleTable::bind(const RuleId& id, Rule& rule, std::set<RuleId>& changed) const {
  auto made = binding_of(id, rule);
  rule.binding.reset();
  rule.problem.clear();
  if (made) rule.binding = std::move(*made);
  else rule.problem = made.error().message;
  changed.insert(id);
}

Result<Binding> RuleTable::binding_of(const RuleId& id, const Rule& rule) const {
  const auto source = endpoints_.find({id.ns, rule.source});
  if (source == endpoints_.end()) return base::error(Errc::kNotFound, "source: RuleEndpoint {}/{} does not exist", id.ns, rule.source);
  const auto target = endpoints_.find({id.ns, rule.target});
  if (target == endpoints_.end()) return base::error(Errc::kNotFound, "target: RuleEndpoint {}/{} does not exist", id.ns, rule.target);
  const std::string &from = source->second.type, &to = target->second.type;
  Binding binding;
  if (from == "rest") {
    auto path = wanted(rule.source_resource, "sourceResource", "path");
    if (!path) return path.error();
    auto parsed = RestPath::parse(*path);
    if (!parsed) return parsed.error().in("sourceResource");
    binding.source = RestSource{std::move(*parsed)};
  } else if (from == "eventbus" || from == "servicebus") {
    const bool bus = from == "eventbus";
    auto what = wanted(rule.source_resource, "sourceResource", bus ? "topic" : "target_url");
    if (!what) return what.error();
    auto node = wanted(rule.source_resource, "sourceResource", "node_name");
    if (!node) return node.error();
    if (bus) binding.source = BusSource{NodeId(*node), below(id.ns, *what)};
    else binding.source = ServiceSource{NodeId(*node), *what};
  } else {
    return base::error(Errc::kInvalidArgument, "source: ruleEndpointType {} is none of rest, eventbus, servicebus", from);
  }
  if (to == "rest") {
    auto url = wanted(rule.target_resource, "targetResource", "resource");
    if (!url) return url.error();
    if (auto parsed = net::parse_url(*url); !parsed) return parsed.error().in("targetResource.resource");
    binding.target = RestTargetUrl{*url};
  } else if (to == "eventbus") {
    auto topic = wanted(rule.target_resource, "targetResource", "topic");
    if (!topic) return topic.error();
    if (!is_publish_topic(*topic)) return base::error(Errc::kInvalidArgument, "targetResource.topic is no MQTT topic to publish to");
    binding.target = BusTarget{*topic};
  } else if (to == "servicebus") {
    auto path = wanted(rule.target_resource, "targetResource", "path");
    if (!path) return path.error();
    const auto& properties = target->second.properties;
    const auto property = [&](const char* key) {
      const auto it = properties.find(key);
      return it == properties.end() ? std::string() : it->second;
    };
    ServiceTarget service{property("service_port"), path->starts_with('/') ? *path : "/" + *path, ""};
    if (!is_port(service.port)) return base::error(Errc::kInvalidArgument, "target: properties.service_port \"{}\" is no port", service.port.substr(0, 40));
    // Beyond upstream: an https server, or one that does not listen on the loopback.
    const std::string scheme = property("service_scheme"), host = property("service_host");
    if (!scheme.empty() || !host.empty()) {
      const bool v6 = host.find(':') != std::string::npos;
      service.base = fmt::format("{}://{}{}{}:{}", scheme.empty() ? "http" : scheme, v6 ? "[" : "", host.empty() ? "127.0.0.1" : host, v6 ? "]" : "", service.port);
      if (auto parsed = net::parse_url(service.base); !parsed) return parsed.error().in("target: properties.service_scheme, service_host");
    }
    binding.target = std::move(service);
  } else {
    return base::error(Errc::kInvalidArgument, "target: ruleEndpointType {} is none of rest, eventbus, servicebus", to);
  }
  if ((from == "rest") == (to == "rest")) return base::error(Errc::kUnimplemented, "a rule from {} to {} is not served", from, to);
  return binding;
}

const RuleTable::Rule* RuleTable::find(const RuleId& id) const {
  const auto it = rules_.find(id);
  return it == rules_.end() ? nullptr : &it->second;
}

void RuleTable::ids(std::set<RuleId>& all) const {
  for (const auto& [id, rule] : rules_) all.insert(id);
}

std::optional<RuleTable::RestMatch> RuleTable::match_rest(const RestTarget& target) const {
  std::optional<RestMatch> best;
  const RestPath* best_path = nullptr;
  for (auto it = rules_.lower_bound({target.ns, ""}); it != rules_.end() && it->first.ns == target.ns; ++it) {
    const Rule& rule = it->second;
    const auto* source = rule.binding ? std::get_if<RestSource>(&rule.binding->source) : nullptr;
    if (!source || (best_path && !source->path.before(*best_path))) continue;   // of equal paths the first by name has it
    auto tail = source->path.match(target);
    if (!tail) continue;
    best = RestMatch{it->first, &rule, std::move(*tail)};
    best_path = &source->path;
  }
  return best;
}

std::vector<RuleId> RuleTable::match_topic(const NodeId& node, const std::string& topic) const {
  std::vector<RuleId> found;
  for (const auto& [id, rule] : rules_) {
    const auto* source = rule.binding ? std::get_if<BusSource>(&rule.binding->source) : nullptr;
    if (source && source->node == node && topic_matches(source->filter, topic)) found.push_back(id);
  }
  return found;
}

std::vector<RuleId> RuleTable::match_url(const NodeId& node, const std::string& url) const {
  std::vector<RuleId> found;
  for (const auto& [id, rule] : rules_) {
    const auto* source = rule.binding ? std::get_if<ServiceSource>(&rule.binding->source) : nullptr;
    if (source && source->node == node && source->url == url) found.push_back(id);
  }
  return found;
}

std::map<NodeId, std::set<NodeWish>> RuleTable::wishes() const {
  std::map<NodeId, std::set<NodeWish>> all;
  for (const auto& [id, rule] : rules_) {
    if (!rule.binding) continue;
    if (const auto* bus = std::get_if<BusSource>(&rule.binding->source)) all[bus->node].insert({"router_eventbus", bus->filter});
    if (const auto* service = std::get_if<ServiceSource>(&rule.binding->source)) all[service->node].insert({"router_servicebus", service->url});
  }
  return all;
}

}  // namespace kubeedge::cloud
