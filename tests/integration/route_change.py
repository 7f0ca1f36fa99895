#!/usr/bin/env python3
"""An edge whose address goes away and comes back joins its cloud again at once, not when its back-off ends.

Cloud and edge live in two network namespaces of the test's own, joined by a veth pair."""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, until

if os.geteuid() != 0:
    print("needs root: it makes network namespaces")
    sys.exit(77)
cloud, edge = f"kec{os.getpid()}", f"kee{os.getpid()}"


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Netns(Lab):
    """The daemons and kubectl in namespaces; 10.203.0.1 is the cloud, 10.203.0.2 the edge."""

    def run(self, name, *command, **options):
        return super().run(name, "nsenter", f"--net=/run/netns/{edge if name == 'edgecore' else cloud}", "--", *command, **options)

    def kubectl(self, *arguments, check=True, stdin=None):
        done = subprocess.run(["nsenter", f"--net=/run/netns/{cloud}", "kubectl", "--kubeconfig", str(self.dir / "cloud/admin.kubeconfig"), *map(str, arguments)],
                              input=stdin, capture_output=True, text=True, timeout=90)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done


try:
    for name in (cloud, edge):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    ip("link", "add", "ke0", "netns", cloud, "type", "veth", "peer", "name", "ke1", "netns", edge)
    ip("-n", cloud, "addr", "add", "10.203.0.1/24", "dev", "ke0")
    ip("-n", cloud, "link", "set", "ke0", "up")
    ip("-n", edge, "addr", "add", "10.203.0.2/24", "dev", "ke1")
    ip("-n", edge, "link", "set", "ke1", "up")
    with Netns() as lab:
        lab.cloud_up()
        command = lab.edge_command()
        command[command.index("127.0.0.1")] = "10.203.0.1"
        command[command.index("--mqtt")] = "--no-mqtt"
        command.pop(command.index("--no-mqtt") + 1)
        lab.run("edgecore", *command)
        lab.node_ready()

        ip("-n", edge, "addr", "del", "10.203.0.2/24", "dev", "ke1")
        until(5, "the edge gives up a connection whose address is gone", lambda: "10.203.0.2 is gone" in lab.log("edgecore"))
        time.sleep(12)   # far into the back-off: waits of up to 8 s and more
        links = lab.log("edgecore").count("link up")
        before = time.monotonic()
        ip("-n", edge, "addr", "add", "10.203.0.3/24", "dev", "ke1")
        until(5, "the edge is back, 5 s after it has an address again", lambda: lab.log("edgecore").count("link up") > links)
        print(f"linked {time.monotonic() - before:.2f} s after the address came")
        until(30, "kubectl sees the new address", lambda: "10.203.0.3" in
              [one["address"] for one in json.loads(lab.kubectl("get", "node", "edge1", "-o", "json").stdout)["status"].get("addresses", [])])
finally:
    for name in (cloud, edge):
        ip("netns", "del", name, check=False)
