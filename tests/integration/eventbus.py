#!/usr/bin/env python3
"""EventBus and a real mosquitto: login, TLS with client certificates, resubscription, the session that the broker keeps, QoS 0-2, retained
messages, limits; and uploads under an outside ledger: what mosquitto_pub got a PUBACK for reaches the rule's REST target, each topic in
its order, whatever of edgecore, cloudcore, the target and (orderly) the broker ends meanwhile.

C04, C57, C58, C60 of the cases.
"""
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, free_port, until  # noqa: E402
from prom import Page  # noqa: E402
from services import Server, certificates, endpoint, rule  # noqa: E402

FAULTS = int(os.environ.get("KUBEEDGE_KILLS", "100" if os.environ.get("KUBEEDGE_TIER") == "full" else "6"))
SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
dice = random.Random(SEED)
MIB = 1024 * 1024
TWIN = "$hw/events/device/default/nobody/twin/get"


class Broker:
    """mosquitto with two doors: apps log in with a password on 1883's stand-in, edgecore over TLS with a certificate and a password."""

    def __init__(self, lab, pairs):
        self.lab, self.pairs, self.tls_port = lab, pairs, free_port()
        passwords = lab.dir / "passwords"
        passwords.touch()
        for user, word in (("app", "of-app"), ("edge", "of-edge")):
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, word], check=True, capture_output=True)
        ca, (certificate, key) = pairs["good"][0].parent / "ca.crt", pairs["good"]
        (lab.dir / "mosquitto.conf").write_text(
            f"per_listener_settings false\nuser root\npersistence true\npersistence_location {lab.dir}/\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type all\n"
            f"allow_anonymous false\npassword_file {passwords}\nlistener {lab.mqtt} 127.0.0.1\n"
            f"listener {self.tls_port} 127.0.0.1\ncafile {ca}\ncertfile {certificate}\nkeyfile {key}\nrequire_certificate true\n")

    def up(self):
        self.lab.run("mosquitto", "mosquitto", "-c", self.lab.dir / "mosquitto.conf")
        until(10, "mosquitto answers", lambda: self.publish("probe", "x") == 0)

    def log(self):
        return self.lab.log("mosquitto")

    def command(self, program, *arguments, user="app", word="of-app"):
        return [program, "-p", str(self.lab.mqtt), "-u", user, "-P", word, *map(str, arguments)]

    def publish(self, topic, text, *more, qos=1):
        done = subprocess.run(self.command("mosquitto_pub", "-q", qos, "-t", topic, *more, *(("-s",) if isinstance(text, bytes) else ("-m", text))),
                              input=text if isinstance(text, bytes) else None, capture_output=True)
        return done.returncode

    def ask(self, topic, *more):
        """Whether DeviceTwin answers, which needs its subscriptions."""
        ear = subprocess.Popen(self.command("mosquitto_sub", "-W", 2, "-C", 1, "-t", topic + "/result", *more), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(0.2)
        self.publish(topic, "{}", *more)
        return ear.communicate()[0].strip()


class World:
    def __init__(self, lab):
        self.lab = lab
        self.pairs = certificates(lab.dir / "tls")
        self.broker = Broker(lab, self.pairs)
        self.sink = Server()
        (lab.dir / "cloudcore.yaml").write_text("apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\nmodules:\n  router:\n    enable: true\n"
                                                f"    address: 127.0.0.1\n    port: {free_port()}\n")

    def cloud_up(self):
        self.lab.cloud_up("--config", self.lab.dir / "cloudcore.yaml")

    def edge_up(self, word="of-edge", pair="good"):
        tls = self.lab.dir / "tls"
        certificate, key = self.pairs[pair]
        (self.lab.dir / "edgecore.yaml").write_text(
            "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\nmodules:\n  eventBus:\n    enable: true\n"
            f"    mqttServerExternal: ssl://127.0.0.1:{self.broker.tls_port}\n    mqttUsername: edge\n    mqttPassword: {word}\n"
            f"    eventBusTLS:\n      enable: true\n      tlsMqttCAFile: {tls}/ca.crt\n      tlsMqttCertFile: {certificate}\n      tlsMqttPrivateKeyFile: {key}\n")
        command = self.lab.edge_command()
        del command[command.index("--mqtt"):command.index("--mqtt") + 2]
        self.lab.run("edgecore", *command, "--config", self.lab.dir / "edgecore.yaml")

    def rows(self):
        with sqlite3.connect(f"file:{self.lab.dir}/edge/edgecore.db?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM ke_uploads").fetchone()[0]

    def metric(self, name, **labels):
        return Page(self.lab.edge_monitor).value(name, **labels)

    def got(self, path):
        return [body.decode() for _, at, _, body in self.sink.seen if at == path]

    def arrives(self, path, text, seconds=15):
        until(seconds, f"{text!r} at the target", lambda: text in self.got(path))


def login_and_tls(world):
    """C57: a wrong password and a certificate of nobody are refused and named; the right ones serve twins and uploads."""
    lab, broker = world.lab, world.broker
    world.edge_up(word="n0t-it")
    until(15, "edgecore names the refusal", lambda: "not authorized" in lab.log("edgecore").lower() or "bad user name or password" in lab.log("edgecore").lower())
    assert "n0t-it" not in lab.log("edgecore"), "the password is in the log"
    lab.kill("edgecore", signal.SIGTERM)
    world.edge_up(pair="self")
    until(15, "the broker refuses the certificate", lambda: "certificate verify failed" in broker.log())
    lab.kill("edgecore", signal.SIGTERM)
    world.edge_up()
    lab.node_ready()
    until(15, "DeviceTwin answers over TLS", lambda: broker.ask(TWIN))
    for client, clean in (("kubeedge-edge1", "c1"), ("kubeedge-edge1-uploads", "c0")):
        assert f"as {client} (p2, {clean}, k30, u'edge')" in broker.log(), client
    print("login and TLS: wrong ones are refused and named, right ones serve both clients")


def rules(world):
    target = f"http://127.0.0.1:{world.sink.port}"
    world.lab.apply(endpoint("bus", "eventbus"), endpoint("sink", "rest"),
                    rule("up", "bus", {"topic": "up", "node_name": "edge1"}, "sink", {"resource": target + "/up"}),
                    rule("many", "bus", {"topic": "many/+", "node_name": "edge1"}, "sink", {"resource": target + "/many"}),
                    rule("user", "bus", {"topic": "user/#", "node_name": "edge1"}, "sink", {"resource": target + "/user"}))

    def arrives():
        world.broker.publish("default/up", "first")
        return world.got("/up")
    until(15, "an upload at the rule's target", arrives)


def kinds_of_messages(world):
    """QoS 0, 1, 2, those of MQTT 5 and retained ones arrive, what is too long or no text is refused, and the connection stays."""
    broker, lab = world.broker, world.lab
    for qos in (0, 1, 2):
        assert broker.publish("default/up", f"qos {qos}", qos=qos) == 0
        world.arrives("/up", f"qos {qos}")
        assert world.got("/up").count(f"qos {qos}") == 1
    assert broker.publish("default/up", "of MQTT 5", "-V", "mqttv5") == 0
    world.arrives("/up", "of MQTT 5")
    assert broker.ask(TWIN, "-V", "mqttv5"), "DeviceTwin does not answer an app that speaks MQTT 5"
    lines = broker.log().count("New client connected")
    refused = world.metric("kubeedge_eventbus_refused_messages_total")
    assert broker.publish("default/up", b"x" * (MIB + 1)) == 0 and broker.publish("default/up", b"\xff\xfe") == 0
    until(10, "two are refused", lambda: world.metric("kubeedge_eventbus_refused_messages_total") == refused + 2)
    assert broker.publish("default/up", b"y" * MIB) == 0
    world.arrives("/up", "y" * MIB)
    ours = [line for line in broker.log().splitlines()[-400:] if "kubeedge-edge1" in line and "disconnected" in line]
    assert not ours and broker.log().count("New client connected") > lines
    # Retained: who subscribes later gets it. The session that the broker keeps gets what came while edgecore was away.
    assert broker.publish("default/user/kept", "retained", "-r") == 0
    world.arrives("/user", "retained")
    lab.kill("edgecore")
    for number in range(50):
        assert broker.publish("default/up", f"away {number}") == 0
    world.edge_up()
    world.arrives("/up", "away 49", seconds=20)
    assert [one for one in world.got("/up") if one.startswith("away")] == [f"away {number}" for number in range(50)]
    print("QoS 0, 1, 2, MQTT 5, retained, a megabyte; too long and no text refused; 50 kept by the broker's session")


class Ledger(threading.Thread):
    """Publishes numbers to `topic` one after the other and remembers those that the broker acknowledged."""

    def __init__(self, broker, topic):
        super().__init__(daemon=True)
        self.broker, self.topic, self.acknowledged, self.ended = broker, topic, [], threading.Event()
        self.start()

    def run(self):
        number = 0
        while not self.ended.is_set():
            if self.broker.publish(self.topic, f"{self.topic} {number}") == 0:
                self.acknowledged.append(number)
                number += 1
            time.sleep(0.02)

    def stop(self):
        self.ended.set()
        self.join()


def check(world, path, ledger):
    """Every acknowledged number arrived; the first arrival of each is in order. The number of those that came again."""
    mine = [int(body.rsplit(" ", 1)[1]) for body in world.got(path) if body.startswith(ledger.topic + " ")]
    first = list(dict.fromkeys(mine))
    missing = set(ledger.acknowledged) - set(mine)
    assert not missing, f"seed {SEED}: {ledger.topic}: {len(missing)} of {len(ledger.acknowledged)} lost: {sorted(missing)[:10]}"
    assert first == sorted(first), f"seed {SEED}: {ledger.topic}: not in order: {[b for a, b in zip(first, first[1:]) if b < a][:10]}"
    return len(mine) - len(first)


def c04_nothing_is_lost(world):
    """C04: kill -9 of edgecore and of cloudcore, an orderly restart of the broker, a target that is away or says 503."""
    lab, broker, sink = world.lab, world.broker, world.sink
    ledgers = [(path, Ledger(broker, topic)) for path, topic in (("/up", "default/up"), ("/many", "default/many/1"), ("/many", "default/many/2"))]

    def edge():
        lab.kill("edgecore")
        time.sleep(dice.uniform(0, 1))
        world.edge_up()

    def edge_while_the_cloud_is_away():
        lab.kill("cloudcore")
        time.sleep(2)
        lab.kill("edgecore")
        assert world.rows() > 0
        world.edge_up()
        time.sleep(1)
        world.cloud_up()

    def broker_again():
        lab.kill("mosquitto", signal.SIGTERM)
        time.sleep(dice.uniform(0, 1))
        broker.up()

    def target():
        sink.refuses["/up"] = 503
        time.sleep(6)
        others = len(world.got("/many"))
        until(10, "the other topics go on", lambda: len(world.got("/many")) > others)
        if dice.random() < 0.5:
            edge()
        del sink.refuses["/up"]

    def cloud():
        lab.kill("cloudcore")
        time.sleep(dice.uniform(0, 1))
        world.cloud_up()

    def both():
        lab.kill("cloudcore")
        edge()
        world.cloud_up()

    steps = [edge, edge_while_the_cloud_is_away, broker_again, target, edge, broker_again]
    dice.shuffle(steps)
    steps = [*steps, *dice.choices([edge, cloud, both, broker_again, target, edge_while_the_cloud_is_away], k=max(FAULTS, 6))][:FAULTS]
    for step in steps:
        time.sleep(dice.uniform(0.5, 1.5))
        step()
    for _, ledger in ledgers:
        ledger.stop()
    last = [(path, f"{ledger.topic} {ledger.acknowledged[-1]}") for path, ledger in ledgers]
    for path, text in last:
        world.arrives(path, text, seconds=45 + FAULTS)
    again = [check(world, path, ledger) for path, ledger in ledgers]
    until(20, "the queue is empty", lambda: world.rows() == 0)
    total = sum(len(ledger.acknowledged) for _, ledger in ledgers)
    print(f"seed {SEED}: {' '.join(step.__name__ for step in steps[:20])}: {total} acknowledged, 0 lost, in order, {sum(again)} came again")


def refused_for_good(world):
    """A target that says no is not asked again: the upload is dropped by name, the next one goes."""
    world.sink.refuses["/up"] = 403
    world.broker.publish("default/up", "forbidden")
    until(10, "cloudcore names the lost upload", lambda: "answered 403" in world.lab.log("cloudcore") and "object=default/up" in world.lab.log("cloudcore"))
    del world.sink.refuses["/up"]
    world.broker.publish("default/up", "after")
    world.arrives("/up", "after")
    assert "forbidden" not in world.got("/up")


def broker_dies(world):
    """kill -9 loses what the broker had not saved, its sessions too: both clients subscribe again."""
    world.lab.kill("mosquitto")
    (world.lab.dir / "mosquitto.db").unlink(missing_ok=True)
    world.broker.up()
    until(10, "DeviceTwin answers again", lambda: world.broker.ask(TWIN))

    def arrives():
        world.broker.publish("default/many/3", "after the broker's death")
        return "after the broker's death" in world.got("/many")
    until(10, "uploads flow again", arrives)
    print("a broker without memory: subscribed again")


with Lab() as lab:
    world = World(lab)
    world.broker.up()
    world.cloud_up()
    login_and_tls(world)
    rules(world)
    kinds_of_messages(world)
    c04_nothing_is_lost(world)
    refused_for_good(world)
    broker_dies(world)
