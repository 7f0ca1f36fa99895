#!/usr/bin/env python3
"""Kills either side with -9 under load; a ledger outside the daemons holds every acknowledgement that was received.

Acknowledged: a twin update whose result came; a ConfigMap whose `kubectl create` succeeded. After each kill nothing of
that may be gone. Prints rounds, operations in flight at the kills, and the seed (KUBEEDGE_SEED repeats a run).
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402

ROUNDS = int(os.environ.get("KUBEEDGE_KILLS", "20"))
SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
UPDATE = "$hw/events/device/default/thermo-1/twin/update"


class TwinLoad:
    """Counts up in `temperature`; knows what was sent and the highest value whose result came."""

    def __init__(self, lab):
        self.sent = self.acknowledged = 0
        self.stopping = False
        self.publisher = subprocess.Popen(["mosquitto_pub", "-p", str(lab.mqtt), "-q", "1", "-l", "-t", UPDATE], stdin=subprocess.PIPE, text=True)
        self.listener = subprocess.Popen(["mosquitto_sub", "-p", str(lab.mqtt), "-q", "1", "-t", UPDATE + "/result"], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        self.threads = [threading.Thread(target=self.send, daemon=True), threading.Thread(target=self.listen, daemon=True)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while not self.stopping:
            self.sent += 1
            value = str(self.sent)
            self.publisher.stdin.write(json.dumps({"event_id": value, "twin": {"temperature": {"actual": {"value": value}}}}) + "\n")
            self.publisher.stdin.flush()
            time.sleep(0.004)

    def listen(self):
        for line in self.listener.stdout:
            result = json.loads(line)
            if "code" not in result and result.get("event_id", "").isdigit():
                self.acknowledged = max(self.acknowledged, int(result["event_id"]))

    def stop(self):
        self.stopping = True
        self.threads[0].join()
        self.publisher.stdin.close()
        self.publisher.wait()
        time.sleep(1)
        self.listener.terminate()
        self.threads[1].join()


class WriteLoad:
    """Creates ConfigMaps one after the other; knows which were acknowledged."""

    def __init__(self, lab):
        self.lab, self.acknowledged, self.tried, self.busy, self.stopping = lab, [], 0, False, False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.stopping:
            self.tried += 1
            name = f"ledger-{self.tried}"
            self.busy = True
            if self.lab.kubectl("create", "configmap", name, f"--from-literal=n={self.tried}", check=False).returncode == 0:
                self.acknowledged.append(name)
            self.busy = False

    def stop(self):
        self.stopping = True
        self.thread.join()


def stored_value(lab) -> int:
    twin = until(20, "the twin answers", lambda: (lab.twin() or {}).get("twin"))
    return int(twin["temperature"]["actual"]["value"])


def main():
    dice = random.Random(SEED)
    in_flight = kills_in_flight = 0
    with Lab() as lab:
        lab.broker_up()
        lab.cloud_up()
        lab.edge_up()
        lab.node_ready()
        lab.device()
        until(20, "the device is known at the edge", lambda: "code" not in (lab.twin() or {"code": 404}))
        for number in range(ROUNDS):
            twins, writes = TwinLoad(lab), WriteLoad(lab)
            time.sleep(dice.uniform(0.3, 1.2))
            victim = dice.choice(["edgecore", "cloudcore"])
            flying = (twins.sent - twins.acknowledged) + int(writes.busy)
            lab.kill(victim)
            in_flight += flying
            kills_in_flight += flying > 0
            lab.edge_up() if victim == "edgecore" else lab.cloud_up()
            writes.stop()
            twins.stop()
            value = stored_value(lab)
            assert value >= twins.acknowledged, f"round {number}: {twins.acknowledged} was acknowledged, the store says {value}"
            there = set(lab.kubectl("get", "configmap", "-o", "jsonpath={.items[*].metadata.name}").stdout.split())
            lost = [name for name in writes.acknowledged if name not in there]
            assert not lost, f"round {number}: acknowledged by the API and lost: {lost}"
            lab.kubectl("delete", "configmap", *[name for name in there if name.startswith("ledger-")])
            # The next round counts from 1 again: a report below the last one must win too.
        value = str(stored_value(lab))
        until(30, f"DeviceStatus ends at {value}", lambda: lab.reported() == value)
    print(f"seed {SEED}: {ROUNDS} kills, {in_flight} operations in flight ({kills_in_flight} kills hit some), 0 acknowledged lost")
    assert in_flight > 0


main()
