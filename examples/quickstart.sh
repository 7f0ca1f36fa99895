#!/bin/bash
# The main job on one machine, no Kubernetes needed: a cloud, an edge, a real pod, a real device twin.
#   ./examples/quickstart.sh          runs the whole job, checks each step with someone else's tool, cleans up
#   ./examples/quickstart.sh --keep   leaves everything running and says what to try next
# For tests: KUBEEDGE_BUILD=DIR uses that build; BREAK=mosquitto|containerd|edgecore makes that part fail on purpose;
# BACKEND=FILE is sourced and may replace the functions marked "backend" (tests/interop runs the job on a real kube-apiserver).
set -u
cd "$(dirname "$0")/.." || exit 1
keep=no
case ${1:-} in
  --keep) keep=yes ;;
  "") ;;
  *) echo "usage: $0 [--keep]" >&2; exit 2 ;;
esac
[ "$(id -u)" = 0 ] || { echo "quickstart: run it as root (it starts a containerd of its own)" >&2; exit 1; }
. examples/lab.sh

step="set-up"; log=""
step() { step=$1; log=${2:-}; echo; echo "== $step"; }
say() { echo "   $*"; }
fail() {
  echo "quickstart: step \"$step\" failed: $*" >&2
  if [ -n "$log" ] && [ -f "$log" ]; then echo "--- the end of $log" >&2; tail -n 15 "$log" >&2; fi
  exit 1
}
finish() {
  local rc=$?
  trap - EXIT
  if [ "$keep" = yes ] && [ $rc = 0 ]; then exit 0; fi
  # The logs outlive a failure: they are what one wants to read then.
  if [ $rc != 0 ] && [ -n "${lab:-}" ]; then mkdir -p "/tmp/quickstart-logs" && cp "$lab"/*.log /tmp/quickstart-logs/ 2>/dev/null && echo "logs: /tmp/quickstart-logs" >&2; fi
  [ -z "${lab:-}" ] || lab_stop
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT TERM

step "install and build"
say "Debian packages"
subprojects/install-deps.sh || fail "packages"
build=${KUBEEDGE_BUILD:-$PWD/build}
if [ -z "${KUBEEDGE_BUILD:-}" ]; then
  say "release build (a few minutes the first time)"
  log=/tmp/quickstart-build.log
  { [ -f "$build/build.ninja" ] || meson setup "$build" -Dtests=disabled; } >"$log" 2>&1 && ninja -C "$build" >>"$log" 2>&1 || fail "the build"
fi
started=$SECONDS

step "start mosquitto, containerd, cloudcore and edgecore"
lab_start "$(mktemp -d /tmp/quickstart.XXXXXX)"
chmod 755 "$lab"
api=$(lab_free_port); hub=$(lab_free_port); join=$(lab_free_port); stream=$(lab_free_port); mqtt=$(lab_free_port)
log=$lab/mosquitto.log
if [ "${BREAK:-}" = mosquitto ]; then say "(mosquitto is broken on purpose)"; else lab_mosquitto "$mqtt" || fail "mosquitto"; fi
log=$lab/containerd.log
if [ "${BREAK:-}" = containerd ]; then say "(containerd is broken on purpose)"; else lab_containerd || fail "containerd"; fi

backend_up() { export KUBECONFIG=$lab/cloud/admin.kubeconfig; }  # backend: what the cloud stands on
cloud_up() {                                                     # backend
  lab_run cloudcore "$build/daemons/cloudcore/cloudcore" --standalone --data-dir "$lab/cloud" --api-port "$api" --hub-port "$hub" --join-port "$join" --stream-port "$stream" &&
    lab_wait 20 "the API answers" kubectl get --raw /readyz
}
cloud_token() { cat "$lab/cloud/join.token"; }                   # backend
pod_binding() { :; }                                             # backend: a line of the pod's spec where nobody binds pods
last_steps() { :; }                                              # backend
[ -z "${BACKEND:-}" ] || . "$BACKEND"
edge_up() {
  local binary=$build/daemons/edgecore/edgecore
  [ "${BREAK:-}" = edgecore ] && binary=/bin/false
  lab_run edgecore "$binary" --cloud 127.0.0.1 --hub-port "$hub" --join-port "$join" --stream-port "$stream" --token "$(cloud_token)" --node-name edge1 \
    --data-dir "$lab/edge" --root-dir "$lab/kubelet" --pod-logs "$lab/pod-logs" --containerd "$lab/containerd.sock" --mqtt "tcp://127.0.0.1:$mqtt"
}
backend_up || fail "what the cloud stands on"
log=$lab/cloudcore.log
cloud_up || fail "cloudcore does not answer"
log=$lab/edgecore.log
edge_up

step "the node is Ready" "$lab/edgecore.log"
lab_wait 30 "node edge1 exists" kubectl get node edge1 || fail "edgecore did not register"
kubectl wait --for=condition=Ready node/edge1 --timeout=30s >/dev/null || fail "the node is not Ready"
kubectl get nodes | sed 's/^/   /'

step "a pod with a ConfigMap volume runs, and its log is there" "$lab/edgecore.log"
kubectl apply -f - <<YAML | sed 's/^/   /' || fail "kubectl apply"
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting}
data: {text: "hello from the cloud"}
---
apiVersion: v1
kind: Pod
metadata: {name: hello}
spec:
  hostNetwork: true
  $(pod_binding)
  terminationGracePeriodSeconds: 2
  containers:
  - name: hello
    image: docker.io/library/busybox:1
    imagePullPolicy: IfNotPresent
    command: ["sh", "-c", "cat /etc/greeting/text; echo; while true; do sleep 1; done"]
    volumeMounts: [{name: greeting, mountPath: /etc/greeting}]
  volumes:
  - {name: greeting, configMap: {name: greeting}}
YAML
kubectl wait --for=condition=Ready pod/hello --timeout=40s >/dev/null || { kubectl describe pod hello; fail "the pod is not Ready"; }
kubectl get pod hello -o wide | sed 's/^/   /'
pod_log() { cat "$lab"/pod-logs/default_hello_*/hello/0.log; }
has_greeting() { pod_log | grep -q 'stdout F hello from the cloud'; }
lab_wait 10 "the greeting in the pod's log" has_greeting || fail "log: $(pod_log)"
pod_log | sed 's/^/   /'
container=$(lab_ctr tasks ls | awk '$3 == "RUNNING" {print $1}' | sort | tr '\n' ' ')
[ -n "$container" ] || fail "ctr sees no running container"

step "a device reports its temperature" "$lab/thermometer.log"
kubectl apply -f - <<'YAML' | sed 's/^/   /' || fail "kubectl apply"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: thermometer}
spec:
  protocol: mqtt
  properties:
  - {name: temperature, type: DOUBLE, accessMode: ReadOnly}
  - {name: target, type: DOUBLE, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: thermo-1}
spec:
  nodeName: edge1
  deviceModelRef: {name: thermometer}
  protocol: {protocolName: mqtt}
  properties:
  - {name: temperature}
  - {name: target}
YAML
lab_run deltas mosquitto_sub -p "$mqtt" -v -t '$hw/events/device/default/thermo-1/twin/update/delta'
lab_run thermometer "$build/examples/thermometer" "tcp://127.0.0.1:$mqtt" default thermo-1 21.5
reported() {  # reported PROPERTY VALUE
  [ "$(kubectl get devicestatus thermo-1 -o "jsonpath={.status.twins[?(@.propertyName==\"$1\")].reported.value}")" = "$2" ]
}
lab_wait 20 "temperature 21.5 in DeviceStatus" reported temperature 21.5 || fail "DeviceStatus: $(kubectl get devicestatus thermo-1 -o jsonpath='{.status}')"
say "kubectl: thermo-1 reports temperature = 21.5"

step "a desired value set with kubectl reaches the app" "$lab/thermometer.log"
set_target() {
  kubectl patch device thermo-1 --type=json -p "[{\"op\":\"add\",\"path\":\"/spec/properties/1/desired\",\"value\":{\"value\":\"$1\"}}]" >/dev/null
}
set_target 23 || fail "kubectl patch"
lab_wait 15 "a delta with target = 23" grep -q '"target":"23"' "$lab/deltas.log" || fail "no delta on MQTT: $(cat "$lab/deltas.log")"
lab_wait 15 "the app took the target over" reported target 23 || fail "DeviceStatus: $(kubectl get devicestatus thermo-1 -o jsonpath='{.status}')"
say "mosquitto_sub: $(tail -n 1 "$lab/deltas.log" | cut -c1-110)"
say "kubectl: thermo-1 reports target = 23"

step "the cloud goes away and the edge restarts without it" "$lab/edgecore.log"
lab_kill thermometer
lab_kill cloudcore KILL
lab_kill edgecore KILL
say "cloudcore and edgecore killed (-9)"
edge_up
twin() {  # the twin as the edge answers it on MQTT now
  # The question is put once the answer can be heard.
  (sleep 0.5; mosquitto_pub -p "$mqtt" -q 1 -t '$hw/events/device/default/thermo-1/twin/get' -m '{"event_id":"q"}') &
  mosquitto_sub -p "$mqtt" -W 3 -C 1 -t '$hw/events/device/default/thermo-1/twin/get/result'
}
twin_says() { twin | grep -q "$1"; }
lab_wait 20 "the twin answers offline" twin_says '"value":"21.5"' || fail "twin/get: $(twin)"
say "twin/get: $(twin | cut -c1-110)..."
[ "$(lab_ctr tasks ls | awk '$3 == "RUNNING" {print $1}' | sort | tr '\n' ' ')" = "$container" ] || fail "other containers run than before: $(lab_ctr tasks ls)"
say "ctr: the same container still runs"
mosquitto_pub -p "$mqtt" -q 1 -t '$hw/events/device/default/thermo-1/twin/update' -m '{"event_id":"offline","twin":{"temperature":{"actual":{"value":"19.25"}}}}' || fail "mosquitto_pub"
lab_wait 10 "the offline report is stored" twin_says '"value":"19.25"' || fail "twin/get: $(twin)"
say "a report was made offline: temperature = 19.25"

step "the cloud is back and everything meets again" "$lab/cloudcore.log"
cloud_up || fail "cloudcore does not answer"
lab_wait 30 "the offline report in DeviceStatus" reported temperature 19.25 || fail "DeviceStatus: $(kubectl get devicestatus thermo-1 -o jsonpath='{.status}')"
say "kubectl: thermo-1 reports temperature = 19.25"
kubectl wait --for=condition=Ready node/edge1 --timeout=30s >/dev/null || fail "the node is not Ready again"
kubectl patch configmap greeting -p '{"data":{"text":"hello again"}}' >/dev/null || fail "kubectl patch"
in_volume() { grep -q 'hello again' "$lab"/kubelet/pods/*/volumes/kubernetes.io~configmap/greeting/text; }
lab_wait 90 "the changed ConfigMap in the pod's volume" in_volume || fail "the volume still says: $(cat "$lab"/kubelet/pods/*/volumes/kubernetes.io~configmap/greeting/text)"
say "the running pod's volume follows its ConfigMap"
[ "$(kubectl get pod hello -o 'jsonpath={.status.containerStatuses[0].restartCount}')" = 0 ] || fail "the pod was restarted"
kubectl get pods,devices | sed 's/^/   /'

last_steps

if [ "$keep" = yes ]; then
  cat <<TEXT

All is left running in $lab. Try next:
  export KUBECONFIG=$KUBECONFIG
  kubectl get nodes,pods,devices,devicestatuses
  kubectl patch device thermo-1 --type=json -p '[{"op":"replace","path":"/spec/properties/1/desired/value","value":"25"}]'
  mosquitto_sub -p $mqtt -v -t '\$hw/events/device/#'
  $build/examples/thermometer tcp://127.0.0.1:$mqtt default thermo-1 22
End it:  kill \$(cat $lab/*.pid); ip netns del $lab_netns; rm -rf $lab
TEXT
else
  step "clean up"
  kubectl delete pod hello --timeout=60s >/dev/null || fail "the pod does not end"
  lab_stop
  lab=""
  echo
  echo "The main job runs ($((SECONDS - started)) s). Next: ./examples/quickstart.sh --keep leaves it running;"
  echo "examples/thermometer.cpp is the device app, examples/gateway_twin.cpp embeds the edge in a process of your own."
fi
