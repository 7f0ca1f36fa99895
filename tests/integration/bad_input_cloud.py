#!/usr/bin/env python3
"""Random, truncated and over-long bytes, HTTP requests, WebSocket frames and hub messages against cloudcore's three ports
(10000, 10002, 6443), and certificates that are not its own (C12). It answers or hangs up, stays up, keeps its memory, and an
edge that behaves does not notice. Prints the seed (KUBEEDGE_SEED repeats a run) and memory. Arguments: only these parts.
"""
import base64
import contextlib
import json
import os
import pathlib
import random
import re
import resource
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402
from rawwire import (BINARY, CLOSE, GOLDEN, PING, TEXT, Identity, ended, exchange, frame, mutated, rss_mb, session, tls, trusting,  # noqa: E402
                     upgrade_request)

SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
MOST_GROWTH_MB = 64     # one message may take 16 MiB, twice while it grows
dice = random.Random(SEED)


class Cloud:
    def __init__(self, lab):
        self.lab = lab
        self.good = Identity(lab.dir / "ids", "bad1").joined(lab.join, lab.token)
        self.foreign = Identity(lab.dir / "foreign", "bad1").foreign()
        self.admin = self.admin_identity()
        self.ports = {"hub": (lab.hub, self.good), "join": (lab.join, None), "api": (lab.api, self.admin)}
        self.started = rss_mb(lab.processes["cloudcore"])

    def admin_identity(self):
        text = (self.lab.dir / "cloud/admin.kubeconfig").read_text()
        admin = Identity(self.lab.dir / "admin", "admin")
        for path, field in ((admin.certificate, "client-certificate-data"), (admin.key, "client-key-data")):
            path.write_bytes(base64.b64decode(re.search(rf"{field}: (\S+)", text)[1]))
        return admin

    def well(self, after: str):
        process = self.lab.processes["cloudcore"]
        assert process.poll() is None, f"cloudcore ended with {process.poll()} after: {after}"
        with tls(self.lab.api, seconds=5) as peer:
            assert b" 200 " in exchange(peer, b"GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n")
        memory = rss_mb(process)
        print(f"{after}: cloudcore {memory:.1f} MB")
        assert memory < self.started + MOST_GROWTH_MB, f"{self.started:.1f} MB -> {memory:.1f} MB"


def status(answer: bytes) -> int:
    """Of the first answer; 0 = the connection just ended."""
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found or not answer, answer[:200]
    return int(found[1]) if found else 0


def without_tls(cloud):
    for port, _ in cloud.ports.values():
        hello = bytes.fromhex("1603010200010001fc0303") + dice.randbytes(100)
        for data in (b"", b"\x16", hello, dice.randbytes(4096), b"GET / HTTP/1.1\r\n\r\n", b"\x80" * 70_000):
            with socket.create_connection(("127.0.0.1", port), 5) as peer:
                with contextlib.suppress(OSError):      # it may have hung up before all was sent
                    peer.sendall(data)
                    peer.shutdown(socket.SHUT_WR)
                ended(peer)
    cloud.well("bytes that are no TLS")


def http(cloud):
    many = 300 * 1024 * 1024
    bad = {
        "random bytes": (dice.randbytes(4096), {400}),
        "a method that is none": (b"G\x00T / HTTP/1.1\r\n\r\n", {400}),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404, 405, 401}),
        "a long path": (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", {431}),
        "a long header": (b"GET / HTTP/1.1\r\nX: " + b"b" * 2_000_000 + b"\r\n\r\n", {431}),
        "many headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", {431}),
        "NUL in a header": (b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", {400}),
        "a header without a colon": (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", {400}),
        "a length that is none": (b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n", {400}),
        "a negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", {400}),
        "a length past 64 bits": (b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", {400}),
        "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", {400}),
        "length and chunks": (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        "a chunk size that is none": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", {400}),
        "a body of 300 MB, announced": (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % many, {413}),
    }
    for name, (port, identity) in cloud.ports.items():
        for what, (request, wanted) in bad.items():
            with tls(port, identity) as peer:
                got = status(exchange(peer, request))
                assert got in wanted, f"{name}: {what}: {got}, not {wanted}"
        for cut in (b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"):
            with tls(port, identity) as peer:
                peer.sendall(cut)     # and leaves in the middle
        with tls(port, identity) as peer:
            sent = 0
            try:
                peer.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
                while sent < many:
                    peer.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    sent += 65536
            except OSError:
                pass
            answer = b""
            try:
                answer = ended(peer)
            except OSError:
                pass
            assert sent < many / 10 and status(answer) in (0, 413), f"{name}: {sent} bytes of a body without end were taken"
        with tls(port, identity) as peer:
            requests = 2000
            answers = exchange(peer, b"GET /nothing HTTP/1.1\r\n\r\n" * (requests - 1) + b"GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert 1 <= answers.count(b"HTTP/1.1 ") <= requests, f"{name}: pipelined: {answers[:200]}"
        for _ in range(20):
            request = bytearray(b"POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            for _ in range(dice.randint(1, 8)):
                request[dice.randrange(len(request))] = dice.randrange(256)
            with tls(port, identity) as peer:
                peer.sendall(request)
                peer.settimeout(0.05)     # some of these are good beginnings of longer requests
                try:
                    ended(peer)
                except TimeoutError:
                    pass
    cloud.well("HTTP")


def api(cloud):
    def ask(method, path, body=b"", kind="application/json"):
        with tls(cloud.lab.api, cloud.admin) as peer:
            answer = exchange(peer, f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return status(answer), answer.split(b"\r\n\r\n", 1)[1]

    maps = "/api/v1/namespaces/default/configmaps"
    for path in ("/api/v1/namespaces/%2e%2e/pods", "/api/v1/nodes/%zz", "/api/v1/nodes/a%00b", "/api/v1/nodes/..%2fx", "/apis/%ff", "/api/v1/pods?labelSelector=((",
                 "/api/v1/pods?fieldSelector=a%3D", "/api/v1/pods?resourceVersion=x", "/api/v1/pods?watch=1&resourceVersion=99999999999999999999"):
        code, body = ask("GET", path)
        assert 400 <= code < 500, (path, code, body[:200])
    deep = b'{"a":' * 100_000
    for body in (b"", b"{", b"[]", b"null", b"7", deep, deep + b"1" + b"}" * 100_000, b"[" * 1_000_000, b"\xff\xfe", b'{"metadata":{"name":"\xff"}}', b'{"metadata":{"name":7}}', b'{"metadata":[]}',
                 b'{"kind":"Pod","metadata":{"name":"x"}}', b'{"metadata":{"name":"../../etc"}}', b"k8s\0" + dice.randbytes(300)):
        for kind in ("application/json", "application/vnd.kubernetes.protobuf"):
            code, answer = ask("POST", maps, body, kind)
            assert 400 <= code < 500 and json.loads(answer)["kind"] == "Status", (body[:60], kind, code, answer[:200])
    code, _ = ask("POST", maps, json.dumps({"metadata": {"name": "kept"}, "data": {"a": "1"}}).encode())
    assert code == 201
    for kind, body in (("json-patch", b'[{"op":"copy","from":"","path":"/data/x"}]'), ("json-patch", b'[{"op":"add","path":"/data/-/x","value":1}]'), ("json-patch", b'{}'),
                       ("json-patch", b"[" + b",".join([b'{"op":"test","path":"/data/a","value":"1"}'] * 20_000) + b"]"), ("merge-patch", deep), ("merge-patch", b'{"metadata":{"name":"other"}}'),
                       ("strategic-merge-patch", b'{"$patch":"explode"}'), ("strategic-merge-patch", b'{"data":7}'), ("no-such-patch", b"{}")):
        code, answer = ask("PATCH", maps + "/kept", body, f"application/{kind}+json")
        assert 400 <= code < 500, (kind, body[:60], code, answer[:200])
    assert json.loads(ask("GET", maps + "/kept")[1])["data"] == {"a": "1"}
    cloud.well("API requests")


def certificates(cloud):
    def refused(port, identity, request):
        try:
            with tls(port, identity) as peer:
                return exchange(peer, request)
        except (ConnectionError, ssl.SSLError):
            return b""

    for identity in (None, cloud.foreign, cloud.admin):
        answer = refused(cloud.lab.hub, identity, upgrade_request("bad1"))
        assert b" 101 " not in answer and (status(answer) in (0, 403)), answer
    join = b"GET /edge.crt HTTP/1.1\r\nConnection: close\r\nNodeName: bad1\r\nContent-Length: %d\r\n\r\n"
    csr = cloud.good.csr()
    assert status(refused(cloud.lab.join, None, join % len(csr) + csr)) == 401
    answer = refused(cloud.lab.join, cloud.foreign, join % len(csr) + csr)
    assert status(answer) == 401 and b"client certificate" in answer, answer
    other = (join % len(csr) + csr).replace(b"bad1", b"edge1", 1)
    answer = refused(cloud.lab.join, cloud.good, other)
    assert status(answer) == 401 and b"system:node:bad1" in answer, answer
    for body, code in ((b"", 400), (dice.randbytes(300), 400), (csr[:-20], 400), (csr[:40] + b"\0" + csr[41:], 400), (b"x" * 2_000_000, 413),
                       (Identity(cloud.lab.dir / "ids", "edge1").csr(), 403)):
        answer = refused(cloud.lab.join, cloud.good, join % len(body) + body)
        assert status(answer) == code, (len(body), code, answer[:300])
    for usages in (b"[]", b"[3]", b"{", b"[" * 20_000, b"[1e9]", b"[-1]", b"[99999999999999999999]"):
        answer = refused(cloud.lab.join, cloud.good, (join % len(csr)).replace(b"NodeName", b"ExtKeyUsages: " + usages + b"\r\nNodeName") + csr)
        assert status(answer) == 400, (usages[:20], answer[:300])
    for request in (b"GET /api/v1/nodes HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET /api/v1/nodes HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer a.b.c\r\n\r\n",
                    b"GET /api/v1/nodes HTTP/1.1\r\nConnection: close\r\nAuthorization: Basic eDp5\r\n\r\n"):
        answer = refused(cloud.lab.api, cloud.foreign, request)
        assert status(answer) == 401 and json.loads(answer.split(b"\r\n\r\n", 1)[1])["reason"] == "Unauthorized", answer
    cloud.well("certificates")


def upgrades(cloud):
    for change in ({"ConnectionUse": "tunnel"}, {"ConnectionUse": None}, {"node_id": None}, {"node_id": "../bad1"}, {"node_id": "bad1" * 100}, {"Upgrade": "h2c"},
                   {"Sec_WebSocket_Version": "8"}, {"Sec_WebSocket_Key": None}, {"Sec_WebSocket_Key": "short"}, {"Connection": "close"}, {"Kubeedge-Store-Id": "x" * 500}):
        with tls(cloud.lab.hub, cloud.good) as peer:
            code = status(exchange(peer, upgrade_request("bad1", **change)))
            assert code in (400, 403, 426), (change, code)
    cloud.well("upgrades")


def frames(cloud):
    keepalive = (GOLDEN / "hub/ws-up-01-keepalive.json").read_bytes()
    ends = {
        "not masked": (frame(TEXT, keepalive, masked=False), 1002),
        "a reserved opcode": (frame(3, b"x"), 1002),
        "a reserved bit": (frame(TEXT, keepalive, rsv=4), 1002),
        "a ping in fragments": (frame(PING, b"x", fin=False), 1002),
        "a long ping": (frame(PING, b"x" * 126), 1002),
        "a continuation of nothing": (frame(0, b"x"), 1002),
        "a text within a text": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
        "no UTF-8": (frame(TEXT, b'"\xff\xfe"'), 1007),
        "half a character": (frame(TEXT, b'"\xe2\x82"'), 1007),
        "2^63 bytes": (frame(TEXT, b"", size=2**63), 1002),
        "2^62 bytes": (frame(TEXT, b"", size=2**62), 1009),
        "17 MB announced": (frame(TEXT, b"", size=17 * 1024 * 1024), 1009),
        "no text": (frame(BINARY, dice.randbytes(100)), 1003),
        "a Close of one byte": (frame(CLOSE, b"\x03"), 1002),
        "a Close with a code that is none": (frame(CLOSE, b"\x00\x01"), 1002),
    }
    for what, (data, code) in ends.items():
        peer, answers = session(cloud.lab.hub, cloud.good)
        with peer:
            peer.sendall(data)
            got = answers.closed_with()
            assert got == code, f"{what}: closed with {got}, not {code}"
    for data in (b"", b"\x81", frame(TEXT, keepalive)[:9], frame(TEXT, keepalive, fin=False), frame(TEXT, b"x" * 60_000)[:-1]):
        peer, _ = session(cloud.lab.hub, cloud.good)
        peer.sendall(data)
        peer.close()            # in the middle of a frame
    peer, answers = session(cloud.lab.hub, cloud.good)
    with peer:
        piece, sent = frame(0, b"y" * 4096, fin=False), 0
        try:
            peer.sendall(frame(TEXT, b"[", fin=False))
            while sent < 300 * 1024 * 1024:
                peer.sendall(piece)
                sent += 4096
        except OSError:
            pass
        assert sent < 30 * 1024 * 1024, f"{sent} bytes of one message were taken"
    for _ in range(20):
        peer, _ = session(cloud.lab.hub, cloud.good)
        with peer:
            try:
                peer.sendall(frame(TEXT, keepalive) + dice.randbytes(dice.randint(1, 2000)))
            except OSError:
                pass
    cloud.well("frames")


def messages(cloud):
    """A session takes nonsense and still answers the next good question."""
    peer, answers = session(cloud.lab.hub, cloud.good)
    golden = [path.read_bytes().replace(b"edge-1", b"bad1") for path in sorted((GOLDEN / "hub").glob("ws-up-*.json"))]
    query = (GOLDEN / "hub/ws-up-04-node-query.json").read_bytes().replace(b"edge-1", b"bad1")

    def answered(number: int):
        identity = f"00000000-0000-4000-8000-{number:012d}"
        question = json.loads(query)
        question["header"]["msg_id"] = identity
        peer.sendall(frame(TEXT, json.dumps(question).encode()))
        while True:
            opcode, payload = answers.next()
            assert opcode != CLOSE, payload
            if opcode == TEXT and json.loads(payload)["header"].get("parent_msg_id") == identity:
                return json.loads(payload)

    with peer:
        peer.sendall(b"".join(frame(TEXT, text) for text in golden))    # the node registers itself first of all
        answered(1)
        for text in (b"", b"{", b"null", b"[]", b'"x"', b'{"header":7}', b'{"header":{},"route":[]}', b'{"header":{"msg_id":1}}', b'{"header":{"timestamp":"x"}}', b"[" * 100_000,
                     b'{"header":' * 10_000, b'{"header":{"msg_id":"a","msg_id":"b"}}', b'{"header":{},"content":"' + b"z" * 15_000_000 + b'"}'):
            peer.sendall(frame(TEXT, text))
        answered(2)
        count = 600
        for number in range(count):
            text = mutated(dice.choice(golden), dice)
            try:
                text.decode()
            except UnicodeDecodeError:
                text = text.decode(errors="replace").encode()      # else 1007 ends the session: seen above
            peer.sendall(frame(TEXT, text))
            if number % 50 == 49:
                answered(number + 100)
        answer = answered(3)
        assert isinstance(answer["content"], dict), answer
    cloud.well(f"{count} spoilt messages")


def deaf_node(cloud):
    """Asks without end and reads no answer: what is queued for it has a limit, then it is hung up on."""
    peer, _ = session(cloud.lab.hub, cloud.good)
    query = frame(TEXT, (GOLDEN / "hub/ws-up-04-node-query.json").read_bytes().replace(b"edge-1", b"bad1"))
    count, most = 0, 0.0
    deadline = time.monotonic() + 20
    with peer:
        try:
            while time.monotonic() < deadline:
                peer.sendall(query * 200)
                count += 200
                most = max(most, rss_mb(cloud.lab.processes["cloudcore"]))
        except OSError:
            pass
    print(f"{count} questions, at most {most:.1f} MB")
    assert most < cloud.started + MOST_GROWTH_MB, f"{cloud.started:.1f} MB -> {most:.1f} MB"
    cloud.well("a node that does not read")


def descriptors(cloud):
    """More connections than the process may have descriptors: those that are there go on, and new ones come in when some have gone."""
    process = cloud.lab.processes["cloudcore"]
    in_use = len(os.listdir(f"/proc/{process.pid}/fd"))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (in_use + 40, 4096))
    crowd = [socket.create_connection(("127.0.0.1", cloud.lab.hub)) for _ in range(100)]
    before = sum(map(int, open(f"/proc/{process.pid}/stat").read().rsplit(") ", 1)[1].split()[11:13]))
    time.sleep(1)
    ticks = sum(map(int, open(f"/proc/{process.pid}/stat").read().rsplit(") ", 1)[1].split()[11:13])) - before
    assert ticks < 50, f"{ticks} ticks of CPU in a second of waiting for descriptors"
    for peer in crowd:
        peer.close()
    until(15, "connections are taken again", lambda: answers_now(cloud))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    cloud.well("no descriptors left")


def answers_now(cloud):
    try:
        with tls(cloud.lab.api, seconds=2) as peer:
            return b" 200 " in exchange(peer, b"GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n")
    except OSError:
        return False


with Lab() as lab:
    lab.broker_up()
    lab.cloud_up()
    lab.edge_up()
    lab.node_ready()
    edge1 = lambda: json.loads(lab.kubectl("get", "node", "edge1", "-o", "json").stdout)["metadata"]
    before = until(10, "the cloud's annotations are there", lambda: (lambda node: node if "cloudcore" in node["annotations"] else None)(edge1()))
    cloud = Cloud(lab)
    idle = [socket.create_connection(("127.0.0.1", port)) for port, _ in cloud.ports.values() for _ in range(50)]   # they say nothing, all the time
    for part in (without_tls, http, api, certificates, upgrades, frames, messages, deaf_node, descriptors):
        if sys.argv[1:] and part.__name__ not in sys.argv[1:]:
            continue
        started = time.monotonic()
        part(cloud)
        print(f"  {part.__name__}: {time.monotonic() - started:.1f} s")
    for peer in idle:
        peer.close()
    after = edge1()
    assert all(after.get(field) == before.get(field) for field in ("uid", "labels", "annotations")), (before, after)
    assert lab.log("edgecore").count("link up") == 1 and "connection ended" not in lab.log("edgecore"), "the edge that behaves noticed"
    lab.kubectl("wait", "--for=condition=Ready", "node/edge1", "--timeout=5s")
    print(f"seed {SEED}")
