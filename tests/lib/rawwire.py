"""Raw TLS, HTTP and WebSocket from the standard library only: for peers that do not behave."""
import base64
import copy
import hashlib
import http.client
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def rss_mb(process) -> float:
    """Resident memory of a process, now."""
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {process.pid} has no memory: it is gone")


def openssl(*arguments, stdin=None) -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}"
    return done.stdout


class Identity:
    """A key and a certificate for system:node:<name>: of the cloud's CA when joined, else of a CA of its own."""

    def __init__(self, folder: pathlib.Path, node: str):
        folder.mkdir(exist_ok=True)
        self.node, self.key, self.certificate = node, folder / f"{node}.key", folder / f"{node}.crt"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        self.subject = f"/O=system:nodes/CN=system:node:{node}"

    def csr(self) -> bytes:
        return openssl("req", "-new", "-key", self.key, "-subj", self.subject, "-outform", "DER")

    def foreign(self):
        openssl("req", "-x509", "-key", self.key, "-subj", self.subject, "-days", "1", "-out", self.certificate)
        return self

    def joined(self, port: int, token: str):
        client = http.client.HTTPSConnection("127.0.0.1", port, context=trusting())
        client.request("GET", "/edge.crt", self.csr(), {"NodeName": self.node, "Authorization": "Bearer " + token.split(".", 1)[1]})
        answer = client.getresponse()
        body = answer.read()
        client.close()
        assert answer.status == 200, body
        self.certificate.write_bytes(openssl("x509", "-inform", "DER", stdin=body))
        return self


def trusting(identity=None) -> ssl.SSLContext:
    """A client that takes any server: what is tested is the server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def tls(port: int, identity=None, seconds=10) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), seconds)
    raw.settimeout(seconds)
    return trusting(identity).wrap_socket(raw, server_hostname="127.0.0.1")


def ended(peer) -> bytes:
    """What the peer says until it ends the connection; a reset is an end, silence is not (socket.timeout)."""
    data = b""
    try:
        while piece := peer.recv(65536):
            data += piece
    except (ConnectionError, ssl.SSLError) as end:
        if isinstance(end, TimeoutError):
            raise
    return data


def exchange(peer, request: bytes) -> bytes:
    """Sends all that the peer takes, then reads to its end. It may answer and close before it has taken everything."""
    try:
        peer.sendall(request)
    except (ConnectionError, ssl.SSLError):
        pass
    return ended(peer)


def frame(opcode: int, payload=b"", masked=True, fin=True, rsv=0, size=None) -> bytes:
    """One WebSocket frame; `size` lies about the length."""
    length = len(payload) if size is None else size
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length < 126:
        head += bytes([bit | length])
    else:
        head += bytes([bit | 126]) + struct.pack(">H", length) if length < 65536 else bytes([bit | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    repeated = (key * (len(payload) // 4 + 1))[:len(payload)]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


class Frames:
    """Reads frames from a socket, masked or not."""

    def __init__(self, peer, early=b""):
        self.peer, self.data = peer, early

    def take(self, count: int) -> bytes:
        while len(self.data) < count:
            piece = self.peer.recv(65536)
            if not piece:
                raise ConnectionError("the peer ended the connection")
            self.data += piece
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def next(self):
        """(opcode, payload)."""
        first, second = self.take(2)
        length = second & 127
        if length == 126:
            length = struct.unpack(">H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.take(8))[0]
        key = self.take(4) if second & 0x80 else b"\0\0\0\0"
        payload = self.take(length)
        return first & 15, bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))

    def closed_with(self):
        """The code of the Close frame that ends the session; None when the connection just ends."""
        try:
            while True:
                opcode, payload = self.next()
                if opcode == CLOSE:
                    return struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
        except (ConnectionError, ssl.SSLError) as end:
            if isinstance(end, TimeoutError):
                raise
            return None


def upgrade_request(node: str, **headers) -> bytes:
    lines = {"Host": "127.0.0.1", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "okVcQoqm0GKgEKzoDd6jHw==",
             "node_id": node, "project_id": "p", "ConnectionUse": "msg"}
    lines.update({name.replace("_", "-") if name.startswith("Sec") else name: value for name, value in headers.items()})
    return f"GET /p/{node}/events HTTP/1.1\r\n".encode() + b"".join(f"{name}: {value}\r\n".encode() for name, value in lines.items() if value is not None) + b"\r\n"


def session(port: int, identity: Identity):
    """An open hub session of that node: (socket, Frames)."""
    peer = tls(port, identity)
    peer.sendall(upgrade_request(identity.node))
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(4096)
        assert piece, data
        data += piece
    head, early = data.split(b"\r\n\r\n", 1)
    assert b" 101 " in head.splitlines()[0], head
    return peer, Frames(peer, early)


def accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def mutated(text: bytes, dice) -> bytes:
    """A recorded message with a few bytes or fields changed: mostly still JSON, wrong somewhere."""
    if dice.random() < 0.4:
        data = bytearray(text)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            choice = dice.randrange(3)
            if choice == 0:
                data[at] = dice.randrange(256)
            elif choice == 1:
                del data[at:at + dice.randint(1, 9)]
            else:
                data[at:at] = bytes(dice.choices(b'{}[]",:\\0-9a\x00\xff', k=dice.randint(1, 5)))
            if not data:
                break
        return bytes(data)
    whole = json.loads(text)
    nonsense = [None, True, -1, 1e300, 2**63, "", "x" * 300, "..", "a/b/c/d/e/f", [], {}, [[[]]], {"metadata": 7}, "\u0000", "\U0001f600"]
    for _ in range(dice.randint(1, 3)):
        place = whole
        while True:
            if isinstance(place, dict) and place:
                key = dice.choice(list(place))
            elif isinstance(place, list) and place:
                key = dice.randrange(len(place))
            else:
                break
            if isinstance(place[key], (dict, list)) and place[key] and dice.random() < 0.8:
                place = place[key]
                continue
            if dice.random() < 0.2:
                del place[key]
            else:
                place[key] = copy.deepcopy(dice.choice(nonsense))
            break
    return json.dumps(whole).encode()
