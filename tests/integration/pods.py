#!/usr/bin/env python3
"""Pods on an edge node with a real containerd: what they are given, how they restart, end, and outlive their keepers.

Everything is asked of someone else: kubectl, ctr, the file system, /proc. The names of the steps are the cases.
"""
import errno
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402

IMAGE = "docker.io/library/busybox:1"
if os.geteuid() != 0:
    print("needs root: it starts a containerd of its own")
    sys.exit(77)


def pod(name, script="while true; do sleep 1; done", container=None, **spec):
    """A pod of one container "c" on the host's network that ends at once when it is told to."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, **spec,
                     "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **(container or {})}]}}


class Pods:
    """The lab, and what the assertions ask of it."""

    def __init__(self, lab):
        self.lab = lab
        self.out = lab.dir / "out"      # a hostPath that pods write into
        self.out.mkdir()
        self.out.chmod(0o777)

    def get(self, name, kind="pod"):
        done = self.lab.kubectl("get", kind, name, "-o", "json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def status(self, name):
        return (self.get(name) or {}).get("status", {})

    def container(self, name):
        return (self.status(name).get("containerStatuses") or [{}])[0]

    def id(self, name):
        return self.container(name).get("containerID", "").removeprefix("containerd://")

    def uid(self, name):
        return self.get(name)["metadata"]["uid"]

    def ready(self, *names, seconds=60):
        for name in names:
            try:
                self.lab.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={seconds}s")
            except AssertionError:
                raise AssertionError(f"pod {name} is not Ready: {json.dumps(self.status(name))}") from None

    def inside(self, name, path):
        """The path as the first process of the pod's container sees it."""
        return pathlib.Path(f"/proc/{self.task_pid(self.id(name))}/root{path}")

    def cat(self, name, path):
        try:
            return self.inside(name, path).read_text()
        except FileNotFoundError:
            return None

    def task_pid(self, container):
        """The container's first process as containerd knows it, or None when it does not run."""
        for line in self.lab.ctr("tasks", "ls").splitlines()[1:]:
            task, pid, state = line.split()
            if task == container and state == "RUNNING":
                return int(pid)
        return None

    def traces(self, uid, containers):
        """What the node still has of a pod."""
        left = [line for line in self.lab.ctr("containers", "ls", "-q", f'labels."io.kubernetes.pod.uid"=={uid}').splitlines() if line]
        left += [line.split()[1] for line in open("/proc/mounts") if uid in line]
        left += [str(path) for path in (self.lab.dir / "kubelet/pods").glob(uid)] + [str(path) for path in (self.lab.dir / "pod-logs").glob(f"*{uid}*")]
        for group in pathlib.Path("/sys/fs/cgroup").glob("**/*"):
            if group.name in containers:
                left.append(str(group))
        return left

    def sandboxes(self, uid):
        return [line for line in self.lab.ctr("containers", "ls", "-q", f'labels."io.kubernetes.pod.uid"=={uid},labels."io.cri-containerd.kind"==sandbox').splitlines() if line]

    def events(self, name):
        return [(one["reason"], one["message"]) for one in json.loads(self.lab.kubectl("get", "events", "-o", "json").stdout)["items"]
                if one["involvedObject"]["name"] == name]


def given(pods):
    """Command, args, environment, volumes: what a pod is given is what its spec says."""
    (pods.lab.dir / "host").mkdir()
    (pods.lab.dir / "host/from-host").write_text("host file")
    pods.lab.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"level": "debug", "color": "blue"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cred"}, "stringData": {"password": "s3cr3t"}},
        pod("given", container={
            "command": ["sh", "-c", 'echo "args: $0 $1 $@"; trap "exit 0" TERM; while true; do sleep 1; done'], "args": ["zero", "$(LEVEL)", "$$(LEVEL)"],
            "env": [{"name": "PLAIN", "value": "text"}, {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "level"}}},
                    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "cred", "key": "password"}}},
                    {"name": "NOWHERE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}, {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "BOTH", "value": "$(PLAIN)-$(LEVEL)"}],
            "envFrom": [{"prefix": "CONF_", "configMapRef": {"name": "conf"}}],
            "volumeMounts": [{"name": "empty", "mountPath": "/empty"}, {"name": "memory", "mountPath": "/memory"}, {"name": "host", "mountPath": "/host", "readOnly": True},
                             {"name": "conf", "mountPath": "/conf"}, {"name": "cred", "mountPath": "/cred"}, {"name": "about", "mountPath": "/about"},
                             {"name": "conf", "mountPath": "/only/level", "subPath": "level"}, {"name": "empty", "mountPath": "/part", "subPath": "made/here"}]},
            volumes=[{"name": "empty", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                     {"name": "host", "hostPath": {"path": str(pods.lab.dir / "host"), "type": "Directory"}}, {"name": "conf", "configMap": {"name": "conf"}},
                     {"name": "cred", "secret": {"secretName": "cred", "defaultMode": 0o400, "items": [{"key": "password", "path": "in/password"}]}},
                     {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]))
    pods.ready("given")
    status, uid = pods.status("given"), pods.uid("given")
    host_ip = status["hostIP"]
    log = next((pods.lab.dir / "pod-logs").glob("default_given_*/c/0.log"))
    until(5, "the first line of the log", lambda: log.read_text())
    line = log.read_text().splitlines()[0]
    assert line.split(" ", 1)[1] == "stdout F args: zero debug debug $(LEVEL)", line

    environment = dict(entry.split("=", 1) for entry in pathlib.Path(f"/proc/{pods.task_pid(pods.id('given'))}/environ").read_text().split("\0") if entry)
    expected = {"PLAIN": "text", "LEVEL": "debug", "PASSWORD": "s3cr3t", "NODE": "edge1", "NAME": "given", "APP": "given", "HOST_IP": host_ip, "POD_IP": host_ip,
                "BOTH": "text-debug", "CONF_level": "debug", "CONF_color": "blue", "KUBERNETES_SERVICE_HOST": "", "KUBERNETES_SERVICE_PORT": ""}
    assert {key: environment.get(key) for key in expected} == expected, environment
    assert "NOWHERE" not in environment

    assert pods.cat("given", "/host/from-host") == "host file"
    try:
        pods.inside("given", "/host/x").touch()
        raise AssertionError("a read-only mount was written")
    except OSError as failed:
        assert failed.errno == errno.EROFS, failed
    assert pods.cat("given", "/conf/level") == "debug" and pods.cat("given", "/conf/color") == "blue"
    assert pods.cat("given", "/cred/in/password") == "s3cr3t"
    assert pods.cat("given", "/about/labels") == 'app="given"'
    assert pods.cat("given", "/only/level") == "debug"
    pods.inside("given", "/part/file").write_text("mine\n")
    pods.inside("given", "/memory/file").write_text("memory\n")
    volumes = pods.lab.dir / f"kubelet/pods/{uid}/volumes"
    assert (volumes / "kubernetes.io~empty-dir/empty/made/here/file").read_text() == "mine\n"
    assert any(f"{uid}/volumes/kubernetes.io~empty-dir/memory tmpfs" in line for line in open("/proc/mounts")), "memory is no tmpfs"
    assert (volumes / "kubernetes.io~secret/cred/in/password").stat().st_mode & 0o777 == 0o400

    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert pods.cat("given", f"{account}/namespace") == "default"
    assert "BEGIN CERTIFICATE" in pods.cat("given", f"{account}/ca.crt")
    token = pods.cat("given", f"{account}/token")
    asked = subprocess.run(["kubectl", "--server", f"https://127.0.0.1:{pods.lab.api}", "--certificate-authority", next(volumes.glob("*/*/ca.crt")), "--token", token,
                            "get", "pods"], capture_output=True, text=True, env={**os.environ, "KUBECONFIG": "/dev/null"})
    assert "system:serviceaccount:default:default" in asked.stderr or asked.returncode == 0, f"the API does not know the pod's token: {asked.stderr}"


def network(pods):
    """hostNetwork is the host's; a CNI pod has a namespace and an address of its own, that others reach and its status shows."""
    pods.lab.apply(pod("cni", "echo hello > /tmp/index.html; httpd -f -p 8080 -h /tmp", hostNetwork=False, hostAliases=[{"ip": "192.0.2.7", "hostnames": ["upstream"]}],
                       hostname="named"))
    pods.ready("cni")
    status = pods.status("cni")
    address = status["podIP"]
    assert address.startswith("10.88.") and status["podIPs"] == [{"ip": address}], status
    assert status["hostIP"] != address
    fetched = lambda: subprocess.run(["nsenter", f"--net=/run/netns/{pods.lab.netns}", "curl", "-s", "-m", "2", f"http://{address}:8080/"], capture_output=True, text=True).stdout
    until(10, "the pod's page through the bridge", lambda: fetched() == "hello\n")
    of = lambda name: os.readlink(f"/proc/{pods.task_pid(pods.id(name))}/ns/net")
    assert of("given") != of("cni")
    assert int(os.stat(f"/run/netns/{pods.lab.netns}").st_ino) == int(of("given").split("[")[1].rstrip("]")), "hostNetwork is not the runtime's network"
    hosts = pods.cat("cni", "/etc/hosts")
    assert f"{address}\tnamed" in hosts and "192.0.2.7\tupstream" in hosts, hosts


def follows(pods):
    """A changed ConfigMap and Secret reach the files of a running pod, all at once; a subPath keeps what it had."""
    before = pods.id("given")
    for value in ("warn", "trace", "info"):   # two changes close together: the second comes while the first is being written
        pods.lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"level": value, "shape": "round"}},
                       {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cred"}, "stringData": {"password": value}})
        until(15, "the new ConfigMap in the container", lambda: pods.cat("given", "/conf/level") == value)
        until(15, "the new Secret in the container", lambda: pods.cat("given", "/cred/in/password") == value)
    assert pods.cat("given", "/conf/shape") == "round" and pods.cat("given", "/conf/color") is None
    assert pods.cat("given", "/only/level") == "debug"
    assert pods.id("given") == before and pods.container("given")["restartCount"] == 0


def policies_begin(pods):
    out = [{"name": "out", "hostPath": {"path": str(pods.out)}}]
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}, {"name": "kept", "mountPath": "/kept"}]}
    kept = [{"name": "kept", "emptyDir": {}}]
    pods.started = time.time()
    pods.lab.apply(
        pod("never-good", "exit 0", restartPolicy="Never"),
        pod("never-bad", "echo why > /dev/termination-log; exit 3", restartPolicy="Never"),
        pod("on-failure", "echo x >> /kept/runs; [ \"$(cat /kept/runs)\" = \"$(printf 'x\\nx')\" ]", mount, restartPolicy="OnFailure", volumes=out + kept),
        pod("crashes", "date +%s >> /out/crashes; exit 1", mount, volumes=out + kept),
        pod("no-image", container={"image": "docker.io/library/absent:1", "imagePullPolicy": "Never"}),
        pod("no-command", container={"command": ["/nope"]}),
        pod("no-config", container={"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]}))


def policies(pods):
    """restartPolicy: Never ends as what it was, OnFailure runs until it succeeds, Always backs off (C80)."""
    until(30, "never-good Succeeded", lambda: pods.status("never-good").get("phase") == "Succeeded")
    until(30, "never-bad Failed", lambda: pods.status("never-bad").get("phase") == "Failed")
    end = pods.container("never-bad")["state"]["terminated"]
    assert end["exitCode"] == 3 and end["reason"] == "Error" and end["message"] == "why\n", end
    assert pods.container("never-good")["restartCount"] == 0 == pods.container("never-bad")["restartCount"]
    until(40, "on-failure Succeeded", lambda: pods.status("on-failure").get("phase") == "Succeeded")
    assert pods.container("on-failure")["restartCount"] == 1
    volumes = pods.lab.dir / f"kubelet/pods/{pods.uid('on-failure')}/volumes"
    assert (volumes / "kubernetes.io~empty-dir/kept/runs").read_text() == "x\nx\n", "the emptyDir was not kept over the restart"

    waiting = lambda name: pods.container(name).get("state", {}).get("waiting", {})
    until(40, "crashes in CrashLoopBackOff", lambda: waiting("crashes").get("reason") == "CrashLoopBackOff")
    assert pods.status("crashes")["phase"] == "Running"
    until(40, "two restarts", lambda: len((pods.out / "crashes").read_text().split()) >= 3)
    first, second, third = [int(line) for line in (pods.out / "crashes").read_text().split()[:3]]
    assert second - first < 9 <= third - second, f"restarts at {first}, {second}, {third}: no back-off of none, then 10 s"
    waits = {1: "10s", 2: "20s", 3: "40s", 4: "1m20s", 5: "2m40s"}

    def backed_off():
        one = pods.container("crashes")
        message = one["state"].get("waiting", {}).get("message", "")
        return one["restartCount"] >= 2 and message.startswith(f"back-off {waits[one['restartCount']]} restarting failed container=c pod=crashes_default(")
    until(30, "the back-off that belongs to its restartCount", backed_off)
    assert pods.container("crashes")["lastState"]["terminated"]["exitCode"] == 1

    until(20, "no-image waits", lambda: waiting("no-image").get("reason") == "ErrImageNeverPull")
    assert pods.status("no-image")["phase"] == "Pending"
    until(20, "no-command waits", lambda: waiting("no-command").get("reason") in ("RunContainerError", "CrashLoopBackOff"))
    until(40, "no-command is counted", lambda: pods.container("no-command")["restartCount"] >= 1)
    assert pods.container("no-command")["lastState"]["terminated"]["exitCode"] == 128
    until(20, "its error", lambda: "/nope" in json.dumps(pods.container("no-command")))

    until(20, "no-config waits", lambda: waiting("no-config").get("reason") == "CreateContainerConfigError")
    assert waiting("no-config")["message"] == 'configmap "later" not found', waiting("no-config")
    pods.lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}, "data": {"x": "1"}})
    pods.ready("no-config")
    pods.lab.kubectl("delete", "pod", "crashes", "never-good", "never-bad", "on-failure", "no-image", "no-command", "no-config", "--wait=false")


def refused(pods):
    """A field that Edged does not honour fails the pod with an event that names it; nothing of it is started."""
    cases = {"refused-claim": (pod("refused-claim", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "x"}}]), "spec.volumes[0].persistentVolumeClaim"),
             "refused-label": (pod("refused-label", container={"securityContext": {"seLinuxOptions": {"level": "s0"}}}), "spec.containers[0].securityContext.seLinuxOptions"),
             "refused-sysctls": (pod("refused-sysctls", hostNetwork=False, securityContext={"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}]}), "spec.securityContext.sysctls")}
    pods.lab.apply(*[case[0] for case in cases.values()])
    for name, (_, field) in cases.items():
        until(20, f"{name} Failed", lambda: pods.status(name).get("phase") == "Failed")
        status = pods.status(name)
        assert status["reason"] == "UnsupportedPodField" and field in status["message"], status
        until(10, f"the event of {name}", lambda: any(reason == "UnsupportedPodField" and field in message for reason, message in pods.events(name)))
        assert pods.sandboxes(pods.uid(name)) == []
    pods.lab.kubectl("delete", "pod", *cases, "--timeout=30s")


def contained(pods):
    """A subPath that leads out of its volume starts nothing."""
    (pods.lab.dir / "host/out").symlink_to(pods.lab.dir / "cloud")
    pods.lab.apply(pod("escapes", container={"volumeMounts": [{"name": "host", "mountPath": "/x", "subPath": "out"}]}, volumes=[{"name": "host", "hostPath": {"path": str(pods.lab.dir / "host")}}]))
    until(20, "the refusal", lambda: pods.container("escapes").get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError")
    assert pods.container("escapes")["state"]["waiting"]["message"] == 'subPath "out" leads out of its volume'
    pods.lab.kubectl("delete", "pod", "escapes", "--timeout=30s")


class Health(http.server.BaseHTTPRequestHandler):
    """What the probes of a test's pod ask, on the host."""
    status = 500

    def do_GET(self):
        self.send_response(Health.status if self.path == "/health" and self.headers["X-Probe"] == "yes" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def probes(pods):
    """Readiness, liveness and startup probes by exec, HTTP and TCP, as a kubelet judges them (C80)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    often = {"periodSeconds": 1, "failureThreshold": 1}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))   # bound and not listening: a closed port that stays closed
        pods.lab.apply(
            pod("probed", "touch /tmp/alive; while true; do sleep 0.2; done", {
                "volumeMounts": [{"name": "kept", "mountPath": "/kept"}], "ports": [{"name": "web", "containerPort": server.server_port}],
                "startupProbe": {"exec": {"command": ["test", "-e", "/kept/up"]}, "periodSeconds": 1, "failureThreshold": 100},
                "livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/alive"]}, **often},
                "readinessProbe": {"httpGet": {"host": "127.0.0.1", "port": "web", "path": "/health", "httpHeaders": [{"name": "X-Probe", "value": "yes"}]}, **often}},
                volumes=[{"name": "kept", "emptyDir": {}}]),
            pod("closed", container={"livenessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": closed.getsockname()[1]}, **often}}),
            pod("open", container={"readinessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": server.server_port}, **often}}))
        pods.ready("open")
        until(20, "probed runs", lambda: "running" in pods.container("probed").get("state", {}))
        assert pods.container("probed")["started"] is False and pods.container("probed")["ready"] is False
        Health.status = 200
        pods.inside("probed", "/kept/up").touch()
        pods.ready("probed", seconds=20)
        assert pods.container("probed")["started"] is True
        Health.status = 500
        pods.lab.kubectl("wait", "--for=condition=Ready=false", "pod/probed", "--timeout=20s")
        assert pods.container("probed")["restartCount"] == 0
        Health.status = 200
        pods.ready("probed", seconds=20)

        since = lambda name: [one["lastTransitionTime"] for one in pods.status(name)["conditions"] if one["type"] == "Ready"][0]
        before = pods.id("probed"), since("open")
        pods.lab.kill("edgecore")
        pods.lab.edge_up(pods=True)
        pods.inside("probed", "/tmp/alive").unlink()
        until(30, "liveness restarts it", lambda: pods.container("probed").get("restartCount") == 1)
        assert pods.container("probed")["lastState"]["terminated"]["containerID"].endswith(before[0])
        assert since("open") == before[1], "a restart of edgecore made a ready pod unready for a while"
        pods.ready("probed", seconds=20)
        until(40, "closed is restarted, then backed off", lambda: pods.container("closed")["restartCount"] >= 1
              and pods.container("closed")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    server.shutdown()
    pods.lab.kubectl("delete", "pod", "probed", "closed", "open", "--timeout=30s")


def hooks(pods):
    """postStart, preStop, init containers in turn; runAsNonRoot, fsGroup, activeDeadlineSeconds."""
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}]}
    volumes = [{"name": "out", "hostPath": {"path": str(pods.out)}}]
    hook = lambda text: {"exec": {"command": ["sh", "-c", text]}}
    init = lambda name, text: {"name": name, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", text], **mount}
    pods.lab.apply(
        pod("hooked", "trap 'echo term >> /out/hooked; exit 0' TERM; echo run >> /out/hooked; while true; do sleep 0.1; done",
            {**mount, "lifecycle": {"postStart": hook("until [ -e /out/hooked ]; do sleep 0.1; done; echo post >> /out/hooked"), "preStop": hook("echo pre >> /out/hooked")}},
            volumes=volumes, terminationGracePeriodSeconds=20, initContainers=[init("i", "sleep 1; echo i >> /out/hooked"), init("k", "echo k >> /out/hooked")]),
        pod("bad-hook", container={"lifecycle": {"postStart": hook("exit 4")}}),
        pod("bad-init", restartPolicy="Never", initContainers=[{**init("i", "exit 5"), "volumeMounts": []}]),
        pod("root-refused", securityContext={"runAsNonRoot": True}),
        pod("nobody", container={"volumeMounts": [{"name": "empty", "mountPath": "/empty"}]}, volumes=[{"name": "empty", "emptyDir": {}}],
            securityContext={"runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65533, "fsGroup": 4321}),
        pod("late", activeDeadlineSeconds=3))
    pods.ready("hooked", "nobody")
    assert (pods.out / "hooked").read_text().split() == ["i", "k", "run", "post"]
    assert [one["state"]["terminated"]["reason"] for one in pods.status("hooked")["initContainerStatuses"]] == ["Completed", "Completed"]
    pods.lab.kubectl("delete", "pod", "hooked", "--timeout=30s")
    assert (pods.out / "hooked").read_text().split() == ["i", "k", "run", "post", "pre", "term"]
    until(30, "bad-hook is restarted", lambda: pods.container("bad-hook").get("restartCount", 0) >= 1)
    until(20, "bad-init Failed", lambda: pods.status("bad-init").get("phase") == "Failed")
    assert pods.status("bad-init")["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 5
    assert "terminated" not in pods.container("bad-init")["state"]
    until(20, "root-refused waits", lambda: "run as root" in pods.container("root-refused")["state"].get("waiting", {}).get("message", ""))
    ids = dict(line.split(":\t", 1) for line in open(f"/proc/{pods.task_pid(pods.id('nobody'))}/status") if line.startswith(("Uid", "Gid", "Groups")))
    assert ids["Uid"].split()[0] == "65534" and ids["Gid"].split()[0] == "65533" and "4321" in ids["Groups"].split(), ids
    assert pods.inside("nobody", "/empty").stat().st_gid == 4321
    until(20, "late Failed", lambda: pods.status("late").get("phase") == "Failed" and "terminated" in pods.container("late").get("state", {}))
    assert pods.status("late")["reason"] == "DeadlineExceeded"
    pods.lab.kubectl("delete", "pod", "bad-hook", "bad-init", "root-refused", "nobody", "late", "--timeout=30s")


def deletion(pods):
    """Deletion: SIGTERM, SIGKILL after the grace period, and nothing is left on the node."""
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}, {"name": "memory", "mountPath": "/memory"}, {"name": "memory", "mountPath": "/sub", "subPath": "sub"}]}
    volumes = [{"name": "out", "hostPath": {"path": str(pods.out)}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]
    pods.lab.apply(
        pod("listens", "trap 'echo term > /out/listens; exit 0' TERM; echo up > /out/listens-up; while true; do sleep 0.1; done", mount, volumes=volumes, terminationGracePeriodSeconds=30),
        pod("deaf", "trap '' TERM; while true; do sleep 1; done", mount, volumes=volumes, terminationGracePeriodSeconds=3, hostNetwork=False))
    pods.ready("listens", "deaf")
    until(10, "the trap is set", lambda: (pods.out / "listens-up").exists())
    known = {name: (pods.uid(name), [pods.id(name), *pods.sandboxes(pods.uid(name))]) for name in ("listens", "deaf")}
    for name, (uid, containers) in known.items():
        assert len(containers) == 2 and len(pods.traces(uid, containers)) > 4, pods.traces(uid, containers)
    for name, least, most in (("listens", 0, 15), ("deaf", 2.5, 25)):
        begun = time.monotonic()
        pods.lab.kubectl("delete", "pod", name, f"--timeout={most}s")
        took = time.monotonic() - begun
        assert took >= least, f"{name} was gone after {took:.1f} s"
    assert (pods.out / "listens").read_text() == "term\n"
    for name, (uid, containers) in known.items():
        until(15, f"nothing left of {name}", lambda: pods.traces(uid, containers) == [])


def churn(pods):
    """Pods that are deleted while they still start are all gone soon (C77)."""
    names = [f"churn-{number}" for number in range(6)]
    pods.lab.apply(*[pod(name) for name in names])
    uids = [pods.uid(name) for name in names]
    until(20, "the first of them runs", lambda: any(pods.status(name).get("phase") == "Running" for name in names))
    pods.lab.kubectl("delete", "pod", *names, "--timeout=30s")
    until(15, "nothing left of them", lambda: all(pods.traces(uid, []) == [] for uid in uids))


ADOPTED = ("given", "cni")


def snapshot(pods):
    """What must be the same before and after, by kubectl and by ctr."""
    out = {}
    for name in ADOPTED:
        one = pods.container(name)
        out[name] = (pods.id(name), one["state"]["running"]["startedAt"], one["restartCount"], pods.task_pid(pods.id(name)), pods.status(name)["podIP"],
                     pods.cat(name, "/var/run/secrets/kubernetes.io/serviceaccount/token"))
    return out


def edge_killed(pods):
    """edgecore killed with -9 and started again: same containers, volumes whole and following, same token (C73)."""
    before = snapshot(pods)
    mine = pods.cat("given", "/part/file"), pods.cat("given", "/memory/file")
    assert mine == ("mine\n", "memory\n")
    for number in range(3):
        pods.lab.kill("edgecore")
        assert pods.cat("given", "/conf/level") is not None
        pods.lab.edge_up(pods=True)
        value = f"after-{number}"
        pods.lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"level": value}})
        until(30, "the ConfigMap follows", lambda: pods.cat("given", "/conf/level") == value)
    assert snapshot(pods) == before
    assert (pods.cat("given", "/part/file"), pods.cat("given", "/memory/file")) == mine
    assert len(json.loads(pods.lab.kubectl("get", "pods", "-o", "json").stdout)["items"]) == len(ADOPTED)


def while_away(pods):
    """While edgecore is down a container ends and pods are deleted: all of it is noticed at its return (C77)."""
    pods.lab.apply(pod("ends", "while true; do sleep 1; done"), pod("deleted", terminationGracePeriodSeconds=2), pod("forced", hostNetwork=False), pod("done", restartPolicy="Never"))
    pods.ready("ends", "deleted", "forced", "done")
    uids = [(pods.uid(name), [pods.id(name), *pods.sandboxes(pods.uid(name))]) for name in ("deleted", "forced")]
    ended, done = pods.id("ends"), pods.id("done")
    pods.lab.kill("edgecore")
    for container in (ended, done):
        pods.lab.ctr("tasks", "kill", "-s", "KILL", container)
    pods.lab.kubectl("delete", "pod", "deleted", "--wait=false")
    pods.lab.kubectl("delete", "pod", "forced", "--force", "--grace-period=0", "--wait=false")
    until(10, "the containers ended", lambda: pods.task_pid(ended) is None and pods.task_pid(done) is None)
    assert pods.task_pid(uids[0][1][0]) is not None
    pods.lab.edge_up(pods=True)
    until(30, "restartCount 1", lambda: pods.container("ends").get("restartCount") == 1 and pods.container("ends").get("ready"))
    last = pods.container("ends")["lastState"]["terminated"]
    assert last["exitCode"] == 137 and last["containerID"] == f"containerd://{ended}", last
    until(30, "done is Failed", lambda: pods.status("done").get("phase") == "Failed")
    assert pods.container("done")["state"]["terminated"]["exitCode"] == 137
    until(30, "the deleted pods are gone", lambda: pods.get("deleted") is None and pods.get("forced") is None)
    for uid, containers in uids:
        until(15, "nothing left of them", lambda: pods.traces(uid, containers) == [])
    pods.lab.kubectl("delete", "pod", "ends", "done", "--timeout=30s")


def containerd_killed(pods):
    """containerd killed with -9 and back: the node says so, pods are adopted, new ones start (C72)."""
    before = snapshot(pods)
    pods.lab.containerd_kill()
    ready = lambda: [one for one in pods.get("edge1", "node")["status"]["conditions"] if one["type"] == "Ready"][0]
    until(40, "the node is NotReady", lambda: ready()["status"] == "False")
    assert "container runtime is down" in ready()["message"], ready()
    pods.lab.containerd_up()
    until(40, "the node is Ready", lambda: ready()["status"] == "True")
    pods.lab.apply(pod("fresh"))
    pods.ready("fresh", *ADOPTED)
    assert snapshot(pods) == before
    pods.lab.kubectl("delete", "pod", "fresh", "--timeout=30s")


def offline(pods):
    """edgecore starts without a cloud, its pods' containers gone as after a reboot: they run again; back online the status is right (C70, C74)."""
    before = {name: (pods.id(name), pods.container(name)["restartCount"]) for name in ADOPTED}
    token = pods.cat("given", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    pods.lab.kill("cloudcore")
    pods.lab.kill("edgecore")
    for container in pods.lab.ctr("tasks", "ls", "-q").split():
        pods.lab.ctr("tasks", "kill", "-s", "KILL", container, check=False)
    until(10, "everything ended", lambda: " RUNNING" not in pods.lab.ctr("tasks", "ls"))
    pods.lab.edge_up(pods=True)
    running = lambda: [line for line in pods.lab.ctr("tasks", "ls").splitlines() if line.endswith("RUNNING")]
    until(60, "the pods run again without a cloud", lambda: len(running()) == 2 * len(ADOPTED))
    pods.lab.cloud_up()
    for name in ADOPTED:
        until(30, f"{name} is restarted in the API", lambda: pods.id(name) != before[name][0] and pods.container(name)["restartCount"] == before[name][1] + 1)
        pods.ready(name, seconds=20)
    assert pods.cat("given", "/conf/level") == "after-2" and pods.cat("given", "/part/file") == "mine\n"
    assert pods.cat("given", "/var/run/secrets/kubernetes.io/serviceaccount/token") == token


STEPS = (given, network, follows, refused, contained, policies, probes, hooks, deletion, churn, edge_killed, while_away, containerd_killed, offline)

with Lab() as lab:
    lab.containerd_up()
    lab.cloud_up()
    lab.edge_up(pods=True)
    lab.node_ready()
    pods = Pods(lab)
    policies_begin(pods)     # their back-offs run while others are looked at
    for step in STEPS:
        begun = time.monotonic()
        step(pods)
        print(f"{step.__name__}: {step.__doc__.splitlines()[0]} ({time.monotonic() - begun:.1f} s)", flush=True)
print("pods: all steps passed")
