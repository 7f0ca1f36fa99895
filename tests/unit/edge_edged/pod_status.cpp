// v1.PodStatus and its patches: against every podpatch that a Go edgecore sent in the recordings, then case by case.
#include <map>

#include <fstream>

#include "edge/edged/pod_status.h"
#include "kube/patch/patch.h"
#include "kube/schema/schema.h"
#include "observed_builder.h"

namespace kubeedge::edged {
namespace {

using State = ObservedContainer::State;

Json golden(const std::string& name) {
  std::ifstream file(std::string(KE_GOLDEN_DIR) + "/dev/" + name, std::ios::binary);
  return parsed({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
}

const Json& condition(const Json& status, const std::string& type) {
  static const Json none;
  for (const Json& one : items(member(status, "conditions")))
    if (text(member(one, "type")) == type) return one;
  return none;
}

std::int64_t nanoseconds(const Json& time) { return base::from_rfc3339(text(time)).value_or(0) * kSecond; }

// The runtime's answers from which a recorded patch was made.
ObservedPod behind(const Json& patch, const Json& before) {
  ObservedPod out;
  const Json& now = member(patch, "status");
  const Json& ready = condition(now, "PodReadyToStartContainers");
  ObservedSandbox sandbox;
  sandbox.id = "sandbox";
  sandbox.ready = text(member(ready.is_null() ? condition(before, "PodReadyToStartContainers") : ready, "status")) == "True";
  for (const Json& ip : items(member(now, "podIPs"))) sandbox.ips.push_back(text(member(ip, "ip")));
  out.sandboxes.push_back(sandbox);
  for (const Json& status : items(member(now, "containerStatuses"))) {
    const std::string id = text(member(status, "containerID"));
    if (id.empty()) continue;
    ObservedContainer one;
    one.id = id.substr(std::string("containerd://").size());
    one.name = text(member(status, "name"));
    one.sandbox_id = sandbox.id;
    one.restart_count = static_cast<int>(number(member(status, "restartCount")));
    one.image = text(member(status, "image"));
    one.image_id = text(member(status, "imageID"));
    if (const Json& running = member(status, "state", "running"); !running.is_null()) {
      one.state = State::kRunning;
      one.started_ns = nanoseconds(member(running, "startedAt"));
    } else if (const Json& end = member(status, "state", "terminated"); !end.is_null()) {
      one.state = State::kExited;
      one.exit_code = static_cast<int>(number(member(end, "exitCode")));
      one.reason = text(member(end, "reason"));
      one.started_ns = nanoseconds(member(end, "startedAt"));
      one.finished_ns = nanoseconds(member(end, "finishedAt"));
    }
    out.containers.push_back(std::move(one));
  }
  return out;
}

// Our patch where upstream sent `recorded` for `pod`, whose stored status is the pod's own.
std::string ours(const Json& pod, const Json& recorded, const std::string& host_ip) {
  const Json& before = member(pod, "status");
  StatusInputs inputs;
  inputs.host_ip = host_ip;
  for (const Json& one : items(member(recorded, "status", "conditions"))) inputs.now_unix_s = nanoseconds(member(one, "lastTransitionTime")) / kSecond;
  const auto patch = status_patch(pod_uid(pod), before, pod_status(pod, behind(recorded, before), inputs, before));
  REQUIRE(patch);
  return *patch;
}

TEST_CASE("every podpatch of the recorded life of a node is what Edged sends: created, running, deleted (C70)") {
  std::ifstream trace(std::string(KE_GOLDEN_DIR) + "/hub/trace-full.jsonl");
  std::map<std::string, Json> pods;   // by name: the newest object that the edge was told
  int compared = 0;
  for (std::string line; std::getline(trace, line);) {
    const Json record = base::parse_json(line);
    if (text(member(record, "kind")) != "ws" || text(member(record, "op")) != "text") continue;
    const Json message = base::parse_json(text(member(record, "raw")));
    const std::string resource = text(member(message, "route", "resource"));
    const Json& content = member(message, "content");
    if (text(member(record, "dir")) == "down") {
      const Json& object = member(content, "Object").is_null() ? content : member(content, "Object");
      if (resource.find("/pod/") == std::string::npos && resource.find("/podpatch/") == std::string::npos) continue;
      if (!spec(object).is_null()) pods[pod_name(object)] = object;
    } else if (resource.find("/podpatch/") != std::string::npos) {
      const Json recorded = parsed(text(content));
      const Json& pod = pods.at(resource.substr(resource.rfind('/') + 1));
      CAPTURE(line);
      CHECK(parsed(ours(pod, recorded, "10.99.0.1")) == recorded);
      ++compared;
    }
  }
  CHECK(compared == 6);
}

TEST_CASE("the recorded patch of a CNI pod that came up is what Edged sends") {
  const Json recorded = golden("real-podpatch.json");
  Json pod = golden("real-pod-in-meta.json");
  // The status as it was before that patch: what the patch names was not there yet, or was the opposite.
  Json& status = pod["status"];
  for (const char* gone : {"podIP", "podIPs", "containerStatuses"}) status.erase(gone);
  status["phase"] = "Pending";
  for (Json& one : status["conditions"]) {
    const std::string type = one["type"];
    if (type == "PodScheduled" || type == "Initialized") continue;
    one["status"] = "False";
    one["lastTransitionTime"] = "2026-11-24T09:29:49Z";
    if (type == "PodReadyToStartContainers") continue;
    one["reason"] = "ContainersNotReady";
    one["message"] = "containers with unready status: [c]";
  }
  CHECK(parsed(ours(pod, recorded, "192.0.2.2")) == recorded);
}

TEST_CASE("the difference between two statuses is upstream's patch, and applying it gives the second one") {
  const kube::schema::Kind* kind = kube::schema::find_kind("", "v1", "Pod");
  REQUIRE(kind != nullptr);
  for (const char* name : {"podpatch-pending-to-running.json", "podpatch-running-to-notready.json"}) {
    CAPTURE(name);
    const Json recorded = golden(name);
    Json before = parsed(R"({"status":{"phase":"Pending","qosClass":"BestEffort","conditions":[{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-24T08:59:59Z"}]}})");
    if (std::string(name).find("notready") != std::string::npos) {
      auto running = kube::patch::strategic_merge(before, golden("podpatch-pending-to-running.json"), kind->object);
      REQUIRE(running);
      before = std::move(*running);
    }
    auto after = kube::patch::strategic_merge(before, recorded, kind->object);
    REQUIRE(after);
    // A merge drops a null; kubelet's own struct, which the patch was made from, has it.
    for (Json* status : {&before["status"], &(*after)["status"]})
      for (Json& one : (*status)["conditions"]) one.emplace("lastProbeTime", nullptr);
    const auto patch = status_patch("0d1f-uid", before["status"], (*after)["status"]);
    REQUIRE(patch);
    CHECK(parsed(*patch) == recorded);
  }
}

TEST_CASE("nothing is sent when nothing differs") {
  const Json pod = golden("real-pod-in-meta.json");
  StatusInputs inputs;
  inputs.host_ip = "192.0.2.2";
  inputs.now_unix_s = kNow;
  const ObservedPod observed = [&] {
    ObservedPod same = behind({{"status", pod["status"]}}, {});
    return same;
  }();
  const Json status = pod_status(pod, observed, inputs, pod["status"]);
  CHECK(status == pod["status"]);
  CHECK_FALSE(status_patch(pod_uid(pod), pod["status"], status));
}

TEST_CASE("an address that is gone is deleted by name, a scalar that is gone becomes null") {
  const Json before = parsed(R"({"phase":"Running","reason":"x","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]})");
  const Json after = parsed(R"({"phase":"Running","podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"}]})");
  CHECK(parsed(*status_patch("u", before, after)) ==
        parsed(R"({"metadata":{"uid":"u"},"status":{"reason":null,"podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"},{"$patch":"delete","ip":"10.0.0.1"}]}})"));
}

Json status_of(const Json& pod, const Seen& seen, StatusInputs inputs = {}, const Json& previous = Json::object()) {
  inputs.now_unix_s = kNow;
  if (inputs.host_ip.empty()) inputs.host_ip = "192.0.2.1";
  return pod_status(pod, seen.pod(), inputs, previous);
}
const Json& only(const Json& status) { return member(status, "containerStatuses").at(0); }

TEST_CASE("phases are kubelet's") {
  const auto phase = [](const Json& pod, const Seen& seen) { return text(member(status_of(pod, seen), "phase")); };
  CHECK(phase(pod_of("Always", {"a"}), Seen()) == "Pending");
  CHECK(phase(pod_of("Always", {"a"}), Seen().sandbox().running("a")) == "Running");
  CHECK(phase(pod_of("Always", {"a", "b"}), Seen().sandbox().running("a")) == "Pending");
  CHECK(phase(pod_of("Always", {"a"}), Seen().sandbox().exited("a", 0)) == "Running");
  CHECK(phase(pod_of("Never", {"a"}), Seen().sandbox().exited("a", 0)) == "Succeeded");
  CHECK(phase(pod_of("Never", {"a"}), Seen().sandbox().exited("a", 3)) == "Failed");
  CHECK(phase(pod_of("Never", {"a", "b"}), Seen().sandbox().exited("a", 3).running("b")) == "Running");
  CHECK(phase(pod_of("OnFailure", {"a"}), Seen().sandbox().exited("a", 0)) == "Succeeded");
  CHECK(phase(pod_of("OnFailure", {"a"}), Seen().sandbox().exited("a", 1)) == "Running");
  CHECK(phase(pod_of("Always", {"a"}, {"i"}), Seen().sandbox().running("i")) == "Pending");
  CHECK(phase(pod_of("Never", {"a"}, {"i"}), Seen().sandbox().exited("i", 1)) == "Failed");
  CHECK(phase(pod_of("Always", {"a"}, {"i"}), Seen().sandbox().exited("i", 1)) == "Pending");
}

TEST_CASE("a pod that ended does not come back to life when the runtime forgot its containers") {
  const Json pod = pod_of("Never", {"a"});
  const Json ended = status_of(pod, Seen().sandbox().exited("a", 0));
  CHECK(text(member(status_of(pod, Seen(), {}, ended), "phase")) == "Succeeded");
}

TEST_CASE("a deleted pod whose containers ended is over, whatever its restart policy") {
  Json pod = pod_of("Always", {"a"});
  pod["metadata"]["deletionTimestamp"] = "2026-11-24T10:02:07Z";
  CHECK(text(member(status_of(pod, Seen().sandbox().running("a")), "phase")) == "Running");
  CHECK(text(member(status_of(pod, Seen().sandbox(false).exited("a", 0)), "phase")) == "Succeeded");
  const Json failed = status_of(pod, Seen().sandbox(false).exited("a", 137));
  CHECK(text(member(failed, "phase")) == "Failed");
  CHECK(text(member(condition(failed, "Ready"), "reason")) == "PodFailed");
  // One that never ran at all is no success.
  CHECK(text(member(status_of(pod, Seen()), "phase")) == "Failed");
}

TEST_CASE("a crashed container waits with its reason and shows its end as the last state (C80)") {
  StatusInputs inputs;
  inputs.waiting["a"] = {"CrashLoopBackOff", "back-off 10s restarting failed container=a pod=p_default(u1)"};
  Seen seen;
  seen.sandbox().exited("a", 1, 0).exited("a", 2, 1);
  const Json status = status_of(pod_of("Always", {"a"}), seen, inputs);
  CHECK(only(status)["state"]["waiting"]["reason"] == "CrashLoopBackOff");
  CHECK(only(status)["lastState"]["terminated"]["exitCode"] == 2);
  CHECK(only(status)["restartCount"] == 1);
  CHECK(only(status)["ready"] == false);
  CHECK(text(member(status, "phase")) == "Running");
  CHECK(text(member(condition(status, "Ready"), "message")) == "containers with unready status: [a]");
}

TEST_CASE("a restarted container shows its former end, the runtime's reason and the termination message") {
  StatusInputs inputs;
  inputs.messages["a0"] = "no disk";
  Seen seen;
  seen.sandbox().exited("a", 137);
  seen.newest().reason = "OOMKilled";
  seen.running("a", 1);
  const Json status = status_of(pod_of("Always", {"a"}), seen, inputs);
  const Json& end = only(status)["lastState"]["terminated"];
  CHECK(end["reason"] == "OOMKilled");
  CHECK(end["message"] == "no disk");
  CHECK(end["containerID"] == "containerd://a0");
  CHECK(only(status)["ready"] == true);
}

TEST_CASE("a count that the cloud knows does not go back when the runtime lost the container (C74)") {
  const Json pod = pod_of("Always", {"a"});
  const Json before = status_of(pod, Seen().sandbox().running("a", 2));
  CHECK(only(status_of(pod, Seen(), {}, before))["restartCount"] == 2);
}

TEST_CASE("start and transition times stay; they change with the condition only") {
  const Json pod = pod_of("Always", {"a"});
  StatusInputs later;
  const Json first = status_of(pod, Seen().sandbox().running("a"));
  later.now_unix_s = kNow + 60;
  later.host_ip = "192.0.2.1";
  const Json second = pod_status(pod, Seen().sandbox().exited("a", 1).pod(), later, first);
  CHECK(second["startTime"] == first["startTime"]);
  CHECK(condition(second, "PodReadyToStartContainers")["lastTransitionTime"] == condition(first, "PodReadyToStartContainers")["lastTransitionTime"]);
  CHECK(condition(second, "Ready")["lastTransitionTime"] == base::rfc3339(kNow + 60));
}

TEST_CASE("conditions of others are kept, and readiness gates count") {
  Json pod = pod_of("Always", {"a"});
  pod["spec"]["readinessGates"] = parsed(R"([{"conditionType":"example.com/lb"}])");
  Json previous = parsed(R"({"conditions":[{"type":"example.com/lb","status":"False"}]})");
  Json status = status_of(pod, Seen().sandbox().running("a"), {}, previous);
  CHECK(condition(status, "example.com/lb")["status"] == "False");
  CHECK(condition(status, "ContainersReady")["status"] == "True");
  CHECK(condition(status, "Ready")["status"] == "False");
  CHECK(condition(status, "Ready")["reason"] == "ReadinessGatesNotReady");
  previous["conditions"][0]["status"] = "True";
  status = status_of(pod, Seen().sandbox().running("a"), {}, previous);
  CHECK(condition(status, "Ready")["status"] == "True");
}

TEST_CASE("an address that is not known yet (offline start) takes nothing away") {
  Json pod = pod_of("Always", {"a"});
  pod["spec"]["hostNetwork"] = true;
  const Json before = status_of(pod, Seen().sandbox().running("a"));
  CHECK(before["podIP"] == "192.0.2.1");
  StatusInputs inputs;
  inputs.now_unix_s = kNow;
  const Json after = pod_status(pod, Seen().sandbox().running("a").pod(), inputs, before);
  CHECK(after["hostIP"] == "192.0.2.1");
  CHECK(after["podIPs"] == before["podIPs"]);
}

TEST_CASE("a pod that ended keeps the address it had; a new sandbox brings a new one") {
  const Json pod = pod_of("OnFailure", {"a"});
  const Json before = status_of(pod, Seen().sandbox(true, {"10.88.0.2", "fd00::2"}).running("a"));
  CHECK(before["podIP"] == "10.88.0.2");
  CHECK(before["podIPs"].size() == 2);
  CHECK(status_of(pod, Seen().sandbox(false).exited("a", 0), {}, before)["podIP"] == "10.88.0.2");
  CHECK(status_of(pod, Seen().sandbox(false).sandbox(true, {"10.88.0.3"}).running("a"), {}, before)["podIPs"] == parsed(R"([{"ip":"10.88.0.3"}])"));
}

TEST_CASE("probes decide what is started and ready (C80)") {
  const Json pod = pod_of("Always", {"a"});
  StatusInputs inputs;
  for (const auto& [started, ready] : {std::pair(false, false), std::pair(true, false), std::pair(true, true), std::pair(false, true)}) {
    inputs.health["a0"] = {started, ready};
    const Json status = status_of(pod, Seen().sandbox().running("a"), inputs);
    CHECK(only(status)["started"] == started);
    CHECK(only(status)["ready"] == (started && ready));
    CHECK(condition(status, "Ready")["status"] == (started && ready ? "True" : "False"));
    CHECK(status["phase"] == "Running");
  }
}

TEST_CASE("a refused pod is Failed with its reason") {
  StatusInputs inputs;
  inputs.failure_reason = "UnsupportedPodField";
  inputs.failure_message = "edged does not honour spec.runtimeClassName yet";
  const Json status = status_of(pod_of("Always", {"a"}), Seen(), inputs);
  CHECK(status["phase"] == "Failed");
  CHECK(status["reason"] == "UnsupportedPodField");
  CHECK(status["message"] == inputs.failure_message);
}

TEST_CASE("init containers: waiting, done, and what the pod says of them") {
  const Json pod = pod_of("Always", {"a"}, {"i", "k"});
  const Json running = status_of(pod, Seen().sandbox().running("i"));
  CHECK(running["initContainerStatuses"][0]["state"].contains("running"));
  CHECK(running["initContainerStatuses"][1]["state"]["waiting"]["reason"] == "PodInitializing");
  CHECK(only(running)["state"]["waiting"]["reason"] == "PodInitializing");
  CHECK(condition(running, "Initialized")["message"] == "containers with incomplete status: [i k]");
  const Json done = status_of(pod, Seen().sandbox().exited("i", 0).exited("k", 0).running("a"));
  CHECK(done["initContainerStatuses"][0]["ready"] == true);
  CHECK(condition(done, "Initialized")["status"] == "True");
  CHECK(done["phase"] == "Running");
}

TEST_CASE("quality of service and quantities") {
  const auto with = [](const std::string& resources) {
    Json pod = pod_of("Always", {"a"});
    pod["spec"]["containers"][0]["resources"] = parsed(resources);
    return pod;
  };
  CHECK(qos_class(with("{}")) == "BestEffort");
  CHECK(qos_class(with(R"({"requests":{"cpu":"100m"}})")) == "Burstable");
  CHECK(qos_class(with(R"({"limits":{"cpu":"1","memory":"64Mi"}})")) == "Guaranteed");
  CHECK(qos_class(with(R"({"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"1000m","memory":"64Mi"}})")) == "Guaranteed");
  CHECK(qos_class(with(R"({"limits":{"cpu":"1","memory":"64Mi"},"requests":{"cpu":"0.5"}})")) == "Burstable");
  CHECK(milli("100m") == 100);
  CHECK(milli("1.5") == 1500);
  CHECK(milli("0.0001") == 1);
  CHECK(bytes_of("64Mi") == 64 << 20);
  CHECK(bytes_of("1k") == 1000);
  CHECK(bytes_of("12e2") == 1200);
  for (const char* bad : {"", "x", "1Q", "1 Mi", "--1", "nan", "inf", "1e99999", "99999999999Ei"}) {
    CAPTURE(bad);
    CHECK_FALSE(bytes_of(bad));
    CHECK_FALSE(milli(bad));
  }
}

TEST_CASE("spoilt objects are survived") {
  const Seen seen = Seen().sandbox().running("a");
  for (const char* bad : {"null", "[]", "{}", R"({"spec":1})", R"({"spec":{"containers":{"a":1}}})", R"({"spec":{"containers":[null,1,"x"],"initContainers":[[]]}})",
                          R"({"spec":{"containers":[{"name":1}]},"status":[]})", R"({"metadata":[],"spec":{"containers":[{"name":"a","volumeMounts":[1]}]}})"}) {
    CAPTURE(bad);
    const Json pod = parsed(bad);
    for (const char* previous : {"null", "[]", "{}", R"({"conditions":{"a":1}})", R"({"conditions":[1,{"type":2}],"containerStatuses":"x","phase":7,"startTime":[]})"}) {
      const Json before = parsed(previous);
      static_cast<void>(status_patch("u", before, pod_status(pod, seen.pod(), {}, before)));
    }
  }
}

}  // namespace
}  // namespace kubeedge::edged
