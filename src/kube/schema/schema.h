// What the API server knows of each kind: one compact table, from which defaults, validation, merge keys, OpenAPI and
// explain derive. The built-in part (kinds_generated.cpp) comes from tools/, names and types only. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace kubeedge::kube::schema {

enum class Type : std::uint8_t {
  kAny,           // any JSON value, kept as it is
  kString, kInteger, kNumber, kBoolean,
  kObject,        // `object` says which
  kIntOrString, kQuantity, kTime, kMicroTime, kDuration,
  kBytes,         // base64 string
};
enum class Shape : std::uint8_t { kSingle, kArray, kMap };   // map: string keys
// What Kubernetes' encoder does with an empty value ("", 0, false, [], {}): a pointer keeps it, omitempty drops it, others are always
// there.
enum class Empty : std::uint8_t { kKeep, kDrop, kWrite };

struct Object;

struct Field {
  std::string_view name;          // JSON name
  Type type = Type::kAny;
  Shape shape = Shape::kSingle;
  const Object* object = nullptr; // Type::kObject
  bool required = false;
  bool merge = false;             // array: patchStrategy "merge" (by `merge_key`; "" = a set of primitives); object: retainKeys alone
  bool retain_keys = false;       // patchStrategy "retainKeys"
  std::string_view merge_key;
  std::string_view enum_values = {};   // "A|B|C" for the kinds of our own CRDs; refused otherwise as Kubernetes words it
  Empty empty = Empty::kKeep;
  std::uint8_t bits = 0;          // integer: 32, 64 or not said
};

struct Object {
  std::string_view name;          // "io.k8s.api.core.v1.PodSpec"; our CRDs: "io.kubeedge.devices.v1beta1.Device.spec"
  std::span<const Field> fields;
  bool open = false;              // x-kubernetes-preserve-unknown-fields
  const Field* find(std::string_view field) const;
};

struct Kind {
  std::string_view group, version, kind, plural, singular;
  std::span<const std::string_view> short_names;
  bool namespaced = true;
  bool status = false;            // has a /status subresource
  bool custom = false;            // a CRD of ours: unknown fields are pruned, no strategic merge patch (415)
  const Object* object = nullptr; // the whole, with apiVersion, kind, metadata
  bool scale = false;             // has a /scale subresource
  bool in_all = false;            // `kubectl get all` shows it
  std::string api_version() const { return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version); }
  // "core/pods", "devices.kubeedge.io/devices": StorageKey::resource.
  std::string storage_resource() const { return (group.empty() ? "core" : std::string(group)) + "/" + std::string(plural); }
};

std::span<const Kind> kinds();
const Kind* find(std::string_view group, std::string_view version, std::string_view plural);
// A body that is answered and never stored (TokenReview ...), by the plural of its path.
const Kind* find_review(std::string_view group, std::string_view version, std::string_view plural);
std::span<const Kind> reviews();
const Kind* find_kind(std::string_view group, std::string_view version, std::string_view kind);

using Json = nlohmann::json;

// Unknown fields as kube-apiserver's strict decoding names them: `unknown field "spec.containers[0].imag"`. Removes each.
std::vector<std::string> prune_unknown(const Kind& kind, Json& object);

// One cause of an Invalid (422) answer.
struct Cause { std::string field, reason, message; };   // "spec.containers", "FieldValueRequired", "Required value"
// Types that do not fit (string for int ...): why, as Go's decoder words it (the caller puts "... cannot be handled as a ..." before it);
// "" when all fit. Of a custom kind only the metadata: the rest is validate's.
std::string type_error(const Kind& kind, const Json& object);
// Names, required fields, enums and the few cross-field rules that kubectl users meet.
std::vector<Cause> validate(const Kind& kind, const Json& object);
// Changes that Kubernetes refuses: immutable fields of Pods, Secrets, metadata.
std::vector<Cause> validate_update(const Kind& kind, const Json& before, const Json& after);

// Kubernetes' defaults for a new or changed object, and the form its encoder writes. Before validate, after type_error said "".
// `random5` = 5 characters for the token volume's name.
void apply_defaults(const Kind& kind, Json& object, std::string_view random5);

}  // namespace kubeedge::kube::schema
