// The tunnel ports of several cloudcores, recorded in one ConfigMap.
#include <doctest/doctest.h>

#include "base/json.h"
#include "cloud/stream/tunnel_port.h"

using namespace kubeedge;
using namespace kubeedge::cloud;

namespace {

std::string record_of(const std::string& object) { return base::parse_json(object)["metadata"]["annotations"][kTunnelPortAnnotation].get<std::string>(); }

}  // namespace

TEST_CASE("tunnel port: the first cloudcore makes the record, the next takes the next port, each keeps its own") {
  const TunnelPortRecord first = claim_tunnel_port(Bytes(), "192.0.2.1", 10351);
  CHECK(first.port == 10351);
  REQUIRE(first.object);
  CHECK(record_of(*first.object) == R"({"ipTunnelPort":{"192.0.2.1":10351},"port":{"10351":true}})");
  const TunnelPortRecord second = claim_tunnel_port(Bytes(*first.object), "192.0.2.2", 10351);
  CHECK(second.port == 10352);
  REQUIRE(second.object);
  const TunnelPortRecord again = claim_tunnel_port(Bytes(*second.object), "192.0.2.1", 10351);
  CHECK(again.port == 10351);
  CHECK(!again.object);
}

TEST_CASE("tunnel port: what is not ours in the ConfigMap stays, what is broken in the record is made anew") {
  const TunnelPortRecord kept = claim_tunnel_port(Bytes(std::string(R"({"kind":"ConfigMap","data":{"a":"b"},"metadata":{"name":"tunnelport","resourceVersion":"7","annotations":{"x":"y"}}})")), "a", 10351);
  REQUIRE(kept.object);
  const auto object = base::parse_json(*kept.object);
  CHECK(object["data"]["a"] == "b");
  CHECK(object["metadata"]["resourceVersion"] == "7");
  CHECK(object["metadata"]["annotations"]["x"] == "y");
  for (const char* broken : {"not json", "[]", R"({"port":[],"ipTunnelPort":7})"}) {
    CAPTURE(broken);
    const nlohmann::json map = {{"metadata", {{"annotations", {{kTunnelPortAnnotation, broken}}}}}};
    CHECK(claim_tunnel_port(Bytes(map.dump()), "a", 10351).port == 10351);
  }
}
