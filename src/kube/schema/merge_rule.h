// How server-side apply merges a value: what the table of kinds does not say comes from list_types.inc. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "kube/schema/schema.h"

namespace kubeedge::kube::schema {

enum class Rule : std::uint8_t {
  kAtomic,      // as a whole, by one owner
  kGranular,    // member by member
  kSet,         // a list of values, each once
  kKeyed,       // a list of objects, told apart by `keys`
};

struct MergeRule {
  Rule rule = Rule::kAtomic;
  std::string_view keys = {};   // "name"; "containerPort,protocol=TCP": a key that an item leaves out has this value
};

// Of a list or map that `owner` has as `field`; of an object there (or of one item) kAtomic or kGranular.
MergeRule merge_rule(const Object& owner, const Field& field);
MergeRule merge_rule(const Object& object);

}  // namespace kubeedge::kube::schema
