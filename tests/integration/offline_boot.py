#!/usr/bin/env python3
"""A node boots with no cloud, a name server that does not answer and a clock of 1970: pods, configuration and twins come from its store.

Then the cloud is there and the clock is put right, and jumps while updates flow (libfaketime tells edgecore what time it is)."""
import base64
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import until  # noqa: E402
from world import CLOUD, World  # noqa: E402

SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1".replace("x86_64", os.uname().machine)
PODS = 3
BOOT = 10     # seconds; the house wants 2 after containerd is up, which is printed
BACK = 25     # the clock is right: dials are at most 10 s apart
UPDATE = "$hw/events/device/default/thermo-1/twin/update"
MOUNTS = {"cm/value": "from the map", "secret/value": "from the secret"}


class Boot(World):
    def __init__(self, seed):
        super().__init__(seed)
        self.clock = self.dir / "clock"
        self.edge_env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": self.clock, "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        self.set_clock(0)

    def set_clock(self, offset: float):
        """Seconds against the real time, from now on."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{offset:+.0f}\n")
        fresh.rename(self.clock)

    def running(self) -> dict:
        """{container id: pid} of what runs and is no sandbox."""
        tasks = {line.split()[0]: int(line.split()[1]) for line in self.ctr("tasks", "ls").splitlines() if line.endswith("RUNNING")}
        kept = self.ctr("containers", "ls", "-q", 'labels."io.cri-containerd.kind"==container').split()
        return {name: tasks[name] for name in kept if name in tasks}

    def report(self, value) -> bool:
        answer = self.ask(UPDATE, {"event_id": "", "timestamp": 0, "twin": {"temperature": {"actual": {"value": str(value)}}}}, UPDATE + "/result")
        return answer is not None and "code" not in answer

    def pods(self) -> dict:
        items = json.loads(self.kubectl("get", "pods", "-o", "json").stdout)["items"]
        return {one["metadata"]["name"]: one["status"]["containerStatuses"][0] for one in items if one["status"].get("containerStatuses")}


def pod(name):
    volumes = [{"name": "cm", "configMap": {"name": "settings"}}, {"name": "secret", "secret": {"secretName": "hidden"}},
               {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, "nodeName": "edge1", "volumes": volumes,
                     "containers": [{"name": "c", "image": "docker.io/library/busybox:1", "imagePullPolicy": "IfNotPresent",
                                     "env": [{"name": "VALUE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "value"}}}],
                                     "command": ["sh", "-c", "while true; do sleep 1; done"],
                                     "volumeMounts": [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes]}]}}


def given(world, pid: int) -> str:
    """The token that a container has, once all its other volumes are seen to be whole, through its own eyes (/proc)."""
    root = pathlib.Path(f"/proc/{pid}/root")
    for path, content in MOUNTS.items():
        assert (root / path).read_text() == content, path
    environment = pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert "VALUE=from the map" in environment, environment
    return (root / "token/token").read_text()


def reboot(world):
    """Everything of the node ends at once; its cloud is switched off meanwhile."""
    for name in ("edgecore", "mosquitto"):
        world.kill(name)
    for task in world.ctr("tasks", "ls", "-q").split():
        world.ctr("tasks", "kill", "-s", "KILL", task, check=False)
    world.containerd_kill()
    world.kill("cloudcore")
    world.link.set(cut=True)
    world.name_cloud(None)


def boots_offline(world, clock: str, offset: float, value: str):
    tokens = {given(world, pid) for pid in world.running().values()}
    reboot(world)
    world.set_clock(offset)
    world.edge_up()          # before its runtime, as on a real boot
    world.broker_up()
    world.containerd_up()
    since = time.monotonic()
    until(BOOT, "the pods run again", lambda: len(world.running()) == PODS)
    print(f"offline, {clock}: {PODS} pods run {time.monotonic() - since:.2f} s after containerd is up")
    assert {given(world, pid) for pid in world.running().values()} == tokens, "the tokens come from the store"
    answer = until(BOOT, "the twin is answered", lambda: (world.twin() or {}).get("twin"))["temperature"]
    assert (answer["actual"]["value"], answer["expected"]["value"]) == (value, "30"), answer
    assert world.report(int(value) + 1)
    return world.running().keys()


def clock_put_right(world, containers):
    world.name_cloud(CLOUD)
    world.cloud_up()
    world.link.set()
    until(BACK, "the log names the clock", lambda: "not yet valid (this host's clock says 1970-01-01" in world.log("edgecore"))
    world.set_clock(0)
    until(BACK, "the node is linked", lambda: world.log("edgecore").rfind("link up") > world.log("edgecore").rfind("1970-01-01T"))
    world.node_ready()
    until(15, "the report made offline, in 1970, is in DeviceStatus", lambda: world.reported() == "22")
    until(15, "kubectl shows the containers of the boot", lambda: {one["containerID"].removeprefix("containerd://") for one in world.pods().values()} == set(containers))
    for task in world.running().values():
        claims = given(world, task).split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"] > time.time()


def jumps(world, containers):
    """Each jump with a report before, during and after; the last value arrives and nothing restarts."""
    value = 100
    for offset in (86_400, -86_400, 180 - time.time(), 0, 3_600, 0):
        world.set_clock(offset)
        for _ in range(3):
            value += 1
            assert world.report(value), f"report {value} at {offset:+.0f} s"
        until(15, f"DeviceStatus shows {value} with the clock at {offset:+.0f} s", lambda: world.reported() == str(value))
    world.kubectl("wait", "--for=condition=Ready", "node/edge1", "--timeout=15s")
    assert world.running().keys() == containers, "a container was restarted"
    print("clock: a day ahead, a day behind, 1970, right: every value arrived, nothing restarted")


with Boot(SEED) as world:
    world.network_up()
    world.broker_up()
    world.cloud_up()
    world.edge_up()
    world.node_ready()
    world.device()
    world.kubectl("patch", "device", "thermo-1", "--type=merge", "-p", '{"spec": {"properties": [{"name": "temperature", "desired": {"value": "30"}}]}}')
    world.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"value": MOUNTS["cm/value"]}},
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"value": MOUNTS["secret/value"]}},
                *(pod(f"pod-{number}") for number in range(PODS)))
    until(20, "the twin is known", lambda: (world.twin() or {}).get("twin", {}).get("temperature", {}).get("expected", {}).get("value") == "30")
    assert world.report("20")
    until(40, "the pods run", lambda: len(world.running()) == PODS)
    until(15, "DeviceStatus has the value", lambda: world.reported() == "20")
    boots_offline(world, "two hours later, the tokens are over", 7_200, "20")
    containers = boots_offline(world, "1970", 180 - time.time(), "21")
    clock_put_right(world, containers)
    jumps(world, containers)
