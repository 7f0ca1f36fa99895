#include <doctest/doctest.h>

#include "harness.h"

using namespace rest_test;

namespace {
constexpr const char* kTokenReviews = "/apis/authentication.k8s.io/v1/tokenreviews";
constexpr const char* kSelfReviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
constexpr const char* kAccessReviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
}  // namespace

TEST_CASE("TokenReview says whose a token is, and why not") {
  Harness api;
  const auto good = api.send("POST", kTokenReviews, {{"spec", {{"token", "good"}, {"audiences", {"vault", "other"}}}}});
  CHECK(good->status == 201);
  const json answer = good->parsed();
  CHECK(answer["kind"] == "TokenReview");
  CHECK(answer["apiVersion"] == "authentication.k8s.io/v1");
  CHECK(answer["status"]["authenticated"] == true);
  CHECK(answer["status"]["user"]["username"] == "system:serviceaccount:default:app");
  CHECK(answer["status"]["user"]["uid"] == "u-1");
  CHECK(answer["status"]["audiences"] == json{"vault"});
  const json bad = api.send("POST", kTokenReviews, {{"spec", {{"token", "altered"}}}})->parsed();
  CHECK(!bad["status"].contains("authenticated"));
  CHECK(bad["status"]["error"] == "the token's signature is wrong");
  CHECK(api.send("POST", kTokenReviews, {{"spec", json::object()}})->status == 400);
  CHECK(api.raw("POST", kTokenReviews, "{", "application/json")->status == 400);
}

TEST_CASE("access reviews ask the authorizer, one's own without leave") {
  Harness api;
  const json spec = {{"resourceAttributes", {{"namespace", "default"}, {"verb", "list"}, {"resource", "pods"}, {"subresource", "log"}, {"name", "p"}}}};
  CHECK(api.send("POST", kSelfReviews, {{"spec", spec}})->parsed()["status"]["allowed"] == true);
  CHECK(api.asked == "list pods/log default/p");
  api.allow = false;
  const json refused = api.send("POST", kSelfReviews, {{"spec", spec}})->parsed();
  CHECK(refused["status"] == json{{"allowed", false}, {"reason", "the test says so"}});
  CHECK(api.send("POST", kAccessReviews, {{"spec", spec}})->status == 403);
  CHECK(api.send("POST", kTokenReviews, {{"spec", {{"token", "good"}}}})->status == 403);
  CHECK(api.send("POST", kSelfReviews, {{"spec", json::object()}})->status == 422);
}

TEST_CASE("reviews are discovered, answered, and nothing else") {
  Harness api;
  const json resources = api.get("/apis/authorization.k8s.io/v1")->parsed()["resources"];
  CHECK(resources.size() == 2);
  CHECK(resources[0]["verbs"] == json{"create"});
  CHECK(api.get(kTokenReviews)->status == 405);
  CHECK(api.get("/apis/authorization.k8s.io")->parsed()["preferredVersion"]["version"] == "v1");
}
