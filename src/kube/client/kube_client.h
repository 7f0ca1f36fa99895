// The one way controllers speak to a Kubernetes API: a real kube-apiserver or, in process, kube/rest.
#pragma once

#include <memory>
#include <string>

#include <kubeedge/bytes.h>
#include <kubeedge/clock.h>
#include <kubeedge/result.h>
#include <kubeedge/unique_function.h>

namespace kubeedge::kube {

// "devices.kubeedge.io", "v1beta1", "devices". The core group is "".
struct Resource {
  std::string group, version, plural;
  auto operator<=>(const Resource&) const = default;
};

// An API error is an answer: its metav1.Status, raw and in its main fields.
struct ApiError {
  int code = 500;             // HTTP status; 0 = no answer (transport), then only `message` is set
  std::string reason;         // NotFound, AlreadyExists, Conflict, Forbidden, Invalid ...
  std::string message;
  Bytes status;               // the raw Status JSON ("" for transport errors)
  Milliseconds retry_after{0};  // the server's Retry-After; 0 = it gave none
};

// Worth trying again as it is: no answer, or the server's own trouble. (A mutating request without an answer may have been done.)
inline bool transient(const ApiError& error) { return error.code == 0 || error.code == 429 || error.code >= 500; }

template <class T>
class ApiResult {
 public:
  ApiResult(T value) : value_(std::move(value)) {}            // NOLINT(google-explicit-constructor)
  ApiResult(ApiError error) : error_(std::move(error)), failed_(true) {}  // NOLINT(google-explicit-constructor)
  explicit operator bool() const { return !failed_; }
  T& operator*() { return value_; }
  const T& operator*() const { return value_; }
  T* operator->() { return &value_; }
  const ApiError& error() const { return error_; }

 private:
  T value_{};
  ApiError error_;
  bool failed_ = false;
};

struct ListOptions {
  std::string ns;             // "" = all namespaces or cluster-scoped
  std::string label_selector, field_selector;
};

struct ObjectList {
  std::string resource_version;
  std::vector<Bytes> items;   // each a whole object with apiVersion and kind
};

enum class WatchEventType { kAdded, kModified, kDeleted, kBookmark };
struct WatchEvent { WatchEventType type; Bytes object; };

class Watch {                 // destroying it ends the watch; no callback after that
 public:
  virtual ~Watch() = default;
};

enum class PatchType { kJson, kMerge, kStrategicMerge };

// Lives on one executor; callbacks run there, never from inside the call.
class KubeClient {
 public:
  virtual ~KubeClient() = default;
  template <class T> using Done = unique_function<void(ApiResult<T>)>;

  virtual void get(const Resource& resource, const std::string& ns, const std::string& name, Done<Bytes> done) = 0;
  virtual void list(const Resource& resource, ListOptions options, Done<ObjectList> done) = 0;
  // `on_end`: the watch is over (ApiError code 410 = list again). Events are in order.
  virtual std::unique_ptr<Watch> watch(const Resource& resource, ListOptions options, const std::string& resource_version,
                                       unique_function<void(WatchEvent)> on_event, unique_function<void(ApiError)> on_end) = 0;
  // `subresource`: "", "status", "token", "binding".
  virtual void create(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                      Bytes object, Done<Bytes> done) = 0;
  virtual void update(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                      Bytes object, Done<Bytes> done) = 0;
  virtual void patch(const Resource& resource, const std::string& ns, const std::string& name, const std::string& subresource,
                     PatchType type, Bytes patch, Done<Bytes> done) = 0;
  // `options`: DeleteOptions JSON or "".
  virtual void remove(const Resource& resource, const std::string& ns, const std::string& name, Bytes options, Done<Bytes> done) = 0;
};

}  // namespace kubeedge::kube
