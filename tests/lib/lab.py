"""A cloud, an edge and a broker for the integration tests, driven through the shipped binaries only."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KUBEEDGE_BUILD", ROOT / "build"))

for daemon in ("cloudcore", "edgecore"):
    if not (BUILD / "daemons" / daemon / daemon).exists():
        print(f"{daemon} is not built yet (the assembly is still being written)")
        sys.exit(77)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(seconds: float, what: str, check):
    """Calls check() until it returns something true and gives that back; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Lab:
    """Own folder, own ports; every process is ended by its pid when the block is left. Logs are shown when it fails."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ke-lab."))
        self.dir.chmod(0o777)
        self.api, self.hub, self.join, self.stream, self.mqtt, self.monitor, self.edge_monitor = (free_port() for _ in range(7))
        self.cloud_host = "127.0.0.1"
        self.processes = {}
        self.netns = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for name in list(self.processes):
            self.kill(name, signal.SIGTERM)
        if kind is not None and kind is not SystemExit:
            for log in sorted(self.dir.glob("*.log")):
                print(f"--- {log.name}\n" + "".join(log.read_text(errors="replace").splitlines(keepends=True)[-40:]))
        if self.netns:
            self.sh("lab_stop")
        shutil.rmtree(self.dir, ignore_errors=True)

    def sh(self, script: str) -> str:
        """Runs functions of examples/lab.sh on this lab; what they print."""
        start = f'. {ROOT}/examples/lab.sh; lab={self.dir}; lab_names=(containerd); lab_netns={self.netns or ""}; {script}'
        done = subprocess.run(["bash", "-c", start], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise AssertionError(f"{script}: {done.stdout}{done.stderr}")
        return done.stdout

    def containerd_up(self):
        """A containerd of its own in a network namespace of its own, with CNI and two images; or again after containerd_kill."""
        if self.netns:
            self.sh("lab_containerd_up")
        else:
            self.netns = self.sh("lab_containerd >&2 && echo $lab_netns").strip()

    def containerd_kill(self):
        self.sh("lab_kill containerd KILL")

    def ctr(self, *arguments, check=True) -> str:
        done = subprocess.run(["ctr", "-a", str(self.dir / "containerd.sock"), "-n", "k8s.io", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"ctr {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def where(self, program: str) -> list:
        """What a command of `program` starts with: a lab over several network namespaces enters one here."""
        return []

    def run(self, name: str, *command, **options):
        log = open(self.dir / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([str(part) for part in (*self.where(name), *command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        return self.processes[name]

    def kill(self, name: str, how=signal.SIGKILL):
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        return (self.dir / f"{name}.log").read_text(errors="replace")

    def cloud_up(self, *extra):
        self.run("cloudcore", BUILD / "daemons/cloudcore/cloudcore", "--standalone", "--data-dir", self.dir / "cloud",
                 "--api-port", self.api, "--hub-port", self.hub, "--join-port", self.join, "--stream-port", self.stream,
                 "--monitor", f"127.0.0.1:{self.monitor}", *extra)
        until(20, "the API answers", lambda: self.kubectl("get", "--raw", "/readyz", check=False).returncode == 0)

    @property
    def token(self) -> str:
        return (self.dir / "cloud/join.token").read_text().strip()

    def edge_command(self, node="edge1", token=None, data="edge", pods=False, mqtt=None):
        """`mqtt`: with the broker of broker_up(); where not said, an edge without pods has it and one with pods has not."""
        rest = ["--root-dir", self.dir / "kubelet", "--pod-logs", self.dir / "pod-logs", "--containerd", self.dir / "containerd.sock"] if pods else ["--no-pods"]
        rest += ["--mqtt", f"tcp://127.0.0.1:{self.mqtt}"] if (not pods if mqtt is None else mqtt) else ["--no-mqtt"]
        return [str(part) for part in (BUILD / "daemons/edgecore/edgecore", "--cloud", self.cloud_host, "--hub-port", self.hub, "--join-port", self.join, "--stream-port", self.stream,
                                       "--token", token or self.token, "--node-name", node, "--data-dir", self.dir / data,
                                       "--monitor", f"127.0.0.1:{self.edge_monitor}", *rest)]

    def edge_up(self, node="edge1", pods=False, data="edge"):
        self.run("edgecore", *self.edge_command(node, pods=pods, data=data))

    def broker_up(self):
        conf = self.dir / "mosquitto.conf"
        conf.write_text(f"listener {self.mqtt} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\nmax_queued_messages 0\n")
        self.run("mosquitto", "mosquitto", "-c", conf)
        until(10, "mosquitto answers", lambda: subprocess.run([*self.where("mosquitto_pub"), "mosquitto_pub", "-p", str(self.mqtt), "-t", "probe", "-n"], capture_output=True).returncode == 0)

    def kubectl(self, *arguments, check=True, stdin=None):
        done = subprocess.run([*self.where("kubectl"), "kubectl", "--kubeconfig", str(self.dir / "cloud/admin.kubeconfig"), *map(str, arguments)],
                              input=stdin, capture_output=True, text=True, timeout=90)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def node_ready(self, node="edge1"):
        until(30, f"node {node} exists", lambda: self.kubectl("get", "node", node, check=False).returncode == 0)
        self.kubectl("wait", "--for=condition=Ready", f"node/{node}", "--timeout=40s")

    def device(self, name="thermo-1", node="edge1", properties=("temperature",)):
        self.apply({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": {"name": "thermometer"},
                    "spec": {"protocol": "mqtt", "properties": [{"name": p, "type": "STRING", "accessMode": "ReadWrite"} for p in properties]}},
                   {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": name},
                    "spec": {"nodeName": node, "deviceModelRef": {"name": "thermometer"}, "protocol": {"protocolName": "mqtt"},
                             "properties": [{"name": p} for p in properties]}})

    def device_up(self):
        """Broker, cloud, an edge without pods and the device thermo-1, known at the edge."""
        self.broker_up()
        self.cloud_up()
        self.edge_up()
        self.node_ready()
        self.device()
        until(20, "the device is known at the edge", lambda: "code" not in (self.twin() or {"code": 404}))

    def reported(self, name="thermo-1", prop="temperature"):
        done = self.kubectl("get", "devicestatus", name, "-o", "json", check=False)
        if done.returncode:
            return None
        for twin in json.loads(done.stdout).get("status", {}).get("twins", []):
            if twin.get("propertyName") == prop:
                return twin.get("reported", {}).get("value")
        return None

    def ask(self, topic: str, payload: dict, answer: str, seconds=3):
        """Publishes once the answer can be heard; the answer's JSON or None."""
        listener = subprocess.Popen([*self.where("mosquitto_sub"), "mosquitto_sub", "-p", str(self.mqtt), "-W", str(seconds), "-C", "1", "-t", answer], stdout=subprocess.PIPE, text=True)
        time.sleep(0.2)
        subprocess.run([*self.where("mosquitto_pub"), "mosquitto_pub", "-p", str(self.mqtt), "-q", "1", "-t", topic, "-m", json.dumps(payload)], capture_output=True)
        out = listener.communicate()[0].strip()
        return json.loads(out) if out else None

    def twin(self, name="thermo-1", ns="default"):
        topic = f"$hw/events/device/{ns}/{name}/twin/get"
        return self.ask(topic, {"event_id": "q"}, topic + "/result")
