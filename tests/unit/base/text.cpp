#include <doctest/doctest.h>

#include "base/text.h"

using namespace kubeedge;

TEST_CASE("base64 goes both ways, with and without padding") {
  CHECK(base::base64("M") == "TQ==");
  CHECK(base::base64("Man") == "TWFu");
  CHECK(base::base64url("\xfb\xff") == "-_8");
  CHECK(base::from_base64("TQ==") == "M");
  CHECK(base::from_base64("-_8") == "\xfb\xff");
  CHECK_FALSE(base::from_base64("T"));
  CHECK_FALSE(base::from_base64("T!=="));
}

TEST_CASE("UTF-8: overlong, surrogate and cut sequences are refused") {
  CHECK(base::is_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
  CHECK_FALSE(base::is_utf8("\xc0\xaf"));
  CHECK_FALSE(base::is_utf8("\xed\xa0\x80"));
  CHECK_FALSE(base::is_utf8("\xe2\x82"));
}

TEST_CASE("times in RFC 3339") {
  CHECK(base::rfc3339(1'700'000'000) == "2023-11-14T22:13:20Z");
  CHECK(base::rfc3339_micro(1'700'000'000'123) == "2023-11-14T22:13:20.123000Z");
  CHECK(base::from_rfc3339("2023-11-14T22:13:20Z") == 1'700'000'000);
  CHECK(base::from_rfc3339("2023-11-14T23:13:20.5+01:00") == 1'700'000'000);
  CHECK_FALSE(base::from_rfc3339("2023-11-14 22:13:20"));
}

TEST_CASE("percent coding") {
  CHECK(base::percent_decode("a%2Fb+c") == "a/b+c");
  CHECK_FALSE(base::percent_decode("a%2"));
  CHECK(base::percent_encode("a/b c") == "a%2Fb%20c");
}

TEST_CASE("uuid4 has the version and variant digits") {
  const std::string id = base::uuid4();
  CHECK(id.size() == 36);
  CHECK(id[14] == '4');
  CHECK(std::string("89ab").find(id[19]) != std::string::npos);
}
