#!/usr/bin/env python3
"""What a wrong token, a foreign certificate, a false name or a taken port gets: one line that says what, and exit code 1."""
import base64
import hashlib
import hmac
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_until(lab, expires: int) -> str:
    """A token signed as the cloud signs it: hub-protocol 3.4, keys from the Secret that kubectl shows."""
    secret = json.loads(lab.kubectl("-n", "kubeedge", "get", "secret", "casecret", "-o", "json").stdout)["data"]
    ca, key = base64.b64decode(secret["cadata"]), base64.b64decode(secret["cakeydata"])
    head = url64(b'{"alg":"HS256","typ":"JWT"}') + "." + url64(json.dumps({"exp": expires}).encode())
    return hashlib.sha256(ca).hexdigest() + "." + head + "." + url64(hmac.new(key, head.encode(), hashlib.sha256).digest())


def refused(lab, token, *words, node="bad1"):
    done = subprocess.run(lab.edge_command(node=node, token=token, data=node), capture_output=True, text=True, timeout=30)
    text = done.stdout + done.stderr
    assert done.returncode == 1, f"exit {done.returncode}: {text}"
    line = [row for row in text.splitlines() if row.startswith("edgecore: ")]
    assert len(line) == 1, f"not one line: {text}"
    for word in words:
        assert word in line[0], f"{word!r} is not in {line[0]!r}"
    assert token not in text, "the token was printed"
    print("refused:", line[0])


def upgrade(lab, node_header: str) -> str:
    """The status line that the hub answers edge1's certificate with, under the given node_id."""
    context = ssl.create_default_context(cafile=str(next(lab.dir.glob("edge/**/*ootCA.crt"))))
    pki = next(lab.dir.glob("edge/**/server.crt")).parent
    context.load_cert_chain(pki / "server.crt", pki / "server.key")
    with socket.create_connection(("127.0.0.1", lab.hub), 5) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
        tls.sendall((f"GET /p/{node_header}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: okVcQoqm0GKgEKzoDd6jHw==\r\n"
                     f"node_id: {node_header}\r\nproject_id: p\r\nConnectionUse: msg\r\n\r\n").encode())
        answer = b""
        while b" 101 " not in answer:
            piece = tls.recv(4096)
            if not piece:
                break
            answer += piece
        return answer.decode(errors="replace")


def expired_certificate(lab, pki: pathlib.Path):
    """Puts a certificate of the cloud's own CA into the node's folder that ended in 2024; OpenSSL signs it."""
    work = lab.dir / "ca"
    work.mkdir()
    secret = json.loads(lab.kubectl("-n", "kubeedge", "get", "secret", "casecret", "-o", "json").stdout)["data"]
    for name, form in (("cadata", "x509"), ("cakeydata", "ec")):
        subprocess.run(["openssl", form, "-inform", "DER", "-out", work / name], input=base64.b64decode(secret[name]), check=True, capture_output=True)
    (work / "index").touch()
    (work / "serial").write_text("7001\n")
    (work / "conf").write_text(f"""[ca]
default_ca = d
[d]
database = {work}/index
serial = {work}/serial
new_certs_dir = {work}
default_md = sha256
policy = p
x509_extensions = x
[p]
organizationName = supplied
commonName = supplied
[x]
extendedKeyUsage = clientAuth
[req]
distinguished_name = n
[n]
""")
    subprocess.run(["openssl", "req", "-config", work / "conf", "-new", "-key", pki / "server.key", "-subj", "/O=system:nodes/CN=system:node:edge1", "-out", work / "csr"],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "ca", "-config", work / "conf", "-batch", "-in", work / "csr", "-cert", work / "cadata", "-keyfile", work / "cakeydata",
                    "-startdate", "20240101000000Z", "-enddate", "20240201000000Z", "-notext", "-out", pki / "server.crt"], check=True, capture_output=True)


def expired_while_away(lab, data: str):
    """C16: with a dead token the node says why, goes on and asks again; with a live one it joins by itself."""
    lab.device()
    until(20, "the device is known at the edge", lambda: "code" not in (lab.twin() or {"code": 404}))
    lab.kill("edgecore")
    (lab.dir / "edgecore.log").unlink()
    expired_certificate(lab, next((lab.dir / data).glob("**/server.crt")).parent)
    lab.run("edgecore", *lab.edge_command(token=token_until(lab, int(time.time()) - 3600), data=data))
    until(10, "the reason is said", lambda: "the certificate expired 2024-02-01T00:00:00Z; joining anew" in lab.log("edgecore") and "the token expired" in lab.log("edgecore"))
    until(20, "it asks again", lambda: lab.log("edgecore").count("; joining anew") >= 3)
    assert lab.processes["edgecore"].poll() is None, "the node's daemon ended"
    assert "code" not in (lab.twin() or {"code": 404}), "its devices are answered meanwhile"
    lab.kill("edgecore")
    lab.edge_up(data=data)
    until(20, "with a token it joins by itself", lambda: "joined, certificate until" in lab.log("edgecore"))
    lab.kubectl("wait", "--for=condition=Ready", "node/edge1", "--timeout=40s")
    print("C16: an expired certificate: the node goes on; with a token it joins anew")


with Lab() as lab:
    lab.broker_up()
    lab.cloud_up()
    good = lab.token
    assert token_until(lab, 4_102_444_800).split(".")[0] == good.split(".")[0], "the token starts with the CA's hash"

    refused(lab, "not-a-token", "token")
    refused(lab, token_until(lab, int(time.time()) - 3600), "expired")
    flipped = good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]
    refused(lab, flipped, "signature")
    other_ca = ("0" if good[0] != "0" else "1") + good[1:]
    refused(lab, other_ca, "CA")

    lab.edge_up()
    lab.node_ready()
    assert " 101 " in upgrade(lab, "edge1").splitlines()[0]
    until(10, "edge1 came back after its double", lambda: lab.kubectl("get", "node", "edge1", check=False).returncode == 0)
    answer = upgrade(lab, "edge2")
    assert " 403 " in answer.splitlines()[0] and "edge1" in answer, answer
    print("refused: edge1's certificate under the name edge2:", answer.splitlines()[-1])

    # Another machine takes the name with a token: the certificate of the first is worth nothing from then on.
    first = next(lab.dir.glob("edge/**/server.crt"))
    until(3, "the first certificate is a second old", lambda: time.time() - first.stat().st_mtime > 1.1)
    lab.kill("edgecore")
    lab.edge_up(data="edge-of-another-machine")
    until(20, "the new machine is in the certificate's place", lambda: "edge1" in lab.kubectl(
        "-n", "kubeedge", "get", "configmap", "-l", "libkubeedge.io/revocations", "-o", "jsonpath={.items[*].data}").stdout)
    lab.node_ready()
    answer = upgrade(lab, "edge1")
    assert " 403 " in answer.splitlines()[0] and "was revoked" in answer, answer
    print("refused: the older certificate of edge1:", answer.splitlines()[-1])
    # The operator shuts one node out.
    lab.kubectl("-n", "kubeedge", "create", "configmap", "stolen", "--from-literal=edge1=2199-01-01T00:00:00Z", "--from-literal=edge7=soon")
    lab.kubectl("-n", "kubeedge", "label", "configmap", "stolen", "libkubeedge.io/revocations=")
    until(10, "the live session ends", lambda: "node edge1 disconnected: its certificate was revoked" in lab.log("cloudcore"))
    until(10, "the entry that is no time is named", lambda: "stolen: data.edge7 is no RFC 3339 time" in lab.log("cloudcore"))
    lab.kubectl("-n", "kubeedge", "delete", "configmap", "stolen")
    until(30, "with the line gone the edge is back", lambda: lab.log("cloudcore").rstrip().rfind("node edge1 connected") > lab.log("cloudcore").rfind("its certificate was revoked"))

    expired_while_away(lab, "edge-of-another-machine")

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in lab.dir.glob("**/*") if path.suffix in (".key", ".db", ".kubeconfig") or path.name == "join.token"}
    assert modes and set(modes.values()) == {"0o600"}, modes

    taken = subprocess.run([lab.processes["cloudcore"].args[0], "--standalone", "--data-dir", str(lab.dir / "second"), "--api-port", str(lab.api),
                            "--hub-port", str(lab.hub), "--join-port", str(lab.join)], capture_output=True, text=True, timeout=30)
    text = taken.stdout + taken.stderr
    assert taken.returncode == 1 and str(lab.api) in text and "in use" in text, text
    print("refused:", text.strip().splitlines()[-1])
