#include "kube/schema/merge_rule.h"

#include <map>
#include <utility>

namespace kubeedge::kube::schema {
namespace {

struct Row {
  std::string_view object, field;   // field "" = the object itself
  Rule rule;
  std::string_view keys;
};

constexpr Row kRows[] = {
#include "kube/schema/list_types.inc"
};

const Row* row(std::string_view object, std::string_view field) {
  static const auto by_name = [] {
    std::map<std::pair<std::string_view, std::string_view>, const Row*> out;
    for (const Row& one : kRows) out[{one.object, one.field}] = &one;
    return out;
  }();
  const auto found = by_name.find({object, field});
  return found == by_name.end() ? nullptr : found->second;
}

}  // namespace

MergeRule merge_rule(const Object& owner, const Field& field) {
  if (const Row* said = row(owner.name, field.name)) return {said->rule, said->keys};
  if (field.shape == Shape::kMap) return {Rule::kGranular};
  if (field.shape == Shape::kArray) return field.merge ? MergeRule{field.merge_key.empty() ? Rule::kSet : Rule::kKeyed, field.merge_key} : MergeRule{};
  return field.type == Type::kObject ? merge_rule(*field.object) : MergeRule{};
}

MergeRule merge_rule(const Object& object) {
  const Row* said = row(object.name, "");
  return {said == nullptr ? Rule::kGranular : said->rule};
}

}  // namespace kubeedge::kube::schema
