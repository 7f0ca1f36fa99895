// Rules and RuleEndpoints as the API has them, each rule bound to what its endpoints say. Pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/resource.h>
#include <kubeedge/result.h>

#include "cloud/router/rest_path.h"

namespace kubeedge::cloud {

struct RuleId {
  std::string ns, name;
  auto operator<=>(const RuleId&) const = default;
  std::string str() const { return ns + "/" + name; }
};

// Where a rule takes messages from ...
struct RestSource { RestPath path; };
struct BusSource { NodeId node; std::string filter; };            // "<ns>/<topic>", wildcards as in MQTT
struct ServiceSource { NodeId node; std::string url; };           // target_url
// ... and where it puts them.
struct BusTarget { std::string topic; };
struct ServiceTarget { std::string port, path; std::string base; };   // `base`: "https://host:port" where the endpoint names more than a port
struct RestTargetUrl { std::string url; };

struct Binding {
  std::variant<RestSource, BusSource, ServiceSource> source;
  std::variant<BusTarget, ServiceTarget, RestTargetUrl> target;
};

// What a node must be told for its rules: operation and resource of hub-protocol 7.2.
struct NodeWish {
  std::string source, resource;            // "router_eventbus" "<ns>/<topic>", "router_servicebus" "<target_url>"
  auto operator<=>(const NodeWish&) const = default;
};

class RuleTable {
 public:
  struct Rule {
    std::string source, target;                                   // names of endpoints
    std::map<std::string, std::string> source_resource, target_resource;
    std::optional<Binding> binding;
    std::string problem;                                          // why there is none
    std::string version;                                          // resourceVersion of the status below
    std::int64_t successes = 0, failures = 0;                     // status as stored
    std::vector<std::string> errors;
  };

  // kInvalidArgument: no Rule / RuleEndpoint (logged by the caller). Ids of rules whose binding or problem changed are added to `changed`.
  Result<RuleId> put_rule(const Bytes& object, std::set<RuleId>& changed);
  void drop_rule(const RuleId& id);
  Result<void> put_endpoint(const Bytes& object, std::set<RuleId>& changed);
  void drop_endpoint(const RuleId& id, std::set<RuleId>& changed);
  static std::optional<RuleId> id_of(const Bytes& object);

  const Rule* find(const RuleId& id) const;
  void ids(std::set<RuleId>& all) const;

  struct RestMatch { RuleId id; const Rule* rule; std::string tail; };
  std::optional<RestMatch> match_rest(const RestTarget& target) const;
  std::vector<RuleId> match_topic(const NodeId& node, const std::string& topic) const;
  std::vector<RuleId> match_url(const NodeId& node, const std::string& url) const;
  // Per node, what its rules need there.
  std::map<NodeId, std::set<NodeWish>> wishes() const;

 private:
  struct Endpoint {
    std::string type;
    std::map<std::string, std::string> properties;
    bool operator==(const Endpoint&) const = default;
  };
  void bind(const RuleId& id, Rule& rule, std::set<RuleId>& changed) const;
  Result<Binding> binding_of(const RuleId& id, const Rule& rule) const;
  void rebind(const std::string& ns, const std::string& endpoint, std::set<RuleId>& changed);

  std::map<RuleId, Endpoint> endpoints_;
  std::map<RuleId, Rule> rules_;
};

// MQTT's matching of a topic against a filter with "+" and "#".
bool topic_matches(std::string_view filter, std::string_view topic);
// What a publication may go to: MQTT's rules, and no wildcard.
bool is_publish_topic(std::string_view topic);

}  // namespace kubeedge::cloud
