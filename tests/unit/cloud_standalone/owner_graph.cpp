// Who is collected, and how: in the background, in the foreground, orphaned.
#include <doctest/doctest.h>

#include "cloud/standalone/workloads/owner_graph.h"

using namespace kubeedge::cloud::workloads;
using What = Verdict::What;

namespace {

Owned object(const std::string& uid, std::vector<std::string> owners = {}, std::vector<std::string> finalizers = {}, bool deleting = false) {
  Owned out{"core/configmaps", "default", "n-" + uid, uid, "1", {}, std::move(finalizers), deleting};
  for (const std::string& owner : owners) out.owners.push_back({"v1", "ConfigMap", "n-" + owner, owner, true, false});
  return out;
}

using Uids = std::set<std::string>;

}  // namespace

TEST_CASE("owner graph: what lost its last owner goes, what has another is only let go") {
  OwnerGraph graph;
  CHECK(graph.put(object("o")).empty());
  CHECK(graph.put(object("p")).empty());
  CHECK(graph.put(object("one", {"o"})).empty());
  CHECK(graph.put(object("both", {"o", "p"})).empty());
  CHECK(graph.judge("one").what == What::kNothing);
  CHECK(graph.remove("o") == Uids{"both", "one"});
  CHECK(graph.judge("one").what == What::kDelete);
  CHECK(graph.judge("one").propagation == "Background");
  CHECK(graph.judge("both").what == What::kUnlink);
  CHECK(graph.judge("both").uids == std::vector<std::string>{"o"});
  CHECK(graph.put(object("late", {"o"})) == Uids{"late"});   // born after its owner went
  CHECK(graph.judge("nobody").what == What::kNothing);
}

TEST_CASE("owner graph: nothing is judged missing that is only not yet read") {
  OwnerGraph graph;
  graph.put(object("one", {"o"}));
  graph.put(object("two", {"never"}));
  graph.put(object("o"));
  CHECK(graph.candidates() == Uids{"two"});
}

TEST_CASE("owner graph: foreground takes the dependents first, then the finalizer") {
  OwnerGraph graph;
  graph.put(object("set", {"deploy"}));
  graph.put(object("pod", {"set"}));
  CHECK(graph.put(object("deploy", {}, {"foregroundDeletion"}, true)) == Uids{"deploy"});
  CHECK(graph.judge("deploy").what == What::kDeleteAll);
  CHECK(graph.judge("deploy").dependents == std::vector<std::string>{"set"});
  CHECK(graph.judge("set").what == What::kDelete);
  CHECK(graph.judge("set").propagation == "Foreground");   // it has a dependent of its own
  CHECK(graph.put(object("set", {"deploy"}, {"foregroundDeletion"}, true)) == Uids{"set"});
  CHECK(graph.judge("deploy").what == What::kNothing);     // waits for it
  CHECK(graph.judge("pod").propagation == "Background");
  graph.put(object("pod", {"set"}, {}, true));
  CHECK(graph.judge("set").what == What::kNothing);
  CHECK(graph.remove("pod") == Uids{"set"});
  CHECK(graph.judge("set").what == What::kFinish);
  CHECK(graph.judge("set").finalizer == "foregroundDeletion");
  CHECK(graph.remove("set") == Uids{"deploy"});
  CHECK(graph.judge("deploy").what == What::kFinish);
}

TEST_CASE("owner graph: a dependent that does not block is deleted and not waited for") {
  OwnerGraph graph;
  graph.put(object("deploy", {}, {"foregroundDeletion"}, true));
  Owned free = object("free", {"deploy"}, {}, true);
  free.owners[0].blocks = false;
  graph.put(free);
  CHECK(graph.judge("deploy").what == What::kFinish);
}

TEST_CASE("owner graph: orphans are let go before the owner is") {
  OwnerGraph graph;
  graph.put(object("set", {"deploy"}));
  CHECK(graph.put(object("deploy", {}, {"orphan", "mine"}, true)) == Uids{"deploy"});
  CHECK(graph.judge("deploy").what == What::kReleaseAll);
  CHECK(graph.judge("set").what == What::kNothing);
  CHECK(graph.put(object("set")) == Uids{"deploy"});   // released
  CHECK(graph.judge("deploy").what == What::kFinish);
  CHECK(graph.judge("deploy").finalizer == "orphan");
  CHECK(graph.remove("deploy").empty());
}

TEST_CASE("owner graph: reads foreign metadata") {
  const Owned owned = owned_of("core/pods", nlohmann::json::parse(R"({"namespace":"d","name":"p","uid":"u","resourceVersion":"4","deletionTimestamp":"x","finalizers":["a"],
    "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"o","controller":true,"blockOwnerDeletion":true},{"uid":"q"}]})"));
  CHECK(owned.deleting);
  CHECK(owned.has_finalizer("a"));
  REQUIRE(owned.owners.size() == 2);
  CHECK(owned.owners[0].blocks);
  CHECK_FALSE(owned.owners[1].blocks);
  CHECK(owned_of("core/pods", nlohmann::json::parse(R"({"ownerReferences":5,"finalizers":{"a":1}})")).owners.empty());
}
