#!/usr/bin/env python3
"""Bad input over MQTT and from Device objects: payloads that are no JSON, of wrong types, huge, deep or no UTF-8, topics that
name nothing, devices without a model (C37). Each gets the code of devices.md 3.5 on its result topic, edgecore and cloudcore stay
up with their memory, and another device that works all the while gets every answer.
"""
import json
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402
from mqtt import Ear  # noqa: E402
from rawwire import rss_mb  # noqa: E402

DEVICE = "$hw/events/device/"
MOST_GROWTH_MB = 48     # Paho holds a 10 MB message whole
BAD_BODY = "Unmarshal update request body failed, please check the request"
NO_TWIN = "Update twin error, key:twin does not exist"
NOT_EXISTED = "update rejected due to the device is not existed"


class Neighbour:
    """A device that does nothing wrong: reports, one at a time, and waits for each result."""

    def __init__(self, lab, name):
        self.lab, self.count, self.slowest, self.stopping = lab, 0, 0.0, False
        self.topic = f"{DEVICE}default/{name}/twin/update"
        self.publisher = subprocess.Popen(["mosquitto_pub", "-p", str(lab.mqtt), "-q", "1", "-l", "-t", self.topic], stdin=subprocess.PIPE, text=True)
        self.ear = Ear(lab, self.topic + "/result")
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stopping:
            started = time.monotonic()
            self.publisher.stdin.write(json.dumps({"event_id": str(self.count), "twin": {"temperature": {"actual": {"value": str(self.count)}}}}) + "\n")
            self.publisher.stdin.flush()
            while len(self.ear.heard) <= self.count:
                time.sleep(0.002)
            result = json.loads(self.ear.heard[self.count][1])
            assert "code" not in result and result["event_id"] == str(self.count), result
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.count += 1

    def stop(self):
        self.stopping = True
        self.thread.join(10)
        assert not self.thread.is_alive(), f"{self.topic}: no answer to report {self.count}"
        self.ear.__exit__()
        self.publisher.terminate()
        self.publisher.wait()


def payloads(ear):
    topic = DEVICE + "default/thermo-1/twin/update"
    both = (topic + "/result", DEVICE + "/twin/update/result")     # upstream answers on an empty device id
    deep = b'{"twin":' + b'{"a":' * 100_000
    bad = {b"": BAD_BODY, b"hello": BAD_BODY, b"[]": BAD_BODY, b"null": BAD_BODY, b"{": BAD_BODY, b"\xff\xfe\x00": BAD_BODY, b'{"event_id":"\xff"}': BAD_BODY,
           b"\x00" * 1000: BAD_BODY, b'{"twin":7}': BAD_BODY, b'{"twin":{"temperature":7}}': BAD_BODY, b'{"twin":{"temperature":{"actual":{"value":21.5}}}}': BAD_BODY,
           b'{"twin":{"temperature":{"actual":[]}}}': BAD_BODY, b'{"event_id":7,"twin":{}}': BAD_BODY, b'{"twin":{},"twin":{}}': BAD_BODY, deep: BAD_BODY, deep + b"1" + b"}" * 100_001: BAD_BODY,
           b"{}": NO_TWIN, b'{"event_id":"e"}': NO_TWIN, b"7" * (10 * 1024 * 1024): BAD_BODY, b'{"twin":{"temperature":{"actual":{"value":"' + b"x" * (10 * 1024 * 1024) + b'"}}}}': BAD_BODY}
    for payload, reason in bad.items():
        for answer in ear.answers(topic, payload, *both):
            assert answer["code"] == 400 and answer["reason"] == reason, (payload[:80], answer)
    for name, value in (("", "1"), ("a b", "1"), ("x" * 129, "1"), ("k\u00fche", "1"), ("temperature", "x" * 4097)):
        for answer in ear.answers(topic, json.dumps({"event_id": "k", "twin": {name: {"actual": {"value": value}}}}).encode(), *both):
            assert answer["code"] == 400 and answer["reason"], (name, answer)
    ear.answers(topic, b'{"event_id":"t","twin":{"count":{"actual":{"value":"1"},"metadata":{"type":"int"}}}}', both[0])
    for kind, reason in (("int", "the value is not int or integer"), ("float", "the value is not float"), ("boolean", "the bool value must be true or false"), ("Updated", "the value type is not allowed")):
        payload = {"event_id": "v", "twin": {f"of-{kind}": {"actual": {"value": "neither"}, "metadata": {"type": kind}}}}
        answer, = ear.answers(topic, json.dumps(payload).encode(), both[0])
        assert answer["code"] == 400 and answer["reason"] == reason and answer["event_id"] == "v", answer
    answer, = ear.answers(topic, b'{"event_id":"w","twin":{"count":{"actual":{"value":"one"}}}}', both[0])
    assert answer["code"] == 400 and answer["reason"] == "the value is not int or integer", answer
    return len(bad)


def topics(ear):
    good = b'{"event_id":"n","twin":{"temperature":{"actual":{"value":"1"}}}}'
    for device in ("default/nosuch", "../thermo-1", "default/..", "./.", "x y/z", "d\u00e9faut/\U0001f600", "a" * 300 + "/b", "default/thermo-1%00", "DEFAULT/thermo-1", "'; DROP TABLE device;--/x"):
        topic = DEVICE + device + "/twin/"
        answer, = ear.answers(topic + "update", good, topic + "update/result")
        assert answer["code"] == 404 and answer["reason"] == NOT_EXISTED and answer["event_id"] == "n", (device, answer)
        answer, = ear.answers(topic + "get", b'{"event_id":"g"}', topic + "get/result")
        assert answer["code"] == 404 and answer["reason"] == f"Device {device} not found while getting twin", (device, answer)
    start = len(ear.heard)
    silent = [DEVICE + tail for tail in ("/thermo-1/twin/update", "default//twin/update", "//twin/update", "thermo-1/twin/update", "default/thermo-1/twin/", "default/thermo-1/twin/foo",
                                         "default/thermo-1/twin/update/more", "a/b/c/twin/update", "default/thermo-1/state", "twin/update")]
    silent += ["$hw/events/device", "$hw/events/node//membership/get", "$hw/events/node/edge2/membership/get", "$hw/events/upload/", "SYS/dis/upload_records", "x/user/y"]
    for topic in silent:
        ear.publish(topic, good)
    for payload in (b"", b"x", b"[]", b'{"state":7}', b'{"state":"busy"}', b"\xff", b"y" * (10 * 1024 * 1024)):
        ear.publish(DEVICE + "default/thermo-1/state/update", payload)
    for payload in (b"", b"x", b"[]", b"\xff\xff", b"z" * (10 * 1024 * 1024)):
        answer, = ear.answers("$hw/events/node/edge1/membership/get", payload, "$hw/events/node/edge1/membership/get/result")
        assert answer["code"] == 400, (payload[:10], answer)
        answer, = ear.answers(DEVICE + "default/thermo-1/twin/get", payload, DEVICE + "default/thermo-1/twin/get/result")
        assert answer["code"] == 400, (payload[:10], answer)
    unasked = [topic for topic, _ in ear.heard[start:] if topic.endswith("/result") and "thermo-1/twin/get" not in topic and "edge1/membership" not in topic and "thermo-2" not in topic]
    assert not unasked, unasked
    # mosquitto itself ends a client that publishes on a filter; nothing of it reaches us.
    for topic in ("$hw/events/device/+/thermo-1/twin/update", "$hw/events/device/#"):
        done = subprocess.run(["mosquitto_pub", "-p", str(ear.lab.mqtt), "-t", topic, "-m", "{}"], capture_output=True)
        assert done.returncode != 0
    return len(silent)


def without_model(lab):
    """C37: such a device is skipped, with an event on it; cloudcore stays up, also when it starts with them there."""
    base = {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device"}
    specs = {"no-ref": {"nodeName": "edge1", "protocol": {"protocolName": "x"}}, "empty-ref": {"nodeName": "edge1", "deviceModelRef": {}, "protocol": {"protocolName": "x"}},
             "null-protocol": {"nodeName": "edge1", "protocol": None}, "no-model": {"nodeName": "edge1", "deviceModelRef": {"name": "nosuch"}}, "no-spec": None}
    lab.apply(*({**base, "metadata": {"name": name}, **({"spec": spec} if spec else {})} for name, spec in specs.items()))
    for name, reason in (("no-ref", "NoDeviceModel"), ("empty-ref", "NoDeviceModel"), ("null-protocol", "NoDeviceModel"), ("no-model", "DeviceModelNotFound")):
        until(10, f"an event {reason} on {name}", lambda name=name, reason=reason: reason in lab.kubectl("get", "events", "-o", "jsonpath={range .items[?(@.involvedObject.name=='" + name + "')]}{.reason} {end}").stdout)
    lab.kill("cloudcore", 15)
    lab.cloud_up()
    lab.node_ready()
    assert lab.twin("no-ref")["code"] == 404


with Lab() as lab:
    lab.broker_up()
    lab.cloud_up()
    lab.edge_up()
    lab.node_ready()
    lab.device("thermo-1")
    lab.device("thermo-2")
    for name in ("thermo-1", "thermo-2"):
        until(20, f"{name} is known at the edge", lambda name=name: "code" not in (lab.twin(name) or {"code": 404}))
    process, before = lab.processes["edgecore"], rss_mb(lab.processes["edgecore"])
    neighbour = Neighbour(lab, "thermo-2")
    with Ear(lab, "$hw/#") as ear:
        count = payloads(ear) + topics(ear)
        without_model(lab)
    neighbour.stop()
    assert process.poll() is None
    after = rss_mb(process)
    print(f"{count} payloads and topics; meanwhile {neighbour.count} reports of another device answered, the slowest in {neighbour.slowest:.2f} s; edgecore {before:.1f} MB -> {after:.1f} MB")
    assert after < before + MOST_GROWTH_MB and neighbour.count > 50
    until(20, "the neighbour's last report is in the cloud", lambda: lab.reported("thermo-2") == str(neighbour.count - 1))
