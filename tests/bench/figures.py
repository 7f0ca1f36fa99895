"""Takes the figures; run.sh has made the folder, the broker and the container runtime before. Not a suite of its own."""
import argparse
import base64
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import BUILD, ROOT, free_port, until  # noqa: E402

CONNECTIONS = 300     # thin edges: a TLS session and an upgrade each, own certificates
PODS = 10
IMAGE = "docker.io/library/busybox:1"
STARTS = 3


# ---- what /proc says

def memory(pid) -> dict:
    rows = (line.split() for line in open(f"/proc/{pid}/smaps_rollup"))
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) == 3}
    return {"rss": kib["Rss"] / 1024, "pss": kib["Pss"] / 1024, "anon": kib["Pss_Anon"] / 1024}


def rss_kib(pid) -> int:
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Rss:"))


def threads(pid) -> list:
    """How often each thread went to sleep, which is how often it woke."""
    out = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        out.append(int(status["voluntary_ctxt_switches"]))
    return out


def run_seconds(pid) -> float:
    """CPU time from schedstat, in nanoseconds: a mostly sleeping process stays below the clock ticks of /proc/PID/stat."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def written(pid) -> int:
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/io") if line.startswith("write_bytes"))


def busy(pids: dict, seconds: float) -> dict:
    """CPU seconds, KiB written and wake-ups, each a minute, and the memory at the end."""
    before = {name: (run_seconds(pid), written(pid), sum(threads(pid))) for name, pid in pids.items()}
    start = time.monotonic()
    time.sleep(seconds)
    minutes = (time.monotonic() - start) / 60
    out = {}
    for name, pid in pids.items():
        cpu, disk, wakes = before[name]
        out[name] = {**memory(pid), "threads": len(threads(pid)), "cpu": (run_seconds(pid) - cpu) / minutes,
                     "kib": (written(pid) - disk) / 1024 / minutes, "wakes": (sum(threads(pid)) - wakes) / minutes}
    return out


# ---- the API, without kubectl's own start in the way

class Api:
    def __init__(self, kubeconfig: pathlib.Path):
        view = json.loads(subprocess.run(["kubectl", "--kubeconfig", kubeconfig, "config", "view", "--raw", "-o", "json"], capture_output=True, check=True).stdout)
        cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        self.host = cluster["server"].removeprefix("https://")
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        pem = kubeconfig.parent / "bench-client.pem"
        pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.context.load_cert_chain(pem)
        self.connection = self.connect()

    def connect(self):
        return http.client.HTTPSConnection(self.host, context=self.context, timeout=60)

    def call(self, method, path, body=None):
        self.connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        data = json.loads(answer.read())
        if answer.status >= 300 and answer.status != 404:
            raise AssertionError(f"{method} {path}: {answer.status} {data.get('message')}")
        return data

    def watch(self, path):
        """The events from now on: the watch is open when this returns."""
        version = self.call("GET", path)["metadata"]["resourceVersion"]
        connection = self.connect()
        connection.request("GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=60")
        answer = connection.getresponse()
        return (json.loads(line) for line in iter(answer.readline, b""))


def ready(thing) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in thing.get("status", {}).get("conditions", []))


# ---- the daemons

class Pair:
    def __init__(self, args):
        self.lab, self.mqtt = pathlib.Path(args.lab), args.mqtt
        self.api_port, self.hub, self.join, self.stream = (free_port() for _ in range(4))
        self.processes = {}

    def run(self, name, *command):
        log = open(self.lab / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self.processes[name].pid

    def stop(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    def cloud_up(self):
        pid = self.run("cloudcore", BUILD / "daemons/cloudcore/cloudcore", "--standalone", "--data-dir", self.lab / "cloud", "--api-port", self.api_port,
                       "--hub-port", self.hub, "--join-port", self.join, "--stream-port", self.stream)
        config = self.lab / "cloud/admin.kubeconfig"
        until(20, "the API answers", lambda: subprocess.run(["kubectl", "--kubeconfig", config, "get", "--raw", "/readyz"], capture_output=True).returncode == 0)
        self.api = Api(config)
        return pid

    def edge_up(self):
        return self.run("edgecore", BUILD / "daemons/edgecore/edgecore", "--cloud", "127.0.0.1", "--hub-port", self.hub, "--join-port", self.join, "--stream-port", self.stream,
                        "--token-file", self.lab / "cloud/join.token", "--node-name", "edge1", "--data-dir", self.lab / "edge", "--root-dir", self.lab / "kubelet",
                        "--pod-logs", self.lab / "pod-logs", "--containerd", self.lab / "containerd.sock", "--mqtt", f"tcp://127.0.0.1:{self.mqtt}")

    def start_to_ready(self) -> float:
        """From the start of the process to Ready=True on a watch; the Node is made anew, certificates are there or not."""
        self.api.call("DELETE", "/api/v1/nodes/edge1")
        events = self.api.watch("/api/v1/nodes")
        start = time.monotonic()
        self.edge_up()
        for event in events:
            if event["object"]["metadata"]["name"] == "edge1" and event["type"] != "DELETED" and ready(event["object"]):
                return time.monotonic() - start
        raise AssertionError("the node did not become Ready within 60 s")

    def pods_to_ready(self) -> float:
        path = "/api/v1/namespaces/default/pods"
        events = self.api.watch(path)
        waiting = {f"bench-{i}" for i in range(PODS)}
        start = time.monotonic()
        for name in sorted(waiting):
            self.api.call("POST", path, {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"nodeName": "edge1", "hostNetwork": True, "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
                         "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "1000000"]}]}})
        for event in events:
            if ready(event["object"]):
                waiting.discard(event["object"]["metadata"]["name"])
            if not waiting:
                return time.monotonic() - start
        raise AssertionError(f"not Ready within 60 s: {sorted(waiting)}")


# ---- many thin edges

class ThinEdges:
    """Joined with certificates of their own; each holds a session as an idle edge does, its keepalive included."""

    def __init__(self, pair, count):
        self.pair, self.links, self.alive = pair, [], {}
        self.folder = pair.lab / "thin"
        self.folder.mkdir()
        token = (pair.lab / "cloud/join.token").read_text().strip().split(".", 1)[1]
        ca = pair.lab / "cloud/pki/ca.crt"
        key = self.folder / "key.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
        for number in range(count):
            name = f"thin-{number}"
            csr = subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", f"/O=system:nodes/CN=system:node:{name}", "-outform", "DER"],
                                 capture_output=True, check=True).stdout
            connection = http.client.HTTPSConnection("127.0.0.1", pair.join, context=ssl.create_default_context(cafile=ca), timeout=20)
            connection.request("GET", "/edge.crt", csr, {"NodeName": name, "Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            der = answer.read()
            assert answer.status == 200, f"join of {name}: {answer.status} {der[:200]}"
            connection.close()
            (self.folder / f"{name}.crt").write_text(ssl.DER_cert_to_PEM_cert(der))

    def connect(self, numbers):
        for number in numbers:
            self.refresh()
            name = f"thin-{number}"
            context = ssl.create_default_context(cafile=self.pair.lab / "cloud/pki/ca.crt")
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / "key.pem")
            tls = context.wrap_socket(socket.create_connection(("127.0.0.1", self.pair.hub), 10), server_hostname="127.0.0.1")
            project = "e632aba927ea4ac2b575ec1603d56f10"
            tls.sendall((f"GET /{project}/{name}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         f"Sec-WebSocket-Key: okVcQoqm0GKgEKzoDd6jHw==\r\nnode_id: {name}\r\nproject_id: {project}\r\nConnectionUse: msg\r\n\r\n").encode())
            head = b""
            while b"\r\n\r\n" not in head:
                piece = tls.recv(4096)
                assert piece, f"{name}: closed at the upgrade: {head!r}"
                head += piece
            assert b" 101 " in head.split(b"\r\n")[0], head
            self.links.append(tls)
            self.keepalive(tls)

    def keepalive(self, tls):
        text = json.dumps({"header": {"msg_id": f"00000000-0000-4000-8000-{time.time_ns() % 10**12:012d}", "timestamp": int(time.time() * 1000)},
                           "route": {"source": "edgehub", "group": "resource", "operation": "keepalive", "resource": "node"}, "content": "ping"}).encode()
        mask = b"\0\0\0\0"
        head = bytes([0x81, 0x80 | len(text)]) if len(text) < 126 else bytes([0x81, 0x80 | 126]) + len(text).to_bytes(2, "big")
        tls.setblocking(True)
        tls.sendall(head + mask + text)
        tls.setblocking(False)
        self.alive[tls] = time.monotonic()

    def idle(self, seconds):
        """What an idle edge does: reads, and says every 15 s that it is there."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for tls in select.select(self.links, [], [], min(left, 1))[0]:
                try:
                    assert tls.recv(65536) != b"", "the cloud closed an idle session"
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass
            self.refresh()

    def refresh(self):
        for tls, last in list(self.alive.items()):
            if time.monotonic() - last > 15:
                self.keepalive(tls)

    def close(self):
        for tls in self.links:
            tls.close()


# ---- the report

def line(what, value, beside=""):
    print(f"  {what:<44} {value:<24} {beside}", flush=True)


def describe():
    options = {one["name"]: one["value"] for one in json.loads((BUILD / "meson-info/intro-buildoptions.json").read_text())}
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    sizes = {name: (BUILD / "daemons" / name / name).stat().st_size / 2**20 for name in ("edgecore", "cloudcore")}
    print(f"commit {commit}, {options['buildtype']} -O{options['optimization']}, third parties {'static' if options['static_daemons'] == 'enabled' else 'shared'}, "
          f"LTO {'on' if options['b_lto'] else 'off'}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for name, size in sizes.items():
        line(f"{name} binary", f"{size:.1f} MiB")


def show(when, sample, budgets):
    for name, one in sample.items():
        line(f"{name} RSS {when}", f"{one['rss']:.1f} MiB", f"PSS {one['pss']:.1f}, anonymous {one['anon']:.1f}, {one['threads']} threads; {budgets.get(name, '')}")
        line(f"{name} CPU {when}", f"{one['cpu']:.3f} s a minute", f"{one['wakes']:.0f} wake-ups a minute; {budgets.get(name + ' cpu', '')}")
        line(f"{name} disk writes {when}", f"{one['kib']:.0f} KiB a minute")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lab", required=True)
    parser.add_argument("--mqtt", required=True, type=int)
    parser.add_argument("--sample", type=float, default=60)
    args = parser.parse_args()
    pair = Pair(args)
    describe()
    try:
        puts = dict(row.split() for row in subprocess.run([BUILD / "tests/bench/bench-store", pair.lab], capture_output=True, text=True, check=True).stdout.splitlines())
        line("durable puts, group commit", f"{puts['group']} a second", f"floor: {puts['autocommit']} a second with a commit each; budget 10000")

        # Before there is an edgecore: it would take the floor's pods for strangers and remove them.
        floors = [float(subprocess.run([BUILD / "tests/bench/bench-cri", pair.lab / "containerd.sock", IMAGE, str(PODS)], stdout=subprocess.PIPE, text=True, check=True).stdout)
                  for _ in range(STARTS)]
        floor = sorted(floors)[STARTS // 2]

        cloud = pair.cloud_up()
        joined = pair.start_to_ready()
        line("edgecore start to Ready, with join", f"{joined:.2f} s", "")
        starts = []
        for _ in range(STARTS):
            pair.stop("edgecore")
            starts.append(pair.start_to_ready())
        line("edgecore start to Ready", f"{sorted(starts)[STARTS // 2]:.2f} s", f"of {', '.join(f'{one:.2f}' for one in starts)}; budget 0.3, upstream 1.25")
        pids = {"edgecore": pair.processes["edgecore"].pid, "cloudcore": cloud}
        time.sleep(12)   # registration, first lease and status are over
        show("idle", busy(pids, args.sample), {"edgecore": "budget 12, upstream 89.8", "cloudcore": "budget 14, upstream 83"})

        took = pair.pods_to_ready()
        line(f"{PODS} pods created to all Ready", f"{took:.2f} s", f"floor: {floor:.2f} s through CRI alone ({took / floor:.2f} x); budget 1.2 x, upstream 2.05 s")
        time.sleep(5)
        show(f"with {PODS} pods", busy(pids, args.sample), {"edgecore": "budget 14, upstream 96.6", "edgecore cpu": "budget 0.1, upstream 0.62"})

        thin = ThinEdges(pair, CONNECTIONS)
        thin.connect(range(20))     # what the first ones cost (code touched, pools grown) is not a connection's
        thin.idle(3)
        before = rss_kib(cloud)
        thin.connect(range(20, CONNECTIONS))
        thin.idle(8)
        line(f"an idle mTLS session in cloudcore ({CONNECTIONS})", f"{(rss_kib(cloud) - before) / (CONNECTIONS - 20):.1f} KiB", "budget 24")
        thin.close()
    except BaseException:
        for log in ("cloudcore.log", "edgecore.log"):
            if (pair.lab / log).exists():
                print(f"--- {log}", *(pair.lab / log).read_text(errors="replace").splitlines()[-20:], sep="\n")
        raise
    finally:
        for name in list(pair.processes):
            pair.stop(name)


if __name__ == "__main__":
    main()
