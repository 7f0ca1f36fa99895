#!/usr/bin/env python3
"""Rules and RuleEndpoints, made with kubectl and called with curl: rest -> eventbus (mosquitto_sub hears it), eventbus -> rest and
servicebus -> rest (a python http.server gets it), rest -> servicebus (HTTP and HTTPS servers of the node answer).

C61, C62, C64, C65, C66, C105, C106 of the cases: each is a function with its number.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, free_port, until  # noqa: E402
from mqtt import Ear  # noqa: E402
from services import Server, certificates, endpoint, rule  # noqa: E402

TOKEN = "s3cret-of-the-test"


class World:
    def __init__(self, lab):
        self.lab, self.port, self.app_port = lab, free_port(), free_port()
        self.dir = lab.dir
        (self.dir / "token").write_text(TOKEN + "\n")
        (self.dir / "cloudcore.yaml").write_text(
            "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\nmodules:\n  router:\n    enable: true\n    address: 127.0.0.1\n"
            f"    port: {self.port}\n    restTimeout: 6\n    tokenFile: {self.dir}/token\n    enableTLS: true\n")
        (self.dir / "edgecore.yaml").write_text(
            "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\nmodules:\n  serviceBus:\n    enable: true\n    server: 127.0.0.1\n"
            f"    port: {self.app_port}\n    timeout: 5\n    callTimeout: 3\n    tlsCAFile: {self.dir}/tls/ca.crt\n")

    def up(self):
        self.lab.broker_up()
        self.lab.cloud_up("--config", self.dir / "cloudcore.yaml")
        self.lab.run("edgecore", *self.lab.edge_command(), "--config", str(self.dir / "edgecore.yaml"))
        self.lab.node_ready()

    def edge_again(self):
        self.lab.kill("edgecore")
        self.lab.run("edgecore", *self.lab.edge_command(), "--config", str(self.dir / "edgecore.yaml"))

    def curl(self, path, *arguments, method="POST", data=b"x", seconds=20, token=TOKEN):
        """(status, body, seconds). status 0: no answer."""
        start = time.monotonic()
        done = subprocess.run(["curl", "-s", "--path-as-is", "--cacert", str(self.dir / "cloud/pki/ca.crt"), "-m", str(seconds), "-X", method, "-w", "\n%{http_code}",
                               *(["-H", f"Authorization: Bearer {token}"] if token else []), "--data-binary", "@-", *arguments,
                               f"https://127.0.0.1:{self.port}{path}"], input=data, capture_output=True)
        body, _, status = done.stdout.rpartition(b"\n")
        return int(status or 0), body.decode(errors="replace"), time.monotonic() - start

    def answers(self, path, status, text="", **how):
        got, body, seconds = self.curl(path, **how)
        assert got == status and text in body, f"{path}: {got} {body[:300]!r}, expected {status} {text!r}"
        return seconds

    def app(self, target, payload):
        done = subprocess.run(["curl", "-s", "-m", "20", "--data-binary", json.dumps({"method": "POST", "targetURL": target, "payload": payload}),
                               f"http://127.0.0.1:{self.app_port}/x"], capture_output=True, text=True)
        return json.loads(done.stdout) if done.stdout else None

    def status(self, rule):
        return json.loads(self.lab.kubectl("get", "rule", rule, "-o", "json").stdout).get("status", {})

    def counted(self, rule, successes, failures=None):
        def fits():
            status = self.status(rule)
            return status.get("successMessages", 0) == successes and (failures is None or status.get("failMessages", 0) == failures)
        try:
            until(10, f"rule {rule} counts", fits)
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.status(rule)}") from None


def c106_open_before_the_first_rule(world):
    world.answers("/edge1/default/none", 404, "no rule")
    world.answers("/edge1/default/none", 401, token=None)
    world.answers("/edge1/default/none", 401, token="another")


def rest_to_eventbus(world):
    lab = world.lab
    lab.apply(endpoint("rest", "rest"), endpoint("bus", "eventbus"), rule("down", "rest", {"path": "/down"}, "bus", {"topic": "to/app"}))
    with Ear(lab, "to/app/#") as ear:
        until(10, "the rule is served", lambda: world.curl("/edge1/default/down", data=b"hello-edge")[0] == 200)
        ear.wait(5, "the message at the broker", lambda topic, payload: (topic, payload) == ("to/app", b"hello-edge"))
        world.answers("/edge1/default/down/more/levels", 200, "message delivered", data='{"ü":1}'.encode())
        ear.wait(5, "the tail in the topic", lambda topic, payload: (topic, payload) == ("to/app/more/levels", '{"ü":1}'.encode()))
        before = len(ear.heard)
        world.answers("/edge1/default/down", 400, "not UTF-8", data=b"\xff\xfe")
        world.answers("/edge1/default/down/a+b", 400)
        world.answers("/edge1/default/down", 413, data=b"x" * (12 * 1024 * 1024 + 1))
        world.answers("/edge1/default/down", 413, "travel", data=b"\x01" * (4 * 1024 * 1024))
        world.answers("/edge1/default/down", 200, data=b"y" * 1_000_000)
        ear.wait(10, "a megabyte", lambda _, payload: payload == b"y" * 1_000_000)
        assert len(ear.heard) == before + 1, [topic for topic, _ in ear.heard[before:]]
    world.counted("down", 3)
    # C106: "delivered" is what the broker has.
    lab.kill("mosquitto")
    world.answers("/edge1/default/down", 504)
    lab.broker_up()


def eventbus_to_rest(world, sink):
    lab = world.lab
    lab.apply(endpoint("sink", "rest"), rule("up", "bus", {"topic": "up", "node_name": "edge1"}, "sink", {"resource": f"http://127.0.0.1:{sink.port}/in?x=1"}),
              rule("up-all", "bus", {"topic": "many/+/values", "node_name": "edge1"}, "sink", {"resource": f"http://127.0.0.1:{sink.port}/all"}))
    publish = lambda topic, text: subprocess.run(["mosquitto_pub", "-p", str(lab.mqtt), "-q", "1", "-t", topic, "-m", text], check=True)  # noqa: E731
    bodies = lambda path: [body for _, at, _, body in sink.seen if at == path]  # noqa: E731

    def arrives():
        publish("default/up", "hello-cloud")
        return bodies("/in?x=1")
    until(15, "an upload at the rule's target", arrives)
    method, _, headers, body = next(one for one in sink.seen if one[1] == "/in?x=1")
    assert (method, body, headers.get("NodeName")) == ("POST", b"hello-cloud", "edge1"), (method, headers)
    publish("default/many/7/values", "wild")
    until(10, "a topic of the wildcard", lambda: bodies("/all") == [b"wild"])
    # A rule that is gone takes nothing more, and its subscription ends at the edge.
    lab.kubectl("delete", "rule", "up")
    until(10, "the subscription is gone", lambda: "default/up" not in sub_topics(world))
    count = len(bodies("/in?x=1"))
    publish("default/up", "nobody")
    publish("default/many/7/values", "still")
    until(10, "the other rule goes on", lambda: bodies("/all")[-1:] == [b"still"])
    assert len(bodies("/in?x=1")) == count


def sub_topics(world):
    import sqlite3
    with sqlite3.connect(f"file:{world.dir}/edge/edgecore.db?mode=ro", uri=True) as db:
        return [row[0] for row in db.execute("SELECT topic FROM sub_topics")]


def rest_to_servicebus(world, service):
    lab = world.lab
    lab.apply(endpoint("svc", "servicebus", service_port=str(service.port)), rule("call", "rest", {"path": "svc"}, "svc", {"path": "/base"}))
    until(10, "the rule is served", lambda: world.curl("/edge1/default/svc")[0] == 200)
    got, body, _ = world.curl("/edge1/default/svc/a/b:c?q=1&r=2", "-H", "X-Mine: 7", "-i", method="PUT", data=b"\x00\xffbinary")
    assert got == 200 and "X-Of-Server: yes" in body and "PUT /base/a/b%3Ac?q=1&r=2" in body, body
    method, _, headers, sent = service.seen[-1]
    assert (method, sent, headers.get("X-Mine"), headers.get("Authorization")) == ("PUT", b"\x00\xffbinary", "7", None), headers


def c62_statuses(world):
    world.answers("/edge1/default/svc/404", 404, "/base/404")
    world.answers("/edge1/default/svc/500", 500, "/base/500")
    seconds = world.answers("/edge1/default/svc/sleep", 504, "(edge)")
    assert 2.5 < seconds < 5, seconds
    assert world.answers("/edge2/default/svc", 404, "there is no node edge2") < 1


def c61_refused_is_said_at_once(world):
    lab = world.lab
    nobody = free_port()
    lab.apply(endpoint("nobody", "servicebus", service_port=str(nobody)), rule("nobody", "rest", {"path": "nobody"}, "nobody", {"path": "/"}),
              endpoint("away", "servicebus", service_port="80", service_host="192.0.2.1"), rule("away", "rest", {"path": "away"}, "away", {"path": "/"}))
    until(10, "the rules are served", lambda: world.curl("/edge1/default/away")[0] != 404)
    assert world.answers("/edge1/default/nobody", 502, f"127.0.0.1:{nobody}: Connection refused") < 1
    assert world.answers("/edge1/default/away", 403, "allowedTargets") < 1
    world.counted("nobody", 0, 1)
    assert "Connection refused" in world.status("nobody")["errors"][0]


def c65_too_large(world):
    world.answers("/edge1/default/svc/huge", 502, "over 5000000 bytes")
    world.answers("/edge1/default/svc", 200)
    before = rss(world.lab, "edgecore")
    done = subprocess.run("head -c 40000000 /dev/zero | curl -s -m 20 -H 'Transfer-Encoding: chunked' -H Expect: -w '%{http_code}' -o /dev/null --data-binary @- "
                          f"http://127.0.0.1:{world.app_port}/x", shell=True, capture_output=True, text=True)
    assert done.stdout.endswith("413"), done.stdout
    assert rss(world.lab, "edgecore") - before < 20_000, (before, rss(world.lab, "edgecore"))


def rss(lab, name):
    for line in pathlib.Path(f"/proc/{lab.processes[name].pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def c66_https(world, certificates):
    lab, servers = world.lab, {}
    for name, pair in certificates.items():
        servers[name] = Server(pair)
        lab.apply(endpoint(f"tls-{name}", "servicebus", service_port=str(servers[name].port), service_scheme="https"),
                  rule(f"tls-{name}", "rest", {"path": f"tls/{name}"}, f"tls-{name}", {"path": "/secure"}))
    until(10, "the rules are served", lambda: all(world.curl(f"/edge1/default/tls/{name}")[0] != 404 for name in servers))
    world.answers("/edge1/default/tls/good/x", 200, "POST /secure/x")
    world.answers("/edge1/default/tls/self", 502, "self")
    world.answers("/edge1/default/tls/other", 502, "other.example")


def c64_servicebus_to_rest(world, sink):
    lab = world.lab
    urls = [f"http://127.0.0.1:{sink.port}/{name}" for name in "abc"]
    assert world.app(urls[0], 1) is None   # the port is closed while no rule wants it
    lab.apply(*(rule(f"app-{name}", "svc", {"target_url": url, "node_name": "edge1"}, "sink", {"resource": url}) for name, url in zip("abc", urls)))
    until(10, "the local server is open", lambda: (world.app(urls[2], 0) or {}).get("code") == 200)
    for url in urls:
        answer = world.app(url, {"a": [1]})
        assert answer["code"] == 200 and answer["msg"] == "receive response from cloud successfully", answer
        sent = json.loads(answer["body"].split(" ", 2)[2])
        assert sent == {"method": "POST", "targetURL": url, "payload": {"a": [1]}}, sent
    assert world.app("http://else/", 1)["msg"] == "url http://else/ is not allowed and please make a rule for this url in the cloud"
    lab.kubectl("delete", "rule", "app-a")
    until(10, "a is closed", lambda: world.app(urls[0], 1)["code"] == 400)
    world.edge_again()
    until(20, "open again after the restart", lambda: (world.app(urls[1], 1) or {}).get("code") == 200)
    assert world.app(urls[2], 1)["code"] == 200 and world.app(urls[0], 1)["code"] == 400


def c105_paths(world):
    lab = world.lab
    lab.apply(*(rule(name, "rest", {"path": path}, "bus", {"topic": topic})
                for name, path, topic in (("p1", "/test/{id}/123", "one"), ("p2", "/test/abc", "two"), ("p3", "/test", "three"))))
    until(10, "the rules are served", lambda: all(world.curl(f"/edge1/default/test{p}")[0] == 200 for p in ("", "/abc", "/x/123")))
    with Ear(lab, "one/#", "two/#", "three/#") as ear:
        for path, topic in (("/test/aaa/123", "one/test/aaa/123"), ("/test/abc", "two"), ("/test/abc/", "two"), ("/test/x/y", "three/x/y"), ("/test/abcd", "three/abcd")):
            world.answers("/edge1/default" + path, 200, data=path.encode())
            got, _ = ear.wait(5, path, lambda _, payload, path=path: payload == path.encode())
            assert got == topic, (path, got)
        for path, status in (("/TEST/abc", 404), ("/test/%2e%2e/abc", 400), ("/test/../abc", 400), ("/test//abc", 400), ("/tes", 404), ("/test%2fabc", 400)):
            world.answers("/edge1/default" + path, status)


def changes_and_absent_ends(world):
    lab = world.lab
    lab.apply(rule("later", "rest", {"path": "later"}, "missing", {"topic": "late"}))
    until(10, "the rule says what it lacks", lambda: "missing" in str(world.status("later").get("errors")))
    world.answers("/edge1/default/later", 404)
    lab.apply(endpoint("missing", "eventbus"))
    until(10, "served once its end is there", lambda: world.curl("/edge1/default/later")[0] == 200)
    until(10, "the error is gone", lambda: not world.status("later").get("errors"))
    lab.apply(rule("later", "rest", {"path": "moved"}, "missing", {"topic": "late"}))
    until(10, "a change counts", lambda: world.curl("/edge1/default/moved")[0] == 200)
    world.answers("/edge1/default/later", 404)


def offline_node(world):
    world.lab.kill("edgecore")
    until(10, "the session is over", lambda: world.curl("/edge1/default/svc")[0] == 503)
    assert world.answers("/edge1/default/svc", 503, "not connected") < 1


with Lab() as lab:
    world = World(lab)
    pairs = certificates(lab.dir / "tls")
    world.up()
    sink, service = Server(), Server()
    c106_open_before_the_first_rule(world)
    rest_to_eventbus(world)
    eventbus_to_rest(world, sink)
    rest_to_servicebus(world, service)
    c62_statuses(world)
    c61_refused_is_said_at_once(world)
    c66_https(world, pairs)
    c64_servicebus_to_rest(world, sink)
    c65_too_large(world)
    c105_paths(world)
    changes_and_absent_ends(world)
    offline_node(world)
    print("rules: rest, eventbus and servicebus, both ways")
