#include "device/value.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

using namespace kubeedge;
using namespace kubeedge::device;

namespace {

Blob blob(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

std::string text(Value value) {
  auto encoded = encode(value, static_cast<Type>(value.index()));
  REQUIRE(encoded);
  auto again = decode(*encoded, static_cast<Type>(value.index()));
  REQUIRE(again);
  CHECK(*again == value);
  return *encoded;
}

}  // namespace

TEST_CASE("values as the twins' text, and back") {
  CHECK(text(std::int64_t{-7}) == "-7");
  CHECK(text(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
  CHECK(text(21.5) == "21.5");
  CHECK(text(23.0) == "23");
  CHECK(text(1e300) == "1e300");      // upstream's pattern has no '+'
  CHECK(text(0.1) == "0.1");
  CHECK(text(true) == "true");
  CHECK(text(std::string("größer 5%")) == "größer 5%");
  CHECK(text(std::string()).empty());
  CHECK(text(blob({"\0\xff\x10", 3})) == "AP8Q");
  CHECK(text(Blob{}).empty());
}

TEST_CASE("what is not the declared type is refused on the app's side") {
  CHECK_FALSE(encode(Value(21.5), Type::kInt));
  CHECK(encode(Value(std::string("21")), Type::kDouble).error().message == "declared as double, given a value of type string");
  CHECK_FALSE(encode(Value(std::nan("")), Type::kDouble));
  CHECK_FALSE(encode(Value(std::numeric_limits<double>::infinity()), Type::kDouble));
  CHECK_FALSE(encode(Value(std::string("\xff")), Type::kString));
  CHECK(encode(Value(std::string(kMaxValueBytes, 'x')), Type::kString));
  CHECK_FALSE(encode(Value(std::string(kMaxValueBytes + 1, 'x')), Type::kString));
  CHECK_FALSE(encode(Value(blob(std::string(kMaxValueBytes, 'x'))), Type::kBytes));
  for (const char* wrong : {"", "x", "21.5", "99999999999999999999", "1 ", "0x10"}) CHECK_FALSE(decode(wrong, Type::kInt));
  for (const char* wrong : {"", "x", "1,5", "nan", "inf", "1e999", "1.5 "}) CHECK_FALSE(decode(wrong, Type::kDouble));
  for (const char* wrong : {"", "True", "1", "yes"}) CHECK_FALSE(decode(wrong, Type::kBool));
  CHECK_FALSE(decode("!", Type::kBytes));
  CHECK(*decode("+1e+06", Type::kDouble) == Value(1e6));
}

TEST_CASE("names that would make another topic are refused") {
  CHECK(check_device({"default", "thermo-1"}));
  for (const char* wrong : {"", "a/b", "+", "a#", "a\nb"}) {
    CHECK_FALSE(check_device({wrong, "x"}));
    CHECK_FALSE(check_device({"x", wrong}));
  }
  CHECK(check_property("room/1:temp@2"));
  for (const char* wrong : {"", "a b", "größe", "a+"}) CHECK_FALSE(check_property(wrong));
  CHECK_FALSE(check_property(std::string(129, 'p')));
}
