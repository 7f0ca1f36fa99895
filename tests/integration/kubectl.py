#!/usr/bin/env python3
"""Every kind of the main job through the kubectls that users have (Debian's 1.20 and the one of the PATH): apply, apply again, change,
get -w, wait, delete, and a misspelt field refused; never with --validate=false."""
import contextlib
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from kubectls import kubectls  # noqa: E402
from lab import Lab  # noqa: E402

DEVICES, SYNCS = "devices.kubeedge.io/v1beta1", "reliablesyncs.kubeedge.io/v1alpha1"
SYNC = {"objectAPIVersion": "v1", "objectKind": "pods", "objectName": "p"}
KINDS = {   # kind: (apiVersion, the rest of it)
    "Namespace": ("v1", {}),
    "Node": ("v1", {"spec": {"podCIDR": "10.9.0.0/24"}}),
    "Pod": ("v1", {"spec": {"containers": [{"name": "c", "image": "busybox:1"}]}}),
    "ConfigMap": ("v1", {"data": {"a": "1"}}),
    "Secret": ("v1", {"data": {"a": "MQ=="}}),
    "Event": ("v1", {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "Tested", "message": "m", "type": "Normal"}),
    "ServiceAccount": ("v1", {}),
    "Lease": ("coordination.k8s.io/v1", {"spec": {"holderIdentity": "h", "leaseDurationSeconds": 40}}),
    "DeviceModel": (DEVICES, {"spec": {"protocol": "mqtt", "properties": [{"name": "t", "type": "INT", "accessMode": "ReadOnly"}]}}),
    "Device": (DEVICES, {"spec": {"nodeName": "n", "deviceModelRef": {"name": "k-devicemodel"}, "protocol": {"protocolName": "mqtt"}}}),
    "DeviceStatus": (DEVICES, {"status": {"twins": [{"propertyName": "t", "reported": {"value": "1"}}]}}),
    "ObjectSync": (SYNCS, {"spec": SYNC}),
    "ClusterObjectSync": (SYNCS, {"spec": SYNC}),
}
CLUSTER = {"Namespace", "Node", "ClusterObjectSync"}


class Kubectl:
    def __init__(self, path: str, kubeconfig: pathlib.Path, cache: pathlib.Path):
        self.command = [path, "--kubeconfig", str(kubeconfig), "--cache-dir", str(cache)]
        self.version = json.loads(self("version", "--client", "-o", "json").stdout)["clientVersion"]["gitVersion"]

    def __call__(self, *arguments, check=True, stdin=None):
        done = subprocess.run([*self.command, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not check, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def apply(self, thing: dict, check=True) -> str:
        done = self("apply", "-f", "-", stdin=json.dumps(thing), check=check)
        return (done.stdout + done.stderr).strip()

    @contextlib.contextmanager
    def watching(self, *what):
        """Lines of `kubectl get -w`, as a function."""
        lines = []
        watch = subprocess.Popen([*self.command, "get", *what, "-w", "--output-watch-events", "--no-headers"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)

        def seen(event: str) -> bool:
            while event not in [line.split()[0] for line in lines]:
                lines.append(watch.stdout.readline() or "ENDED .")
                assert lines[-1] != "ENDED .", lines
            return True
        try:
            yield lines, seen
        finally:
            watch.terminate()
            watch.communicate()


def condition(kubectl, kind: str, name: str):
    """Sets Ready as a node agent does and lets `kubectl wait` see it."""
    path = f"/api/v1/nodes/{name}" if kind == "Node" else f"/api/v1/namespaces/default/pods/{name}"
    thing = json.loads(kubectl("get", "--raw", path).stdout)
    thing.setdefault("status", {})["conditions"] = [{"type": "Ready", "status": "True"}]
    kubectl("replace", "--raw", path + "/status", "-f", "-", stdin=json.dumps(thing))
    assert "condition met" in kubectl("wait", "--for=condition=Ready", f"{kind}/{name}", "--timeout=10s").stdout


def life(kubectl, kind: str):
    version, rest = KINDS[kind]
    name = f"k-{kind.lower()}"
    thing = {"apiVersion": version, "kind": kind, "metadata": {"name": name, **({} if kind in CLUSTER else {"namespace": "default"})}, **rest}
    with kubectl.watching(kind, "--field-selector", f"metadata.name={name}") as (lines, seen):
        assert kubectl.apply(thing).endswith(" created"), kind
        assert kubectl.apply(thing).endswith(" unchanged"), kind
        assert seen("ADDED")
        thing["metadata"]["labels"] = {"changed": "yes"}
        assert kubectl.apply(thing).endswith(" configured"), kind
        assert kubectl("get", kind, name, "-o", "jsonpath={.metadata.labels.changed}").stdout == "yes"
        assert seen("MODIFIED")
        if kind in ("Node", "Pod"):
            condition(kubectl, kind, name)
        kubectl("delete", kind, name, "--timeout=20s")
        assert seen("DELETED")
        assert all(("pod/p" if kind == "Event" else name) in line.split() for line in lines), lines
    assert "NotFound" in kubectl("get", kind, name, check=False).stderr, kind


def wait_for_delete(kubectl):
    """A finalizer keeps the object until `kubectl wait` is surely waiting for its end."""
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["tests.kubeedge.io/hold"]}})
    kubectl("delete", "configmap", "held", "--wait=false")
    waiting = subprocess.Popen([*kubectl.command, "-v=6", "wait", "--for=delete", "configmap/held", "--timeout=20s"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert any("watch=true" in line for line in waiting.stderr), "kubectl wait watches"
    kubectl("patch", "configmap", "held", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/finalizers"}]')
    said = waiting.communicate()[1]
    assert waiting.returncode == 0, said
    assert "NotFound" in kubectl("get", "configmap", "held", check=False).stderr


def misspelt(kubectl):
    said = kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "typo"}, "spec": {"containers": [{"name": "c", "imagee": "busybox:1"}]}}, check=False)
    assert "imagee" in said and "unknown field" in said, said
    assert "NotFound" in kubectl("get", "pod", "typo", check=False).stderr


with Lab() as lab:
    lab.cloud_up()
    for number, path in enumerate(kubectls()):
        kubectl = Kubectl(path, lab.dir / "cloud/admin.kubeconfig", lab.dir / f"cache{number}")
        for kind in KINDS:
            life(kubectl, kind)
        wait_for_delete(kubectl)
        misspelt(kubectl)
        print(f"{kubectl.version}: {len(KINDS)} kinds applied, watched, waited for and deleted")
