#!/usr/bin/env python3
"""kubectl logs through the stream tunnel, with all its flags, against the files under /var/log/pods that containerd writes.

What is expected is computed here from the file; what a user sees is kubectl's own output.
"""
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402

IMAGE = "docker.io/library/busybox:1"
BIG_LINES = 200_000
if os.geteuid() != 0:
    print("needs root: it starts a containerd of its own")
    sys.exit(77)


def pod(name, *containers, **spec):
    """Containers are (name, script) pairs."""
    made = [{"name": c, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]} for c, script in containers]
    made[0].update(spec.pop("container", {}))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name.split("-")[0]}},
            "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, "containers": made, **spec}}


class Logs:
    def __init__(self, lab):
        self.lab = lab

    def status(self, name):
        return json.loads(self.lab.kubectl("get", "pod", name, "-o", "json").stdout)["status"]

    def file(self, name, container="c", count=0) -> pathlib.Path:
        return next((self.lab.dir / "pod-logs").glob(f"default_{name}_*/{container}")) / f"{count}.log"

    def lines(self, name, container="c", count=0):
        """(time, stream, text) of each whole line in the file; parts are joined."""
        out, held = [], ""
        for line in self.file(name, container, count).read_text().splitlines():
            when, stream, tag, *text = line.split(" ", 3)
            when = when[:-1].ljust(29, "0") + "Z"   # nine digits of fraction
            held += text[0] if text else ""
            if tag == "F":
                out.append((when, stream, held))
                held = ""
        return out

    def text(self, name, container="c", count=0):
        return "".join(text + "\n" for _, _, text in self.lines(name, container, count))

    def kubectl(self, *arguments, code=0):
        done = self.lab.kubectl("logs", *arguments, check=False)
        assert done.returncode == code, (arguments, done.returncode, done.stdout[-300:], done.stderr)
        return done.stdout if code == 0 else done.stderr.strip()

    def follow(self, *arguments, **options):
        return subprocess.Popen(["kubectl", "--kubeconfig", str(self.lab.dir / "cloud/admin.kubeconfig"), "logs", "-f", *arguments],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def open_logs(self):
        """The log files that edgecore holds open."""
        folder = pathlib.Path(f"/proc/{self.lab.processes['edgecore'].pid}/fd")
        return [target for target in (os.readlink(fd) for fd in folder.iterdir() if fd.exists()) if "/pod-logs/" in target]

    def resident_kb(self, daemon):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.lab.processes[daemon].pid}/status").read_text())[1])


def whole(logs):
    """The whole log, of both streams, in the file's order; long lines that the runtime cut in parts come out whole."""
    until(20, "all lines are in the file", lambda: len(logs.lines("talker")) == 23)
    expected = logs.text("talker")
    assert "P" in {line.split(" ", 3)[2] for line in logs.file("talker").read_text().splitlines()}, "the runtime made no parts"
    assert logs.kubectl("talker") == expected
    assert {stream for _, stream, _ in logs.lines("talker")} == {"stdout", "stderr"}


def chosen(logs):
    """--tail, --timestamps, --limit-bytes, --since, --since-time, -c, --all-containers, -l."""
    lines, text = logs.lines("talker"), logs.text("talker")
    # --tail counts the file's lines, as a kubelet does: of a long line these are its parts.
    records = [line.split(" ", 3) for line in logs.file("talker").read_text().splitlines()]
    assert records[-4][2] == "P" and records[-3][2] == "F"
    assert logs.kubectl("talker", "--tail=4") == "".join(record[3] + ("\n" if record[2] == "F" else "") for record in records[-4:])
    assert logs.kubectl("talker", "--tail=0") == ""
    assert logs.kubectl("talker", "--limit-bytes=100") == text[:100]
    stamped = logs.kubectl("talker", "--timestamps", "--tail=2").splitlines()
    assert stamped == [f"{when} {line}" for when, _, line in lines[-2:]], stamped
    late = lines[12][0][:19]   # kubectl sends whole seconds
    assert logs.kubectl("talker", f"--since-time={late}Z").splitlines() == [line for when, _, line in lines if when[:19] >= late]
    assert logs.kubectl("talker", "--since=1h") == text
    assert logs.kubectl("pair", "-c", "a") == "from a\n" and logs.kubectl("pair", "-c", "b") == "from b\n"
    assert sorted(logs.kubectl("pair", "--all-containers").splitlines()) == ["from a", "from b"]   # in the order of a Go map
    assert sorted(logs.kubectl("-l", "app=pair", "--all-containers", "--prefix").splitlines()) == ["[pod/pair/a] from a", "[pod/pair/b] from b"]
    assert logs.kubectl("init", "-c", "first") == "init says\n"


def previous(logs):
    """--previous: the instance before this one."""
    until(60, "the pod was started again", lambda: logs.status("again").get("containerStatuses", [{}])[0].get("restartCount", 0) >= 1)
    until(20, "the second instance spoke", lambda: logs.file("again", count=1).exists() and logs.lines("again", count=1))
    assert logs.kubectl("again", "--previous") == logs.text("again", count=0) == "life 1\n"
    assert logs.kubectl("again") == logs.text("again", count=1) == "life 2\n"


def refusals(logs):
    """What is not there is refused in Kubernetes' words."""
    for wanted, arguments in ((": container nope is not valid for pod pair", ("pair", "-c", "nope")), ('(NotFound): pods "nobody" not found', ("nobody",)),
                              ('previous terminated container "c" in pod "talker" not found', ("talker", "--previous"))):
        refused = logs.kubectl(*arguments, code=1)
        assert wanted in refused, refused
    until(20, "the image is known to be missing", lambda: (logs.status("noimage").get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("reason", "").find("Image") >= 0)
    waiting = logs.kubectl("noimage", code=1)
    assert re.search(r'\(BadRequest\): container "c" in pod "noimage" is waiting to start: (image can\'t be pulled|trying and failing to pull image)', waiting), waiting
    assert logs.kubectl("homeless") == ""   # no node has it: as kube-apiserver, nothing
    raw = logs.lab.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/pair/log", check=False).stderr
    assert "a container name must be specified for pod pair, choose one of: [a b]" in raw, raw
    raw = logs.lab.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/talker/log?tailLines=-1", check=False).stderr
    assert "tailLines: Invalid value: -1: must be greater than or equal to 0" in raw, raw


def follows(logs):
    """-f shows what is written as it is written, over a log that is cut back, and ends with the container."""
    reader = logs.follow("ticker", "--tail=1", bufsize=0)   # communicate() below does not see what a buffer holds
    first = int(reader.stdout.readline())
    assert [int(reader.stdout.readline()) for _ in range(10)] == list(range(first + 1, first + 11))
    with open(logs.file("ticker"), "r+") as log:
        log.truncate(0)
    after = [int(reader.stdout.readline()) for _ in range(5)]
    assert after == sorted(set(after)), after
    logs.lab.kubectl("delete", "pod", "ticker", "--wait=false")
    rest, error = reader.communicate(timeout=30)
    assert reader.returncode == 0, error
    numbers, following = [int(line) for line in rest.split()], after[-1] + 1   # none, if the container ends at once
    assert numbers == list(range(following, following + len(numbers))) and not logs.open_logs(), (after, numbers[-5:], logs.open_logs())


def slow_reader(logs):
    """A user who does not read neither fills memory nor holds up another; and in the end has all of it."""
    until(60, "the big log is whole", lambda: logs.kubectl("big", "--tail=1") == f"line {BIG_LINES}\n")
    size = logs.file("big").stat().st_size
    before = {daemon: logs.resident_kb(daemon) for daemon in ("cloudcore", "edgecore")}
    reader = logs.follow("big", bufsize=0)
    reader.stdout.read(1)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:   # kubectl's pipe is full all the while
        begun = time.monotonic()
        assert logs.kubectl("big", "--tail=1") == f"line {BIG_LINES}\n"
        assert time.monotonic() - begun < 3
    grown = {daemon: logs.resident_kb(daemon) - before[daemon] for daemon in before}
    assert max(grown.values()) < 8 * 1024, grown
    print(f"a log of {size >> 20} MiB that nobody reads: grown by {grown} KiB")
    digest = hashlib.sha256(b"l")
    seen = 1
    wanted = len(logs.text("big"))
    while seen < wanted:
        piece = reader.stdout.read(65536)
        assert piece, (seen, wanted)
        digest.update(piece)
        seen += len(piece)
    assert digest.hexdigest() == hashlib.sha256(logs.text("big").encode()).hexdigest()
    reader.kill()
    reader.wait()
    until(10, "the edge closed the log that its user left", lambda: not logs.open_logs())


def ends(logs):
    """A stream ends when the edge or the cloud goes; a new one works as soon as they are back."""
    reader = logs.follow("idle")
    assert reader.stdout.readline() == b"idle\n"
    logs.lab.kill("edgecore", signal.SIGKILL)
    _, error = reader.communicate(timeout=15)
    assert reader.returncode == 1, error
    refused = until(10, "the tunnel is gone", lambda: (lambda done: done.stderr if done.returncode else None)(logs.lab.kubectl("logs", "idle", check=False)))
    assert 'Error from server (ServiceUnavailable): node "edge1" is not connected' in refused, refused
    logs.lab.edge_up(pods=True)
    until(30, "logs are there again", lambda: logs.lab.kubectl("logs", "idle", check=False).stdout == "idle\n")

    reader = logs.follow("idle")
    assert reader.stdout.readline() == b"idle\n"
    logs.lab.kill("cloudcore", signal.SIGKILL)
    reader.communicate(timeout=15)
    assert reader.returncode == 1
    until(10, "the edge closed its log", lambda: not logs.open_logs())
    logs.lab.cloud_up()
    until(40, "logs are there again", lambda: logs.lab.kubectl("logs", "idle", check=False).stdout == "idle\n")


STEPS = [whole, chosen, previous, refusals, follows, slow_reader, ends]

with Lab() as lab:
    lab.containerd_up()
    lab.cloud_up()
    lab.edge_up(pods=True)
    lab.node_ready()
    long_line = "i=0; s=; while [ $i -lt 4000 ]; do s=${s}0123456789; i=$((i+1)); done; echo $s"
    lab.apply(
        pod("talker", ("c", f"for i in 1 2 3 4 5 6 7 8 9 10; do echo out $i; echo err $i >&2; sleep 0.1; done; {long_line}; echo; echo last; sleep 1000000")),
        pod("pair", ("a", "echo from a; sleep 1000000"), ("b", "echo from b; sleep 1000000")),
        pod("init", ("c", "sleep 1000000"), initContainers=[{"name": "first", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", "echo init says"]}]),
        pod("again", ("c", "if [ -e /life/1 ]; then echo life 2; sleep 1000000; fi; touch /life/1; echo life 1; exit 1"), volumes=[{"name": "life", "emptyDir": {}}],
            container={"volumeMounts": [{"name": "life", "mountPath": "/life"}]}),
        pod("ticker", ("c", "trap 'exit 0' TERM; i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done")),
        pod("idle", ("c", "echo idle; sleep 1000000")),
        pod("big", ("c", f"i=0; while [ $i -lt {BIG_LINES} ]; do i=$((i+1)); echo line $i; done; sleep 1000000")),
        pod("noimage", ("c", "true"), container={"image": "localhost/none:1"}), pod("homeless", ("c", "true"), nodeSelector={"no": "where"}))
    logs = Logs(lab)
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=80s", *(f"pod/{name}" for name in ("talker", "pair", "init", "ticker", "idle", "big")))
    for step in STEPS if len(sys.argv) == 1 else [globals()[name] for name in sys.argv[1:]]:
        begun = time.monotonic()
        step(logs)
        print(f"ok {step.__name__} ({time.monotonic() - begun:.1f} s): {step.__doc__.splitlines()[0]}")
