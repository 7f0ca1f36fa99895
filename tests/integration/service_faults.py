#!/usr/bin/env python3
"""The services under the edge fail and come back: mosquitto (orderly, -9, frozen, talking nonsense) and the disk of the store.

edgecore stays up, subscribes again within seconds, publishes the standing deltas again without an app having to ask (C54, C55),
and nothing that it acknowledged is lost; on a full disk it says so, answers 500, and goes on when there is room (C92).
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402
from load import UPDATE, TwinLoad, stored_value  # noqa: E402
from mqtt import Ear  # noqa: E402

SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
BROKER_ROUNDS = 5
DELTA = UPDATE + "/delta"
dice = random.Random(SEED)


def desire(lab, value: str):
    patch = {"spec": {"properties": [{"name": "temperature", "desired": {"value": value}}]}}
    lab.kubectl("patch", "device", "thermo-1", "--type=merge", "-p", json.dumps(patch))


def is_delta(value: str):
    return lambda topic, payload: topic == DELTA and json.loads(payload)["delta"].get("temperature") == value


def broker(lab):
    """C54, C55: restarts under load."""
    process = lab.processes["edgecore"]
    slowest = 0.0
    for number in range(BROKER_ROUNDS):
        load = TwinLoad(lab)
        time.sleep(dice.uniform(0.2, 0.8))
        lab.kill("mosquitto", signal.SIGKILL if number % 2 else signal.SIGTERM)
        time.sleep(dice.choice((0, 0.3, 3)))      # also past the first retries
        lab.broker_up()
        started = time.monotonic()
        get = UPDATE.replace("update", "get")
        until(10, "edgecore answers after the broker's return", lambda: lab.ask(get, {}, get + "/result", seconds=1))
        slowest = max(slowest, time.monotonic() - started)
        load.stop()
        stored = stored_value(lab)
        assert load.acknowledged > 0 and stored >= load.acknowledged, f"round {number}: {load.acknowledged} was acknowledged, the store says {stored}"
        assert process.poll() is None
    print(f"{BROKER_ROUNDS} broker restarts: 0 acknowledged lost, back within {slowest:.1f} s")

    with Ear(lab, DELTA) as app:
        desire(lab, "way up")
        app.wait(10, "the delta", is_delta("way up"))
    for how in (signal.SIGTERM, signal.SIGKILL):
        lab.kill("mosquitto", how)
        lab.broker_up()
        with Ear(lab, DELTA) as app:
            app.wait(15, "the standing delta again", is_delta("way up"))
    lab.kill("mosquitto")
    desire(lab, "down")       # while there is no broker
    lab.broker_up()
    with Ear(lab, DELTA) as app:
        app.wait(15, "what was desired while there was no broker", is_delta("down"))
        before = len(app.heard)
        lab.kill("edgecore")
        lab.run("edgecore", *lab.edge_command())
        until(15, "the standing delta after a restart of edgecore", lambda: any(is_delta("down")(*message) for message in app.heard[before:]))
    print("standing deltas reach an app that only listens")


def frozen_broker(lab):
    """The broker takes nothing for a while: edgecore neither waits for it nor forgets."""
    process, mosquitto = lab.processes["edgecore"], lab.processes["mosquitto"]
    with Ear(lab, DELTA) as app:
        desire(lab, "before")
        app.wait(10, "the delta", is_delta("before"))
        mosquitto.send_signal(signal.SIGSTOP)
        try:
            desire(lab, "during")
            time.sleep(3)
            lab.kubectl("wait", "--for=condition=Ready", "node/edge1", "--timeout=5s")
        finally:
            mosquitto.send_signal(signal.SIGCONT)
        app.wait(10, "what was published while the broker was frozen", is_delta("during"))
    assert process.poll() is None


def mad_broker(lab):
    """On the broker's port something else: silence, random bytes, refusals, absurd lengths."""
    process = lab.processes["edgecore"]
    lab.kill("mosquitto")
    answers = [b"", dice.randbytes(2000), b"\x20\x02\x00\x05", b"\x20\x02\x00\x02", b"\x20\x02\x00\x00" + dice.randbytes(500), b"\x20\x02\x00\x00\x90\xff\xff\xff\x7f", b"\x20\xff\xff\xff\xff\xff",
               b"\x20\x02\x00\x00\x90\x08\x00\x01\x80\x80\x80\x80\x80\x80", b"\x20\x02\x00\x00\x32\x05\xff\xffabc", b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    count = 0
    with socket.create_server(("127.0.0.1", lab.mqtt), reuse_port=False) as listener:
        listener.settimeout(15)
        for answer in answers:
            with contextlib.suppress(ConnectionError):
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(5)
                    peer.recv(1000)
                    peer.sendall(answer)
                    count += 1
                    peer.settimeout(0.3)
                    with contextlib.suppress(TimeoutError):
                        peer.recv(1000)
    assert process.poll() is None, f"edgecore ended with {process.poll()}"
    lab.broker_up()
    until(15, "edgecore answers after the mad broker", lambda: "code" not in (lab.twin() or {"code": 404}))
    print(f"{count} mad answers of a broker outlived")


@contextlib.contextmanager
def small_disk(path: pathlib.Path, size: str):
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "ke-full", str(path)], capture_output=True, text=True)
    if done.returncode:
        print(f"not tested: full disk: {done.stderr.strip()}")
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: pathlib.Path):
    """To the last byte."""
    with open(path / "filler", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass


def full_disk(lab):
    lab.kill("edgecore", signal.SIGTERM)
    disk = lab.dir / "disk"
    with small_disk(disk, "4m") as there:
        if not there:
            return
        fill(disk)
        done = subprocess.run(lab.edge_command(data="disk"), capture_output=True, text=True, timeout=30)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("edgecore: ")]
        assert done.returncode == 1 and len(lines) == 1 and str(disk) in lines[0] and ("full" in lines[0] or "No space" in lines[0]), (done.returncode, lines)
        print("refused:", lines[0])
        (disk / "filler").unlink()

        process = lab.run("edgecore", *lab.edge_command(data="disk"))
        until(30, "the device is known at the edge again", lambda: "code" not in (lab.twin() or {"code": 404}))
        ear = Ear(lab, UPDATE + "/result")
        publisher = subprocess.Popen(["mosquitto_pub", "-p", str(lab.mqtt), "-q", "1", "-l", "-t", UPDATE], stdin=subprocess.PIPE, text=True)
        number = 0

        def report():
            nonlocal number
            number += 1
            publisher.stdin.write(json.dumps({"event_id": str(number), "twin": {"temperature": {"actual": {"value": f"{number} {'x' * 3000}"}}}}) + "\n")
            publisher.stdin.flush()
            time.sleep(0.002)

        def answers():
            return [json.loads(payload) for _, payload in list(ear.heard)]

        for _ in range(20):
            report()
        until(10, "reports are stored", lambda: len(ear.heard) == number)
        assert all("code" not in answer for answer in answers())
        fill(disk)
        deadline = time.monotonic() + 30
        while not any(answer.get("code") == 500 for answer in answers()):     # the write-ahead log may have room left for a while
            assert time.monotonic() < deadline, "the disk is full and every report is still acknowledged"
            report()
        for _ in range(100):
            report()
        until(10, "every report is answered", lambda: len(ear.heard) == number)
        answered = answers()
        codes = {answer.get("code", 200) for answer in answered}
        assert codes <= {200, 500} and process.poll() is None, codes
        acknowledged = max(int(answer["event_id"]) for answer in answered if "code" not in answer)
        refusals = sum(answer.get("code") == 500 for answer in answered)
        log = lab.log("edgecore")
        assert "disk is full" in log and str(disk) in log, log[-2000:]
        value = stored(lab)
        assert value == acknowledged, f"{acknowledged} was acknowledged, the twin says {value}"
        # What the cloud sends meanwhile is not acknowledged and comes again.
        lab.device("thermo-9")
        time.sleep(1)
        (disk / "filler").unlink()
        until(20, "a device of that time is known", lambda: "code" not in (lab.twin("thermo-9") or {"code": 404}))
        report()
        until(10, "reports are taken again, without a restart", lambda: len(ear.heard) == number)
        assert "code" not in answers()[-1], answers()[-1]
        lab.kill("edgecore")
        lab.run("edgecore", *lab.edge_command(data="disk"))
        until(20, "the twin is there after kill -9", lambda: (lab.twin() or {}).get("twin"))
        assert stored(lab) == number
        ear.__exit__()
        publisher.terminate()
        publisher.wait()
        lab.kill("edgecore", signal.SIGTERM)
        print(f"full disk: {number} reports, {refusals} answered with 500, 0 acknowledged lost")


def stored(lab) -> int:
    return int(lab.twin()["twin"]["temperature"]["actual"]["value"].split()[0])


with Lab() as lab:
    lab.device_up()
    for part in (broker, frozen_broker, mad_broker, full_disk):
        if sys.argv[1:] and part.__name__ not in sys.argv[1:]:
            continue
        began = time.monotonic()
        part(lab)
        print(f"  {part.__name__}: {time.monotonic() - began:.1f} s")
    print(f"seed {SEED}")
