// The API server core on a storage in memory. A record is one request: "METHOD PATH?QUERY", content type, accept, body.
// Each gets one answer, never a 5xx; answers are JSON (but the OpenAPI protobuf); what is stored is found under its own name.
#include <cstdlib>

#include "../unit/kube_rest/harness.h"
#include "base/json.h"
#include "records.h"

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

constexpr const char* kResources[] = {"core/pods", "core/configmaps", "core/namespaces", "core/serviceaccounts", "core/nodes", "devices.kubeedge.io/devices"};

constexpr std::uint64_t kFirstRevision = 2;   // of an object in a new MemoryStorage

// Made once through the API, put straight into each input's storage: creating them anew would be most of the work. Each
// carries the revision that it gets when they are put in this order.
std::vector<kubeedge::kube::StoredObject> seed() {
  rest_test::Harness server;
  server.send("POST", rest_test::kPods, rest_test::kPod);
  server.send("POST", rest_test::kMaps, rest_test::json{{"metadata", {{"name", "m"}}}, {"data", {{"a", "1"}}}});
  std::vector<kubeedge::kube::StoredObject> all;
  for (const char* resource : kResources)
    for (auto& object : server.storage.list(resource, "")) {
      auto json = kubeedge::base::parse_json(object.json);
      object.revision = kFirstRevision + all.size();
      json["metadata"]["resourceVersion"] = std::to_string(object.revision);
      object.json = kubeedge::Bytes(kubeedge::base::dump_json(json));
      all.push_back(std::move(object));
    }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto objects = seed();
  rest_test::Harness server(rest_test::Harness::Content::kNothing);
  for (const auto& object : objects)
    server.storage.put(object.key, 0, [&](std::uint64_t) { return object.json; },
                       [&](const kubeedge::Result<kubeedge::kube::StoredObject>& stored) { check(stored.ok() && stored->revision == object.revision); });
  for (std::string_view record : fuzz::records(data, size)) {
    std::string_view line = fuzz::take_until(record, '\n');
    const std::string method(fuzz::take_until(line, ' '));
    const std::string type(fuzz::take_until(record, '\n'));
    const std::string accept(fuzz::take_until(record, '\n'));
    const auto answer = server.raw(method, std::string(line), std::string(record), type, accept);
    check(answer->streaming || (answer->status >= 200 && answer->status < 500) || answer->status == 501);
    if (!answer->streaming && answer->type.find("json") != std::string::npos) check(!kubeedge::base::parse_json(answer->body).is_discarded());
    if (answer->gone) answer->gone();
  }
  for (const char* resource : kResources)
    for (const auto& object : server.storage.list(resource, "")) {
      if (object.revision < kFirstRevision + objects.size()) continue;   // as it was put
      const auto json = kubeedge::base::parse_json(object.json);
      check(json.is_object() && json.at("metadata").at("name") == object.key.name);
    }
  return 0;
}
