// What a workload controller is told and what it answers: state in, actions out. Pure.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cloud/standalone/workloads/node_view.h"
#include "cloud/standalone/workloads/pod_view.h"
#include "kube/client/kube_client.h"

namespace kubeedge::cloud::workloads {

inline const kube::Resource kPods{"", "v1", "pods"};
inline const kube::Resource kNodes{"", "v1", "nodes"};
inline const kube::Resource kDeployments{"apps", "v1", "deployments"};
inline const kube::Resource kReplicaSets{"apps", "v1", "replicasets"};
inline const kube::Resource kDaemonSets{"apps", "v1", "daemonsets"};
inline const kube::Resource kJobs{"batch", "v1", "jobs"};
inline const kube::Resource kCronJobs{"batch", "v1", "cronjobs"};
inline const kube::Resource kRevisions{"apps", "v1", "controllerrevisions"};

// What an Event of the workload tells of an action once it is done. "" = nothing.
struct Note {
  std::string reason, message;   // of a create whose name the server makes, the name is appended
};

struct Action {
  enum class Verb { kCreate, kPatch, kStatus, kDelete } verb = Verb::kCreate;   // patch: strategic; status: a merge patch of /status
  kube::Resource resource;
  std::string ns, name;    // of a create: "" where the server makes the name
  nlohmann::json body;     // of a delete: DeleteOptions
  Note note;
};

// Everything about one workload.
struct State {
  nlohmann::json parent;
  std::vector<nlohmann::json> children;     // ReplicaSets, ControllerRevisions or Jobs that it controls
  std::vector<PodView> pods;                // that it controls, or (of a Deployment) that its ReplicaSets do
  std::vector<NodeView> nodes;              // for a DaemonSet
  std::set<std::string> taken;              // names in the namespace that children of others have
  std::string failure;                      // why the last create was refused; "" = it was not
  std::int64_t now = 0;                     // Unix seconds
};

struct Plan {
  std::vector<Action> actions;
  std::optional<std::int64_t> again_at;     // Unix seconds: look again then, whatever happens

  void look_at(std::int64_t unix_s) { again_at = again_at ? std::min(*again_at, unix_s) : unix_s; }
  void create(const kube::Resource& resource, nlohmann::json body, Note note);
  void patch(const kube::Resource& resource, const nlohmann::json& object, nlohmann::json body, Note note = {});
  // In the background; `uid` makes sure that it is this one.
  void remove(const kube::Resource& resource, const std::string& ns, const std::string& name, const std::string& uid, Note note = {});
  // Writes what `after` has otherwise than `before` in its status and annotations, through /status: that counts no generation.
  void status(const kube::Resource& resource, const nlohmann::json& before, const nlohmann::json& after);
};

constexpr std::size_t kMostCreates = 100;   // in one look: a burst does not hold up the rest

// --- reading and making objects

std::int64_t int_at(const nlohmann::json& object, std::initializer_list<const char*> path, std::int64_t otherwise = 0);
std::string meta_text(const nlohmann::json& object, const char* field);
bool deleting(const nlohmann::json& object);
std::int64_t created_at(const nlohmann::json& object);
std::string annotation(const nlohmann::json& object, const std::string& name);
// Sets a counter of a status, or drops it where Kubernetes' encoder would.
void set_count(nlohmann::json& status, const char* field, std::int64_t value);

// What `value` of "25%" or 3 says of `total`.
std::int64_t share_of(const nlohmann::json& value, std::int64_t total, bool round_up);

// A condition of a status; nothing changes where type, status, reason and message are there already, but its time if `touch`.
const nlohmann::json* condition(const nlohmann::json& status, std::string_view type);
void set_condition(nlohmann::json& status, const char* type, const char* truth, const std::string& reason, const std::string& message, std::int64_t now,
                   bool touch = false);
void drop_condition(nlohmann::json& status, std::string_view type);

nlohmann::json owner_reference(const nlohmann::json& parent);
// A pod of `pod_template`: named `name`, or by the server after "<parent>-".
nlohmann::json pod_of(const nlohmann::json& parent, const nlohmann::json& pod_template, const std::string& name);
// Ten characters that name a template; `collisions` makes others of the same.
std::string template_hash(const nlohmann::json& pod_template, std::int64_t collisions);

}  // namespace kubeedge::cloud::workloads
