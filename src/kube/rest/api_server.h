// The API server core: a parsed request -> an action on Storage -> an answer. No socket, no thread. Pure.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <kubeedge/bytes.h>
#include <kubeedge/clock.h>
#include <kubeedge/unique_function.h>

#include "kube/rest/pod_stream.h"
#include "kube/rest/status.h"
#include "kube/rest/storage.h"

namespace kubeedge::kube {

struct UserInfo {
  std::string name;                      // "system:node:edge1", "kubernetes-admin", "system:serviceaccount:ns:name"
  std::vector<std::string> groups;       // "system:masters", "system:nodes" ...
  std::string uid = {};                  // of a service account
};

// What somebody wants to do, in the words of Kubernetes' authorizers.
struct Attributes {
  std::string verb;                      // get list watch create update patch delete deletecollection bind escalate impersonate ...
  std::string group, version, resource, subresource, ns, name;
  std::string path;                      // of a request for no resource: `resource` is empty then
};
struct Verdict {
  bool allowed = false;
  std::string reason;                    // why, or why not; may be empty
};

// Whose a bearer token is.
struct TokenOwner {
  UserInfo user;
  std::string uid;
  std::vector<std::string> audiences;    // those asked for that the token has
};

struct ApiRequest {
  std::string method;                    // GET POST PUT PATCH DELETE
  std::string path;                      // decoded segments are taken from here
  std::string query;                     // raw
  std::string accept, content_type, user_agent;
  Bytes body;
  UserInfo user;
  std::optional<UserInfo> as;            // `kubectl --as`: in whose place the user acts, if it may
};

// How an answer leaves: once whole, or as a watch stream.
class ApiResponder {
 public:
  virtual ~ApiResponder() = default;
  virtual void reply(int status, std::string content_type, Bytes body) = 0;
  virtual void begin_stream(std::string content_type) = 0;
  virtual void stream(Bytes line) = 0;   // one watch event with its newline
  virtual void end_stream() = 0;
  virtual void on_closed(unique_function<void()> gone) = 0;  // the client left
};

struct ApiServerOptions {
  std::size_t max_body_bytes = 3 * 1024 * 1024;
  std::size_t max_watches = 10'000;
  std::string git_version = "v1.32.2";   // as /version says it
};

// What the core asks of its surroundings.
struct ApiServerHooks {
  std::function<Verdict(const UserInfo&, const Attributes&)> authorize;
  // The status of a SelfSubjectRulesReview: what a user may do in a namespace.
  std::function<nlohmann::json(const UserInfo&, const std::string& ns)> rules_of;
  // The last word on a write that is otherwise fine: the object before (null: a create) and as it would be stored. Optional.
  std::function<std::optional<rest::Failure>(const UserInfo&, const Attributes&, const nlohmann::json& before, const nlohmann::json& after)> admit;
  // Told of each request that was answered 403. Optional.
  std::function<void(const UserInfo&, const Attributes&, const std::string& reason)> audit;
  // Answers POST serviceaccounts/token: fills the TokenRequest's status or returns an error.
  std::function<Result<Bytes>(const std::string& ns, const std::string& service_account, const Bytes& service_account_object,
                              const Bytes& token_request)> issue_token;
  // Answers TokenReview. No audiences = the API server's own. kUnauthenticated says why not.
  std::function<Result<TokenOwner>(const std::string& token, const std::vector<std::string>& audiences)> review_token;
  // A random UUID text for metadata.uid, and 5 random characters for generateName.
  std::function<std::string()> new_uid;
  std::function<std::string()> random_suffix;
};

class ApiServer {
 public:
  ApiServer(Storage& storage, const Clock& clock, ApiServerOptions options, ApiServerHooks hooks);
  ~ApiServer();
  void handle(ApiRequest request, std::shared_ptr<ApiResponder> responder);

  // Of pods/log, exec, attach and portforward the core decides who may and where it goes; the front end brings it there.
  static bool is_pod_stream(const std::string& path);
  // nullopt: it was answered, with a refusal or (a pod without a node) with nothing.
  std::optional<PodStream> pod_stream(ApiRequest request, std::shared_ptr<ApiResponder> responder);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;   // writes under way hold it, too
};

}  // namespace kubeedge::kube
