// What is done next for a pod: as kubelet's computePodActions decides it.
#include "edge/edged/pod_actions.h"
#include "observed_builder.h"

namespace kubeedge::edged {
namespace {

using Names = std::vector<std::string>;
using State = ObservedContainer::State;

TEST_CASE("a new pod gets a sandbox first, then all its containers") {
  const Json pod = pod_of("Always", {"a", "b"});
  CHECK(next_actions(pod, {}).create_sandbox);
  CHECK(next_actions(pod, {}).start.empty());
  const Actions then = next_actions(pod, Seen().sandbox().pod());
  CHECK_FALSE(then.create_sandbox);
  CHECK(then.start == Names{"a", "b"});
}

TEST_CASE("adoption: what runs as wanted is left alone") {
  const Json pod = pod_of("Always", {"a", "b"});
  const Actions actions = next_actions(pod, Seen().sandbox().running("a").running("b", 3).pod());
  CHECK(actions.start.empty());
  CHECK(actions.kill.empty());
  CHECK(actions.stop_sandboxes.empty());
  CHECK_FALSE(actions.create_sandbox);
  CHECK_FALSE(actions.done);
}

TEST_CASE("adoption: a container that another kubelet made is not taken for one with another image") {
  Seen seen;
  seen.sandbox().running("a");
  seen.newest().spec_image = "";
  CHECK(next_actions(pod_of("Always", {"a"}), seen.pod()).kill.empty());
}

TEST_CASE("adoption: a container that was made and not started (killed in between) is started, an unknown one is ended (C71)") {
  const Json pod = pod_of("Always", {"a"});
  CHECK(next_actions(pod, Seen().sandbox().container("a", State::kCreated).pod()).start == Names{"a"});
  CHECK(next_actions(pod, Seen().sandbox().container("a", State::kUnknown).pod()).kill == Names{"a0"});
}

TEST_CASE("restartPolicy decides whether an ended container starts again") {
  const auto restarts = [](const char* policy, int code) {
    // "b" keeps the pod from being over.
    return next_actions(pod_of(policy, {"a", "b"}), Seen().sandbox().exited("a", code).running("b").pod()).start == Names{"a"};
  };
  CHECK(restarts("Always", 0));
  CHECK(restarts("Always", 1));
  CHECK_FALSE(restarts("OnFailure", 0));
  CHECK(restarts("OnFailure", 1));
  CHECK_FALSE(restarts("Never", 0));
  CHECK_FALSE(restarts("Never", 1));
}

TEST_CASE("a pod whose containers all ended for good is over, and its sandbox is stopped") {
  for (const auto& one : {std::pair("Never", 0), std::pair("Never", 1), std::pair("OnFailure", 0)}) {
    CAPTURE(one.first);
    const Actions actions = next_actions(pod_of(one.first, {"a"}), Seen().sandbox().exited("a", one.second).pod());
    CHECK(actions.done);
    CHECK(actions.stop_sandboxes == Names{"sandbox0"});
    CHECK(actions.start.empty());
    CHECK_FALSE(actions.create_sandbox);
  }
  CHECK_FALSE(next_actions(pod_of("OnFailure", {"a"}), Seen().sandbox().exited("a", 1).pod()).done);
  CHECK_FALSE(next_actions(pod_of("Always", {"a"}), Seen().sandbox().exited("a", 0).pod()).done);
}

TEST_CASE("a pod that the cloud knows as ended is not run again where the runtime forgot it (C70)") {
  Json pod = pod_of("Never", {"a"});
  for (const char* phase : {"Succeeded", "Failed"}) {
    pod["status"]["phase"] = phase;
    const Actions actions = next_actions(pod, {});
    CHECK(actions.done);
    CHECK_FALSE(actions.create_sandbox);
  }
  pod["status"]["phase"] = "Running";
  CHECK(next_actions(pod, {}).create_sandbox);
}

TEST_CASE("a dead sandbox: what still runs in it ends, then a new one; containers follow their policy (C72)") {
  Seen seen;
  seen.sandbox(false).running("a");
  const Actions first = next_actions(pod_of("Always", {"a"}), seen.pod());
  CHECK(first.create_sandbox);
  CHECK(first.kill == Names{"a0"});
  CHECK(first.stop_sandboxes == Names{"sandbox0"});

  Seen again;
  again.sandbox(false).exited("a", 137).exited("b", 0).sandbox();
  CHECK(next_actions(pod_of("Always", {"a", "b"}), again.pod()).start == Names{"a", "b"});
  // What succeeded under OnFailure and what ran at all under Never does not run a second time.
  CHECK(next_actions(pod_of("OnFailure", {"a", "b"}), again.pod()).start == Names{"a"});
  CHECK(next_actions(pod_of("Never", {"a", "b", "c"}), again.pod()).start == Names{"c"});
}

TEST_CASE("older sandboxes are stopped while ready and removed when nothing is left in them") {
  Seen two;
  two.sandbox().sandbox().running("a");
  CHECK(next_actions(pod_of("Always", {"a"}), two.pod()).stop_sandboxes == Names{"sandbox0"});
  Seen dead;
  dead.sandbox(false).sandbox(false).exited("a", 1).sandbox().running("a", 1);
  const Actions actions = next_actions(pod_of("Always", {"a"}), dead.pod());
  CHECK(actions.remove_sandboxes == Names{"sandbox0"});   // sandbox1 still holds the last end of "a"
  CHECK(actions.stop_sandboxes.empty());
}

TEST_CASE("a changed image replaces the container") {
  Json pod = pod_of("Always", {"a"});
  pod["spec"]["containers"][0]["image"] = "busybox:2";
  CHECK(next_actions(pod, Seen().sandbox().running("a").pod()).kill == Names{"a0"});
  CHECK(next_actions(pod, Seen().sandbox().exited("a", 137).pod()).start == Names{"a"});
}

TEST_CASE("one dead instance of a container is kept beside the newest; older ones are removed") {
  Seen seen;
  seen.sandbox().exited("a", 1, 0).exited("a", 1, 1).exited("a", 1, 2).running("a", 3).running("b");
  CHECK(next_actions(pod_of("Always", {"a", "b"}), seen.pod()).remove == Names{"a1", "a0"});
}

TEST_CASE("init containers run one after the other, then the others") {
  const Json pod = pod_of("Always", {"a"}, {"i", "k"});
  CHECK(next_actions(pod, Seen().sandbox().pod()).start == Names{"i"});
  CHECK(next_actions(pod, Seen().sandbox().running("i").pod()).start.empty());
  CHECK(next_actions(pod, Seen().sandbox().exited("i", 1).pod()).start == Names{"i"});
  CHECK(next_actions(pod, Seen().sandbox().exited("i", 0).pod()).start == Names{"k"});
  CHECK(next_actions(pod, Seen().sandbox().exited("i", 0).exited("k", 0).pod()).start == Names{"a"});
  CHECK(next_actions(pod, Seen().sandbox().exited("i", 0).exited("k", 0).running("a").pod()).start.empty());
  // Never: a failed init container ends the pod.
  CHECK(next_actions(pod_of("Never", {"a"}, {"i"}), Seen().sandbox().exited("i", 1).pod()).done);
}

TEST_CASE("back-off: none before the first restart, then 10 s doubling to 300 s, from the start after 10 quiet minutes") {
  Backoff backoff;
  std::int64_t now = 1'000'000;
  for (const std::int64_t wait : {0, 10, 20, 40, 80, 160, 300, 300}) {
    backoff.failed(now);
    CHECK(backoff.allowed_at() - now == wait * 1000);
    CHECK(backoff.wait_ms() == wait * 1000);
    now = backoff.allowed_at() + 500;
  }
  backoff.failed(now + kBackoffResetMs);
  CHECK(backoff.wait_ms() == 0);
}

TEST_CASE("back-off of an adopted container goes on where its restarts say") {
  CHECK(Backoff::after(0, 5'000).allowed_at() == 0);
  Backoff third = Backoff::after(2, 5'000);
  third.failed(6'000);
  CHECK(third.allowed_at() == 26'000);
  Backoff long_ago = Backoff::after(1000, 5'000);
  long_ago.failed(6'000);
  CHECK(long_ago.allowed_at() == 306'000);
}

TEST_CASE("waits are written as Go writes them") {
  CHECK(go_duration(10'000) == "10s");
  CHECK(go_duration(80'000) == "1m20s");
  CHECK(go_duration(300'000) == "5m0s");
}

TEST_CASE("a field that is not honoured is named; what is honoured passes") {
  const auto refused = [](const std::string& spec_patch) {
    Json pod = pod_of("Always", {"a"});
    pod["spec"].merge_patch(parsed(spec_patch));
    return unsupported_field(pod);
  };
  const auto container = [](const std::string& patch) {
    Json pod = pod_of("Always", {"a"});
    pod["spec"]["containers"][0].merge_patch(parsed(patch));
    return unsupported_field(pod);
  };
  const auto volume = [](const std::string& source) {
    Json pod = pod_of("Always", {"a"});
    pod["spec"]["volumes"] = Json::array({parsed(source)});
    return unsupported_field(pod);
  };
  CHECK(refused("{}").empty());
  CHECK(refused(R"({"runtimeClassName":"kata"})") == "spec.runtimeClassName");
  CHECK(refused(R"({"hostUsers":false})") == "spec.hostUsers");
  CHECK(refused(R"({"hostUsers":true})").empty());
  CHECK(refused(R"({"overhead":{"cpu":"1"}})") == "spec.overhead");
  CHECK(refused(R"({"setHostnameAsFQDN":true})") == "spec.setHostnameAsFQDN");
  CHECK(refused(R"({"setHostnameAsFQDN":false,"resourceClaims":[],"ephemeralContainers":[]})").empty());
  CHECK(refused(R"({"os":{"name":"windows"}})") == "spec.os.name");
  CHECK(refused(R"({"os":{"name":"linux"}})").empty());
  CHECK(refused(R"({"securityContext":{"sysctls":[{"name":"a","value":"1"}]}})") == "spec.securityContext.sysctls");
  CHECK(refused(R"({"securityContext":{"supplementalGroupsPolicy":"Strict"}})") == "spec.securityContext.supplementalGroupsPolicy");
  CHECK(refused(R"({"securityContext":{"runAsUser":1,"supplementalGroupsPolicy":"Merge"}})").empty());
  CHECK(container(R"({"volumeDevices":[{"name":"x","devicePath":"/d"}]})") == "spec.containers[0].volumeDevices");
  CHECK(container(R"({"securityContext":{"procMount":"Unmasked"}})") == "spec.containers[0].securityContext.procMount");
  CHECK(container(R"({"securityContext":{"procMount":"Default"}})").empty());
  CHECK(container(R"({"volumeMounts":[{"name":"v","mountPath":"/v","subPathExpr":"$(X)/a"}]})") == "spec.containers[0].volumeMounts[0].subPathExpr");
  CHECK(container(R"({"volumeMounts":[{"name":"v","mountPath":"/v","readOnly":true,"recursiveReadOnly":"Enabled"}]})") == "spec.containers[0].volumeMounts[0].recursiveReadOnly");
  CHECK(container(R"({"env":[{"name":"X","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]})") == "spec.containers[0].env[0].valueFrom.resourceFieldRef");
  CHECK(container(R"({"livenessProbe":{"grpc":{"port":1}}})") == "spec.containers[0].livenessProbe.grpc");
  CHECK(container(R"({"livenessProbe":{"exec":{"command":["x"]}},"lifecycle":{"preStop":{"sleep":{"seconds":1}}}})").empty());
  CHECK(volume(R"({"name":"v","persistentVolumeClaim":{"claimName":"c"}})") == "spec.volumes[0].persistentVolumeClaim");
  CHECK(volume(R"({"name":"v","emptyDir":{"medium":"HugePages"}})") == "spec.volumes[0].emptyDir.medium");
  CHECK(volume(R"({"name":"v","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}})").empty());
  CHECK(volume(R"({"name":"v","downwardAPI":{"items":[{"path":"x","resourceFieldRef":{"resource":"limits.cpu"}}]}})") == "spec.volumes[0].downwardAPI.items[0].resourceFieldRef");
  CHECK(volume(R"({"name":"v","projected":{"sources":[{"clusterTrustBundle":{"path":"x"}}]}})") == "spec.volumes[0].projected.sources[0].clusterTrustBundle");
  CHECK(volume(R"({"name":"v","configMap":{"name":"c"}})").empty());
}

TEST_CASE("spoilt pods are survived") {
  const Seen seen = Seen().sandbox().running("a").exited("b", 1);
  for (const char* bad : {"null", "[]", R"({"spec":1})", R"({"spec":{"containers":{"a":1},"volumes":{}}})", R"({"spec":{"containers":[null,1,"x",{"name":[]}],"volumes":[1,null,"x"],"initContainers":[[]]}})",
                          R"({"spec":{"restartPolicy":3,"containers":[{"name":"a","image":7,"env":{},"volumeMounts":[1]}]},"status":[]})"}) {
    CAPTURE(bad);
    const Json pod = parsed(bad);
    static_cast<void>(next_actions(pod, seen.pod()));
    static_cast<void>(next_actions(pod, {}));
    static_cast<void>(unsupported_field(pod));
  }
}

}  // namespace
}  // namespace kubeedge::edged
