#!/usr/bin/env python3
"""Kills either side with -9 under load; a ledger outside the daemons holds every acknowledgement that was received.

Acknowledged: a twin update whose result came; a ConfigMap whose `kubectl create` succeeded. After each kill nothing of
that may be gone. Prints rounds, operations in flight at the kills, and the seed (KUBEEDGE_SEED repeats a run).
"""
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402
from load import TwinLoad, WriteLoad, stored_value  # noqa: E402

ROUNDS = int(os.environ.get("KUBEEDGE_KILLS", "1000" if os.environ.get("KUBEEDGE_TIER") == "full" else "20"))
SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))


def main():
    dice = random.Random(SEED)
    in_flight = kills_in_flight = 0
    with Lab() as lab:
        lab.device_up()
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
