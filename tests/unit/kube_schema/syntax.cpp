// Names, quantities, times: what the recorded answers of a real server (oracle.cpp) do not reach.
#include <doctest/doctest.h>

#include "kube/schema/schema.h"
#include "kube/schema/syntax.h"

using namespace kubeedge::kube::schema;

TEST_CASE("quantities in Kubernetes' own spelling") {
  const auto spelt = [](const Json& value) { return canonical_quantity(value).value_or("none"); };
  CHECK(spelt("0") == "0");
  CHECK(spelt("0Ki") == "0");
  CHECK(spelt("0.0") == "0");
  CHECK(spelt("1000m") == "1");
  CHECK(spelt("0.5") == "500m");
  CHECK(spelt(".5") == "500m");
  CHECK(spelt("1024Mi") == "1Gi");
  CHECK(spelt("1.5Gi") == "1536Mi");
  CHECK(spelt("0.5Mi") == "512Ki");
  CHECK(spelt("1000Ki") == "1000Ki");
  CHECK(spelt("0.1Ki") == "102400m");
  CHECK(spelt("1e3") == "1e3");
  CHECK(spelt("1000") == "1k");
  CHECK(spelt("1500000") == "1500k");
  CHECK(spelt("12E") == "12E");
  CHECK(spelt("0.1n") == "1n");
  CHECK(spelt("-2000m") == "-2");
  CHECK(spelt("+5") == "+5");
  CHECK(spelt(1) == "1");
  CHECK(spelt(0.25) == "250m");
  CHECK(spelt("ten") == "none");
  CHECK(spelt("1234567890123456789") == "none");  // more digits than are computed with: stays as it is
  for (const auto bad : {"", "1x", "1.2.3", "1 ", "Ki", "1mm", "1e", "--1", "1e1000"}) {
    CAPTURE(bad);
    CHECK(canonical_quantity(bad).value_or("none") == (std::string_view(bad) == "Ki" ? "0" : "none"));
  }
  CHECK(quantity_error("1x") == "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  CHECK(quantity_error("1mm") == "unable to parse quantity's suffix");
  CHECK(*quantity_number("1Gi") == *quantity_number("1024Mi"));
  CHECK(*quantity_number("100m") == *quantity_number("0.1"));
  CHECK(*quantity_number("1k") > *quantity_number("999"));
  CHECK_FALSE(quantity_number(Json()).has_value());
}

TEST_CASE("times and durations") {
  CHECK(canonical_time("2025-01-01T01:00:00+01:00", false) == "2025-01-01T00:00:00Z");
  CHECK(canonical_time("2025-01-01T00:00:00.987654321Z", false) == "2025-01-01T00:00:00Z");
  CHECK(canonical_time("2025-01-01T00:00:00.12Z", true) == "2025-01-01T00:00:00.120000Z");
  CHECK_FALSE(canonical_time("soon", true).has_value());
  CHECK(time_error("2024-02-29T23:59:59Z", false).empty());
  CHECK(time_error("2025-13-01T00:00:00Z", false) == "parsing time \"2025-13-01T00:00:00Z\": month out of range");
  CHECK(time_error("2025-01-01T24:00:00Z", false) == "parsing time \"2025-01-01T24:00:00Z\": hour out of range");
  CHECK(time_error("2025-01-01T00:00:00.123456Z", true).empty());
  for (const auto good : {"0", "5s", "1h30m", "-1.5ms", "10us"}) CHECK(duration_error(good).empty());
  CHECK(duration_error("5") == "time: missing unit in duration \"5\"");
  CHECK(duration_error("5x") == "time: unknown unit \"x\" in duration \"5x\"");
  CHECK(duration_error("") == "time: invalid duration \"\"");
}

TEST_CASE("base64 is read as strictly as Go reads it") {
  for (const auto good : {"", "YQ==", "YWI=", "YWJj", "YQ\n==\n"}) {
    CAPTURE(good);
    CHECK(base64_error(good).empty());
  }
  CHECK(base64_error("YQ=") == "illegal base64 data at input byte 3");
  CHECK(base64_error("YWI=x") == "illegal base64 data at input byte 4");
  CHECK(base64_error("=") == "illegal base64 data at input byte 0");
  CHECK(base64_error("YW_-") == "illegal base64 data at input byte 2");
}

TEST_CASE("names, labels, addresses") {
  CHECK(dns1123_label("a-1").empty());
  CHECK(dns1123_label("a.b") == std::vector<std::string>{"must not contain dots"});
  CHECK(dns1123_label(std::string(64, 'a')) == std::vector<std::string>{"must be no more than 63 characters"});
  CHECK(dns1123_subdomain("a.b-c.d").empty());
  CHECK(dns1123_subdomain("a..b").size() == 1);
  CHECK(dns1035_label("1a").size() == 1);
  CHECK(path_segment("a/b%") == std::vector<std::string>{"may not contain '/'", "may not contain '%'"});
  CHECK(path_segment("..") == std::vector<std::string>{"may not be '..'"});
  CHECK(qualified_name("example.com/a_B.c").empty());
  CHECK(qualified_name("").size() == 2);
  CHECK(label_value("").empty());
  CHECK(config_map_key("..data").size() == 1);
  CHECK(env_var_name("a b-c.1").empty());
  CHECK(is_ip("10.0.0.1"));
  CHECK(is_ip("fe80::1"));
  CHECK_FALSE(is_ip("10.0.0.256"));
  CHECK(is_cidr("10.0.0.0/8"));
  CHECK_FALSE(is_cidr("10.0.0.0/33"));
}

TEST_CASE("sizes have limits") {
  const Kind& kind = *find("", "v1", "configmaps");
  Json object = {{"metadata", {{"name", "m"}, {"namespace", "n"}}}, {"data", {{"a", std::string(1024 * 1024 + 1, 'x')}}}};
  auto causes = validate(kind, object);
  REQUIRE(causes.size() == 1);
  CHECK(causes[0].reason == "FieldValueTooLong");
  CHECK(causes[0].message == "Too long: may not be more than 1048576 bytes");
  object.erase("data");
  object["metadata"]["annotations"]["a"] = std::string(256 * 1024, 'x');
  causes = validate(kind, object);
  REQUIRE(causes.size() == 1);
  CHECK(causes[0].field == "metadata.annotations");
  CHECK(causes[0].message == "Too long: may not be more than 262144 bytes");
}

TEST_CASE("rules on secrets say nothing of their content") {
  const Kind& kind = *find("", "v1", "secrets");
  Json object = {{"metadata", {{"name", "s"}, {"namespace", "n"}}}, {"type", "kubernetes.io/dockercfg"},
                 {"data", {{".dockercfg", "aHVzaA=="}}}};
  const auto causes = validate(kind, object);
  REQUIRE(causes.size() == 1);
  CHECK(causes[0].field == "data[.dockercfg]");
  CHECK(causes[0].message.find("hush") == std::string::npos);
  CHECK(causes[0].message.find("aHVzaA") == std::string::npos);
}

TEST_CASE("odd shapes do no harm") {
  for (const Kind& kind : kinds()) {
    for (const auto text : {"{}", R"({"metadata":null,"spec":null,"status":null})", R"({"metadata":{"labels":null,"finalizers":null}})",
                            R"({"spec":{"containers":[null,{}],"volumes":[null],"ports":[null],"taints":[null]},"subsets":[null]})"}) {
      Json object = Json::parse(text);
      prune_unknown(kind, object);
      if (!type_error(kind, object).empty()) continue;
      apply_defaults(kind, object, "abcde");
      CHECK_FALSE(validate(kind, object).empty());
      validate_update(kind, object, Json::object());
      validate_update(kind, Json::object(), object);
    }
  }
}
