#!/usr/bin/env python3
"""Recorded lives of a Go edgecore, spoken again to our cloudcore --standalone by a scripted edge.

Every recorded request gets its answer, every recorded change its push: same routes, same contents (but for what differs by nature:
tests/lib/trace.py). Pushes are compared as they end up per object, since each side coalesces. What differs on purpose is named below."""
import json
import pathlib
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import hubwire
import trace
from lab import Lab, ROOT, until

TRACES = [(ROOT / "tests/golden/hub/trace-full.jsonl", "7 "), *((path, None) for path in sorted((ROOT / "tests/golden/recorded").glob("go-edge--*.jsonl")))]
KINDS = {"pod": "Pod", "configmap": "ConfigMap", "secret": "Secret", "device": "Device", "devicemodel": "DeviceModel"}

# (resource, difference, why ours may differ)
NAMED = [
    (r".*", r"metadata\.managedFields: missing", "cut by byte range: the edge has no use for them and they are half of the bytes"),
    (r".*", r"content\.Object\.(apiVersion|kind): not recorded", "Go's typed client drops the two, the raw object keeps them"),
    (r".*/lease/.*", r"ErrStatus\.(apiVersion|kind): not recorded|ErrStatus\.(details\.kind|message)", "the API server's own Status, not one made up from a cache"),
    (r"null/node(patch)?/.*", r"annotations\.(cloudcore|node\.alpha\.kubernetes\.io/ttl)|spec\.taints: missing", "a controller manager of Kubernetes and another address"),
    (r".*/kube-root-ca\.crt", r"metadata\.annotations: missing", "a controller manager of Kubernetes describes it"),
    (r".*/device/.*", r"content\.status: missing, recorded {}", "a Go struct writes its empty status"),
    (r".*/pod/.*", r"content\.status\.", "a node's own status is not sent back to it"),
    (r".*/pod/.*", r"route\.operation: recorded \"update\", got \"insert\"", "what is new to the node is an insert, also when it was bound later"),
]


class Replay:
    def __init__(self, lab, path, end):
        self.lab, self.records = lab, list(trace.load(path, end))
        self.answers, self.pushes = {}, {}
        self.values = {}                 # recorded uid or resourceVersion -> ours
        self.applied = {}
        self.said = time.monotonic()
        self.problems, self.compared = [], 0
        self.acks = {}                   # (source, operation) of a push -> the recorded acknowledgement's route
        downs = {trace.header(r["message"], "msg_id"): r["message"] for r in self.records if r["kind"] == "ws" and r["dir"] == "down"}
        for record in self.records:
            if record["kind"] == "ws" and record["dir"] == "up" and trace.parent(record["message"]) in downs:
                push = downs[trace.parent(record["message"])]
                if not trace.parent(push):
                    self.acks[push["route"]["source"], push["route"]["operation"]] = record["message"]["route"]
        self.requests = {trace.header(r["message"], "msg_id") for r in self.records if r["kind"] == "ws" and r["dir"] == "up"}
        self.recorded_downs = downs

    def run(self):
        step = []
        for record in self.records + [{"kind": "mark", "text": "end"}]:
            if record["kind"] == "mark":
                self.play(step)
                step = []
            step.append(record)

    def play(self, step):
        """One step: what the user does, then the recorded messages in their order."""
        self.act(step)
        wanted = {}
        for record in step:
            if record["kind"] == "http-request" and record["uri"] == "/edge.crt":
                hubwire.join(self.lab.join, "edge1", self.lab.token, self.lab.dir / "peer")
            elif record["kind"] == "http-request" and record["uri"].endswith("/events"):
                peer = self.lab.dir / "peer"
                self.socket = hubwire.WebSocket.connect(self.lab.hub, "edge1", peer / "ca.crt", peer / "edge.crt", peer / "edge.key")
            elif record["kind"] == "ws" and record["dir"] == "up":
                self.up(record["message"])
            elif record["kind"] == "ws" and trace.parent(record["message"]) in self.requests:
                self.answer(record["message"])
            elif record["kind"] == "ws":
                resource = trace.route(record["message"])[1]
                wanted.setdefault(resource, []).append(record["message"])
                self.first_push(resource, record["message"])
        for resource, messages in wanted.items():
            self.pushed(resource, messages)
        self.reported(step)

    # ---- what the user did: read from the objects that the recorded cloud sent

    def act(self, step):
        objects, deleted = {}, set()
        for record in step:
            body = trace.content(record["message"]) if record["kind"] == "ws" and record["dir"] == "down" else None
            if not isinstance(body, dict) or body.get("kind") not in KINDS.values() or body["metadata"]["name"] == "kube-root-ca.crt":
                continue
            if trace.route(record["message"])[0] == "delete":
                deleted.add((body["kind"], body["metadata"]["name"]))
            else:
                objects[body["kind"], body["metadata"]["name"]] = body
        objects = {key: body for key, body in objects.items() if "deletionTimestamp" not in body["metadata"]}
        for kind, name in sorted(deleted):   # a Device before its DeviceModel
            self.lab.kubectl("delete", kind.lower(), name, "--wait=false")
            self.applied.pop((kind, name))
        for kind in ("ConfigMap", "Secret", "DeviceModel", "Device", "Pod"):
            for (one, name), body in objects.items():
                if one != kind:
                    continue
                if (kind, name) not in self.applied:
                    self.lab.kubectl("apply", "-f", "-", stdin=body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
                elif kind != "Pod":
                    change = {key: body[key] for key in ("data", "spec") if key in body and body[key] != self.applied[kind, name].get(key)}
                    if change:
                        self.lab.kubectl("patch", kind.lower(), name, "--type=merge", "-p", json.dumps(change))
                self.applied[kind, name] = body

    # ---- the wire

    def up(self, recorded):
        answer_to = trace.parent(recorded)
        if answer_to:
            push = self.recorded_downs.get(answer_to)
            if push is None or not trace.parent(push):
                return                   # acknowledged when it came: pump()
            mine = self.answers.get(trace.parent(push))
            if mine is None:
                return
            recorded = {**recorded, "header": {**recorded["header"], "parent_msg_id": trace.header(mine, "msg_id")}}
        message = {**recorded, "content": self.mapped(recorded.get("content"))}
        self.socket.send(json.dumps(message) + "\n")

    def pump(self, seconds):
        if time.monotonic() - self.said > 10:   # waiting may take longer than the cloud's patience
            self.said = time.monotonic()
            self.socket.send(json.dumps({"header": {"msg_id": str(uuid.uuid4()), "timestamp": int(time.time() * 1000)},
                                         "route": {"source": "websocket", "group": "resource", "operation": "keepalive", "resource": "node"}, "content": "ping"}) + "\n")
        message = self.socket.receive(seconds)
        if message is None:
            return
        if trace.parent(message):
            self.answers[trace.parent(message)] = message
            return
        self.pushes.setdefault(trace.route(message)[1], []).append(message)
        ack = self.acks.get((message["route"]["source"], message["route"]["operation"]))
        if ack and trace.route(message)[1] != "membership":
            self.socket.send(json.dumps({"header": {"msg_id": str(uuid.uuid4()), "parent_msg_id": trace.header(message, "msg_id"), "timestamp": int(time.time() * 1000)},
                                         "route": {**ack, "resource": trace.route(message)[1]}, "content": "OK"}) + "\n")

    def answer(self, recorded):
        request = trace.parent(recorded)
        deadline = time.monotonic() + 10
        while request not in self.answers and time.monotonic() < deadline:
            self.pump(0.2)
        if request not in self.answers:
            self.problems.append(f"{trace.route(recorded)}: recorded an answer, ours never came")
            return
        self.compare(recorded, self.answers[request])

    def first_push(self, resource, recorded):
        """What the edge says next may be about an object that it first must have."""
        deadline = time.monotonic() + 10
        while resource not in self.pushes and time.monotonic() < deadline:
            self.pump(0.2)
        if resource in self.pushes:
            self.learn(trace.content(recorded), trace.content(self.pushes[resource][-1]))

    def pushed(self, resource, recorded):
        """The last push of an object, once it is what was recorded, or as it is after a while."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            self.pump(0.2)
            mine = self.pushes.get(resource)
            if mine and not self.differ(recorded[-1], mine[-1]):
                break
        mine = self.pushes.get(resource)
        if not mine:
            self.problems.append(f"{trace.route(recorded[-1])}: recorded a push, ours never came")
            return
        self.compare(recorded[-1], mine[-1])

    def reported(self, step):
        """The last reported value of every property is in DeviceStatus."""
        last = {}
        for record in step:
            if record["kind"] == "ws" and record["dir"] == "up" and trace.route(record["message"])[1].endswith("/twin/edge_updated"):
                device = trace.route(record["message"])[1].split("/")[2]
                last |= {(device, name): twin["actual"]["value"] for name, twin in trace.content(record["message"])["twin"].items()}
        for (device, name), value in last.items():
            self.compared += 1
            try:
                until(5, f"DeviceStatus {device} shows {name} = {value}", lambda: self.lab.reported(device, name) == value)
            except AssertionError as error:
                self.problems.append(str(error))

    def differ(self, recorded, mine):
        want, got = ({"route": m["route"], "content": trace.normal(trace.content(m)), "sync": m["header"].get("sync", False)} for m in (recorded, mine))
        return trace.unnamed(trace.differences(want, got), trace.route(recorded)[1], NAMED)

    def compare(self, recorded, mine):
        self.compared += 1
        self.learn(trace.content(recorded), trace.content(mine))
        self.problems += [f"{trace.route(recorded)} {one}" for one in self.differ(recorded, mine)]

    # ---- what the recorded edge says back carries our cloud's uids and versions

    def learn(self, recorded, mine):
        if isinstance(recorded, dict) and isinstance(mine, dict):
            for key, value in recorded.items():
                if key in ("uid", "resourceVersion") and isinstance(mine.get(key), str):
                    self.values[key, value] = mine[key]
                else:
                    self.learn(value, mine.get(key))
        elif isinstance(recorded, list) and isinstance(mine, list):
            for pair in zip(recorded, mine):
                self.learn(*pair)

    def mapped(self, value):
        if isinstance(value, dict):
            return {key: self.values.get((key, inner), inner) if key in ("uid", "resourceVersion") else self.mapped(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.mapped(inner) for inner in value]
        if isinstance(value, str) and value[:1] == "{":
            try:
                return json.dumps(self.mapped(json.loads(value)))
            except ValueError:
                pass
        return value


failed = False
for path, end in TRACES:
    with Lab() as lab:
        lab.cloud_up()
        replay = Replay(lab, path, end)
        replay.run()
        print(f"{path.name}: {replay.compared} messages compared, {len(replay.problems)} differences")
        for problem in replay.problems:
            print("  " + problem)
        failed |= bool(replay.problems) or replay.compared < 20
sys.exit(1 if failed else 0)
