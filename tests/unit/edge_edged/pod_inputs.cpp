// Environments and volume files from ConfigMaps, Secrets, fields and tokens.
#include "edge/edged/pod_inputs.h"
#include "observed_builder.h"

namespace kubeedge::edged {
namespace {

const PodFacts kFacts{"edge1", "192.0.2.1", "10.88.0.2"};

Json labelled_pod() {
  Json pod = pod_of("Always", {"a"});
  pod["metadata"]["labels"] = {{"app", "web"}, {"tier", "front"}};
  pod["metadata"]["annotations"] = {{"note", "two\nlines \"quoted\""}};
  return pod;
}

PodInputs inputs() {
  PodInputs out;
  out.objects[{false, "conf"}] = parsed(R"({"data":{"level":"debug","name":"x"},"binaryData":{"blob":"AAEC"}})");
  out.objects[{true, "cred"}] = parsed(R"({"data":{"user":"YWRtaW4=","pass":"c2VjcmV0"}})");
  return out;
}

using Environment = std::vector<std::pair<std::string, std::string>>;

Result<Environment> env_of(const std::string& container, const PodInputs& from = inputs()) {
  Json pod = labelled_pod();
  return environment(pod, parsed(container), from, kFacts);
}

std::string value_in(const Result<Environment>& environment, const std::string& name) {
  REQUIRE(environment);
  std::string out = "(unset)";
  for (const auto& [key, value] : *environment) {
    if (key != name) continue;
    CHECK(out == "(unset)");  // each name once
    out = value;
  }
  return out;
}

TEST_CASE("fields of the pod") {
  const Json pod = labelled_pod();
  const auto field = [&](const char* path) { return field_value(pod, path, kFacts).value(); };
  CHECK(field("metadata.name") == "p");
  CHECK(field("metadata.namespace") == "default");
  CHECK(field("metadata.uid") == "u1");
  CHECK(field("metadata.labels['app']") == "web");
  CHECK(field("metadata.labels['none']").empty());
  CHECK(field("metadata.labels") == "app=\"web\"\ntier=\"front\"");
  CHECK(field("metadata.annotations") == "note=\"two\\nlines \\\"quoted\\\"\"");
  CHECK(field("spec.nodeName") == "edge1");
  CHECK(field("spec.serviceAccountName") == "default");
  CHECK(field("status.hostIP") == "192.0.2.1");
  CHECK(field("status.podIP") == "10.88.0.2");
  const auto unknown = field_value(pod, "status.phase", kFacts);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().message == "unsupported fieldPath: status.phase");
}

TEST_CASE("an environment in order: sources, values, references; KUBERNETES_SERVICE_* last and empty") {
  const auto env = env_of(R"js({"envFrom":[{"prefix":"C_","configMapRef":{"name":"conf"}},{"secretRef":{"name":"cred"}}],
    "env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)-$(C_level)-$(none)-$$(A)"},{"name":"user","value":"over"},
           {"name":"NODE","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}},
           {"name":"K","valueFrom":{"configMapKeyRef":{"name":"conf","key":"level"}}},
           {"name":"S","valueFrom":{"secretKeyRef":{"name":"cred","key":"pass"}}},
           {"name":"KUBERNETES_SERVICE_HOST","value":"mine"}]})js");
  CHECK(value_in(env, "C_level") == "debug");
  CHECK(value_in(env, "pass") == "secret");
  CHECK(value_in(env, "user") == "over");
  CHECK(value_in(env, "B") == "1-debug-$(none)-$(A)");
  CHECK(value_in(env, "NODE") == "edge1");
  CHECK(value_in(env, "K") == "debug");
  CHECK(value_in(env, "S") == "secret");
  CHECK(value_in(env, "KUBERNETES_SERVICE_HOST").empty());
  CHECK(env->back().first == "KUBERNETES_SERVICE_PORT");
}

TEST_CASE("what is missing is named in kubelet's words, what is optional is left out") {
  const auto error_of = [](const char* container) {
    const auto env = env_of(container);
    REQUIRE_FALSE(env);
    return env.error().message;
  };
  CHECK(error_of(R"({"envFrom":[{"configMapRef":{"name":"none"}}]})") == "configmap \"none\" not found");
  CHECK(error_of(R"({"envFrom":[{"secretRef":{"name":"none"}}]})") == "secret \"none\" not found");
  CHECK(error_of(R"({"env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"none","key":"k"}}}]})") == "configmap \"none\" not found");
  CHECK(error_of(R"({"env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"conf","key":"k"}}}]})") == "couldn't find key k in ConfigMap default/conf");
  CHECK(error_of(R"({"env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"cred","key":"k"}}}]})") == "couldn't find key k in Secret default/cred");
  CHECK(value_in(env_of(R"({"envFrom":[{"configMapRef":{"name":"none","optional":true}},{"secretRef":{"name":"none","optional":true}}],
    "env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"none","key":"k","optional":true}}},
           {"name":"Y","valueFrom":{"secretKeyRef":{"name":"cred","key":"k","optional":true}}},{"name":"Z","value":"there"}]})"), "X") == "(unset)");
}

TEST_CASE("needs: required wins over optional, tokens are found, pull secrets are optional") {
  Json pod = labelled_pod();
  pod["spec"]["containers"][0]["env"] = parsed(R"([{"name":"X","valueFrom":{"configMapKeyRef":{"name":"conf","key":"k","optional":true}}}])");
  pod["spec"]["imagePullSecrets"] = parsed(R"([{"name":"pull"}])");
  pod["spec"]["volumes"] = parsed(R"([{"name":"c","configMap":{"name":"conf"}},{"name":"s","secret":{"secretName":"cred","optional":true}},
    {"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"token","audience":"vault","expirationSeconds":600}},{"configMap":{"name":"kube-root-ca.crt"}}]}}])");
  const PodNeeds needs = needs_of(pod);
  CHECK(needs.objects == std::map<ObjectRef, bool>{{{false, "conf"}, true}, {{true, "cred"}, false}, {{true, "pull"}, false}, {{false, "kube-root-ca.crt"}, true}});
  REQUIRE(needs.tokens.size() == 1);
  CHECK(needs.tokens[0].volume == "t");
  CHECK(needs.tokens[0].path == "token");
  CHECK(needs.tokens[0].audience == "vault");
  CHECK(needs.tokens[0].expiration_s == 600);
}

Result<std::vector<VolumeFile>> files_of(const std::string& volume, PodInputs from = inputs()) { return volume_files(labelled_pod(), parsed(volume), from, kFacts); }

std::string listing(const Result<std::vector<VolumeFile>>& files) {
  if (!files) return "error: " + files.error().message;
  std::string out;
  for (const VolumeFile& file : *files) out += fmt::format("{} {:o} {}\n", file.path, file.mode, file.content == std::string("\0\1\2", 3) ? "<bytes>" : file.content);
  return out;
}

TEST_CASE("files of configMap and secret volumes: all keys, picked keys, modes") {
  CHECK(listing(files_of(R"({"name":"v","configMap":{"name":"conf"}})")) == "blob 644 <bytes>\nlevel 644 debug\nname 644 x\n");
  CHECK(listing(files_of(R"({"name":"v","configMap":{"name":"conf","defaultMode":256,"items":[{"key":"level","path":"etc/level"},{"key":"name","path":"n","mode":511}]}})")) ==
        "etc/level 400 debug\nn 777 x\n");
  CHECK(listing(files_of(R"({"name":"v","secret":{"secretName":"cred","defaultMode":384}})")) == "pass 600 secret\nuser 600 admin\n");
}

TEST_CASE("missing objects and keys of volumes") {
  CHECK(listing(files_of(R"({"name":"v","configMap":{"name":"none"}})")) == "error: configmap \"none\" not found");
  CHECK(listing(files_of(R"({"name":"v","secret":{"secretName":"none"}})")) == "error: secret \"none\" not found");
  CHECK(listing(files_of(R"({"name":"v","configMap":{"name":"none","optional":true}})")).empty());
  CHECK(listing(files_of(R"({"name":"v","configMap":{"name":"conf","items":[{"key":"k","path":"k"}]}})")) == "error: configmap \"conf\" references non-existent key: k");
  CHECK(listing(files_of(R"({"name":"v","configMap":{"name":"conf","optional":true,"items":[{"key":"k","path":"k"},{"key":"name","path":"n"}]}})")) == "n 644 x\n");
}

TEST_CASE("the default projected volume of a pod: token, root certificate, namespace") {
  PodInputs from = inputs();
  const char* volume = R"({"name":"kube-api-access","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":3607}},
    {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}})";
  from.objects[{false, "kube-root-ca.crt"}] = parsed(R"({"data":{"ca.crt":"PEM"}})");
  CHECK(listing(files_of(volume, from)) == "error: no token for service account \"default\" yet");
  from.tokens["kube-api-access/token"] = "jwt";
  CHECK(listing(files_of(volume, from)) == "token 644 jwt\nca.crt 644 PEM\nnamespace 644 default\n");
  from.objects.erase({false, "kube-root-ca.crt"});
  CHECK(listing(files_of(volume, from)) == "error: configmap \"kube-root-ca.crt\" not found");
}

TEST_CASE("no file leaves its volume") {
  for (const char* path : {"../x", "a/../../x", "/etc/passwd", ""}) {
    CAPTURE(path);
    Json volume = parsed(R"({"name":"v","configMap":{"name":"conf","items":[{"key":"level"}]}})");
    volume["configMap"]["items"][0]["path"] = path;
    CHECK_FALSE(volume_files(labelled_pod(), volume, inputs(), kFacts));
  }
  // Keys come from an object that somebody else wrote: they are paths too where no items are picked.
  PodInputs from;
  from.objects[{false, "conf"}] = parsed(R"({"data":{"../../../etc/cron.d/x":"evil"}})");
  CHECK_FALSE(files_of(R"({"name":"v","configMap":{"name":"conf"}})", from));
  CHECK_FALSE(files_of(R"({"name":"v","configMap":{"name":"conf","items":[{"key":"../../../etc/cron.d/x","path":"a","mode":"x"},{"key":"none","path":"b"}]}})", from));
  from.objects[{false, "conf"}] = parsed(R"({"data":{"..data":"x"}})");
  CHECK_FALSE(files_of(R"({"name":"v","configMap":{"name":"conf"}})", from));
}

TEST_CASE("spoilt inputs are survived") {
  PodInputs from;
  for (const char* object : {"null", "[]", "{}", R"({"data":[]})", R"({"data":{"k":1},"binaryData":{"b":"%%%"}})"}) {
    from.objects[{false, "conf"}] = parsed(object);
    static_cast<void>(files_of(R"({"name":"v","configMap":{"name":"conf","items":[{"key":"k","path":"k"}]}})", from));
    static_cast<void>(env_of(R"({"envFrom":[{"configMapRef":{"name":"conf"}}]})", from));
  }
  for (const char* container : {"null", "[]", R"({"env":{}})", R"({"env":[1,null,{"name":1},{"valueFrom":[]},{"name":"x","valueFrom":{}}],"envFrom":[1,{}]})"}) {
    static_cast<void>(env_of(container));
    static_cast<void>(environment_needs(parsed(container)));
  }
  for (const char* volume : {"null", "[]", R"({"configMap":1})", R"({"projected":{"sources":[1,{}]}})", R"({"downwardAPI":{"items":[1]}})", R"({"secret":{"secretName":1}})"}) {
    static_cast<void>(files_of(volume));
  }
}

}  // namespace
}  // namespace kubeedge::edged
