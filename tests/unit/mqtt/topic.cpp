#include "mqtt/topic.h"

#include <doctest/doctest.h>

using kubeedge::mqtt::matches;

TEST_CASE("which topics a filter matches (MQTT 3.1.1, 4.7)") {
  CHECK(matches("a/b", "a/b"));
  CHECK(matches("a/+", "a/b"));
  CHECK(matches("a/+", "a/"));
  CHECK(matches("a/#", "a"));
  CHECK(matches("a/#", "a/b/c"));
  CHECK(matches("#", "a/b"));
  CHECK(matches("+/+", "/a"));
  CHECK(matches("$hw/+/c", "$hw/b/c"));
  CHECK_FALSE(matches("a/b", "a"));
  CHECK_FALSE(matches("a/+", "a"));
  CHECK_FALSE(matches("a/+", "a/b/c"));
  CHECK_FALSE(matches("a", "a/b"));
  CHECK_FALSE(matches("#", "$hw/b"));
  CHECK_FALSE(matches("+/b", "$hw/b"));
}
