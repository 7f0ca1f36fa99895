// How the tables are written down: one short call a field. Only the kinds_*.cpp files and schema.cpp include this.
#pragma once

#include "kube/schema/schema.h"

namespace kubeedge::kube::schema {

// The parts of the table. Unstored kinds are bodies of subresources and requests (Binding, TokenRequest, DeleteOptions).
std::span<const Kind> builtin_kinds();
std::span<const Kind> unstored_kinds();
std::span<const Kind> custom_kinds();

namespace tables {
extern const Object ObjectMeta;  // in kinds_generated.cpp
}

// One field under construction.
struct Spec {
  Field field;
  constexpr operator Field() const { return field; }  // NOLINT: an array of Field is filled with these
  constexpr Spec must() const {
    Spec out = *this;
    out.field.required = true;
    return out;
  }
  constexpr Spec drop() const { return when_empty(Empty::kDrop); }
  constexpr Spec write() const { return when_empty(Empty::kWrite); }
  constexpr Spec when_empty(Empty empty) const {
    Spec out = *this;
    out.field.empty = empty;
    return out;
  }
  // patchStrategy "merge", by `key` or, when empty, as a set.
  constexpr Spec merged(std::string_view key) const {
    Spec out = *this;
    out.field.merge = true;
    out.field.merge_key = key;
    return out;
  }
  constexpr Spec retained() const {
    Spec out = *this;
    out.field.retain_keys = true;
    return out;
  }
  constexpr Spec one_of(std::string_view values) const {
    Spec out = *this;
    out.field.enum_values = values;
    return out;
  }
};

constexpr Spec spec(std::string_view name, Type type, Shape shape, const Object* object = nullptr) {
  Spec out;
  out.field.name = name;
  out.field.type = type;
  out.field.shape = shape;
  out.field.object = object;
  return out;
}

constexpr Spec str(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kString, shape); }
constexpr Spec integer(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kInteger, shape); }
constexpr Spec integer(std::string_view name, Shape shape, std::uint8_t bits) {
  Spec out = spec(name, Type::kInteger, shape);
  out.field.bits = bits;
  return out;
}
constexpr Spec integer32(std::string_view name, Shape shape = Shape::kSingle) { return integer(name, shape, 32); }
constexpr Spec integer64(std::string_view name, Shape shape = Shape::kSingle) { return integer(name, shape, 64); }
constexpr Spec number(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kNumber, shape); }
constexpr Spec boolean(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kBoolean, shape); }
constexpr Spec any(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kAny, shape); }
constexpr Spec int_or_str(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kIntOrString, shape); }
constexpr Spec quantity(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kQuantity, shape); }
constexpr Spec time(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kTime, shape); }
constexpr Spec micro_time(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kMicroTime, shape); }
constexpr Spec duration(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kDuration, shape); }
constexpr Spec bytes(std::string_view name, Shape shape = Shape::kSingle) { return spec(name, Type::kBytes, shape); }
constexpr Spec object(std::string_view name, const Object& what) { return spec(name, Type::kObject, Shape::kSingle, &what); }
constexpr Spec objects(std::string_view name, const Object& what) { return spec(name, Type::kObject, Shape::kArray, &what); }
constexpr Spec object_map(std::string_view name, const Object& what) { return spec(name, Type::kObject, Shape::kMap, &what); }

}  // namespace kubeedge::kube::schema
