#!/usr/bin/env python3
"""Recorded words of a Go cloudcore, spoken again to our edgecore (real containerd, real mosquitto) by a scripted cloud.

The edge must ask what the recorded edge asked and report what it reported: same routes, same contents (but for what differs by nature:
tests/lib/trace.py). Patches of a status are compared as they add up; every push must be acknowledged. What differs on purpose is named."""
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import hubwire
import trace
from lab import Lab, ROOT

TRACES = [(ROOT / "tests/golden/hub/trace-full.jsonl", "7 "), (ROOT / "tests/golden/recorded/our-edge--go-cloud.jsonl", "5 the cloud goes away")]
if os.geteuid() != 0:
    print("needs root: it starts a containerd of its own")
    sys.exit(77)

# Said by the clock, not by what happens: how often is no part of the comparison.
BY_THE_CLOCK = re.compile(r"kube-node-lease/.*|node|null/nodepatch/.*")
# (resource, difference, why ours may differ)
NAMED = [
    (r"null/node/.*|kube-node-lease/.*", r"content\.(apiVersion|kind): not recorded", "an object says its kind"),
    (r"null/node/.*", r"conditions\[3\]\.(status|reason|message): recorded .*(False|KubeletNotReady|CSINode)", "there is no CSI to wait for: Ready at once"),
    (r"null/nodepatch/.*", r"status\.(\$setElementOrder/)?(addresses|allocatable|capacity|nodeInfo|conditions): not recorded", "another machine's facts, and a heartbeat more"),
    (r"device/.*", r"\.expected(_version)?: (not recorded|missing)", "desired values reach the twin and MQTT apps (design: device rules beyond upstream)"),
    (r"device/.*", r"actual_version\.edge", "an equal report makes no new version (design)"),
]


class Replay:
    def __init__(self, lab, path, end):
        self.lab, self.records = lab, list(trace.load(path, end))
        messages = [record["message"] for record in self.records if record["kind"] == "ws"]
        ups = {trace.header(r["message"], "msg_id"): r["message"] for r in self.records if r["kind"] == "ws" and r["dir"] == "up"}
        self.answers = {}                # route of a request -> its recorded answers in order
        for message in messages:
            request = ups.get(trace.parent(message))
            if request is not None:
                self.answers.setdefault(trace.route(request), []).append(message)
        self.answered = {}
        self.said = {}                   # route -> what our edge said, in order
        self.scheduled = {}              # a pod -> its status when it first came
        self.expected = {}               # route -> how often the recorded edge has said it so far
        self.acked = set()
        self.problems, self.compared = [], 0

    def run(self):
        self.cloud = hubwire.Cloud(self.lab.dir / "peer", self.lab.hub, self.lab.join)
        self.lab.run("edgecore", *self.lab.edge_command(token=self.cloud.token, pods=True, mqtt=True))
        self.socket = self.cloud.accept(20)
        step = []
        for record in self.records + [{"kind": "mark", "text": "end"}]:
            if record["kind"] == "mark":
                self.play(step)
                step = []
            step.append(record)
        deadline = time.monotonic() + 20     # a pod may still be starting
        while time.monotonic() < deadline and any(self.differ(route) for route in self.said if not BY_THE_CLOCK.fullmatch(route[1])):
            self.pump(0.3)
        for route in {trace.route(r["message"]) for r in self.records if r["kind"] == "ws" and r["dir"] == "up" and not trace.parent(r["message"])}:
            self.compare(route)

    def play(self, step):
        pushes = []
        for record in step:
            if record["kind"] != "ws":
                continue
            message = record["message"]
            if record["dir"] == "up" and not trace.parent(message):
                self.device_app(message)
                self.heard(message)
            elif record["dir"] == "down" and not trace.parent(message):
                pushes.append((trace.route(message), self.send(message, "")))
        deadline = time.monotonic() + 10
        wanted = {identity for (operation, resource), identity in pushes if resource != "membership"}
        while wanted - self.acked and time.monotonic() < deadline:
            self.pump(0.2)
        for route, identity in pushes:
            if identity in wanted - self.acked:
                self.problems.append(f"{route}: our edge never acknowledged it")
        self.compared += len(wanted)

    def send(self, recorded, answer_to):
        identity = str(uuid.uuid4())
        header = {**recorded["header"], "msg_id": identity, "timestamp": int(time.time() * 1000)}
        if answer_to:
            header["parent_msg_id"] = answer_to
        self.socket.send(json.dumps({**recorded, "header": header, "content": self.with_our_status(recorded.get("content"))}) + "\n")
        return identity

    def with_our_status(self, content):
        """A pod comes back with the status that this edge reported, as a cloud would send it: the recorded one names containers of another machine."""
        if isinstance(content, dict) and isinstance(content.get("Object"), dict):
            return {**content, "Object": self.with_our_status(content["Object"])}
        if not isinstance(content, dict) or "containers" not in content.get("spec", {}):
            return content
        name = content["metadata"]["namespace"], content["metadata"]["name"]
        total = {"status": self.scheduled.setdefault(name, content.get("status", {}))}
        for message in self.said.get(("patch", f"{name[0]}/podpatch/{name[1]}"), []):
            total = added(total, trace.content(message))
        return {**content, "status": {key: value for key, value in total["status"].items() if not key.startswith("$")}}

    def pump(self, seconds):
        message = self.socket.receive(seconds)
        if message is None:
            return
        if trace.parent(message):
            self.acked.add(trace.parent(message))
            return
        route = trace.route(message)
        self.said.setdefault(route, []).append(message)
        recorded = self.answers.get(route)
        if recorded:
            turn = self.answered.get(route, 0)
            self.answered[route] = turn + 1
            self.send(recorded[min(turn, len(recorded) - 1)], trace.header(message, "msg_id"))

    def heard(self, recorded):
        """Waits until our edge has said this at least as often as the recorded one so far (once is enough where the clock decides)."""
        route = trace.route(recorded)
        deadline = time.monotonic() + (2 if BY_THE_CLOCK.fullmatch(route[1]) else 10)
        self.expected[route] = 1 if BY_THE_CLOCK.fullmatch(route[1]) or "patch" in route[1] else self.expected.get(route, 0) + 1
        while len(self.said.get(route, [])) < self.expected[route] and time.monotonic() < deadline:
            self.pump(0.1)

    # ---- the app behind the recorded reports

    def device_app(self, recorded):
        parts = trace.route(recorded)[1].split("/")
        if parts[0] != "device":
            return
        body = trace.content(recorded)
        topic = "$hw/events/device/" + "/".join(parts[1:3])
        if parts[-1] == "edge_updated":
            reported = {name: {"actual": {"value": twin["actual"]["value"]}, "metadata": twin.get("metadata", {"type": "string"})}
                        for name, twin in body["twin"].items() if twin.get("actual")}
            self.publish(topic + "/twin/update", {"twin": reported})
        elif parts[-2:] == ["state", "update"]:
            self.publish(topic + "/state/update", {"state": body["device"]["state"]})

    def publish(self, topic, body):
        # The hub must be served meanwhile; the result is waited for by heard().
        subprocess.run(["mosquitto_pub", "-p", str(self.lab.mqtt), "-q", "1", "-t", topic, "-m",
                        json.dumps({"event_id": uuid.uuid4().hex, "timestamp": int(time.time() * 1000), **body})], check=True, timeout=20)

    # ---- comparing

    def compare(self, route):
        if BY_THE_CLOCK.fullmatch(route[1]) and route not in self.said:
            return
        self.compared += 1
        self.problems += [f"{route} {one}" for one in self.differ(route)]

    def differ(self, route):
        recorded = [r["message"] for r in self.records if r["kind"] == "ws" and r["dir"] == "up" and trace.route(r["message"]) == route and not trace.parent(r["message"])]
        mine = self.said.get(route, [])
        if not mine or not recorded:
            return [f"recorded {len(recorded)} times, our edge said it {len(mine)} times"]
        found = trace.differences({"route": recorded[0]["route"], "content": folded(recorded)}, {"route": mine[0]["route"], "content": folded(mine)})
        return trace.unnamed(found, route[1], NAMED)

    def unasked(self):
        """What our edge said and the recorded one never did."""
        known = {trace.route(r["message"]) for r in self.records if r["kind"] == "ws"}
        return [f"{route}: not recorded, our edge said it {len(messages)} times" for route, messages in self.said.items()
                if route not in known and not BY_THE_CLOCK.fullmatch(route[1])]


def folded(messages):
    """The last content; patches of a status and the properties of a twin added up."""
    total = None
    for message in messages:
        body = trace.content(message)
        if isinstance(body, dict) and "status" in body and "patch" in trace.route(message)[1] and isinstance(total, dict):
            body = added(total, body)
        if isinstance(body, dict) and isinstance(body.get("twin"), dict) and isinstance(total, dict):
            body = {**body, "twin": {**total["twin"], **body["twin"]}}
        total = body
    return trace.normal(total)


def added(before, patch):
    if not isinstance(before, dict) or not isinstance(patch, dict):
        return patch
    out = dict(before)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif key == "conditions":
            by_type = {one["type"]: one for one in before.get(key, [])}
            for one in value:
                by_type[one["type"]] = added(by_type.get(one["type"], {}), one)
            out[key] = list(by_type.values())
        else:
            out[key] = added(before.get(key), value)
    return out


failed = False
for path, end in TRACES:
    with Lab() as lab:
        lab.containerd_up()
        lab.broker_up()
        replay = Replay(lab, path, end)
        replay.run()
        problems = replay.problems + replay.unasked()
        print(f"{path.name}: {replay.compared} compared, {len(problems)} differences")
        for problem in problems:
            print("  " + problem)
        if problems:
            print({route: len(messages) for route, messages in replay.said.items()})
            print(lab.log("edgecore")[-3000:])
        failed |= bool(problems) or replay.compared < 10
sys.exit(1 if failed else 0)
