#!/usr/bin/env python3
"""An app on <kubeedge/device.h> under kill -9 of edgecore, of the broker and of itself; its printed lines are the ledger.

Acknowledged (a report whose answer came) means stored: after each kill the twin, asked over plain MQTT, is not below it. The
documents, heard by mosquitto_sub, never go back. What is wished for while the app is away arrives. KUBEEDGE_SEED repeats a run.
"""
import json
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from installed import install  # noqa: E402
from lab import ROOT, Lab, until  # noqa: E402
from mqtt import Ear  # noqa: E402

ROUNDS = int(os.environ.get("KUBEEDGE_KILLS", "100" if os.environ.get("KUBEEDGE_TIER") == "full" else "9"))
SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
TOPIC = "$hw/events/device/default/thermo-1/twin/"


class App:
    def __init__(self, lab, tree):
        self.lab, self.tree, self.runs, self.first = lab, tree, 0, 0
        self.binary = tree.build(ROOT / "tests/integration/device_ledger.cpp", lab.dir / "device_ledger", "kubeedge-device")

    def start(self):
        self.runs += 1
        self.lab.run(self.name, self.binary, f"tcp://127.0.0.1:{self.lab.mqtt}", self.first, env=self.tree.run_env)

    @property
    def name(self):
        return f"app{self.runs}"

    def said(self, word):
        # A line that was cut by kill -9 has no end yet.
        return [line.split(" ")[1] for line in self.lab.log(self.name).split("\n")[:-1] if line.startswith(word + " ")]

    def acknowledged(self) -> int:
        return max((int(value) for value in self.said("durable")), default=-1)

    def hold(self, how):
        self.lab.processes[self.name].send_signal(how)

    def kill(self, how=signal.SIGKILL):
        self.lab.kill(self.name, how)


def stored(lab) -> int:
    answer = until(15, "the twin answers", lambda: lab.twin())
    return int(answer["twin"].get("count", {}).get("actual", {"value": "-1"})["value"])


def wish(lab, celsius):
    lab.kubectl("patch", "device", "thermo-1", "--type=json", "-p",
                json.dumps([{"op": "add", "path": "/spec/properties/1/desired", "value": {"value": str(celsius)}}]))


def one_round(lab, app, victim, dice):
    before = app.acknowledged()
    until(15, "the app's reports are acknowledged", lambda: app.acknowledged() > before)
    time.sleep(dice.uniform(0.05, 0.6))   # the moment of the kill
    if victim == "app":
        app.kill()
        acknowledged = app.acknowledged()
        assert stored(lab) >= acknowledged, f"{acknowledged} was acknowledged, the twin says {stored(lab)}"
        app.first = stored(lab) + 1
        wish(lab, dice.randint(1, 1000) * 10)   # unlike those that follow
        wanted = dice.randint(1, 1000)
        wish(lab, wanted)
        app.start()
        until(15, f"the wish {wanted} of the time that the app was away", lambda: str(wanted) in app.said("target"))
        until(15, f"{wanted} is in DeviceStatus", lambda: lab.reported(prop="target") == str(wanted))
        return
    lab.kill(victim)
    app.hold(signal.SIGSTOP)   # what it would send again must not hide what was lost
    acknowledged = app.acknowledged()
    lab.edge_up() if victim == "edgecore" else lab.broker_up()
    value = stored(lab)
    app.hold(signal.SIGCONT)
    assert value >= acknowledged, f"{victim} killed: {acknowledged} was acknowledged, the twin says {value}"


def main():
    dice = random.Random(SEED)
    with Lab() as lab:
        app = App(lab, install(lab.dir / "tree"))
        app.start()   # before broker, edge and cloud: it waits for them
        lab.broker_up()
        lab.cloud_up()
        lab.edge_up()
        lab.node_ready()
        lab.device(properties=("count", "target"))   # the app reports a device that is not known yet
        until(20, "the first report", lambda: app.acknowledged() >= 0)
        until(10, "the state", lambda: app.said("state") == ["stored"])
        victims = ["edgecore", "mosquitto", "app"] * (ROUNDS // 3 + 1)
        with Ear(lab, TOPIC + "update/document") as ear:
            for victim in victims[:ROUNDS]:
                one_round(lab, app, victim, dice)
            app.kill(signal.SIGTERM)   # waits for the last value's answer
            last = app.said("last")[0]
            assert str(app.acknowledged()) == last and stored(lab) == int(last), f"the last value {last}: acknowledged {app.acknowledged()}, stored {stored(lab)}"
            until(30, f"DeviceStatus ends at {last}", lambda: lab.reported(prop="count") == last)
            documents = [json.loads(payload)["twin"] for _, payload in ear.heard]
        counts = [int(twin["count"]["current"]["actual"]["value"]) for twin in documents if "count" in twin]
        back = [(a, b) for a, b in zip(counts, counts[1:]) if b < a]
        assert counts and not back, f"{len(counts)} documents; these go back: {back[:5]}"
        state = json.loads(lab.kubectl("get", "devicestatus", "thermo-1", "-o", "json").stdout)["status"].get("state")
        assert state == "online", f"state in DeviceStatus: {state}"
    print(f"seed {SEED}: {ROUNDS} kills, {last} values counted, {len(counts)} documents in order, 0 acknowledged lost")


main()
