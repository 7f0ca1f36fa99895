"""The hub's wire for scripted peers: certificates, the join over HTTPS and WebSocket over mutual TLS. Standard library and openssl(1) only."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import queue
import socket
import ssl
import struct
import subprocess
import threading
import time

PROJECT = "e632aba927ea4ac2b575ec1603d56f10"


def openssl(*arguments, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True)
    if done.returncode:
        raise AssertionError(f"openssl {' '.join(map(str, arguments))}: {done.stderr.decode()}")
    return done.stdout


def new_key(path: pathlib.Path):
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", path)


def csr_der(key: pathlib.Path, node: str) -> bytes:
    return openssl("req", "-new", "-key", key, "-subj", f"/C=CN/ST=Zhejiang/L=Hangzhou/O=system:nodes/CN=system:node:{node}", "-outform", "DER")


class WebSocket:
    """One end of a connection, for one thread: an SSL socket must not be read and written at once. Pings are answered in receive()."""

    def __init__(self, stream: ssl.SSLSocket, masks: bool, left_over: bytes = b""):
        self.stream, self.masks, self.buffer, self.whole = stream, masks, left_over, b""

    @classmethod
    def connect(cls, port: int, node: str, ca: pathlib.Path, certificate: pathlib.Path, key: pathlib.Path, headers: dict = {}):
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = False
        context.load_cert_chain(certificate, key)
        stream = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10))
        nonce = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": nonce, "Sec-WebSocket-Version": "13",
                 "Node_id": node, "Project_id": PROJECT, "ConnectionUse": "msg", **headers}
        stream.sendall((f"GET /{PROJECT}/{node}/events HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode())
        head, rest = read_head(stream)
        if " 101 " not in head.split("\r\n")[0]:
            raise AssertionError(f"the upgrade was refused: {head.splitlines()[0]}")
        return cls(stream, True, rest)

    def send(self, text: str):
        payload = text.encode()
        mask = os.urandom(4) if self.masks else b""
        size = len(payload)
        head = bytes([0x81]) + (bytes([size | (0x80 if mask else 0)]) if size < 126 else
                                bytes([126 | (0x80 if mask else 0)]) + struct.pack(">H", size) if size < 65536 else
                                bytes([127 | (0x80 if mask else 0)]) + struct.pack(">Q", size))
        self.stream.settimeout(20)
        self.stream.sendall(head + mask + (masked(payload, mask) if mask else payload))

    def receive(self, seconds: float):
        """The next message as JSON; None = none in that time; EOFError = the other side closed."""
        deadline = time.monotonic() + seconds
        while True:
            frame = self._frame()
            if frame is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.stream.settimeout(left)
                try:
                    more = self.stream.recv(65536)
                except TimeoutError:
                    return None
                if not more:
                    raise EOFError("the other side closed the connection")
                self.buffer += more
                continue
            final, opcode, payload = frame
            if opcode == 9:
                self.stream.sendall(bytes([0x8a, len(payload) | (0x80 if self.masks else 0)]) + (bytes(4) if self.masks else b"") + payload)
            elif opcode == 8:
                raise EOFError("the other side closed the WebSocket")
            elif opcode in (0, 1, 2):
                self.whole += payload
                if final:
                    text, self.whole = self.whole, b""
                    return json.loads(text)

    def close(self):
        try:
            self.stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.stream.close()

    def _frame(self):
        """(final, opcode, payload) of a whole frame at the head of the buffer, else None."""
        if len(self.buffer) < 2:
            return None
        first, second = self.buffer[:2]
        size, at = second & 0x7f, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(self.buffer) < at + width:
                return None
            size, at = int.from_bytes(self.buffer[at:at + width], "big"), at + width
        mask = self.buffer[at:at + 4] if second & 0x80 else b""
        at += len(mask)
        if second & 0x80 and len(mask) < 4 or len(self.buffer) < at + size:
            return None
        payload, self.buffer = self.buffer[at:at + size], self.buffer[at + size:]
        return bool(first & 0x80), first & 0xf, masked(payload, mask) if mask else payload


def masked(payload: bytes, mask: bytes) -> bytes:
    pad = (mask * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")


def read_head(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(4096)
        if not more:
            raise AssertionError("the connection ended before the head of its answer")
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    return head.decode(), rest


def join(port: int, node: str, token: str, folder: pathlib.Path):
    """As an edge joins: CA by hash, CSR signed by token. Leaves ca.crt, edge.crt and edge.key (PEM) in the folder."""
    folder.mkdir(exist_ok=True)
    loose = ssl.create_default_context()
    loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=loose, timeout=10)
    connection.request("GET", "/ca.crt")
    ca = connection.getresponse().read()
    digest, jwt = token.split(".", 1)
    if hashlib.sha256(ca).hexdigest() != digest:
        raise AssertionError("the token's hash is not the CA's")
    (folder / "ca.crt").write_bytes(openssl("x509", "-inform", "DER", stdin=ca))
    new_key(folder / "edge.key")
    connection.request("GET", "/edge.crt", body=csr_der(folder / "edge.key", node), headers={"Authorization": f"Bearer {jwt}", "NodeName": node})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise AssertionError(f"GET /edge.crt: {answer.status} {body[:200]}")
    (folder / "edge.crt").write_bytes(openssl("x509", "-inform", "DER", stdin=body))


class Cloud:
    """A scripted cloud: signs one edge in, then hands its WebSocket out by accept()."""

    def __init__(self, folder: pathlib.Path, hub_port: int, join_port: int):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        new_key(folder / "ca.key")
        openssl("req", "-x509", "-new", "-key", folder / "ca.key", "-subj", "/CN=KubeEdge", "-days", "30", "-out", folder / "ca.crt")
        new_key(folder / "server.key")
        (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        (folder / "server.crt").write_bytes(self.sign(openssl("req", "-new", "-key", folder / "server.key", "-subj", "/CN=cloudcore"), "PEM", folder / "san"))
        self.ca_der = openssl("x509", "-in", folder / "ca.crt", "-outform", "DER")
        self.token = hashlib.sha256(self.ca_der).hexdigest() + "." + self._jwt()
        self.sockets: queue.Queue = queue.Queue()
        for port, serve, mutual in ((join_port, self._serve_join, False), (hub_port, self._serve_hub, True)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server.crt", folder / "server.key")
            if mutual:
                context.load_verify_locations(folder / "ca.crt")
                context.verify_mode = ssl.CERT_REQUIRED
            listener = socket.create_server(("127.0.0.1", port))
            threading.Thread(target=self._listen, args=(listener, context, serve), daemon=True).start()

    def accept(self, seconds: float) -> WebSocket:
        return self.sockets.get(timeout=seconds)

    def sign(self, csr: bytes, form: str, extensions: pathlib.Path = None) -> bytes:
        extra = ["-extfile", extensions] if extensions else []
        return openssl("x509", "-req", "-inform", form, "-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key", "-CAcreateserial", "-days", "30", *extra, stdin=csr)

    def _jwt(self) -> str:
        part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
        text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"exp": int(time.time()) + 3600})
        key = openssl("ec", "-in", self.folder / "ca.key", "-outform", "DER")
        return (text + b"." + base64.urlsafe_b64encode(hmac.new(key, text, "sha256").digest()).rstrip(b"=")).decode()

    @staticmethod
    def _listen(listener, context, serve):
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=Cloud._greet, args=(plain, context, serve), daemon=True).start()

    @staticmethod
    def _greet(plain, context, serve):
        try:
            serve(context.wrap_socket(plain, server_side=True))
        except (OSError, AssertionError):
            plain.close()

    def _serve_join(self, stream):
        while True:
            head, body = read_head(stream)
            lines = head.split("\r\n")
            size = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
            while len(body) < size:
                body += stream.recv(4096)
            answer = self.ca_der if lines[0].startswith("GET /ca.crt ") else openssl("x509", "-outform", "DER", stdin=self.sign(body, "DER"))
            stream.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)

    def _serve_hub(self, stream):
        head, rest = read_head(stream)
        nonce = next(line.split(":", 1)[1].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1((nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        stream.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        self.sockets.put(WebSocket(stream, False, rest))
