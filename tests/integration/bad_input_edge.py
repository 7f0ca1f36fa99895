#!/usr/bin/env python3
"""A cloud that answers an edge with nonsense: HTTP instead of a WebSocket, false handshakes, broken frames, messages without end,
broken JSON, spoilt hub messages, silence. edgecore stays up, keeps its memory and its twins, and is Ready again as soon as
the real cloud answers. Prints the seed (KUBEEDGE_SEED repeats a run) and memory.
"""
import json
import os
import pathlib
import random
import re
import socket
import ssl
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, free_port, until  # noqa: E402
from rawwire import GOLDEN, PING, TEXT, Frames, accept_key, frame, mutated, rss_mb  # noqa: E402

SEED = int(os.environ.get("KUBEEDGE_SEED", time.time_ns() % 1_000_000))
MOST_GROWTH_MB = 64     # one message may take 16 MiB, twice while it grows
dice = random.Random(SEED)


class FakeHub:
    """Listens with the cloud's own certificate. Each connection is given to the next act; after the last one it is a plain
    forwarder to the real hub."""

    def __init__(self, lab, acts):
        self.acts, self.done, self.failures, self.hub = list(acts), 0, [], lab.hub
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pki = lab.dir / "cloud/pki"
        self.context.load_cert_chain(pki / "server.crt", pki / "server.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            raw, _ = self.listener.accept()
            if self.done >= len(self.acts):
                threading.Thread(target=self.forward, args=(raw,), daemon=True).start()
                continue
            raw.settimeout(20)
            try:
                with self.context.wrap_socket(raw, server_side=True) as peer:
                    self.acts[self.done](peer)
            except (OSError, ConnectionError):
                pass      # the edge may hang up on nonsense
            except Exception as error:   # noqa: BLE001: shown by the test
                self.failures.append(f"{self.acts[self.done].__name__}: {error!r}")
            self.done += 1

    def forward(self, raw):
        try:
            real = socket.create_connection(("127.0.0.1", self.hub))
        except OSError:
            return raw.close()     # the real cloud is being stopped
        with raw, real:
            def pump(source, target):
                try:
                    while data := source.recv(65536):
                        target.sendall(data)
                except OSError:
                    pass
                for end in (source, target):
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            other = threading.Thread(target=pump, args=(real, raw), daemon=True)
            other.start()
            pump(raw, real)
            other.join()


def request(peer) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(4096)
        if not piece:
            raise ConnectionError("no request")
        data += piece
    return data


def head(text: bytes) -> bytes:
    key = re.search(rb"(?i)sec-websocket-key: (\S+)", text)[1].decode()
    return f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()


def opened(peer) -> Frames:
    peer.sendall(head(request(peer)))
    return Frames(peer)


def says(answer: bytes, name: str):
    def act(peer):
        request(peer)
        peer.sendall(answer)
    act.__name__ = name
    return act


def false_accept(peer):
    peer.sendall(head(request(peer)).replace(b"Accept: ", b"Accept: AAAA"))


def endless_head(peer):
    request(peer)
    sent = 0
    try:
        while sent < 50 * 1024 * 1024:
            peer.sendall(b"HTTP/1.1 101 S\r\n" if sent == 0 else b"X: " + b"y" * 65000 + b"\r\n")
            sent += 65000
    except OSError:
        pass
    assert sent < 10 * 1024 * 1024, f"{sent} bytes of an answer's head were taken"


def closed_with(data: bytes, wanted: int, name: str):
    def act(peer):
        frames = opened(peer)
        try:
            peer.sendall(data)
        except OSError:
            pass
        code = frames.closed_with()
        assert code in (wanted, None), f"closed with {code}, not {wanted}"
    act.__name__ = name
    return act


def endless_message(peer):
    opened(peer)
    sent, piece = 0, frame(0, b"z" * 65536, masked=False, fin=False)
    try:
        peer.sendall(frame(TEXT, b"{", masked=False, fin=False))
        while sent < 300 * 1024 * 1024:
            peer.sendall(piece)
            sent += 65536
    except OSError:
        pass
    assert sent < 40 * 1024 * 1024, f"{sent} bytes of one message were taken"


def half_a_frame(peer):
    opened(peer)
    peer.sendall(frame(TEXT, b"{" * 5000, masked=False)[:700])


def reset(peer):
    opened(peer)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def nonsense(peer):
    """Text that is no message, and recorded messages with something wrong in each; the session must outlive them."""
    frames = opened(peer)
    golden = [path.read_bytes().replace(b"edge-1", b"edge1") for path in sorted((GOLDEN / "hub").glob("ws-down-*.json"))]
    device = json.loads((GOLDEN / "dev/real-device-in-meta.json").read_text())
    for op in ("insert", "update", "delete"):
        golden.append(json.dumps({"header": {"msg_id": "d", "timestamp": 1, "resourceversion": "7"}, "content": device,
                                  "route": {"source": "devicecontroller", "group": "resource", "operation": op, "resource": "default/device/dev1"}}).encode())
    golden += [(GOLDEN / "dev" / name).read_bytes() for name in ("cloud-down-membership-add.json", "cloud-down-membership-remove.json", "cloud-down-twin-confirm.json")]
    texts = [b"", b"{", b"null", b"7", b"[" * 100_000, b'{"header":{"msg_id":"a","msg_id":"b"}}', b'{"header":{},"route":{"group":7}}', b'{"content":{}}', b'"' + b"q" * 15_000_000 + b'"']
    for group in ("meta", "resource", "twin", "user", "taskmanager", "hub", ""):
        for resource in ("", "/", "a", "..", "a/b/c/d/e/f/g", "default/pod/", "\u0000/pod/x", "default/device/../x", "node/edge1/membership", "x" * 70_000):
            texts.append(json.dumps({"header": {"msg_id": "i", "timestamp": 1}, "route": {"source": "edgecontroller", "group": group, "operation": "insert", "resource": resource},
                                     "content": {"metadata": {"name": "x"}}}).encode())
    for topic in ("a/#/b", "+x", "a/b#", "x\u0001y", "", "\uffff", "t" * 70_000):
        for operation in ("subscribe", "publish", "unsubscribe"):
            texts.append(json.dumps({"header": {"msg_id": "i", "timestamp": 1}, "route": {"source": "router_eventbus", "group": "user", "operation": operation, "resource": topic}, "content": "x"}).encode())
        texts.append(json.dumps({"header": {"msg_id": "i", "timestamp": 1}, "content": {"added_devices": [{"id": f"{topic}/x", "name": "x"}, {"id": f"d/{topic}"}], "removed_devices": None},
                                 "route": {"source": "devicecontroller", "group": "twin", "operation": "update", "resource": "membership"}}).encode())
    texts += [mutated(dice.choice(golden), dice).decode(errors="replace").encode() for _ in range(600)]
    for text in texts:
        peer.sendall(frame(TEXT, text, masked=False))
    peer.sendall(frame(PING, b"still there?", masked=False))
    while True:
        opcode, payload = frames.next()
        assert opcode != 8, payload
        if payload == b"still there?":
            return


ACTS = (
    (says(b"", "silence"), says(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nsorry", "an HTTP error"), nonsense, endless_message),
    (says(b"\x00\xff" * 500, "no HTTP"), nonsense, closed_with(frame(TEXT, b"{}"), 1002, "a masked frame"), half_a_frame, endless_head),
    (false_accept, closed_with(frame(TEXT, b"", masked=False, size=2**63), 1002, "2^63 bytes"), closed_with(frame(TEXT, b'"\xff"', masked=False), 1007, "no UTF-8"), nonsense, reset),
)


def main():
    with Lab() as lab:
        lab.broker_up()
        lab.cloud_up()
        hubs, before = {}, {}
        for number, acts in enumerate(ACTS, 1):
            node = f"edge{number}"
            lab.run(node, *lab.edge_command(node, data=node))
            lab.node_ready(node)
            lab.kill(node, 15)
            hubs[node] = FakeHub(lab, acts)
        lab.device(node="edge1")
        for node, fake in hubs.items():
            command = lab.edge_command(node, data=node)
            command[command.index("--hub-port") + 1] = str(fake.port)
            process = lab.run(node, *command)
            before[node] = rss_mb(process)
        for node, fake in hubs.items():
            until(60, f"{node} went through {len(fake.acts)} acts", lambda fake=fake: fake.done == len(fake.acts))
            assert not fake.failures, fake.failures
        for node in hubs:
            process = lab.processes[node]
            assert process.poll() is None, f"{node} ended with {process.poll()}"
            until(30, f"{node} is back at the real cloud", lambda node=node: ready_since(lab, node))
            now = rss_mb(process)
            print(f"{node}: {before[node]:.1f} MB -> {now:.1f} MB")
            assert now < before[node] + MOST_GROWTH_MB
        # What of the nonsense looked good is in the stores now: a restart must read it.
        for node in hubs:
            lab.kill(node, 15)
            (lab.dir / f"{node}.log").unlink()
            lab.run(node, *lab.edge_command(node, data=node))
            until(20, f"{node} starts on its store", lambda node=node: "joined, ready" in lab.log(node))
        until(20, "the device reaches the edge", lambda: "code" not in (lab.twin() or {"code": 404}))
        lab.ask("$hw/events/device/default/thermo-1/twin/update", {"event_id": "1", "twin": {"temperature": {"actual": {"value": "21"}}}}, "$hw/events/device/default/thermo-1/twin/update/result")
        until(20, "its report reaches the cloud", lambda: lab.reported() == "21")
        assert "due to" not in lab.log("mosquitto"), "mosquitto ended an edge's connection for what it sent"
        print(f"seed {SEED}")


def ready_since(lab, node):
    """A lease renewed in the last seconds says that the node is connected now."""
    lease = lab.kubectl("-n", "kube-node-lease", "get", "lease", node, "-o", "jsonpath={.spec.renewTime}", check=False).stdout
    if not lease:
        return False
    renewed = time.mktime(time.strptime(lease[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    return time.time() - renewed < 12 and "link up" in lab.log(node).splitlines()[-1] + "".join(lab.log(node).splitlines()[-12:])


main()
