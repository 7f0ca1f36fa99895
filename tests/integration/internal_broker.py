#!/usr/bin/env python3
"""mqttMode 0: a mosquitto that edgecore starts and watches itself. Apps (mosquitto_pub, mosquitto_sub) log in, stay connected over a kill -9
of edgecore, find the broker again after its own kill -9; a taken port is named; the health page says which broker is in use.

C56, C57 of the cases.
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import ROOT, Lab, free_port, until  # noqa: E402
from prom import Page  # noqa: E402
from services import certificates  # noqa: E402

TWIN = "$hw/events/device/default/nobody/twin/get"


def limited():
    """Runs edgecore with what its systemd unit leaves to root."""
    unit = (ROOT / "deploy/edgecore.service.in").read_text()
    names = next(line for line in unit.splitlines() if line.startswith("CapabilityBoundingSet=")).split("=")[1].split()
    return ["setpriv", "--no-new-privs", "--bounding-set=-all," + ",".join("+" + name.removeprefix("CAP_").lower() for name in names)] if os.geteuid() == 0 else []


class World:
    def __init__(self, lab):
        self.lab, self.port, self.page = lab, free_port(), Page(lab.edge_monitor)
        self.tls = []

    def config(self, word="of-edge", port=None, scheme="tcp", host="127.0.0.1", mode=0, more=""):
        self.word, self.port = word, port or self.port
        (self.lab.dir / "edgecore.yaml").write_text(
            f"apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\nmodules:\n  eventBus:\n    enable: true\n    mqttMode: {mode}\n"
            f"    mqttServerInternal: {scheme}://{host}:{self.port}\n" + (f"    mqttUsername: edge\n    mqttPassword: {word}\n" if word else "") + more)

    def command(self):
        command = self.lab.edge_command()
        del command[command.index("--mqtt"):command.index("--mqtt") + 2]
        return [*command, "--config", str(self.lab.dir / "edgecore.yaml")]

    def up(self, **config):
        self.config(**config)
        self.lab.run("edgecore", *limited(), *self.command())

    def refused(self, **config):
        """What edgecore says and ends with."""
        self.config(**config)
        done = subprocess.run(self.command(), capture_output=True, text=True, timeout=10)
        assert done.returncode == 1, done
        return done.stderr

    def app(self, program, *arguments, word=None):
        return [program, "-h", "127.0.0.1", "-p", str(self.port), "-u", "edge", "-P", word or self.word, *self.tls, *map(str, arguments)]

    def publish(self, topic, text, *more, word=None):
        return subprocess.run(self.app("mosquitto_pub", "-q", 1, "-t", topic, "-m", text, *more, word=word), capture_output=True).returncode == 0

    def twin_answers(self):
        ear = subprocess.Popen(self.app("mosquitto_sub", "-W", 2, "-C", 1, "-t", TWIN + "/result"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        time.sleep(0.2)
        self.publish(TWIN, "{}")
        return ear.communicate()[0].strip()

    def served(self):
        until(15, "DeviceTwin answers at the internal broker", self.twin_answers)

    def broker(self):
        """The broker's process number, by its command line."""
        mine = f"{self.lab.dir}/edge/broker/mosquitto.conf"
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mine in (folder / "cmdline").read_text().split("\0"):
                    return int(folder.name)
            except OSError:
                pass
        return None

    def ready(self):
        return self.page.get("/readyz")[2]


def refusals(world):
    """C56, C57: what cannot be served ends edgecore with its reason; so does a broker for everybody without a password."""
    assert "mqttMode 1: two brokers at once" in world.refused(mode=1)
    assert "set mqttUsername and mqttPassword" in world.refused(host="0.0.0.0", word="")
    assert world.broker() is None
    print("mode 1 and an open door to everybody are refused")


def first_start(world):
    lab = world.lab
    world.up()
    lab.node_ready()
    world.served()
    assert f"internal broker tcp://127.0.0.1:{world.port}" in lab.log("edgecore")
    until(5, "the health page names the broker", lambda: f"[+]broker ok (internal tcp://127.0.0.1:{world.port}, connected)" in world.ready())
    assert not world.publish("x", "x", word="another"), "a wrong password was taken"
    assert subprocess.run(["mosquitto_pub", "-p", str(world.port), "-t", "x", "-m", "x"], capture_output=True).returncode != 0, "nobody was taken"
    folder = lab.dir / "edge/broker"
    assert folder.stat().st_mode & 0o777 == 0o700 and "of-edge" not in (folder / "passwords").read_text()
    if os.geteuid() == 0:
        assert os.stat(f"/proc/{world.broker()}").st_uid != 0, "the broker runs as root"
    # A folder that mosquitto's user cannot reach is named.
    (lab.dir / "edge").chmod(0o700)
    os.kill(world.broker(), signal.SIGKILL)
    if os.geteuid() == 0:
        until(5, "the folder is named", lambda: f"chmod o+x {lab.dir}/edge" in lab.log("edgecore"))
    (lab.dir / "edge").chmod(0o711)
    world.served()
    print("started with the unit's capabilities, by password only, named on the health page")


def edge_killed(world):
    """Apps stay connected, and what they upload meanwhile is stored when edgecore is back."""
    lab, before = world.lab, world.broker()
    ear = subprocess.Popen(world.app("mosquitto_sub", "-t", "app/#", "-C", 1, "-W", 30), stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    lab.kill("edgecore")
    time.sleep(0.5)
    assert world.broker() == before
    for number in range(20):
        assert world.publish("default/user/x", number)
    world.up()
    world.served()
    assert world.broker() == before and "taken over, it ran on" in lab.log("edgecore")
    until(10, "the uploads are stored", lambda: world.page.value("kubeedge_eventbus_uploads_total") == 20)
    world.publish("app/1", "still here")
    assert ear.communicate(timeout=10)[0].strip() == "still here"
    # Another password: the broker that ran on knows it.
    lab.kill("edgecore")
    world.up(word="of-another")
    world.served()
    assert world.broker() == before and not world.publish("x", "x", word="of-edge")
    # Another port: it is replaced.
    lab.kill("edgecore")
    world.up(word="of-another", port=free_port())
    world.served()
    assert world.broker() not in (None, before)
    print("edgecore killed: the broker and an app's connection went on, 20 uploads kept; new password and port taken")


def broker_killed(world):
    before = world.broker()
    os.kill(before, signal.SIGKILL)
    world.served()
    assert world.broker() not in (None, before) and "killed by signal 9" in world.lab.log("edgecore")
    assert world.page.value("kubeedge_eventbus_broker_starts_total") == 2, world.page.value("kubeedge_eventbus_broker_starts_total")
    print("the broker killed: started again")


def orderly_stop(world):
    """edgecore's orderly end is the broker's, which keeps what it was told to keep."""
    assert world.publish("app/kept", "retained", "-r")
    world.lab.kill("edgecore", signal.SIGTERM)
    assert world.broker() is None
    with socket.socket() as other:   # somebody else has the port
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", world.port))
        other.listen()
        world.up(word="of-another")
        until(10, "the taken port is named", lambda: "Address already in use" in world.lab.log("edgecore"))
        assert "[-]broker failed: mosquitto exited with 1" in world.ready(), world.ready()
    world.served()
    kept = subprocess.run(world.app("mosquitto_sub", "-t", "app/kept", "-C", 1, "-W", 5), capture_output=True, text=True).stdout.strip()
    assert kept == "retained", kept
    world.lab.kill("edgecore", signal.SIGTERM)
    print("orderly end: the broker's too; a taken port is named, and served once it is free; retained messages are kept")


def tls(world):
    lab = world.lab
    pair = certificates(lab.dir / "tls")["good"]
    ca = lab.dir / "tls/ca.crt"
    world.up(scheme="ssl", more=f"    eventBusTLS:\n      enable: true\n      tlsMqttCAFile: {ca}\n      tlsMqttCertFile: {pair[0]}\n      tlsMqttPrivateKeyFile: {pair[1]}\n")
    world.tls = ["--cafile", str(ca), "--cert", str(pair[0]), "--key", str(pair[1])]
    world.served()
    assert not world.publish("x", "x", word="another")
    world.tls = world.tls[:2]
    assert not world.publish("x", "x"), "taken without a certificate"
    lab.kill("edgecore", signal.SIGTERM)
    assert world.broker() is None
    print("TLS: with a certificate and the password")


with Lab() as lab:
    world = World(lab)
    try:
        lab.cloud_up()
        refusals(world)
        first_start(world)
        edge_killed(world)
        broker_killed(world)
        orderly_stop(world)
        tls(world)
    finally:
        if left := world.broker():
            os.kill(left, signal.SIGTERM)
