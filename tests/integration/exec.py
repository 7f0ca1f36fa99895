#!/usr/bin/env python3
"""kubectl exec, attach and port-forward through the stream tunnel, to a real containerd.

Everything runs in the network namespace of the containerd, whose streaming server listens on its loopback.
"""
import hashlib
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, free_port, until  # noqa: E402

IMAGE = "docker.io/library/busybox:1"
if os.geteuid() != 0:
    print("needs root: it starts a containerd of its own")
    sys.exit(77)


class NetnsLab(Lab):
    """Cloud, edge and kubectl beside the containerd."""

    def inside(self, *command):
        return ["nsenter", f"--net=/run/netns/{self.netns}", "--", *map(str, command)]

    def run(self, name, *command, **options):
        return super().run(name, *self.inside(*command), **options)

    def command(self, *arguments):
        return self.inside("kubectl", "--kubeconfig", self.dir / "cloud/admin.kubeconfig", *arguments)

    def kubectl(self, *arguments, check=True, stdin=None):
        done = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=90)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done

    def tunnel_connections(self):
        """Edgecore's connections besides those to the cloud: to the runtime's streaming server."""
        listing = subprocess.run(self.inside("ss", "-tnpH", "state", "established"), capture_output=True, text=True).stdout
        cloud = {str(self.hub), str(self.join), str(self.stream)}
        mine = [line.split()[3] for line in listing.splitlines() if f"pid={self.processes['edgecore'].pid}," in line]
        return [peer for peer in mine if peer.rsplit(":", 1)[1] not in cloud]


def pod(name, script, container=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, **spec,
                     "containers": [{"name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script], **(container or {})}]}}


def runs(lab):
    """exec: output, error output, exit code, standard input, arguments as they are."""
    done = lab.kubectl("exec", "box", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n"), done
    done = lab.kubectl("exec", "box", "--", "sh", "-c", "exit 7", check=False)
    assert done.returncode == 7 and "exit code 7" in done.stderr, done
    assert lab.kubectl("exec", "box", "-c", "c", "--", "echo", "a b", "&", "+%41ü").stdout == "a b & +%41ü\n"
    assert lab.kubectl("exec", "-i", "box", "--", "cat", stdin="typed\n").stdout == "typed\n"


def large(lab):
    """exec: megabytes both ways come through whole."""
    data = os.urandom(3 << 20)
    done = subprocess.run(lab.command("exec", "-i", "box", "--", "cat"), input=data, capture_output=True, timeout=90)
    assert done.returncode == 0 and hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest(), (len(done.stdout), done.stderr)


def terminal(lab):
    """exec -it: a terminal with a shell that answers."""
    pid, master = pty.fork()
    if pid == 0:
        command = lab.command("exec", "-it", "box", "--", "sh")
        os.execvp(command[0], command)
    shown = b""

    def until_shown(what, seconds=20):
        nonlocal shown
        deadline = time.monotonic() + seconds
        while what not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 4096)

    until_shown(b"#")
    os.write(master, b"test -t 0 && echo terminal $((6*7))\n")
    until_shown(b"terminal 42")
    os.write(master, b"exit 3\n")
    _, status = os.waitpid(pid, 0)
    os.close(master)
    assert os.waitstatus_to_exitcode(status) == 3, shown


def attaches(lab):
    """attach: what the container says from now on, and what it is told."""
    reader = subprocess.Popen(lab.command("attach", "-i", "talks"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        reader.stdin.write(b"hello\n")
        reader.stdin.flush()
        line = b""
        while b"heard hello" not in line:
            line = reader.stdout.readline()
            assert line, reader.stderr.read()
    finally:
        reader.kill()
        reader.communicate()


def forwards(lab):
    """port-forward: two connections to a server in the pod."""
    port = free_port()
    forward = subprocess.Popen(lab.command("port-forward", "web", f"{port}:18080"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert "Forwarding from" in forward.stdout.readline()
        for _ in range(2):
            page = subprocess.run(lab.inside("python3", "-c", f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=10).read().decode(), end='')"), capture_output=True, text=True).stdout
            assert page == "served by the pod\n", page
    finally:
        forward.kill()
        forward.wait()


def refusals(lab):
    """What cannot be is said so."""
    for arguments, wanted in ((("exec", "box", "-c", "none", "--", "true"), "container none is not valid for pod box"),
                              (("exec", "nobody", "--", "true"), 'pods "nobody" not found'),
                              (("exec", "ended", "--", "true"), "completed pod"),
                              (("exec", "homeless", "--", "true"), "pod homeless does not have a host assigned"),
                              (("exec", "box", "--", "no-such-program"), "no-such-program")):
        done = lab.kubectl(*arguments, check=False)
        assert done.returncode != 0 and wanted in done.stderr, (arguments, done.stderr)
    bare = lab.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/box/exec?command=true&stdout=true", check=False).stderr
    assert "Upgrade request required" in bare, bare


def ends(lab):
    """A session ends on every side when the user or the edge goes."""
    user = subprocess.Popen(lab.command("exec", "-i", "box", "--", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    user.stdin.write(b"x\n")
    user.stdin.flush()
    assert user.stdout.readline() == b"x\n" and lab.tunnel_connections()
    user.kill()
    user.communicate()
    until(10, "the edge closed its end", lambda: not lab.tunnel_connections())

    user = subprocess.Popen(lab.command("exec", "-i", "box", "--", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    user.stdin.write(b"x\n")
    user.stdin.flush()
    assert user.stdout.readline() == b"x\n"
    lab.kill("edgecore", signal.SIGKILL)
    user.wait(15)   # SPDY has no word for it: kubectl takes a cut connection for the end of the program
    refused = until(10, "the tunnel is gone", lambda: (lambda done: done.stderr if done.returncode else None)(lab.kubectl("exec", "box", "--", "true", check=False)))
    assert re.search(r'node "edge1" is not connected', refused), refused
    lab.edge_up(pods=True)
    until(30, "exec is there again", lambda: lab.kubectl("exec", "box", "--", "echo", "back", check=False).stdout == "back\n")


STEPS = [runs, large, terminal, attaches, forwards, refusals, ends]

with NetnsLab() as lab:
    lab.containerd_up()
    lab.cloud_up()
    lab.edge_up(pods=True)
    lab.node_ready()
    lab.apply(
        pod("box", "sleep 1000000"), pod("homeless", "true", nodeSelector={"no": "where"}), pod("ended", "true", restartPolicy="Never"),
        pod("talks", "while read line; do echo heard $line; done; sleep 1000000", container={"stdin": True}),
        pod("web", "echo served by the pod > /tmp/index.html; exec httpd -f -p 18080 -h /tmp"))
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=80s", *(f"pod/{name}" for name in ("box", "talks", "web")))
    until(60, "the pod ended is", lambda: lab.kubectl("get", "pod", "ended", "-o", "jsonpath={.status.phase}").stdout == "Succeeded")
    for step in STEPS if len(sys.argv) == 1 else [globals()[name] for name in sys.argv[1:]]:
        begun = time.monotonic()
        step(lab)
        print(f"ok {step.__name__} ({time.monotonic() - begun:.1f} s): {step.__doc__.splitlines()[0]}")
