#!/usr/bin/env python3
"""Records a conversation between an edge and a cloud, either of them upstream's: ends TLS on both sides and writes one JSON object a
line, as tests/golden/hub/README.md says. The replays (tests/integration/replay_to_*.py) speak such recordings again.

  recorder.py --out FILE --header JSON --hub PORT:PORT --join PORT:PORT --server CERT KEY --edge CERT KEY
--hub and --join: listen here, dial there (127.0.0.1). --server: what the edge is shown, of the CA it trusts; --edge: the files where the
edge keeps its certificate (they may appear after the join). --header: {"edge": "go v1.23.1 sha256:...", "cloud": ...}.
A line appended to FILE from outside, {"kind": "mark", "text": "3 pod ..."}, begins a step. Tokens are not recorded.
"""
import argparse
import json
import re
import select
import socket
import ssl
import threading
import time

lock = threading.Lock()
JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def write(path, **record):
    with lock, open(path, "a", encoding="utf-8") as out:
        out.write(json.dumps({"ts": time.time(), **record}, ensure_ascii=False) + "\n")


class Frames:
    """Cuts one direction of a WebSocket into messages."""

    def __init__(self):
        self.buffer, self.whole, self.sizes = b"", b"", []

    def feed(self, data):
        self.buffer += data
        while len(self.buffer) >= 2:
            first, second = self.buffer[:2]
            size, at = second & 0x7f, 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(self.buffer[2:2 + width], "big"), 2 + width
            mask = self.buffer[at:at + 4] if second & 0x80 else b""
            at += 4 if second & 0x80 else 0
            if len(self.buffer) < at + size:
                return
            payload, self.buffer = self.buffer[at:at + size], self.buffer[at + size:]
            if mask:
                payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
            opcode = first & 0xf
            if opcode >= 8:
                yield {"op": {8: "close", 9: "ping", 10: "pong"}.get(opcode, str(opcode)), "frames": [size], "masked": bool(mask), "payload": payload}
                continue
            self.whole, self.sizes = self.whole + payload, self.sizes + [size]
            if first & 0x80:
                yield {"op": "text", "frames": self.sizes, "masked": bool(mask), "payload": self.whole}
                self.whole, self.sizes = b"", []


class Http:
    """Cuts one direction of HTTP/1.1 into heads and bodies; says when it became a WebSocket."""

    def __init__(self):
        self.buffer = b""

    def feed(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, rest = self.buffer.split(b"\r\n\r\n", 1)
            lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            size = int(next((v for k, v in headers.items() if k.lower() == "content-length"), 0))
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            if "Authorization" in headers:
                headers["Authorization"] = headers["Authorization"][:20] + "...REDACTED"
            yield lines[0], headers, rest[:size]


def serve(options, near, listener, number):
    far_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    far_context.check_hostname, far_context.verify_mode = False, ssl.CERT_NONE
    hub = listener == "20000"
    if hub:
        far_context.load_cert_chain(*options.edge)
    target = (options.hub if hub else options.join).split(":")[1]
    far = far_context.wrap_socket(socket.create_connection(("127.0.0.1", int(target)), 10))
    common = {"listener": listener, "conn": number}
    write(options.out, kind="connect", **common)
    readers = {near: (far, "up", Http(), Frames()), far: (near, "down", Http(), Frames())}
    upgraded = set()
    while True:
        ready = [s for s in readers if s.pending()] or select.select(list(readers), [], [])[0]
        for source in ready:
            other, way, http, frames = readers[source]
            data = source.recv(65536)
            if not data:
                write(options.out, kind="closed", **common)
                near.close()
                far.close()
                return
            other.sendall(data)
            if way not in upgraded:
                for first, headers, body in http.feed(data):
                    if way == "up":
                        method, uri, _ = first.split(" ", 2)
                        write(options.out, kind="http-request", dir=way, method=method, uri=uri, headers=headers, len=len(body), **common)
                    else:
                        write(options.out, kind="http-response", dir=way, status=int(first.split(" ")[1]), headers=headers, len=len(body), **common)
                        if " 101 " in first + " ":
                            upgraded |= {"up", "down"}
                if way not in upgraded:
                    continue
                data, http.buffer = http.buffer, b""
            for message in frames.feed(data):
                payload = message.pop("payload")
                raw = JWT.sub("REDACTED", payload.decode(errors="replace"))
                write(options.out, kind="ws", dir=way, **message, len=len(payload), raw=raw, **common)


def listen(options, listener, port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*options.server)
    context.verify_mode = ssl.CERT_NONE
    server = socket.create_server(("127.0.0.1", port))
    number = 0
    while True:
        plain, _ = server.accept()
        number += 1

        def one(plain=plain, number=number):
            try:
                serve(options, context.wrap_socket(plain, server_side=True), listener, number)
            except (OSError, ValueError) as error:
                write(options.out, kind="error", listener=listener, conn=number, text=str(error))
                plain.close()
        threading.Thread(target=one, daemon=True).start()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("out", "header", "hub", "join"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--server", nargs=2, required=True)
parser.add_argument("--edge", nargs=2, required=True)
options = parser.parse_args()
write(options.out, kind="header", **json.loads(options.header))
threading.Thread(target=listen, args=(options, "20002", int(options.join.split(":")[0])), daemon=True).start()
listen(options, "20000", int(options.hub.split(":")[0]))
