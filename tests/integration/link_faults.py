#!/usr/bin/env python3
"""Changes on both sides while the link between cloud and edge is broken in one way or another; then both sides agree again.

A fault's changes: pods, ConfigMaps and devices created, changed, deleted, deleted and made again under the same name; a desired value;
a reported value; a container that dies. Converged: kubectl, ctr, the edge's volumes and the edge's database say the same, within 15 s
of the path's return. A second node, on the cloud's own machine, must not notice. KUBEEDGE_TIER=full adds the long faults."""
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import free_port, until  # noqa: E402
from link import ip  # noqa: E402
from world import CLOUD, EDGE, World  # noqa: E402

FULL = os.environ.get("KUBEEDGE_TIER") == "full"
SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
MOVED, EDGE_MOVED = "10.203.0.9", "10.203.0.3"
CONVERGED = 15         # seconds after the path is back; issue 4 of the house
SEEN = 5               # where the edge sees the change of address
DEAD = 20 + 10 + CONVERGED   # where nobody tells it: a dead link is found within 20 s, the next dial is 10 s away
LEASE_GAP = 20         # seconds between two renewals of the other node: its period is 10


def pod(name, value="1"):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, "nodeName": "edge1", "volumes": [{"name": "v", "configMap": {"name": "settings"}}],
                     "containers": [{"name": "c", "image": "docker.io/library/busybox:1", "imagePullPolicy": "IfNotPresent", "env": [{"name": "VALUE", "value": value}],
                                     "command": ["sh", "-c", "while true; do sleep 1; done"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}


def device(name, *properties):
    return {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": name},
            "spec": {"nodeName": "edge1", "deviceModelRef": {"name": "thermometer"}, "protocol": {"protocolName": "mqtt"},
                     "properties": [{"name": one, "desired": {"value": "1"}} for one in properties]}}


def settings(value):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"value": str(value)}}


class Broken(World):
    """A World that says what its daemons hold, with a second node beside the cloud that must not notice anything."""

    def up(self):
        self.network_up()
        self.broker_up()
        self.cloud_up()
        self.edge_up()
        self.second_up()
        self.node_ready("edge1")
        self.node_ready("edge2")
        self.leases = self.dir / "edge2.leases"
        with open(self.leases, "wb") as out:
            self.processes["leases"] = subprocess.Popen(
                [*self.where("kubectl"), "kubectl", "--kubeconfig", str(self.dir / "cloud/admin.kubeconfig"), "-n", "kube-node-lease", "get", "lease", "edge2", "-w",
                 "-o", 'jsonpath={.spec.renewTime}{"\\n"}'], stdout=out)

    def second_up(self):
        self.cloud_host = "127.0.0.1"
        second = self.edge_command(node="edge2", data="edge2")
        self.cloud_host = "cloud.test"
        second[second.index(f"127.0.0.1:{self.edge_monitor}")] = f"127.0.0.1:{free_port()}"
        at = second.index("--mqtt")
        second[at:at + 2] = ["--no-mqtt"]
        self.run("edge2", *second)

    # What both daemons hold for their links.
    def sessions(self) -> int:
        """Connections that the cloud's hub port holds, as the kernel counts them."""
        shown = subprocess.run([*self.where("ss"), "ss", "-Htn", "state", "established", f"( sport = :{self.hub} )"], capture_output=True, text=True, check=True).stdout
        return len(shown.splitlines())

    def held(self) -> dict:
        out = {}
        for name in ("cloudcore", "edgecore"):
            process = self.processes[name].pid   # nsenter, unshare and sh have become the daemon: each is an exec
            status = pathlib.Path(f"/proc/{process}/status").read_text()
            out[name] = {"files": len(os.listdir(f"/proc/{process}/fd")), "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
                         "KiB": int(re.search(r"VmRSS:\s+(\d+)", status)[1])}
        return out

    def lease_gap(self) -> float:
        times = [time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) for stamp in self.leases.read_text().split()]
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)


class Round:
    """The changes of one fault, and what must be true at its end."""

    def __init__(self, world: World, number: int):
        self.world, self.number, self.value = world, number, str(100 + number)
        world.apply(pod(f"gone-{number}"), pod(f"again-{number}"), pod(f"dies-{number}"), device(f"gone-{number}", "temperature"), device(f"again-{number}", "temperature"))
        until(40, "the pods of the round run", lambda: all(self.running(f"{name}-{number}") for name in ("gone", "again", "dies")))
        until(20, "the devices of the round are at the edge", lambda: {f"gone-{number}", f"again-{number}"} <= self.edge_devices().keys())

    def container(self, name) -> dict:
        done = self.world.kubectl("get", "pod", name, "-o", "json", check=False)
        return (json.loads(done.stdout).get("status", {}).get("containerStatuses") or [{}])[0] if done.returncode == 0 else {}

    def running(self, name) -> bool:
        return "running" in self.container(name).get("state", {})

    def edge_devices(self) -> dict:
        """{device: its properties}, from the edge's own tables."""
        base = sqlite3.connect(f"file:{self.world.dir}/edge/edgecore.db?mode=ro", uri=True)
        try:
            devices = {name: set() for (name,) in base.execute("SELECT name FROM device")}
            for identity, name in base.execute("SELECT deviceid, name FROM device_twin"):
                devices.setdefault(identity.split("/")[-1], set()).add(name)
            return devices
        finally:
            base.close()

    def change_cloud(self):
        """The cloud's half; kubectl stands beside the cloud."""
        world, number = self.world, self.number
        world.kubectl("delete", "pod", f"gone-{number}", "--wait=false")
        world.kubectl("delete", "pod", f"again-{number}", "--force", "--grace-period=0")
        world.kubectl("delete", "device", f"gone-{number}", f"again-{number}")
        world.apply(pod(f"born-{number}"), pod(f"again-{number}", "2"), settings(self.value), device(f"born-{number}", "temperature"), device(f"again-{number}", "humidity"))
        world.kubectl("patch", "device", "thermo-1", "--type=merge", "-p", json.dumps({"spec": {"properties": [{"name": "temperature", "desired": {"value": self.value}}]}}))

    def change_edge(self):
        report = {"event_id": "", "timestamp": 0, "twin": {"temperature": {"actual": {"value": self.value}}}}
        topic = "$hw/events/device/default/thermo-1/twin/update"
        until(20, "the report is acknowledged", lambda: "code" not in (self.world.ask(topic, report, topic + "/result") or {"code": 408}))
        self.world.ctr("tasks", "kill", "-s", "KILL", self.dying)

    def change(self):
        self.steady, self.dying = (self.container(name)["containerID"].removeprefix("containerd://") for name in ("steady", f"dies-{self.number}"))
        self.change_cloud()
        self.change_edge()

    def differences(self) -> list:
        """What is not yet as it must be, in words."""
        world, number, out = self.world, self.number, []
        shown = {(one["kind"], one["metadata"]["name"]): one for one in json.loads(world.kubectl("get", "nodes,pods,devices,devicestatuses", "-o", "json").stdout)["items"]}

        def expect(holds, what):
            if not holds:
                out.append(what)

        ready = {c["type"]: c["status"] for c in shown[("Node", "edge1")]["status"]["conditions"]}.get("Ready")
        expect(ready == "True", f"edge1 Ready is {ready}")
        expect(("Pod", f"gone-{number}") not in shown, "the deleted pod is still an object")
        ids = {line.split()[0] for line in world.ctr("tasks", "ls").splitlines() if line.endswith("RUNNING")}
        wanted = set()
        for name, value in ((f"born-{number}", "1"), (f"again-{number}", "2"), (f"dies-{number}", "1"), ("steady", "1")):
            one = shown[("Pod", name)]
            status = (one.get("status", {}).get("containerStatuses") or [{}])[0]
            identity = status.get("containerID", "").removeprefix("containerd://")
            expect("running" in status.get("state", {}) and identity in ids, f"{name} does not run")
            wanted.add(one["metadata"]["uid"])
            volume = world.dir / "kubelet/pods" / one["metadata"]["uid"] / "volumes/kubernetes.io~configmap/v/value"
            expect(volume.exists() and volume.read_text() == self.value, f"{name}'s volume says {volume.read_text() if volume.exists() else 'nothing'}")
            if identity in ids:
                expect(f'"VALUE={value}"' in world.ctr("containers", "info", identity), f"{name} runs an older spec")
            if name == "steady":
                expect(identity == self.steady and status.get("restartCount") == 0, "the steady pod's container was not left alone")
            if name == f"dies-{number}":
                expect(status.get("restartCount") == 1, f"the killed container's restartCount is {status.get('restartCount')}")
        expect(len(ids) == 2 * len(wanted), f"{len(ids)} containers run, {len(wanted)} pods (each has a sandbox beside its own)")
        devices = self.edge_devices()
        expect(f"gone-{number}" not in devices, "the deleted device is at the edge")
        expect(devices.get(f"born-{number}") == {"temperature"}, "the new device is not at the edge")
        expect(devices.get(f"again-{number}") == {"humidity"}, f"the device made again has {devices.get(f'again-{number}')}")
        twins = {twin["propertyName"]: twin for twin in shown.get(("DeviceStatus", "thermo-1"), {}).get("status", {}).get("twins", [])}
        expect(twins.get("temperature", {}).get("reported", {}).get("value") == self.value, f"DeviceStatus: {twins}")
        twin = (world.twin() or {}).get("twin", {}).get("temperature", {})
        expect(twin.get("expected", {}).get("value") == self.value, f"the edge's twin: {twin}")
        return out

    def converged(self, fault: str, since: float, bound: float):
        while differences := self.differences():
            if time.monotonic() - since > bound:
                raise AssertionError(f"{fault}: {bound} s after the path is back: {'; '.join(differences)}")
        print(f"{fault}: converged {time.monotonic() - since:.1f} s after the path was back", flush=True)

    def clean(self):
        """No connection left over, no container; what this round made goes."""
        until(25, "one session a node", lambda: self.world.sessions() == 2)
        number = self.number
        self.world.kubectl("delete", "pod", f"born-{number}", f"again-{number}", f"dies-{number}", "--timeout=30s")
        self.world.kubectl("delete", "device", f"born-{number}", f"again-{number}")


def broken(world, number, fault, seconds, break_it, bound=CONVERGED):
    """A fault that stays for `seconds` with changes in the midst of it."""
    this = Round(world, number)
    break_it()
    started = time.monotonic()
    this.change()
    time.sleep(max(0.0, seconds - (time.monotonic() - started)))
    world.link.set()
    this.converged(fault, time.monotonic(), bound)
    this.clean()


def silent(world):
    world.link.set(cut=True)


def one_way(world, direction):
    world.link.set()
    getattr(world.link, direction).cut = True


def flaps(world, number, count):
    """C08: the edge's address goes and comes, each time with a new connection; none leaves anything behind."""
    this, before, links = Round(world, number), world.held(), world.log("edgecore").count("link up")
    for turn in range(1, count + 1):
        ip("-n", world.netns, "addr", "del", EDGE_MOVED + "/24", "dev", "ke0")
        if turn == count // 2:
            this.change()
        until(SEEN, "the edge gives the connection up", lambda: world.log("edgecore").count(f"{EDGE_MOVED} is gone") == turn)
        ip("-n", world.netns, "addr", "add", EDGE_MOVED + "/24", "dev", "ke0")
        until(CONVERGED, "the edge is linked again", lambda: world.log("edgecore").count("link up") == links + turn)
    this.converged(f"{count} flaps", time.monotonic(), CONVERGED)
    this.clean()
    # A connection whose peer is gone without a word is found dead within 20 s.
    until(25, f"no file or thread is left over: {before}, {world.held()}", lambda: all(
        now[what] <= before[daemon][what] for daemon, now in world.held().items() for what in ("files", "threads")))
    print(f"before {count} flaps {before}, after {world.held()}")


def killed_cloud(world, number):
    """C24: half-open without a RST: the cloud dies and comes back while nothing passes; the edge still holds the old connection."""
    this = Round(world, number)
    silent(world)
    this.change()
    world.kill("cloudcore")
    world.cloud_up()
    time.sleep(2)
    world.link.set()
    this.converged("cloud killed and restarted behind a silent link", time.monotonic(), CONVERGED)
    this.clean()


def edge_moves(world, number):
    """Far into the back-off a new address must dial at once."""
    this = Round(world, number)
    ip("-n", world.netns, "addr", "del", EDGE + "/24", "dev", "ke0")
    until(5, "the edge gives up a connection whose address is gone", lambda: f"{EDGE} is gone" in world.log("edgecore"))
    this.change()
    time.sleep(12)
    ip("-n", world.netns, "addr", "add", EDGE_MOVED + "/24", "dev", "ke0")
    since = time.monotonic()
    until(SEEN, "the edge is linked again", lambda: world.sessions() == 2 and "10.203.0.3" in subprocess.run(
        [*world.where("ss"), "ss", "-Htn", "state", "established", f"( sport = :{world.hub} )"], capture_output=True, text=True).stdout)
    print(f"a new address of the edge: linked {time.monotonic() - since:.2f} s after it came")
    this.converged("a new address of the edge", since, CONVERGED)
    until(30, "kubectl sees the new address", lambda: EDGE_MOVED in world.kubectl("get", "node", "edge1", "-o", "jsonpath={.status.addresses}").stdout)
    this.clean()


def cloud_moves(world, number):
    """The name stays, the address behind it changes: nobody tells the edge."""
    this = Round(world, number)
    ip("-n", world.cloud_ns, "addr", "del", CLOUD + "/24", "dev", "ke0")
    ip("-n", world.cloud_ns, "addr", "add", MOVED + "/24", "dev", "ke0")
    world.name_cloud(MOVED)
    since = time.monotonic()
    this.change()
    this.converged("another address of the cloud", since, DEAD)
    this.clean()


with Broken(SEED) as world:
    world.up()
    world.device()
    world.apply(settings(0), pod("steady"))
    until(60, "the steady pod runs", lambda: "running" in world.kubectl("get", "pod", "steady", "-o", "jsonpath={.status.containerStatuses[0].state}", check=False).stdout)
    faults = [
        lambda n: broken(world, n, "22 s of silence", 22, lambda: silent(world)),
        lambda n: broken(world, n, "30 % loss for 10 s", 10, lambda: world.link.set(loss=0.3)),
        lambda n: killed_cloud(world, n),
        lambda n: edge_moves(world, n),
        lambda n: cloud_moves(world, n),
    ]
    if FULL:
        faults += [
            lambda n: broken(world, n, "C02: edge to cloud cut for 3 min", 180, lambda: one_way(world, "up")),
            lambda n: broken(world, n, "cloud to edge cut for 60 s", 60, lambda: one_way(world, "down")),
            lambda n: broken(world, n, "2 s of delay each way for 60 s", 60, lambda: world.link.set(delay=2.0)),
            lambda n: broken(world, n, "64 kbit/s for 60 s", 60, lambda: world.link.set(rate=8000)),
            lambda n: broken(world, n, "2 min of silence", 120, lambda: silent(world)),
            lambda n: broken(world, n, "10 min of silence", 600, lambda: silent(world)),
        ]
    faults.append(lambda n: flaps(world, n, 500 if FULL else 20))
    for number, fault in enumerate(faults):
        fault(number)
    gap = world.lease_gap()
    assert 0 < gap < LEASE_GAP, f"the other node's lease had a gap of {gap} s"
    print(f"seed {SEED}: {len(faults)} faults, the other node's longest lease gap {gap:.0f} s, {world.link.passed // 1024} KiB passed the link")
